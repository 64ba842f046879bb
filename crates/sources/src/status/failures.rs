//! What the server does not let us write, as problems.

use std::collections::BTreeMap;
use std::time::Instant;

use limen_resources::{Event, Problem, codes};
use tokio::sync::mpsc::UnboundedSender;

use crate::kube::failure::Failure;
use crate::source::Batch;

/// What stands for the writer in the list of problems.
const SOURCE: &str = "the cluster's statuses";

/// What fails now, and how often it did in a row.
#[derive(Debug)]
pub(super) struct Failures {
    known: BTreeMap<&'static str, (u32, Failure)>,
    out: UnboundedSender<Batch>,
}

impl Failures {
    /// `out`: where problems are told.
    pub(super) fn new(out: UnboundedSender<Batch>) -> Failures {
        Failures { known: BTreeMap::new(), out }
    }

    pub(super) fn fail(&mut self, what: &'static str, failure: Failure) {
        let former = self.known.get(what);
        let times = former.map_or(1, |(times, _)| times.saturating_add(1));
        // One that is not repeated is not worth a word.
        let news = times == 2 || (times > 2 && former.is_some_and(|(_, known)| *known != failure));
        self.known.insert(what, (times, failure));
        if news {
            self.say();
        }
    }

    pub(super) fn mend(&mut self, what: &'static str) {
        if self.known.remove(what).is_some_and(|(times, _)| times > 1) {
            self.say();
        }
    }

    fn say(&self) {
        let lasting = self.known.iter().filter(|(_, (times, _))| *times > 1);
        let problems = lasting.map(|(what, (_, failure))| problem(what, failure)).collect();
        let events = vec![Event::Problems { file: SOURCE.into(), problems }];
        // Without a store there is nobody to tell.
        let _ = self.out.send(Batch::of(Instant::now(), events));
    }
}

fn problem(what: &str, failure: &Failure) -> Problem {
    let why = match failure {
        Failure::Refused { message, .. } => message.clone(),
        Failure::Silent(why) => why.clone(),
        Failure::Gone => "what was known is too old".to_owned(),
    };
    let (message, mend) = match what {
        "status" => (
            format!("statuses cannot be written: {why}"),
            "give this account the rights of deploy/rbac.yaml, or start with --no-status",
        ),
        "deployments" | "horizontalpodautoscalers" | "poddisruptionbudgets" => (
            format!("{what} for Gateways cannot be written: {why}"),
            "give this account the rights of deploy/deployer.yaml, or start without --deploy-image",
        ),
        "services" => (
            format!("Services of Gateways cannot be written: {why}"),
            "give this account the rights of deploy/rbac.yaml, or start with --no-status",
        ),
        "events" => (
            format!("Events cannot be written: {why}"),
            "give this account the rights of deploy/rbac.yaml, or start with --no-status",
        ),
        _ => (
            format!("Leases cannot be read or written, so nobody writes statuses: {why}"),
            "give this account the rights of deploy/rbac.yaml in the namespace of --lease-namespace, or start with --no-status",
        ),
    };
    Problem::new(codes::CLUSTER_NOT_WRITTEN, message, mend)
}
