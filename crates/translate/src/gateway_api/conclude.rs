//! What is said of Gateways, their listeners and routes in the end.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use limen_ir::Origin;
use limen_ir::atoms::HostPattern;
use limen_resources::{ObjectKey, Part, Verdict};

use super::frontend;
use super::listener_sets::OwnSet;
use super::listeners::Listener;
use super::status::Said;
use super::{No, Plan};
use crate::index::origin;
use crate::join::Lost;
use crate::messages::{At, gateway_api as messages};
use crate::report::Report;

/// What others have taken: of a Gateway, by route, its hosts and who has them; and by listener who has its place.
#[derive(Default)]
struct Taken<'l> {
    hosts: BTreeMap<(usize, &'l Origin), BTreeMap<&'l HostPattern, &'l Origin>>,
    listeners: BTreeMap<&'l Origin, (&'static str, &'l Origin)>,
}

impl Plan<'_> {
    /// Says what became of everything. `lost`: what others have of what was offered, by the place of the offer.
    pub(crate) fn conclude(&self, lost: &[(usize, Lost)], report: &mut Report) {
        let taken = self.taken(lost);
        let counts = self.counts(&taken);
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
        for (at, draft) in self.routes.iter().enumerate() {
            self.say_route(at, &draft.route().said, &taken, report);
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
    fn counts(&self, taken: &Taken<'_>) -> Vec<usize> {
        let mut counts: Vec<BTreeSet<usize>> = self.listeners.iter().map(|_| BTreeSet::new()).collect();
        for (route, outcomes) in self.outcomes.iter().enumerate() {
            for (place, outcome) in outcomes.iter().enumerate() {
                if self.accepted(route, place, taken).is_none_or(|accepted| accepted.is_err()) {
                    continue;
                }
                for attachment in outcome.iter().flatten().flatten() {
                    counts.get_mut(attachment.listener).map(|routes| routes.insert(route));
                }
            }
        }
        counts.iter().map(BTreeSet::len).collect()
    }

    /// Is a listener served? Says so.
    fn say_listener(
        &self,
        listener: &Listener<'_>,
        attached_routes: usize,
        taken: &Taken<'_>,
        report: &mut Report,
    ) -> bool {
        let part = Part::Listener {
            place: listener.place,
            name: listener.spec.name.clone(),
            attached_routes,
            supported_kinds: listener.opening.kinds.iter().map(|kind| kind.as_str().to_owned()).collect(),
        };
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
        match &accepted {
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
        report.verdict(Verdict {
            generation: said.generation,
            addresses: gateway.addresses.clone(),
            attached_listener_sets: (sets > 0).then_some(sets),
            ..Verdict::new(said.key.clone(), Verdict::PROGRAMMED, status, (reason, message))
        });
    }

    /// Has the parent at `place` taken the route up? `None`: it is not ours.
    fn accepted(&self, route: usize, place: usize, taken: &Taken<'_>) -> Option<Result<(), No>> {
        let draft = self.routes.get(route)?;
        let attached = match self.outcomes.get(route)?.get(place)?.as_ref()? {
            Err(refusal) => return Some(Err((refusal.reason(), refusal.message().to_owned()))),
            Ok(attached) => attached,
        };
        let made = draft.route();
        if made.accepted.is_err() || taken.hosts.is_empty() {
            return Some(made.accepted.clone());
        }
        let own = origin(made.said.key, String::new());
        let mut winner = None;
        for attachment in attached {
            let gateway = self.listeners.get(attachment.listener)?.gateway;
            let lost = taken.hosts.get(&(gateway, &own));
            for host in &attachment.hosts {
                match lost.and_then(|lost| lost.get(host)) {
                    Some(first) => winner = Some((host, *first)),
                    None => return Some(Ok(())),
                }
            }
        }
        let Some((host, winner)) = winner else { return Some(Ok(())) };
        Some(Err(("HostConflict", format!("{winner} has host {host}, and comes first"))))
    }

    /// A host that others have at the parent at `place`, and who.
    fn lost_host<'t>(
        &self,
        route: usize,
        place: usize,
        taken: &Taken<'t>,
    ) -> Option<(&'t HostPattern, &'t Origin)> {
        let own = origin(self.routes.get(route)?.route().said.key, String::new());
        let attached = self.outcomes.get(route)?.get(place)?.as_ref()?.as_ref().ok()?;
        attached.iter().find_map(|attachment| {
            let gateway = self.listeners.get(attachment.listener)?.gateway;
            let lost = taken.hosts.get(&(gateway, &own))?;
            lost.iter()
                .find(|(host, _)| attachment.hosts.contains(host))
                .map(|(host, winner)| (*host, *winner))
        })
    }

    /// Does the Gateway or ListenerSet at `place` take the route?
    fn claimed(&self, route: usize, place: usize) -> bool {
        let outcome =
            self.outcomes.get(route).and_then(|outcomes| outcomes.get(place)).and_then(Option::as_ref);
        outcome.is_some_and(Result::is_ok)
    }

    /// Why a route that asks for default Gateways gets none; `None`: it does, or gets one of somebody else's, or names it.
    fn unclaimed(&self, at: usize) -> Option<&'static str> {
        let route = self.routes.get(at)?.route();
        if !route.by_default || self.foreign_default {
            return None;
        }
        let mut why = "there is none";
        for outcome in self.outcomes.get(at)?.iter().skip(route.parents.len()) {
            match outcome {
                Some(Err(refusal)) => why = refusal.message(),
                Some(Ok(_)) | None => return None,
            }
        }
        Some(why)
    }

    fn say_route(&self, at: usize, said: &Said<'_>, taken: &Taken<'_>, report: &mut Report) {
        let Some(draft) = self.routes.get(at) else { return };
        let route = draft.route();
        let default_field = "spec.useDefaultGateways";
        if let Some(why) = self.unclaimed(at) {
            report.problem(messages::no_default_gateway(At::of(said.key, said.source, default_field), why));
        }
        let defaults = self.defaults.iter().filter(|_| route.by_default);
        for (place, parent) in route.parents.iter().chain(defaults).enumerate() {
            let Some(accepted) = self.accepted(at, place, taken) else { continue };
            let owner: Option<ObjectKey> = super::attach::parent_key(parent, route.asking.namespace);
            let (part, field) = match place < route.parents.len() {
                true => (Some(Part::ParentRef(place)), format!("spec.parentRefs[{place}]")),
                // One that does not take it up is no default for it.
                false if !self.claimed(at, place) => continue,
                false => (Some(Part::DefaultGateway), default_field.to_owned()),
            };
            let mut say = |condition: (&'static str, &'static str), is: &Result<(), No>, field: &str| {
                said.condition(report, condition, is, (part.clone(), owner.clone(), field));
            };
            say(("Accepted", "it is served"), &accepted, &field);
            say(("ResolvedRefs", "what it refers to is there"), &route.resolved, &route.unresolved);
            if let (Ok(()), Some((host, winner))) = (&accepted, self.lost_host(at, place, taken)) {
                let why = format!("{winner} has host {host}, and comes first");
                report.problem(messages::host_conflict(At::of(said.key, said.source, &field), &why));
                report.verdict(Verdict {
                    part: part.clone(),
                    parent: owner.clone(),
                    generation: said.generation,
                    ..Verdict::new(said.key.clone(), "HostConflict", true, ("HostConflict", why))
                });
            }
            if let Some((reason, why)) = &route.dropped {
                report.problem(messages::dropped(At::of(said.key, said.source, "spec.rules"), why));
                report.verdict(Verdict {
                    part,
                    parent: owner,
                    generation: said.generation,
                    ..Verdict::new(said.key.clone(), "PartiallyInvalid", true, (reason, why.clone()))
                });
            }
        }
    }
}
