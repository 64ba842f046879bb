//! What is said of Gateways, their listeners and routes in the end.

use std::borrow::Cow;
use std::collections::BTreeMap;

use limen_ir::Origin;
use limen_resources::{Facts, ListenerPart, ObjectKey, Part, Verdict};

use super::frontend;
use super::listener_sets::OwnSet;
use super::listeners::Listener;
use super::standing::{Field, TakenHosts};
use super::status::Said;
use super::{No, Plan};
use crate::index::{Index, origin};
use crate::join::Lost;
use crate::messages::{At, gateway_api as messages};
use crate::report::Report;

/// What others have taken: of a Gateway, by route, its hosts and who has them; and by listener who has its place.
#[derive(Default)]
struct Taken<'l> {
    hosts: TakenHosts<'l>,
    listeners: BTreeMap<&'l Origin, (&'static str, &'l Origin)>,
}

impl Plan<'_> {
    /// Says what became of everything. `lost`: what others have of what was offered, by the place of the offer.
    pub(crate) fn conclude(&self, index: &Index<'_>, lost: &[(usize, Lost)], report: &mut Report) {
        let (taken, field) = (self.taken(lost), self.field(index));
        let counts = self.counts(&field, &taken);
        for (number, gateway) in self.gateways.iter().enumerate() {
            let said = Said::of(gateway.object);
            let served = self.say_listeners(said.key, (&counts, &taken), report);
            let mut sets = 0;
            for set in self.sets.iter().filter(|set| set.gateway == number) {
                let served = self.say_listeners(&set.object.key, (&counts, &taken), report);
                sets += usize::from(self.say_set(set, served, report));
            }
            self.say_gateway(number, said, (served, sets), report);
        }
        for (draft, standing) in self.routes() {
            field.conclude(draft.route(), standing, &taken.hosts, report);
        }
    }

    /// Says what became of the listeners that an object has. How many are served?
    fn say_listeners(
        &self,
        owner: &ObjectKey,
        (counts, taken): (&[usize], &Taken<'_>),
        report: &mut Report,
    ) -> usize {
        let own = self.listeners.iter().zip(counts).filter(|(listener, _)| listener.said.key == owner);
        own.map(|(listener, count)| usize::from(self.say_listener(listener, *count, taken, report))).sum()
    }

    /// Says what became of a ListenerSet. Is it accepted?
    fn say_set(&self, set: &OwnSet<'_>, served: usize, report: &mut Report) -> bool {
        let said = Said::of(set.object);
        let parent = self.gateways.get(set.gateway).is_some_and(|gateway| gateway.accepted.is_ok());
        let own = || self.listeners.iter().filter(|listener| listener.said.key == said.key);
        let right = |listener: &&Listener<'_>| listener.accepted.is_ok() && listener.resolved.is_ok();
        let good = own().filter(right).count();
        let (accepted, programmed) = match &set.allowed {
            Err(no) => (Err(no.clone()), Err(no.clone())),
            Ok(()) if !parent => {
                let why = "its Gateway is not accepted".to_owned();
                (Err(("ParentNotAccepted", why.clone())), Err(("ParentNotProgrammed", why)))
            }
            Ok(()) => {
                let none =
                    |what: &str| Err(("ListenersNotValid", format!("none of its listeners is {what}")));
                let accepted = if good == 0 { none("right") } else { Ok(()) };
                (accepted, if served == 0 { none("served") } else { Ok(()) })
            }
        };
        let partly = good > 0 && good < own().count();
        match &accepted {
            Ok(()) if partly => report.verdict(Verdict {
                generation: said.generation,
                ..Verdict::new(
                    said.key.clone(),
                    "Accepted",
                    true,
                    ("ListenersNotValid", "some of its listeners are not right"),
                )
            }),
            is => said.whole(report, ("Accepted", "it is right"), is, "spec.parentRef"),
        }
        said.whole(report, (Verdict::PROGRAMMED, "its listeners are served"), &programmed, "spec");
        accepted.is_ok()
    }

    fn taken<'l>(&self, lost: &'l [(usize, Lost)]) -> Taken<'l> {
        let mut taken = Taken::default();
        for (offer, lost) in lost {
            let Some(gateway) = self.offered.get(*offer) else { continue };
            match lost {
                Lost::Host { host, routes, winner } => {
                    for route in routes {
                        taken.hosts.entry((*gateway, route)).or_default().insert(host, winner);
                    }
                }
                Lost::Chain { chain, winner } => {
                    taken.listeners.insert(chain, ("HostnameConflict", winner));
                }
                Lost::Port { listeners, winner } => {
                    taken.listeners.extend(listeners.iter().map(|one| (one, ("PortUnavailable", winner))));
                }
            }
        }
        taken
    }

    /// How many routes hang on each listener.
    fn counts(&self, field: &Field<'_, '_>, taken: &Taken<'_>) -> Vec<usize> {
        let mut counts = vec![0; self.listeners.len()];
        for (draft, standing) in self.routes() {
            for listener in field.counted_by(draft.route(), standing, &taken.hosts) {
                counts.get_mut(listener).into_iter().for_each(|count| *count += 1);
            }
        }
        counts
    }

    /// Is a listener served? Says so.
    fn say_listener(
        &self,
        listener: &Listener<'_>,
        attached_routes: usize,
        taken: &Taken<'_>,
        report: &mut Report,
    ) -> bool {
        let part = Part::Listener(Box::new(ListenerPart {
            place: listener.place,
            name: listener.spec.name.clone(),
            attached_routes,
            supported_kinds: listener.opening.kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
        }));
        let own = origin(listener.said.key, listener.field(""));
        let elsewhere: Result<(), No> = match taken.listeners.get(&own) {
            None => Ok(()),
            Some((reason, winner)) => Err((*reason, format!("{winner} stands there, which comes first"))),
        };
        let accepted = listener.accepted.clone().and(elsewhere);
        let guard = self.guards.get(listener.gateway).and_then(Option::as_ref);
        let whole = self.gateways.get(listener.gateway).is_some_and(|gateway| gateway.accepted.is_ok());
        let programmed = match (&accepted, guard) {
            (Err((reason @ ("HostnameConflict" | "ProtocolConflict"), why)), _) => {
                Err((*reason, why.clone()))
            }
            (Ok(()), Some(guard)) if listener.served() => Err((
                "ClosedByPolicy",
                format!("all is refused there, requests with 403, for {}", guard.origin),
            )),
            (Ok(()), None) if listener.served() && whole => Ok(()),
            _ => Err(("Invalid", "it is not served; see the other conditions".to_owned())),
        };
        let mut say = |condition: (&'static str, &'static str), is: &Result<(), No>, field: &str| {
            let field = listener.field(field);
            listener.said.condition(report, condition, is, (Some(part.clone()), None, &field));
        };
        say(("Accepted", "it is right"), &accepted, "");
        say(("ResolvedRefs", "what it refers to is there"), &listener.resolved, "");
        say((Verdict::PROGRAMMED, "it is served"), &programmed, "");
        let mut hold = |condition: &'static str, reason: &'static str, message: Cow<'static, str>| {
            report.verdict(Verdict {
                part: Some(part.clone()),
                generation: listener.said.generation,
                ..Verdict::new(listener.said.key.clone(), condition, true, (reason, message))
            });
        };
        if let Err((reason @ ("HostnameConflict" | "ProtocolConflict"), why)) = &accepted {
            hold("Conflicted", reason, why.clone().into());
        }
        if listener.overlapping {
            let message = "another listener of the port has names in common with it: clients that have both may be answered 421";
            hold("OverlappingTLSConfig", "OverlappingHostnames", message.into());
        }
        programmed.is_ok()
    }

    fn say_gateway(
        &self,
        number: usize,
        said: Said<'_>,
        (served, sets): (usize, usize),
        report: &mut Report,
    ) {
        let Some(gateway) = self.gateways.get(number) else { return };
        let own = || self.listeners.iter().filter(|listener| listener.said.key == said.key);
        let right = own().filter(|listener| listener.accepted.is_ok()).count();
        let invalid = "ListenersNotValid";
        let accepted = match &gateway.accepted {
            Ok(()) if right == 0 => Err((invalid, "none of its listeners is right".to_owned())),
            other => other.clone(),
        };
        let whole = own().all(|listener| listener.accepted.is_ok() && listener.resolved.is_ok());
        let reason = if whole { "Accepted" } else { invalid };
        let message = if whole { "it is right" } else { "some of its listeners are not right" };
        match &accepted.clone().and(gateway.parameters.clone()) {
            Ok(()) => report.verdict(Verdict {
                generation: said.generation,
                ..Verdict::new(said.key.clone(), "Accepted", true, (reason, message))
            }),
            no => said.whole(report, ("Accepted", ""), no, "spec"),
        }
        if frontend::insecure(&gateway.object.spec) {
            let at = At::new(gateway.object, "spec.tls.frontend");
            report.problem(messages::insecure_fallback(at));
            let message = "clients are let in whose certificate is missing or does not hold";
            let condition = "InsecureFrontendValidationMode";
            report.verdict(Verdict {
                generation: said.generation,
                ..Verdict::new(said.key.clone(), condition, true, ("ConfigurationChanged", message))
            });
        }
        if let Some(resolved) = self.identities.resolved(number) {
            let fine = ("ResolvedRefs", "what it shows to backends is there");
            said.whole(report, fine, &resolved, "spec.tls.backend.clientCertificateRef");
        }
        let guard = self.guards.get(number).and_then(Option::as_ref);
        let (status, reason, message) = match (&accepted, &gateway.addressed, guard) {
            (Err((_, why)), _, _) => (false, "Invalid", why.clone()),
            (_, Err((reason, why)), _) => (false, *reason, why.clone()),
            (_, _, Some(guard)) => {
                let message =
                    format!("all is refused, requests with 403: {} is not enforced yet", guard.origin);
                (false, "ClosedByPolicy", message)
            }
            _ if served == 0 => (false, "Invalid", "none of its listeners is served".to_owned()),
            _ => (true, Verdict::PROGRAMMED, "its listeners are served".to_owned()),
        };
        let facts = Facts {
            addresses: gateway.addresses.clone(),
            attached_listener_sets: (sets > 0).then_some(sets),
            supported_features: Vec::new(),
        };
        let verdict = Verdict::new(said.key.clone(), Verdict::PROGRAMMED, status, (reason, message));
        report.verdict(Verdict { generation: said.generation, ..verdict }.with_facts(facts));
    }
}
