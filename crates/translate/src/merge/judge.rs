//! What became of VirtualServices.

use std::collections::BTreeSet;
use std::sync::Arc;

use limen_resources::istio::Gateway;
use limen_resources::{Kind, Object, ObjectKey, Verdict};

use super::Attached;
use crate::draft::VirtualServiceDraft;
use crate::index::Index;
use crate::istio::names;
use crate::messages::{At, route as messages};
use crate::report::Report;

/// Says of each VirtualService what became of it at each Gateway that it names.
pub(super) fn judge(
    index: &Index<'_>,
    drafts: &[Arc<VirtualServiceDraft>],
    (attached, lost, idle): (&Attached<'_>, &Attached<'_>, &BTreeSet<(&ObjectKey, &str)>),
    report: &mut Report,
) {
    for draft in drafts {
        for reference in &draft.gateways {
            let at = At::new(&draft.object, &reference.field);
            let found =
                reference.name.split_once('/').and_then(|(ns, name)| index.snapshot.gateways().get(ns, name));
            let (status, reason, message) =
                match (found, attached.get(&(&draft.object.key, &*reference.name))) {
                    (None, _) => {
                        report.problem(messages::gateway_not_found(
                            at,
                            &reference.name,
                            namesake(index, &reference.name),
                        ));
                        (false, "GatewayNotFound", "there is no such Gateway".to_owned())
                    }
                    (Some(_), _) if draft.reach.is_none() => {
                        let message = "it is not exported to the gateway's namespace".to_owned();
                        (false, "NotExported", message)
                    }
                    (Some(_), _) if lost.contains_key(&(&draft.object.key, &*reference.name)) => {
                        let lost = lost.get(&(&draft.object.key, &*reference.name)).into_iter().flatten();
                        let lost: Vec<_> = lost.map(String::as_str).collect();
                        (false, "HostConflict", format!("not served: {}", lost.join(", ")))
                    }
                    (Some(_), Some(hosts)) => {
                        let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
                        (true, "Accepted", format!("served as {}", hosts.join(", ")))
                    }
                    (Some(_), None) if idle.contains(&(&draft.object.key, &*reference.name)) => {
                        let message =
                            "it has no route for the connections of its servers, or not the first one";
                        (false, "NoRouteForServer", message.to_owned())
                    }
                    (Some(gateway), None) if any_server_has(gateway, draft) => {
                        (false, "ServerNotServed", "no server that has its hosts is served here".to_owned())
                    }
                    (Some(_), None) => {
                        report.problem(messages::host_not_in_gateway(at, &reference.name));
                        (false, "NoMatchingHost", "no server of the Gateway has a host of it".to_owned())
                    }
                };
            let parent = reference.name.split_once('/');
            report.verdict(Verdict {
                parent: parent.map(|(namespace, name)| ObjectKey::new(Kind::Gateway, namespace, name)),
                generation: draft.object.meta.generation,
                ..Verdict::new(draft.object.key.clone(), "Accepted", status, (reason, message))
            });
        }
    }
}

/// A Gateway of the same name in another namespace.
fn namesake(index: &Index<'_>, name: &str) -> Option<String> {
    let (_, name) = name.split_once('/')?;
    let other = index.gateways.iter().find(|gateway| *gateway.key.name == *name)?;
    Some(format!("{}/{}", other.key.namespace, other.key.name))
}

/// Does any server of the Gateway, served or not, have a host of the VirtualService?
fn any_server_has(gateway: &Object<Gateway>, draft: &VirtualServiceDraft) -> bool {
    let own = &*draft.object.key.namespace;
    let for_it = |host: &&String| match host.split_once('/') {
        None | Some(("*", _)) => true,
        Some((".", _)) => *gateway.key.namespace == *own,
        Some((namespace, _)) => namespace == own,
    };
    let hosts = gateway.spec.servers.iter().flat_map(|server| &server.hosts).filter(for_it);
    let hosts = hosts.map(|host| host.split_once('/').map_or(&**host, |(_, name)| name));
    !names::intersection(hosts, &draft.hosts).is_empty()
}
