//! The whole state of the gateway at one moment, for the admin port, the command line and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::sync::Arc;

use limen_ir::{Endpoints, Ir, Origin};
use limen_proxy::applied::TLS_NOT_SERVED;
use limen_proxy::{Applied, AppliedProblem};
use limen_resources::{
    Facts, GatewayAddress, Kind, Level, Made, ObjectKey, Part, Problem, Snapshot, Verdict, Verdicts,
};
use serde::Serialize;

use crate::admin::expiry::Expiry;
use crate::admin::rejected::Rejected;

/// Why a part of an object is not served, and the field that it is in.
type Unserved<'p> = (&'static str, &'p str);

/// Where in its life the gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The first configuration is not yet served by every worker.
    Starting,
    /// It serves.
    Ready,
    /// It was told to end and lets open connections finish.
    Draining,
}

/// The state at one moment. Immutable; a newer one replaces it.
#[derive(Debug, Clone)]
pub struct View {
    /// Where in its life the gateway is.
    pub phase: Phase,
    /// Every object.
    pub snapshot: Snapshot,
    /// Objects of kinds that are of no use here, by kind.
    pub unused: BTreeMap<String, usize>,
    /// How many files were read.
    pub files: usize,
    /// What the gateway should do.
    pub ir: Arc<Ir>,
    /// When the certificates of `ir` end.
    pub(crate) certificates: Arc<[Expiry]>,
    /// How often each object was rejected.
    pub(crate) rejected: Arc<Rejected>,
    /// Where it should send requests.
    pub endpoints: Arc<Endpoints>,
    /// What translation has to say about objects.
    pub judged: Arc<Verdicts>,
    /// Problems found by translating; those found by reading are in the snapshot.
    pub found: Arc<Vec<Problem>>,
    /// What is to be changed in the cluster of the objects that are kept there for Gateways.
    pub made: Arc<Vec<Made>>,
    /// Which group of instances serves those Gateways of ours, and ListenerSets of them, that this process does not.
    pub elsewhere: Arc<BTreeMap<ObjectKey, String>>,
    /// Problems with the process's own ports.
    pub own: Vec<Problem>,
    /// The generation that holds `ir` and `endpoints`; it is served once `applied` has reached it.
    pub generation: u64,
    /// A digest of what the cluster has told ([`limen_sources::Update::digest`]).
    pub digest: u64,
    /// Was everything read that translation wants to see?
    pub answered: bool,
    /// What the data plane says.
    pub applied: Applied,
}

impl View {
    /// Nothing yet, but for problems with the process's own ports.
    pub(crate) fn starting(own: Vec<Problem>) -> View {
        View {
            phase: Phase::Starting,
            snapshot: Snapshot::default(),
            unused: BTreeMap::new(),
            files: 0,
            ir: Arc::default(),
            certificates: Arc::default(),
            rejected: Arc::default(),
            endpoints: Arc::default(),
            judged: Arc::default(),
            found: Arc::default(),
            made: Arc::default(),
            elsewhere: Arc::default(),
            own,
            generation: 0,
            digest: 0,
            answered: false,
            applied: Applied::default(),
        }
    }

    /// Does every worker serve `generation`?
    pub fn settled(&self) -> bool {
        self.generation > 0 && self.applied.generation >= self.generation
    }

    /// What became of each object, by translation and by the data plane: who says *programmed* is served.
    pub fn verdicts(&self) -> Arc<Verdicts> {
        let unserved = self.unserved();
        let dead = self.dead_addresses();
        if self.applied.generation > 0 && unserved.is_empty() && dead.is_empty() {
            return Arc::clone(&self.judged);
        }
        let joined = self.judged.changed(|old| {
            let mut verdict = old.clone();
            let alive = |address: &&GatewayAddress| !dead.contains(&address.value);
            let addresses: Vec<_> = old.facts().addresses.iter().filter(alive).cloned().collect();
            let fewer = addresses.len() < old.facts().addresses.len();
            if fewer {
                verdict = verdict.with_facts(Facts { addresses, ..old.facts().clone() });
            }
            if fewer && self.names_address(&verdict.on, &dead) {
                (verdict.status, verdict.reason) = (false, "AddressNotUsable");
                verdict.message = "not every address can be bound; see the problems".into();
                return Some(verdict);
            }
            if verdict.condition != Verdict::PROGRAMMED || !verdict.status {
                return (verdict != *old).then_some(verdict);
            }
            let ObjectKey { kind, namespace, name } = &verdict.on;
            let own = unserved.get(&(kind.as_str(), &**namespace, &**name));
            if self.applied.generation == 0 {
                (verdict.status, verdict.reason) = (false, "Pending");
                verdict.message = "nothing is served yet".into();
            } else if let Some((reason, field)) = own.and_then(|own| self.not_served(&verdict, own)) {
                (verdict.status, verdict.reason) = (false, reason);
                verdict.message = format!("not served: {field}; see the problems").into();
            }
            (verdict != *old).then_some(verdict)
        });
        Arc::new(joined)
    }

