//! Whose the hosts of a port are among Istio's kinds.

use std::collections::BTreeMap;

use limen_resources::ObjectKey;

use super::{Attachments, shared_hosts};
use crate::draft::VirtualServiceDraft;
use crate::index::age;
use crate::istio::gateway::{PlainPlan, PortPlan, ServerPlan, ServesPlan};
use crate::messages::At;

/// The oldest object that has a host.
pub(crate) struct Claim<'a> {
    /// Seconds since 1970; unknown ones are older than all others.
    pub(crate) age: Option<i64>,
    pub(crate) key: ObjectKey,
    at: At<'a>,
}

impl<'a> Claim<'a> {
    pub(crate) fn at(&self) -> At<'a> {
        self.at
    }
}

/// The hosts of VirtualServices on a port, and the names of its certificates, each with the oldest object that has it.
pub(crate) fn claims<'a, 'd: 'a>(
    port: &'a PortPlan,
    by_gateway: &BTreeMap<&str, Attachments<'d>>,
) -> BTreeMap<String, Claim<'a>> {
    let mut claims = BTreeMap::new();
    let (chains, passthrough, plain) = match &port.serves {
        ServesPlan::Plain(plain) => (&[][..], &[][..], Some(plain)),
        ServesPlan::Tls { chains, passthrough, plain } => (&**chains, &**passthrough, plain.as_ref()),
    };
    let plain: &[ServerPlan] = match plain {
        Some(PlainPlan::Http { servers, .. }) => servers,
        Some(PlainPlan::Tcp(_)) | None => &[],
    };
    let servers = chains.iter().map(|chain| &chain.server).chain(passthrough.iter().map(|one| &one.server));
    for server in servers.chain(plain) {
        let attached = by_gateway.get(&*server.gateway_name);
        for draft in attached.map(|attached| attached.candidates(server)).unwrap_or_default() {
            let hosts = shared_hosts(server, draft).into_iter().map(str::to_ascii_lowercase);
            hosts.for_each(|host| claim(&mut claims, host, draft));
            if passthrough.iter().any(|one| std::ptr::eq(&raw const one.server, server)) {
                let names =
                    draft.tls.iter().flat_map(|route| &route.matches).flat_map(|block| &block.sni_hosts);
                names.for_each(|name| claim(&mut claims, name.to_ascii_lowercase(), draft));
            }
        }
    }
    for chain in chains {
        for name in &chain.server_names {
            let server = &chain.server;
            let new =
                Claim { age: age(server.object.meta()), key: server.object.key().clone(), at: server.at() };
            keep_older(&mut claims, name.to_string(), new);
        }
    }
    claims
}

fn claim<'a>(claims: &mut BTreeMap<String, Claim<'a>>, host: String, draft: &'a VirtualServiceDraft) {
    let (object, field) = (&draft.object, "spec.hosts");
    let new = Claim { age: age(&object.meta), key: object.key.clone(), at: At::new(object, field) };
    keep_older(claims, host, new);
}

fn keep_older<'a>(claims: &mut BTreeMap<String, Claim<'a>>, host: String, new: Claim<'a>) {
    match claims.get(&host) {
        Some(known) if known.age <= new.age => {}
        _ => drop(claims.insert(host, new)),
    }
}
