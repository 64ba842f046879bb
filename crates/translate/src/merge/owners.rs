//! Whose a host is among VirtualServices of several namespaces: that of the first one, which others add nothing to. A
//! Gateway of both may give a host to a namespace in so many words (`hosts: [shop/a.example.com]`). The same holds of the
//! names of connections that are handed on undecrypted, and of all connections of a port that are not looked into.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_resources::ObjectKey;

use super::Sharing;
use super::shares::SharedHost;
use crate::draft::VirtualServiceDraft;
use crate::istio::gateway::ServerPlan;
use crate::istio::names;

/// The place of each VirtualService by age, then by name and namespace. Empty where nobody can take a host from anybody.
pub(super) type Ranks<'a> = BTreeMap<&'a ObjectKey, usize>;

/// All ranks, if there are VirtualServices of several namespaces and they do not share hosts.
pub(super) fn ranks(drafts: &[Arc<VirtualServiceDraft>], shared: bool) -> Ranks<'_> {
    let namespace = |draft: &Arc<VirtualServiceDraft>| Arc::clone(&draft.object.key.namespace);
    let first = drafts.first().map(namespace);
    if shared || drafts.iter().all(|draft| Some(namespace(draft)) == first) {
        return Ranks::new();
    }
    let mut by_age: Vec<_> = drafts.iter().map(|draft| &draft.object).collect();
    by_age.sort_by_key(|object| (&object.meta.creation_timestamp, &object.key.name, &object.key.namespace));
    by_age.into_iter().enumerate().map(|(rank, object)| (&object.key, rank)).collect()
}

/// How plainly a server gives something to a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Given {
    /// In so many words (`NAMESPACE/HOST`).
    ByName,
    /// To whoever comes.
    ToAll,
    /// It does not have it, or has it for others.
    NotAtAll,
}

impl Given {
    fn of(server: &ServerPlan, draft: &VirtualServiceDraft, hosts: &[String]) -> Given {
        let own = &*draft.object.key.namespace;
        let overlapping = server
            .hosts
            .iter()
            .filter(|known| !names::intersection([&*known.name].into_iter(), hosts).is_empty());
        let given = overlapping.map(|known| match known.namespace.as_deref() {
            Some(namespace) if namespace == own => Given::ByName,
            None => Given::ToAll,
            Some(_) => Given::NotAtAll,
        });
        given.min().unwrap_or(Given::NotAtAll)
    }
}

/// Who has each host of the servers of a port, in lower case.
#[derive(Default)]
pub(super) struct Owners<'a>(BTreeMap<Arc<str>, (usize, &'a VirtualServiceDraft)>);

impl<'a> Owners<'a> {
    /// `sharing`: who shares which hosts with each of the servers.
    pub(super) fn new(sharing: &[Sharing<'a>], ranks: &Ranks<'a>) -> Owners<'a> {
        let mut owners = Owners::default();
        if ranks.is_empty() {
            return owners;
        }
        for (draft, share) in sharing.iter().flatten() {
            let Some(rank) = ranks.get(&draft.object.key) else { continue };
            for host in &share.hosts {
                let known = owners.0.entry(Arc::clone(&host.lower)).or_insert((*rank, draft));
                if *rank < known.0 {
                    *known = (*rank, draft);
                }
            }
        }
        owners
    }

    /// The VirtualService of another namespace that has the host, unless the server gives it to this one's.
    pub(super) fn other(
        &self,
        server: &ServerPlan,
        draft: &VirtualServiceDraft,
        SharedHost { written, lower }: &SharedHost,
    ) -> Option<&'a ObjectKey> {
        let (_, owner) = self.0.get(lower).filter(|(_, owner)| foreign(&owner.object.key, draft))?;
        // Last, as it goes through all hosts of the server.
        let given = || Given::of(server, draft, &[written.to_string()]) == Given::ByName;
        let given = hangs_on(owner, &server.gateway_name) && given();
        (!given).then_some(&owner.object.key)
    }
}

/// Only a Gateway that the owner hangs on can give what it has to others: anybody can make a Gateway.
fn hangs_on(owner: &VirtualServiceDraft, gateway: &str) -> bool {
    owner.gateways.iter().any(|known| known.name == gateway)
}

/// Is it another namespace's?
fn foreign(owner: &ObjectKey, draft: &VirtualServiceDraft) -> bool {
    owner.namespace != draft.object.key.namespace
}

/// A VirtualService that wants the connections for a server name.
struct Claim<'a> {
    gateway: &'a str,
    given: Given,
    rank: usize,
    draft: &'a VirtualServiceDraft,
    undecrypted: bool,
}

/// Who wants the connections for each server name of a port, in lower case. Only one can have them.
#[derive(Default)]
pub(super) struct Names<'a>(BTreeMap<String, Vec<Claim<'a>>>);

impl<'a> Names<'a> {
    /// A VirtualService wants them from this server, to be handed on undecrypted or not.
    pub(super) fn claim(
        &mut self,
        name: &str,
        server: &'a ServerPlan,
        (draft, ranks): (&'a VirtualServiceDraft, &Ranks<'a>),
        undecrypted: bool,
    ) {
        let Some(rank) = ranks.get(&draft.object.key).copied() else { return };
        let given = Given::of(server, draft, &[name.to_owned()]);
        let claim = Claim { gateway: &server.gateway_name, given, rank, draft, undecrypted };
        self.0.entry(name.to_ascii_lowercase()).or_default().push(claim);
    }

    /// The VirtualService of another namespace that has them: the first one to whom they are given, or the first.
    pub(super) fn other(&self, draft: &VirtualServiceDraft, name: &str) -> Option<&'a ObjectKey> {
        self.owner(name).map(|owner| &owner.draft.object.key).filter(|owner| foreign(owner, draft))
    }

    /// The same if it gets them undecrypted.
    pub(super) fn passed_by(&self, draft: &VirtualServiceDraft, name: &str) -> Option<&'a ObjectKey> {
        self.other(draft, name).filter(|_| self.owner(name).is_some_and(|owner| owner.undecrypted))
    }

    fn owner(&self, name: &str) -> Option<&Claim<'a>> {
        let claims = self.0.get(&name.to_ascii_lowercase())?;
        let first = claims.iter().min_by_key(|claim| (claim.given == Given::NotAtAll, claim.rank))?;
        let given = |claim: &&Claim<'_>| claim.given == Given::ByName && hangs_on(first.draft, claim.gateway);
        claims.iter().filter(given).min_by_key(|claim| claim.rank).or(Some(first))
    }
}

/// Whose all connections of a server are, among VirtualServices that want them: the first one to whom they are given, or
/// the first. `None`: nobody takes them from anybody.
pub(super) fn owner<'a>(
    server: &ServerPlan,
    wanting: impl Iterator<Item = &'a Arc<VirtualServiceDraft>>,
    ranks: &Ranks<'a>,
) -> Option<&'a ObjectKey> {
    let places = wanting.filter_map(|draft| {
        let rank = ranks.get(&draft.object.key)?;
        Some((Given::of(server, draft, &draft.hosts), *rank, &draft.object.key))
    });
    places.min().map(|(_, _, owner)| owner)
}
