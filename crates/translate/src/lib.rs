//! What it means: a pure function from a snapshot of resources to the IR.
//!
//! The same snapshot and settings make the same bytes, whatever was translated before: no clock, no environment, no IO,
//! no order but that of names. What translation needs from outside it names in [`Wants`]. Nothing fails as a whole: a
//! part that makes no sense is left out or closed, and a [`Problem`] says so.
//!
//! The stages, in order ([`Translator::translate`]):
//!
//! 0. What is labelled for another revision is left out; `mesh`: the settings are completed by the mesh configuration.
//! 1. `index`: who is there, in Istio's order; services by host, DestinationRules by host.
//! 2. `istio`: each Gateway becomes servers on ports, each VirtualService a draft of rules.
//! 3. `ingress`: each Ingress becomes a draft of paths; those of a gateway join its ports.
//! 4. `merge`: servers and drafts become route tables (`bind` decides what of a draft applies to a server).
//! 5. `clusters`: the destinations that rules name become clusters (`gateway_api` says what of its policies shapes them).
//! 6. `secrets`: the credentials that servers name become certificates.
//!    The Gateway API's Gateways and routes become listeners and tables of their own (`gateway_api`), and `join` puts
//!    what several APIs want on one address together.
//! 7. `telemetry`: what is told of each gateway's traffic.
//! 8. `endpoints`: clusters get their endpoints.
//! 9. `verified`: clusters of the mesh ask them for the names of their accounts.
//!
//! `survive` finds the object that a stage panics of, and has the others translated without it.
//!
//! `guard` closes what is under a policy that can deny and is not enforced yet. `memo` lets each stage answer with
//! the former object where its inputs are the former objects.
#![forbid(unsafe_code)]

mod assemble;
mod bind;
mod clusters;
mod draft;
mod endpoints;
mod gateway_api;
mod guard;
mod index;
mod ingress;
mod istio;
mod join;
mod locality;
mod lookup;
mod memo;
mod merge;
mod mesh;
mod messages;
mod origin_tls;
mod report;
mod secrets;
mod services;
mod settings;
mod sought;
mod survive;
mod telemetry;
mod verified;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::{Endpoints, Ir, Millis};
use limen_resources::istio::MESH_CONFIG_MAP;
use limen_resources::{Kind, Made, ObjectKey, Problem, RevisionView, Snapshot, Verdicts};

pub use ingress::{IngressSettings, IstioIngress};
pub use mesh::Mesh;
pub use messages::CODES;
pub use settings::{BackendOverride, Deployer, GatewayApiSettings, GatewayInstance, IdentityFiles, Settings};

use assemble::{AssembleMemo, Assembled};
use endpoints::EndpointMemo;
use mesh::MeshMemo;
use report::Report;
use survive::Survivor;
use verified::VerifiedMemo;

/// What resources mean, and what may be said about them.
#[derive(Debug, Clone)]
pub struct Translation {
    /// What to serve.
    pub ir: Arc<Ir>,
    /// Where to.
    pub endpoints: Arc<Endpoints>,
    /// What became of each resource, sorted.
    pub verdicts: Arc<Verdicts>,
    /// What is wrong, the gravest first; without what the snapshot itself says.
    pub problems: Vec<Problem>,
    /// What else is needed.
    pub wants: Wants,
    /// What is to be changed in the cluster of the objects that are kept there for Gateways.
    pub made: Vec<Made>,
    /// Which group of instances serves those Gateways of ours, and ListenerSets of them, that this process does not.
    pub elsewhere: Arc<BTreeMap<ObjectKey, String>>,
}

/// What translation needs and cannot get by itself. The answers come with a later snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wants {
    /// Paths of files.
    pub files: BTreeSet<String>,
    /// Names whose addresses DNS knows, in lower case and without trailing dot.
    pub names: BTreeSet<String>,
    /// Secrets and ConfigMaps. A source that has all of them anyway need not care.
    pub objects: BTreeSet<ObjectKey>,
    /// The longest wait before DNS is asked again for a name that it did not answer for, if one is written.
    pub name_retry: Option<Millis>,
}

/// Translates one snapshot after the other. Where nothing changed, parts of the new IR are the former objects.
#[derive(Debug, Default)]
pub struct Translator {
    stages: Stages,
    survivor: Survivor,
}

impl Translator {
    /// One that has seen nothing yet.
    pub fn new() -> Translator {
        Translator::default()
    }

    /// The meaning of `snapshot`. Equal to what a new translator would say, but where a stage fails: an object that none
    /// can make anything of is left out, or stays as it was before, and a problem says so.
    pub fn translate(&mut self, snapshot: &Snapshot, settings: &Settings) -> Translation {
        self.survivor.translate(&mut self.stages, (snapshot, settings), &mut |stages, snapshot| {
            stages.translate(snapshot, settings)
        })
    }
}

impl Translator {
    /// Drops what the last translation has left behind. That takes time, for which a change need not wait: best called once
    /// that is in force.
    pub fn tidy(&mut self) {
        self.stages.assemble.tidy();
    }
}

/// The stages, with what each remembers.
#[derive(Debug, Default)]
struct Stages {
    revision: RevisionView,
    mesh: MeshMemo,
    settings: Option<Settings>,
    assemble: AssembleMemo,
    endpoints: EndpointMemo,
    verified: VerifiedMemo,
}

impl Stages {
    fn translate(&mut self, snapshot: &Snapshot, settings: &Settings) -> Translation {
        let (snapshot, left_out) = self.revision.of(snapshot, &settings.revision);
        let snapshot = &snapshot;
        let mesh_map = ObjectKey::new(Kind::ConfigMap, &*settings.root_namespace, MESH_CONFIG_MAP);
        let completed = self.mesh.complete(snapshot, settings);
        let (settings, mesh_problems) = &*completed;
        if self.settings.as_ref() != Some(settings) {
            let (revision, mesh) = (std::mem::take(&mut self.revision), std::mem::take(&mut self.mesh));
            *self = Stages { revision, mesh, settings: Some(settings.clone()), ..Stages::default() };
        }
        let assembled = assemble::assemble(snapshot, settings, &mut self.assemble);
        let Assembled { ir, clusters, report, verdicts, wants, made, elsewhere, taken } = &*assembled;
        let mut report = Report::clone(report);
        report.problems(mesh_problems);
        report.problems(&left_out);
        let mut wants = Wants { name_retry: settings.mesh.dns_refresh, ..wants.clone() };
        wants.objects.insert(mesh_map);
        let memo = &mut self.endpoints;
        let (endpoints, accounts) = endpoints::endpoints(
            (snapshot, settings),
            (clusters, taken),
            memo,
            &mut wants.names,
            &mut report,
        );
        let ir = verified::verify(ir, accounts, &mut self.verified);
        let (problems, verdicts) = (report.into_problems(), Arc::clone(verdicts));
        Translation {
            ir,
            endpoints,
            verdicts,
            problems,
            wants,
            made: made.clone(),
            elsewhere: Arc::clone(elsewhere),
        }
    }
}

/// The meaning of one snapshot.
pub fn translate(snapshot: &Snapshot, settings: &Settings) -> Translation {
    Translator::new().translate(snapshot, settings)
}
