//! Objects that are not served as they are written, under the name that alerts for Istio use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use limen_resources::{Level, Problem};

/// Objects that are counted by name at most; the rest count together as `overflow`.
const MAX_OBJECTS: usize = 1_000;

/// The labels `type` and `name`.
type Labels = (String, String);

/// How often each object was rejected, and how many are now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rejected {
    times: BTreeMap<Labels, u64>,
    now: usize,
}

impl Rejected {
    /// After `appeared` has been added to the problems, which are now `all`.
    pub(crate) fn after(&self, appeared: &[Problem], all: &[Problem]) -> Rejected {
        let mut next = self.clone();
        for labels in rejected(appeared) {
            let known = next.times.contains_key(&labels) || next.times.len() < MAX_OBJECTS;
            let labels = if known { labels } else { ("overflow".to_owned(), "overflow".to_owned()) };
            *next.times.entry(labels).or_default() += 1;
        }
        next.now = rejected(all).len();
        next
    }

    /// Both metrics.
    pub(crate) fn render(&self) -> String {
        let mut out = String::new();
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // Writing to a String cannot fail.
        let _ =
            writeln!(out, "# HELP {TIMES} Times that an object was rejected, anew or for another reason.");
        let _ = writeln!(out, "# TYPE {TIMES} counter");
        for ((kind, name), times) in &self.times {
            let _ = writeln!(out, "{TIMES}{{type=\"{kind}\",name=\"{}\"}} {times}", escaped(name));
        }
        let _ = writeln!(out, "# HELP {NOW} Objects that are not served as they are written.");
        let _ = writeln!(out, "# TYPE {NOW} gauge\n{NOW} {}", self.now);
        out
    }
}

const TIMES: &str = "pilot_total_rejected_configs";
const NOW: &str = "limen_config_rejected_objects";

/// The objects, and the files that are none, that have an error among these.
fn rejected(problems: &[Problem]) -> BTreeSet<Labels> {
    problems.iter().filter(|problem| problem.level == Level::Error).filter_map(labels).collect()
}

fn labels(problem: &Problem) -> Option<Labels> {
    if let Some(object) = &problem.object {
        let kind = object.kind.as_str().to_ascii_lowercase();
        let name = match &*object.namespace {
            "" => object.name.to_string(),
            namespace => format!("{namespace}/{}", object.name),
        };
        return Some((kind, name));
    }
    Some(("file".to_owned(), problem.at.as_ref()?.file.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use limen_resources::{Kind, ObjectKey, Source, codes};

    fn problem(name: &str, message: &str) -> Problem {
        let key = ObjectKey::new(Kind::Gateway, "default", name);
        Problem::new(codes::MALFORMED, message, "").about(&key, &Source::elsewhere("a"), "spec")
    }

    #[test]
    fn an_object_is_rejected_once_however_much_is_wrong_and_again_for_another_reason() {
        let both = [problem("a", "one"), problem("a", "two")];
        let first = Rejected::default().after(&both, &both);
        let same = first.after(&[], &both);
        assert_eq!(first, same);
        let file = Problem::new(codes::MALFORMED, "no YAML", "").at(&"x.yaml".into(), 1, 1);
        let warning = Problem { level: Level::Warning, ..problem("b", "odd") };
        let now = [problem("a", "three"), file, warning];
        let text = first.after(&now, &now).render();
        assert!(
            text.contains("pilot_total_rejected_configs{type=\"gateway\",name=\"default/a\"} 2\n"),
            "{text}"
        );
        assert!(text.contains("pilot_total_rejected_configs{type=\"file\",name=\"x.yaml\"} 1\n"), "{text}");
        assert!(text.contains("limen_config_rejected_objects 2\n") && !text.contains("default/b"), "{text}");
        assert!(first.after(&[], &[]).render().contains("limen_config_rejected_objects 0\n"));
    }

    #[test]
    fn names_are_bounded() {
        let many: Vec<Problem> = (0..MAX_OBJECTS + 3).map(|nth| problem(&format!("g{nth}"), "bad")).collect();
        let text = Rejected::default().after(&many, &many).render();
        assert!(text.contains("{type=\"overflow\",name=\"overflow\"} 3\n"));
        assert_eq!(text.lines().count(), MAX_OBJECTS + 6);
    }
}
