//! What the cluster is told: of every state that every worker serves, its verdicts and problems.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use limen_resources::{Kind, Level, Made, ObjectKey, Problem, Verdict, Verdicts};
use limen_sources::{Report, Reports};
use tokio::sync::watch;

use crate::view::{Phase, View};

/// States that follow each other faster are not all told: to list what is said of every object takes its time.
const REST: Duration = Duration::from_millis(20);

/// What was served last, and what is said of it.
struct Served {
    digest: u64,
    verdicts: Arc<Verdicts>,
    problems: Arc<Vec<Problem>>,
    made: Arc<Vec<Made>>,
    elsewhere: Arc<BTreeMap<ObjectKey, String>>,
}

/// Tells until the views end or the gateway drains.
///
/// `alone`: the process serves one Gateway of the Gateway API only, and speaks of nothing that others serve, too.
/// `namespace`: where its instances are.
pub(crate) async fn tell(
    mut views: watch::Receiver<Arc<View>>,
    reports: Reports,
    (alone, namespace): (bool, String),
) {
    let mut served: Option<Served> = None;
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        if view.phase == Phase::Draining {
            return;
        }
        if view.phase == Phase::Ready && view.settled() {
            let (verdicts, problems) = match alone {
                true => of_its_own(&view),
                false => (verdicts(&view), view.problems()),
            };
            served = Some(Served {
                digest: view.digest,
                verdicts,
                problems: Arc::new(problems),
                made: Arc::clone(&view.made),
                elsewhere: Arc::clone(&view.elsewhere),
            });
        }
        if let Some(Served { digest, verdicts, problems, made, elsewhere }) = &served {
            reports.tell(Report {
                snapshot: view.digest,
                applied: *digest,
                verdicts: Arc::clone(verdicts),
                problems: Arc::clone(problems),
                made: Arc::clone(made),
                elsewhere: Arc::clone(elsewhere),
                ready: view.phase == Phase::Ready,
                unready: Arc::new(unready(&view, &namespace)),
            });
        }
        if views.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(REST).await;
    }
}

/// The Pods of a namespace that are not ready, by what EndpointSlices say of them: of Pods only the metadata is read.
fn unready(view: &View, namespace: &str) -> BTreeSet<String> {
    let slices = view.snapshot.endpoint_slices().in_namespace(namespace);
    let endpoints = slices.flat_map(|slice| &slice.spec.endpoints);
    let unready = endpoints.filter(|endpoint| {
        endpoint.conditions.ready == Some(false) || endpoint.conditions.terminating == Some(true)
    });
    let pods =
        unready.filter_map(|endpoint| endpoint.target_ref.as_ref()).filter(|target| target.kind == "Pod");
    pods.map(|pod| pod.name.clone()).collect()
}

/// What is said of a Gateway and of what hangs on it, and of nothing else.
fn of_its_own(view: &View) -> (Arc<Verdicts>, Vec<Problem>) {
    let (verdicts, mut problems) = (view.verdicts(), view.problems());
    problems.retain(|problem| problem.object.as_ref().is_some_and(|object| !verdicts.of(object).is_empty()));
    (verdicts, problems)
}

/// What is to be said of each object, sorted: the verdicts, and that objects are wrong which have none, or of which a
/// former version counts.
fn verdicts(view: &View) -> Arc<Verdicts> {
    let joined = view.verdicts();
    let mut more = Vec::new();
    // What is wrong with these was found before anything was made of them.
    let refused: BTreeSet<&Problem> = view.snapshot.problems().collect();
    for problem in view.problems().iter().filter(|problem| problem.level == Level::Error) {
        let refused = refused.contains(problem);
        let speaks = |kind| has_no_verdicts(kind) || (refused && has_own_conditions(kind));
        let Some(key) = problem.object.as_ref().filter(|key| speaks(key.kind)) else { continue };
        let field = if problem.field.is_empty() { String::new() } else { format!("{}: ", problem.field) };
        let message = format!("{field}{}; {}", problem.message, problem.mend);
        // Of what is refused no generation is known: that in the snapshot is the last good one.
        let known = view.snapshot.get(key).filter(|_| !refused);
        let generation = known.and_then(|object| object.meta().generation);
        more.push(Verdict {
            generation,
            ..Verdict::new(key.clone(), "Accepted", false, ("NotServed", message))
        });
    }
    if more.is_empty() {
        return joined;
    }
    Arc::new(joined.with(more))
}

/// Istio's kinds of which something is said always.
fn has_own_conditions(kind: Kind) -> bool {
    matches!(kind, Kind::Gateway | Kind::VirtualService)
}

/// Kinds of which nothing is said where nothing is wrong: in a mesh most of their objects are for others.
fn has_no_verdicts(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::DestinationRule
            | Kind::ServiceEntry
            | Kind::WorkloadEntry
            | Kind::ProxyConfig
            | Kind::Telemetry
    )
}
