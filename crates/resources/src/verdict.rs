//! What may be said about a resource.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::key::ObjectKey;

/// What is said of objects: sorted by object, then as verdicts are. All that is said of one object is one value, which
/// stays the same in memory where that object is said the same of as before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// None is empty.
    groups: Vec<Arc<[Verdict]>>,
}

impl Verdicts {
    /// Of `loose` each once. `groups`: ready ones, each sorted and of one object, none of them empty.
    pub fn new(mut loose: Vec<Verdict>, mut groups: Vec<Arc<[Verdict]>>) -> Verdicts {
        loose.sort();
        loose.dedup();
        let mut loose = loose.into_iter().peekable();
        while let Some(first) = loose.next() {
            let mut group = vec![first];
            while let Some(next) =
                loose.next_if(|next| group.first().is_some_and(|first| first.on == next.on))
            {
                group.push(next);
            }
            groups.push(group.into());
        }
        groups.retain(|group| !group.is_empty());
        // They come in long runs, which this sort keeps.
        groups.sort_by(|a, b| on(a).cmp(&on(b)));
        let several = groups.windows(2).any(|pair| matches!(pair, [a, b] if on(a) == on(b)));
        Verdicts { groups: if several { merged(&groups) } else { groups } }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Verdict> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    /// By object.
    pub fn groups(&self) -> &[Arc<[Verdict]>] {
        &self.groups
    }

    /// Those on one object.
    pub fn of(&self, key: &ObjectKey) -> &[Verdict] {
        let found = self.groups.binary_search_by(|group| on(group).cmp(&Some(key)));
        found.ok().and_then(|at| self.groups.get(at)).map(|group| &**group).unwrap_or_default()
    }

    /// The same with other verdicts in the place of some.
    #[must_use]
    pub fn changed(&self, change: impl Fn(&Verdict) -> Option<Verdict>) -> Verdicts {
        let groups = self.groups.iter().map(|group| {
            let new: Vec<_> = group.iter().map(&change).collect();
            if new.iter().all(Option::is_none) {
                return Arc::clone(group);
            }
            let all = new.into_iter().zip(&**group);
            all.map(|(new, old)| new.unwrap_or_else(|| old.clone())).collect()
        });
        Verdicts { groups: groups.collect() }
    }

    /// The same with these, and no others, on one object.
    #[must_use]
    pub fn instead(&self, key: &ObjectKey, verdicts: Vec<Verdict>) -> Verdicts {
        let rest = self.groups.iter().filter(|group| on(group) != Some(key));
        Verdicts::new(verdicts, rest.cloned().collect())
    }

    /// The same with these, too.
    #[must_use]
    pub fn with(&self, more: Vec<Verdict>) -> Verdicts {
        Verdicts::new(more, self.groups.clone())
    }
}

impl Serialize for Verdicts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// The object that a group is about.
fn on(group: &Arc<[Verdict]>) -> Option<&ObjectKey> {
    group.first().map(|first| &first.on)
}

/// One group of those that are about one object.
fn merged(groups: &[Arc<[Verdict]>]) -> Vec<Arc<[Verdict]>> {
    let by_object = groups.chunk_by(|a, b| on(a) == on(b)).map(|groups| match groups {
        [group] => Arc::clone(group),
        groups => {
            let mut all: Vec<_> = groups.iter().flat_map(|group| group.iter().cloned()).collect();
            all.sort();
            all.dedup();
            all.into()
        }
    });
    by_object.collect()
}

/// One condition of one object, as translation sees it. It becomes a Kubernetes status condition, a row in a view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Verdict {
    /// The object it is about.
    pub on: ObjectKey,
    /// Through which other object, such as the Gateway that a route hangs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<ObjectKey>,
    /// The part of the object that it is about; `None`: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// The condition's type, such as `Accepted`.
    pub condition: &'static str,
    /// Does it hold?
    pub status: bool,
    /// One CamelCase word.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// The generation of the object that it is about (`observedGeneration`), if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What only a few have to tell: see [`Verdict::facts`].
    #[serde(flatten)]
    pub facts: Option<Box<Facts>>,
}

/// What the status of an object tells besides its conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// How many ListenerSets hang on it, if it is a Gateway that has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<usize>,
    /// Where clients find it, if it is a gateway's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// What its Gateways can do, in ascending order, if it is a GatewayClass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<&'static str>,
}

