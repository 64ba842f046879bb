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

/// What has changed.
pub(crate) struct News {
    /// Problems that were not there, or had another message.
    pub(crate) appeared: Vec<Problem>,
    /// A line for each that is gone.
    pub(crate) mended: Vec<String>,
}

impl Reporter {
    /// What to say now that `problems` are all there are.
    pub(crate) fn news(&mut self, problems: &[Problem]) -> News {
        let mut now: BTreeMap<Place, Vec<Problem>> = BTreeMap::new();
        for problem in problems {
            now.entry(place(problem)).or_default().push(problem.clone());
        }
        let known = |place: &Place, problem: &Problem| {
            self.told.get(place).is_some_and(|told| told.iter().any(|old| old.message == problem.message))
        };
        let appeared =
            now.iter().flat_map(|(place, problems)| problems.iter().map(move |problem| (place, problem)));
        let appeared = appeared
            .filter(|(place, problem)| !known(place, problem))
            .map(|(_, problem)| problem.clone())
            .collect();
        let mended = self.told.iter().filter(|(place, _)| !now.contains_key(*place));
        let mended = mended.flat_map(|(_, problems)| problems.iter().map(mended_line)).collect();
        self.told = now;
        News { appeared, mended }
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
        let mut news = |problems: &[Problem]| {
            let News { appeared, mended } = reporter.news(problems);
            (appeared.iter().map(ToString::to_string).collect::<Vec<_>>(), mended)
        };
        assert_eq!(news(&[problem(1, "bad")]).0.len(), 1);
        let nothing = (Vec::new(), Vec::new());
        assert_eq!(news(&[problem(1, "bad")]), nothing);
        assert_eq!(news(&[problem(9, "bad")]), nothing, "only the line moved");
        let (changed, _) = news(&[problem(9, "worse")]);
        assert_eq!(changed.len(), 1, "{changed:?}");
        assert!(changed[0].starts_with("error[LIM0001]"), "{changed:?}");
        assert_eq!(news(&[]).1, ["mended[LIM0001] a.yaml  worse"]);
        assert_eq!(news(&[]), nothing);
    }
}
