//! Whose a host is among VirtualServices of several namespaces: that of the first one, which others add nothing to. A
//! Gateway may give a host to a namespace in so many words (`hosts: [shop/a.example.com]`).

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_resources::ObjectKey;

use super::{Attachments, shared_hosts};
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

/// Who has each host of the servers of a port, in lower case.
#[derive(Default)]
pub(super) struct Owners<'a>(BTreeMap<String, (usize, &'a ObjectKey)>);

impl<'a> Owners<'a> {
    pub(super) fn new(
        servers: &[ServerPlan],
        by_gateway: &BTreeMap<&str, Attachments<'a>>,
        ranks: &Ranks<'a>,
    ) -> Owners<'a> {
        let mut owners = Owners::default();
        if ranks.is_empty() {
            return owners;
        }
        for server in servers {
            let Some(attached) = by_gateway.get(&*server.gateway_name) else { continue };
            for draft in attached.candidates(server) {
                let Some(rank) = ranks.get(&draft.object.key) else { continue };
                for host in shared_hosts(server, draft) {
                    let new = (*rank, &draft.object.key);
                    let known = owners.0.entry(host.to_ascii_lowercase()).or_insert(new);
                    *known = new.min(*known);
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
        host: &str,
    ) -> Option<&'a ObjectKey> {
        let (_, owner) = self.0.get(&host.to_ascii_lowercase())?;
        let own = &*draft.object.key.namespace;
        let given = |known: &&crate::istio::gateway::ServerHost| known.namespace.as_deref() == Some(own);
        let mut given = server.hosts.iter().filter(given);
        let host = [host.to_owned()];
        let is_given = given.any(|known| !names::intersection([&*known.name].into_iter(), &host).is_empty());
        (*owner.namespace != *own && !is_given).then_some(*owner)
    }
}
