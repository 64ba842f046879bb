//! What is said about resources while they are translated.

use std::collections::BTreeSet;

use limen_resources::{Problem, Verdict};

/// Problems and verdicts, each once and in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    problems: BTreeSet<Problem>,
    verdicts: BTreeSet<Verdict>,
}

impl Report {
    pub(crate) fn problem(&mut self, problem: Problem) {
        self.problems.insert(problem);
    }

    pub(crate) fn problems<'p>(&mut self, problems: impl IntoIterator<Item = &'p Problem>) {
        self.problems.extend(problems.into_iter().cloned());
    }

    pub(crate) fn verdict(&mut self, verdict: Verdict) {
        self.verdicts.insert(verdict);
    }

    /// Both lists: problems by gravity, object and field.
    pub(crate) fn into_lists(self) -> (Vec<Problem>, Vec<Verdict>) {
        let mut problems: Vec<_> = self.problems.into_iter().collect();
        problems.sort_by(|a, b| (a.level, &a.object, &a.field).cmp(&(b.level, &b.object, &b.field)));
        (problems, self.verdicts.into_iter().collect())
    }
}
