//! What is said about resources while they are translated.

use std::collections::BTreeSet;
use std::sync::Arc;

use limen_resources::{Problem, Verdict, Verdicts};

/// Problems, each once and in order, and verdicts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    problems: BTreeSet<Problem>,
    verdicts: Vec<Verdict>,
    /// All that is said of an object, where that was made before.
    groups: Vec<Arc<[Verdict]>>,
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

    /// All that is to be said of an object.
    pub(crate) fn group(&mut self, group: &Arc<[Verdict]>) {
        self.groups.push(Arc::clone(group));
    }

    /// Takes the verdicts out.
    pub(crate) fn take_verdicts(&mut self) -> Arc<Verdicts> {
        Arc::new(Verdicts::new(std::mem::take(&mut self.verdicts), std::mem::take(&mut self.groups)))
    }

    /// The problems by gravity, object and field.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems: Vec<_> = self.problems.into_iter().collect();
        problems.sort_by(|a, b| (a.level, &a.object, &a.field).cmp(&(b.level, &b.object, &b.field)));
        problems
    }
}
