//! Objects that are meant for one control plane of several.

use std::collections::BTreeMap;

use crate::code::codes;
use crate::object::Object;
use crate::problem::Problem;
use crate::snapshot::Snapshot;
use crate::table::Table;

/// The label of configuration that one revision alone is to obey.
const REVISION_LABEL: &str = "istio.io/rev";

/// What one revision sees: snapshots without the configuration that is labelled for others. Pods, Services and the like
/// are everybody's, whatever their labels. Tables that did not change stay the same objects from one to the next.
#[derive(Debug, Default)]
pub struct RevisionView {
    /// The revision, the last snapshot as it was, and what was left of it.
    last: Option<(String, Snapshot, Snapshot)>,
}

impl RevisionView {
    /// `snapshot` as `revision` sees it, and what is said of each object that is left out.
    pub fn of(&mut self, snapshot: &Snapshot, revision: &str) -> (Snapshot, Vec<Problem>) {
        let last = self.last.take().filter(|(known, ..)| known == revision);
        let (_, before, shown) = last.unwrap_or_default();
        let (mut seen, mut problems) = (snapshot.clone(), Vec::new());
        macro_rules! look {
            ($($table:ident)*) => {
                $(
                    let last = (&before.$table, &shown.$table);
                    seen.$table = filtered(&snapshot.$table, last, revision, &mut problems);
                )*
            };
        }
        look!(gateways virtual_services destination_rules service_entries workload_entries);
        look!(proxy_configs telemetries backend_tls_policies ingresses);
        let (none, mut policies) = (Table::default(), BTreeMap::new());
        for (kind, table) in &snapshot.policies {
            let of = |last: &Snapshot| last.policies.get(kind).unwrap_or(&none).clone();
            policies.insert(*kind, filtered(table, (&of(&before), &of(&shown)), revision, &mut problems));
        }
        seen.policies = policies;
        self.last = Some((revision.to_owned(), snapshot.clone(), seen.clone()));
        (seen, problems)
    }
}

/// `last`: a table as it was, and what was left of it.
fn filtered<S>(
    table: &Table<S>,
    (before, shown): (&Table<S>, &Table<S>),
    revision: &str,
    problems: &mut Vec<Problem>,
) -> Table<S> {
    if table.same(before) && before.same(shown) {
        return shown.clone();
    }
    // What was there before is everybody's or ours.
    let foreign = |object: &Object<S>| revision_of(object).is_some_and(|other| other != revision);
    let after = || table.changed(before).into_iter().filter_map(|change| change.after);
    if before.same(shown) && !after().any(|object| foreign(object)) {
        return table.clone();
    }
    let mut seen = table.clone();
    for object in table.iter() {
        if let Some(other) = revision_of(object).filter(|other| *other != revision) {
            seen.remove(&object.key);
            problems.push(left(object, revision, other));
        }
    }
    if table.same(before) { shown.clone() } else { seen }
}

fn revision_of<S>(object: &Object<S>) -> Option<&str> {
    object.meta.labels.get(REVISION_LABEL).map(String::as_str)
}

fn left<S>(object: &Object<S>, revision: &str, other: &str) -> Problem {
    let message = format!("it is for revision `{other}` alone, and this gateway obeys `{revision}`");
    let mend = format!("take the label {REVISION_LABEL} off, or start with --revision {other}");
    Problem::new(codes::OTHER_REVISION, message, mend).about(&object.key, &object.source, "metadata.labels")
}
