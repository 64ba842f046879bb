//! ReferenceGrants: who may refer to what in another namespace.

use std::collections::BTreeSet;

use limen_resources::Snapshot;
use limen_resources::gateway_api::{GROUP, X_GROUP};

/// What is allowed.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    allowed: BTreeSet<Grant>,
}

/// Who may refer to what.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    /// Where it is given.
    namespace: String,
    /// Kind and namespace of who refers.
    from: (String, String),
    /// Group and kind of what is referred to.
    to: (String, String),
    /// Its name; empty: any.
    name: String,
}

/// An object of the Gateway API that refers to others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Referrer<'a> {
    /// As users write it.
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
}

/// The group of those that refer to others.
fn group_of(kind: &str) -> &'static str {
    if kind == "XBackend" { X_GROUP } else { GROUP }
}

impl Grants {
    pub(crate) fn new(snapshot: &Snapshot) -> Grants {
        let mut allowed = BTreeSet::new();
        for grant in snapshot.reference_grants().iter() {
            for from in grant.spec.from.iter().filter(|from| from.group == group_of(&from.kind)) {
                for to in &grant.spec.to {
                    allowed.insert(Grant {
                        namespace: grant.key.namespace.to_string(),
                        from: (from.kind.clone(), from.namespace.clone()),
                        to: (to.group.clone(), to.kind.clone()),
                        name: to.name.clone(),
                    });
                }
            }
        }
        Grants { allowed }
    }

    /// May `from` refer to the object of this group, kind, namespace and name?
    pub(crate) fn allow(
        &self,
        from: Referrer<'_>,
        (group, kind): (&str, &str),
        (namespace, name): (&str, &str),
    ) -> bool {
        let allowed = |name: &str| {
            self.allowed.contains(&Grant {
                namespace: namespace.to_owned(),
                from: (from.kind.to_owned(), from.namespace.to_owned()),
                to: (group.to_owned(), kind.to_owned()),
                name: name.to_owned(),
            })
        };
        from.namespace == namespace || allowed("") || allowed(name)
    }
}