impl Facts {
    /// Nothing.
    const NONE: &'static Facts =
        &Facts { attached_listener_sets: None, addresses: Vec::new(), supported_features: Vec::new() };
}

/// A part of an object that has conditions of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// A listener of a Gateway or ListenerSet of the Gateway API.
    Listener(Box<ListenerPart>),
    /// What a route has to do with one of its parents: the place of that in `spec.parentRefs`.
    ParentRef(usize),
    /// What a route has to do with a Gateway that it does not name, as both say `All` for defaults: the verdict's parent.
    DefaultGateway,
}

/// A listener that has conditions of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerPart {
    /// Its place in `spec.listeners`.
    pub place: usize,
    /// Its name.
    pub name: String,
    /// How many routes hang on it.
    pub attached_routes: usize,
    /// The kinds of routes that it takes.
    pub supported_kinds: Vec<String>,
}

/// An address as the status of a Gateway has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GatewayAddress {
    /// Which of the two it is.
    #[serde(rename = "type")]
    pub address_type: GatewayAddressType,
    /// The address itself.
    pub value: String,
}

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum GatewayAddressType {
    /// An IP address.
    #[serde(rename = "IPAddress")]
    Ip,
    /// A name that DNS knows.
    Hostname,
}

impl GatewayAddress {
    /// An IP address.
    pub fn ip(value: String) -> GatewayAddress {
        GatewayAddress { address_type: GatewayAddressType::Ip, value }
    }

    /// A name that DNS knows.
    pub fn hostname(value: String) -> GatewayAddress {
        GatewayAddress { address_type: GatewayAddressType::Hostname, value }
    }
}

impl Verdict {
    /// That a condition of a whole object holds, or does not, for a reason, and what is to be said of it.
    pub fn new(
        on: ObjectKey,
        condition: &'static str,
        status: bool,
        (reason, message): (&'static str, impl Into<Cow<'static, str>>),
    ) -> Verdict {
        Verdict {
            on,
            parent: None,
            part: None,
            condition,
            status,
            reason,
            message: message.into(),
            generation: None,
            facts: None,
        }
    }

    /// What its object's status tells besides.
    pub fn facts(&self) -> &Facts {
        self.facts.as_deref().unwrap_or(Facts::NONE)
    }

    /// The same with that to tell besides.
    #[must_use]
    pub fn with_facts(self, facts: Facts) -> Verdict {
        Verdict { facts: (facts != *Facts::NONE).then(|| Box::new(facts)), ..self }
    }

    /// The condition of a Gateway whose servers all serve.
    pub const PROGRAMMED: &'static str = "Programmed";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Kind;

    fn verdict(name: &str, condition: &'static str) -> Verdict {
        Verdict::new(
            ObjectKey::new(Kind::HttpRoute, "default", name),
            condition,
            true,
            ("Because", "it is so"),
        )
    }

    #[test]
    fn verdicts_stand_by_object_whether_they_came_as_a_group_or_not() {
        let ready: Arc<[Verdict]> = [verdict("b", "Accepted")].into();
        let loose = vec![verdict("c", "A"), verdict("a", "B"), verdict("a", "A"), verdict("c", "A")];
        let made = Verdicts::new(loose.clone(), vec![Arc::clone(&ready)]);
        let shown: Vec<_> = made.iter().map(|one| format!("{} {}", one.on.name, one.condition)).collect();
        assert_eq!(shown, ["a A", "a B", "b Accepted", "c A"]);
        assert!(Arc::ptr_eq(&made.groups()[1], &ready));
        assert_eq!(made.of(&ready[0].on), &*ready);
        assert_eq!(made.of(&verdict("d", "A").on), []);
        let more = made.with(vec![verdict("b", "A")]);
        assert_eq!(more.of(&ready[0].on), [verdict("b", "A"), verdict("b", "Accepted")]);
        let changed =
            made.changed(|one| (&*one.on.name == "a").then(|| Verdict { status: false, ..one.clone() }));
        assert!(Arc::ptr_eq(&changed.groups()[1], &ready));
        assert!(changed.groups()[0].iter().all(|one| !one.status));
    }
}
