//! Which VirtualServices hang on a Gateway, and which of them may share a host with one of its servers.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::draft::VirtualServiceDraft;
use crate::istio::gateway::ServerPlan;
use crate::istio::overlaps::Overlaps;

/// The drafts that the gateway sees, by the Gateways that they hang on.
pub(crate) fn attachments(drafts: &[Arc<VirtualServiceDraft>]) -> BTreeMap<&str, Attachments<'_>> {
    let mut by_gateway: BTreeMap<&str, Attachments<'_>> = BTreeMap::new();
    for draft in drafts.iter().filter(|draft| draft.reach.is_some()) {
        for gateway in &draft.gateways {
            by_gateway.entry(&gateway.name).or_default().add(draft);
        }
    }
    by_gateway
}

/// The drafts that hang on a Gateway, in Istio's order.
#[derive(Default)]
pub(crate) struct Attachments<'a> {
    drafts: Vec<&'a Arc<VirtualServiceDraft>>,
    /// Their places by host. Made when it is asked for.
    by_host: OnceCell<Overlaps<'a>>,
    /// How often servers with wildcards were asked for.
    wild: Cell<usize>,
}

impl<'a> Attachments<'a> {
    /// So many servers with wildcards get all drafts: comparing each costs less than sorting them.
    const FEW: usize = 16;

    fn add(&mut self, draft: &'a Arc<VirtualServiceDraft>) {
        self.drafts.push(draft);
    }

    fn by_host(&self) -> &Overlaps<'a> {
        self.by_host.get_or_init(|| {
            let mut made = Overlaps::default();
            for (at, draft) in self.drafts.iter().enumerate() {
                draft.hosts.iter().for_each(|host| made.add(host, at));
            }
            made
        })
    }

    /// In order, all that may share a host with the server: a Gateway with a server for each of thousands of hosts
    /// must not compare each with each.
    pub(super) fn candidates(&self, server: &ServerPlan) -> Vec<&'a Arc<VirtualServiceDraft>> {
        let names = || server.hosts.iter().map(|host| &*host.name);
        if names().any(|name| name.starts_with('*')) {
            self.wild.set(self.wild.get() + 1);
            if self.wild.get() <= Attachments::FEW || names().any(|name| name == "*") {
                return self.drafts.clone();
            }
        }
        let places = self.by_host().of(names());
        places.into_iter().filter_map(|at| self.drafts.get(at).copied()).collect()
    }
}