    /// Is it a Gateway of the Gateway API that names one of these addresses itself?
    fn names_address(&self, key: &ObjectKey, dead: &BTreeSet<String>) -> bool {
        let gateway = self.snapshot.api_gateways().get(&key.namespace, &key.name);
        let named = gateway.filter(|_| key.kind == Kind::ApiGateway).map(|gateway| &gateway.spec.addresses);
        named.into_iter().flatten().any(|address| dead.contains(&address.value))
    }

    /// The addresses on which nothing could be bound.
    fn dead_addresses(&self) -> BTreeSet<String> {
        let ips = |bound: bool| {
            let listeners =
                self.applied.listeners.iter().filter(move |listener| listener.bound.is_some() == bound);
            listeners.map(|listener| listener.wanted.ip())
        };
        let alive: BTreeSet<_> = ips(true).collect();
        ips(false).filter(|ip| !alive.contains(ip)).map(|ip| ip.to_string()).collect()
    }

    /// Why what a verdict is about is not served, and the first part of it that is not. Of the Gateway API an object as a
    /// whole is served as long as one of its listeners is.
    fn not_served<'p>(&self, verdict: &Verdict, parts: &[Unserved<'p>]) -> Option<Unserved<'p>> {
        let of_listener = |place: usize, field: &str| {
            let rest = field.strip_prefix("spec.listeners[").and_then(|rest| rest.split_once(']'));
            rest.is_some_and(|(index, _)| index.parse() == Ok(place))
        };
        let first = |place| parts.iter().find(|(_, field)| of_listener(place, field)).copied();
        if let Some(Part::Listener(listener)) = &verdict.part {
            return first(listener.place);
        }
        let served = self.judged.of(&verdict.on).iter().any(|other| match &other.part {
            Some(Part::Listener(listener)) => {
                other.status && other.condition == Verdict::PROGRAMMED && first(listener.place).is_none()
            }
            _ => false,
        });
        parts.first().filter(|_| !served).copied()
    }

    /// What the data plane could not serve, by object: why, and which part of it.
    fn unserved(&self) -> BTreeMap<(&str, &str, &str), Vec<Unserved<'_>>> {
        let mut unserved: BTreeMap<_, Vec<Unserved<'_>>> = BTreeMap::new();
        for problem in self.applied.problems.iter().filter(|problem| problem.code == TLS_NOT_SERVED) {
            let AppliedProblem { kind, namespace, name, field, .. } = problem;
            let own = unserved.entry((&**kind, &**namespace, &**name)).or_default();
            own.push(("ServersNotServed", &**field));
        }
        let unbound = self.applied.listeners.iter().filter(|listener| listener.bound.is_none());
        let unbound: BTreeSet<&str> = unbound.map(|listener| &*listener.name).collect();
        for listener in self.ir.listeners.iter().filter(|listener| unbound.contains(&*listener.name)) {
            for Origin { kind, namespace, name, field } in
                iter::once(&listener.origin).chain(&listener.others)
            {
                let own = unserved.entry((&**kind, &**namespace, &**name)).or_default();
                own.push(("PortNotBound", &**field));
            }
        }
        unserved
    }

    /// Every problem, whoever found it, errors first.
    pub fn problems(&self) -> Vec<Problem> {
        let applied = self.applied.problems.iter().map(|problem| located(problem, &self.snapshot));
        let mut all: Vec<Problem> =
            self.snapshot.problems().chain(&*self.found).chain(&self.own).cloned().chain(applied).collect();
        all.sort_by(|a, b| (a.level, a.code, &a.object, &a.at).cmp(&(b.level, b.code, &b.object, &b.at)));
        all.dedup();
        all
    }
}

/// A problem of the data plane, with the file and line of the object that it blames.
fn located(problem: &AppliedProblem, snapshot: &Snapshot) -> Problem {
    let AppliedProblem { code, kind, namespace, name, field, message, mend } = problem;
    let shown = Problem {
        code,
        level: Level::Error,
        object: None,
        field: field.clone(),
        at: None,
        message: message.clone(),
        mend: mend.clone(),
    };
    let Some(kind) = Kind::ALL.into_iter().find(|known| known.as_str() == kind) else { return shown };
    let key = ObjectKey::new(kind, namespace.as_str(), name.as_str());
    Problem { at: snapshot.locate(&key, field), object: Some(key), ..shown }
}
