//! What is said about resources while they are translated.

use std::collections::BTreeSet;
use std::sync::Arc;

use limen_resources::{Problem, Verdict};

/// Problems, each once and in order, and verdicts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    problems: BTreeSet<Problem>,
    /// There are several of each route, so that they are put in order only once.
    verdicts: Vec<Verdict>,
}

impl Report {
    pub(crate) fn problem(&mut self, problem: Problem) {
        self.problems.insert(problem);
    }

    pub(crate) fn problems<'p>(&mut self, problems: impl IntoIterator<Item = &'p Problem>) {
        self.problems.extend(problems.into_iter().cloned());
    }

    pub(crate) fn verdict(&mut self, verdict: Verdict) {
        self.verdicts.push(verdict);
    }

    /// Takes the verdicts out: each once, in order.
    pub(crate) fn take_verdicts(&mut self) -> Arc<Vec<Verdict>> {
        let mut verdicts = std::mem::take(&mut self.verdicts);
        // They come in long runs, which this sort keeps.
        verdicts.sort();
        verdicts.dedup();
        Arc::new(verdicts)
    }

    /// The problems by gravity, object and field.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems: Vec<_> = self.problems.into_iter().collect();
        problems.sort_by(|a, b| (a.level, &a.object, &a.field).cmp(&(b.level, &b.object, &b.field)));
        problems
    }
}
