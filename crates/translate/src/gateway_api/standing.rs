//! What a route is to its parents, and what is said of that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::Origin;
use limen_ir::atoms::HostPattern;
use limen_resources::core::Namespace;
use limen_resources::gateway_api::{Gateway, ListenerSet, ParentReference};
use limen_resources::{Object, ObjectKey, Part, Problem, Snapshot, Table, Verdict};

use super::No;
use super::attach::{self, Attachment, Opening, Refusal};
use super::drafts::{Draft, Route, Wrong};
use super::gateways::OwnGateway;
use super::listener_sets::OwnSet;
use super::listeners::Listener;
use crate::index::origin;
use crate::memo::{ByValue, Memo, Same};
use crate::messages::{At, gateway_api as messages};
use crate::report::Report;

/// What became of a route at one of its parents; `None`: the parent is not ours.
pub(crate) type Outcome = Option<Result<Vec<Attachment>, Refusal>>;

/// What others have taken: of a Gateway, by route, its hosts and who has them.
pub(crate) type TakenHosts<'l> = BTreeMap<(usize, &'l Origin), BTreeMap<&'l HostPattern, &'l Origin>>;

/// What a route is to its parents.
#[derive(Debug)]
pub(crate) struct Standing {
    /// By its parentRefs, and behind them by default Gateways if it asks for them.
    pub(crate) outcomes: Vec<Outcome>,
    /// The Gateways that have taken it up, in their order; none if it is not right by itself.
    pub(crate) taken_by: Vec<usize>,
    /// The listeners that count it, if nobody else has its hosts.
    counted_by: Vec<usize>,
    /// What is said of it, if nobody else has its hosts.
    pub(crate) verdicts: Arc<[Verdict]>,
    pub(crate) problems: Vec<Problem>,
}

/// Where routes may be.
pub(crate) struct Field<'f, 'a> {
    pub(crate) snapshot: &'f Snapshot,
    pub(crate) gateways: &'f [OwnGateway<'a>],
    pub(crate) sets: &'f [OwnSet<'a>],
    pub(crate) listeners: &'f [Listener<'a>],
    /// The Gateways that routes attach to which name none of ours there.
    pub(crate) defaults: &'f [ParentReference],
    /// Is there such a Gateway of somebody else's?
    pub(crate) foreign_default: bool,
}

/// All that standings depend on besides the routes.
#[derive(Debug)]
struct Ground {
    gateways: Vec<Arc<Object<Gateway>>>,
    sets: Vec<Arc<Object<ListenerSet>>>,
    namespaces: Table<Namespace>,
    rest: ByValue<(usize, bool)>,
}

impl Same for Ground {
    fn same(&self, other: &Ground) -> bool {
        self.gateways.same(&other.gateways)
            && self.sets.same(&other.sets)
            && self.namespaces.same(&other.namespaces)
            && self.rest.same(&other.rest)
    }
}

/// What standings were before.
#[derive(Debug, Default)]
pub(crate) struct StandingMemo {
    ground: Option<Ground>,
    standings: Memo<ObjectKey, Arc<Draft>, Arc<Standing>>,
}

impl StandingMemo {
    /// What each route is to its parents.
    pub(crate) fn standings(&mut self, field: &Field<'_, '_>, drafts: &[Arc<Draft>]) -> Vec<Arc<Standing>> {
        let ground = Ground {
            gateways: field.gateways.iter().map(|gateway| Arc::clone(gateway.object)).collect(),
            sets: field.sets.iter().map(|set| Arc::clone(set.object)).collect(),
            namespaces: field.snapshot.namespaces().clone(),
            rest: ByValue((field.listeners.len(), field.foreign_default)),
        };
        if !self.ground.as_ref().is_some_and(|before| before.same(&ground)) {
            *self = StandingMemo { ground: Some(ground), ..StandingMemo::default() };
        }
        let openings: Vec<_> = field.listeners.iter().map(|listener| listener.opening.clone()).collect();
        let standings = drafts.iter().map(|draft| {
            let key = draft.route().key().clone();
            self.standings
                .get(key, Arc::clone(draft), |draft| Arc::new(field.standing(draft.route(), &openings)))
        });
        let standings = standings.collect();
        self.standings.turn();
        standings
    }
}

