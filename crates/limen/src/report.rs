//! Tells of problems when they appear and when they are mended, and of each only once.

use std::collections::BTreeMap;

use limen_resources::{ObjectKey, Problem};

/// What makes two problems the same: not the line, which moves when something is written above it.
type Place = (&'static str, Option<ObjectKey>, String, Option<String>);

fn place(problem: &Problem) -> Place {
    let file = problem.at.as_ref().filter(|_| problem.object.is_none()).map(|at| at.file.to_string());
    (problem.code, problem.object.clone(), problem.field.clone(), file)
}

/// Remembers which problems were told.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    told: BTreeMap<Place, Vec<Problem>>,
}

impl Reporter {
    /// The lines to say now that `problems` are all there are.
    pub(crate) fn news(&mut self, problems: &[Problem]) -> Vec<String> {
        let mut now: BTreeMap<Place, Vec<Problem>> = BTreeMap::new();
        for problem in problems {
            now.entry(place(problem)).or_default().push(problem.clone());
        }
        let known = |place: &Place, problem: &Problem| {
            self.told.get(place).is_some_and(|told| told.iter().any(|old| old.message == problem.message))
        };
        let appeared =
            now.iter().flat_map(|(place, problems)| problems.iter().map(move |problem| (place, problem)));
        let mut lines: Vec<String> = appeared
            .filter(|(place, problem)| !known(place, problem))
            .map(|(_, problem)| problem.to_string())
            .collect();
        let mended = self.told.iter().filter(|(place, _)| !now.contains_key(*place));
        lines.extend(mended.flat_map(|(_, problems)| problems.iter().map(mended_line)));
        self.told = now;
        lines
    }
}

fn mended_line(problem: &Problem) -> String {
    let about = match (&problem.object, &problem.at) {
        (Some(object), _) => object.to_string(),
        (None, Some(at)) => at.file.to_string(),
        (None, None) => String::new(),
    };
    let field = if problem.field.is_empty() { String::new() } else { format!("{}: ", problem.field) };
    format!("mended[{}] {about}  {field}{}", problem.code, problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use limen_resources::codes;

    fn problem(line: u32, message: &str) -> Problem {
        Problem::new(codes::MALFORMED, message, "mend it").at(&"a.yaml".into(), line, 1)
    }

    #[test]
    fn a_problem_is_told_once_and_mended_once() {
        let mut reporter = Reporter::default();
        assert_eq!(reporter.news(&[problem(1, "bad")]).len(), 1);
        assert!(reporter.news(&[problem(1, "bad")]).is_empty());
        assert!(reporter.news(&[problem(9, "bad")]).is_empty(), "only the line moved");
        let changed = reporter.news(&[problem(9, "worse")]);
        assert_eq!(changed.len(), 1, "{changed:?}");
        assert!(changed[0].starts_with("error[LIM0001]"), "{changed:?}");
        let mended = reporter.news(&[]);
        assert_eq!(mended, ["mended[LIM0001] a.yaml  worse"]);
        assert!(reporter.news(&[]).is_empty());
    }
}