impl Field<'_, '_> {
    fn standing(&self, route: &Route, openings: &[Opening<'_>]) -> Standing {
        let (parents, asking) = (route.parents(), route.asking());
        let outcome = |parent| {
            let owner = attach::parent_key(parent, asking.namespace)?;
            let own = self.gateways.iter().any(|gateway| gateway.object.key == owner)
                || self.sets.iter().any(|set| set.object.key == owner);
            own.then(|| attach::attach((parent, &owner), asking, openings, self.snapshot))
        };
        let unnamed = |default: &&ParentReference| !attach::names(parents, asking.namespace, default);
        let default = |default| Some(default).filter(unnamed).and_then(outcome);
        let defaults = self.defaults.iter().filter(|_| route.by_default);
        let mut outcomes: Vec<_> = parents.iter().map(outcome).chain(defaults.map(default)).collect();
        outcomes.shrink_to_fit();
        let right = outcomes.iter().filter(|_| route.refusal().is_none());
        let attached = right.flatten().flatten().flatten().map(|attachment| attachment.listener);
        let counted_by: BTreeSet<usize> = attached.collect();
        let taken_by: BTreeSet<usize> =
            counted_by.iter().filter_map(|at| Some(self.listeners.get(*at)?.gateway)).collect();
        let mut report = Report::default();
        self.say(route, &outcomes, &TakenHosts::new(), &mut report);
        let verdicts = report.take_verdicts();
        Standing {
            outcomes,
            taken_by: taken_by.into_iter().collect(),
            counted_by: counted_by.into_iter().collect(),
            verdicts: verdicts.groups().first().cloned().unwrap_or_default(),
            problems: report.into_problems(),
        }
    }

    /// The listeners that count a route.
    pub(crate) fn counted_by(
        &self,
        route: &Route,
        standing: &Standing,
        taken: &TakenHosts<'_>,
    ) -> Vec<usize> {
        let own = |listener: usize| self.listeners.get(listener).map(|listener| listener.gateway);
        let free = || {
            let name = origin(route.key(), String::new());
            let mut gateways = standing.counted_by.iter().filter_map(|at| own(*at));
            gateways.all(|gateway| !taken.contains_key(&(gateway, &name)))
        };
        if taken.is_empty() || free() {
            return standing.counted_by.clone();
        }
        let mut counted = BTreeSet::new();
        for (place, outcome) in standing.outcomes.iter().enumerate() {
            let accepted = self.accepted(route, &standing.outcomes, place, taken);
            if accepted.is_some_and(|accepted| accepted.is_ok()) {
                counted.extend(outcome.iter().flatten().flatten().map(|attachment| attachment.listener));
            }
        }
        counted.into_iter().collect()
    }

    /// Says what became of a route.
    pub(crate) fn conclude(
        &self,
        route: &Route,
        standing: &Standing,
        taken: &TakenHosts<'_>,
        report: &mut Report,
    ) {
        let lost = || {
            let name = origin(route.key(), String::new());
            standing.taken_by.iter().any(|gateway| taken.contains_key(&(*gateway, &name)))
        };
        if taken.is_empty() || !lost() {
            report.group(&standing.verdicts);
            report.problems(&standing.problems);
        } else {
            self.say(route, &standing.outcomes, taken, report);
        }
    }

    /// Has the parent at `place` taken the route up? `None`: it is not ours.
    fn accepted(
        &self,
        route: &Route,
        outcomes: &[Outcome],
        place: usize,
        taken: &TakenHosts<'_>,
    ) -> Option<Result<(), No>> {
        let attached = match outcomes.get(place)?.as_ref()? {
            Err(refusal) => return Some(Err((refusal.reason(), refusal.message().to_owned()))),
            Ok(attached) => attached,
        };
        if let Some(wrong) = route.refusal() {
            return Some(Err(wrong.no.clone()));
        }
        if taken.is_empty() {
            return Some(Ok(()));
        }
        let own = origin(route.key(), String::new());
        let mut winner = None;
        for attachment in attached {
            let gateway = self.listeners.get(attachment.listener)?.gateway;
            let lost = taken.get(&(gateway, &own));
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
        route: &Route,
        outcomes: &[Outcome],
        place: usize,
        taken: &TakenHosts<'t>,
    ) -> Option<(&'t HostPattern, &'t Origin)> {
        if taken.is_empty() {
            return None;
        }
        let own = origin(route.key(), String::new());
        let attached = outcomes.get(place)?.as_ref()?.as_ref().ok()?;
        attached.iter().find_map(|attachment| {
            let gateway = self.listeners.get(attachment.listener)?.gateway;
            let lost = taken.get(&(gateway, &own))?;
            lost.iter()
                .find(|(host, _)| attachment.hosts.contains(host))
                .map(|(host, winner)| (*host, *winner))
        })
    }

    /// Why a route that asks for default Gateways gets none; `None`: it does, or gets one of somebody else's, or names it.
    fn unclaimed(&self, route: &Route, outcomes: &[Outcome]) -> Option<&'static str> {
        if !route.by_default || self.foreign_default {
            return None;
        }
        let mut why = "there is none";
        for outcome in outcomes.iter().skip(route.parents().len()) {
            match outcome {
                Some(Err(refusal)) => why = refusal.message(),
                Some(Ok(_)) | None => return None,
            }
        }
        Some(why)
    }

    fn say(&self, route: &Route, outcomes: &[Outcome], taken: &TakenHosts<'_>, report: &mut Report) {
        let (said, parents) = (route.said(), route.parents());
        let default_field = "spec.useDefaultGateways";
        if let Some(why) = self.unclaimed(route, outcomes) {
            report.problem(messages::no_default_gateway(At::of(said.key, said.source, default_field), why));
        }
        // Where it is not accepted for the first of them, its condition tells that one.
        let told = route.refusal().is_some() && outcomes.iter().flatten().any(Result::is_ok);
        let own = outcomes.iter().flatten().next().is_some();
        let untold = route.dropped.iter().filter(|_| own).skip(usize::from(told));
        for Wrong { field, no: (_, why) } in untold {
            report.problem(messages::dropped(At::of(said.key, said.source, field), why));
        }
        let defaults = self.defaults.iter().filter(|_| route.by_default);
        for (place, parent) in parents.iter().chain(defaults).enumerate() {
            let Some(accepted) = self.accepted(route, outcomes, place, taken) else { continue };
            let owner: Option<ObjectKey> = attach::parent_key(parent, &said.key.namespace);
            let claimed = || outcomes.get(place).and_then(Option::as_ref).is_some_and(Result::is_ok);
            let (part, field) = match place < parents.len() {
                true => (Some(Part::ParentRef(place)), format!("spec.parentRefs[{place}]")),
                // One that does not take it up is no default for it.
                false if !claimed() => continue,
                false => (Some(Part::DefaultGateway), default_field.to_owned()),
            };
            let mut say = |condition: (&'static str, &'static str), is: &Result<(), No>, field: &str| {
                said.condition(report, condition, is, (part.clone(), owner.clone(), field));
            };
            // What is wrong with the route itself is where that is written, whoever its parents are.
            let wrong = route.refusal().filter(|_| claimed());
            say(("Accepted", "it is served"), &accepted, wrong.map_or(&field, |wrong| &wrong.field));
            let (resolved, field_of_it) = match route.unresolved.as_deref() {
                None => (Ok(()), ""),
                Some(wrong) => (Err(wrong.no.clone()), &*wrong.field),
            };
            say(("ResolvedRefs", "what it refers to is there"), &resolved, field_of_it);
            if let (Ok(()), Some((host, winner))) = (&accepted, self.lost_host(route, outcomes, place, taken))
            {
                let why = format!("{winner} has host {host}, and comes first");
                report.problem(messages::host_conflict(At::of(said.key, said.source, &field), &why));
                report.verdict(Verdict {
                    part: part.clone(),
                    parent: owner.clone(),
                    generation: said.generation,
                    ..Verdict::new(said.key.clone(), "HostConflict", true, ("HostConflict", why))
                });
            }
            if let Some(Wrong { no: (reason, why), .. }) = route.dropped.first().filter(|_| accepted.is_ok())
            {
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
