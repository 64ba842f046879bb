//! IR -> tables. The only room that reads the IR; runs on the control side.
//!
//! Compiling again what did not change costs a comparison of pointers: every stage remembers its last input and output.
//! Slots of listeners and clusters are stable from generation to generation, so compiled routes can be shared.

mod by_slot;
pub(crate) mod clients;
pub(crate) mod clusters;
pub(crate) mod ejections;
pub(crate) mod endpoints;
pub(crate) mod http;
pub(crate) mod listeners;
pub(crate) mod logs;
pub(crate) mod origin_tls;
mod routes;
mod signatures;
mod statistics;
pub(crate) mod tls;
mod tracing;
mod trust;
pub(crate) mod warmup;

use std::sync::Arc;
use std::sync::mpsc::Sender;

use limen_ir::{ClusterKey, Endpoints, Ir, Origin};

use crate::applied::AppliedProblem;
use crate::limits::outlier::Notice;
use crate::observe::counters::Registry;
use crate::table::listeners::Tables;
use crate::table::tracing::Tracing;

/// Remembers what it compiled.
pub(crate) struct Compiler {
    registry: Arc<Registry>,
    /// Clusters and who of their endpoints is left out.
    pub(crate) clusters: clusters::ClusterMemo,
    listeners: listeners::ListenerMemo,
    routes: routes::RouteMemo,
    tls: tls::TlsMemo,
    /// The files that access logs are written to.
    pub(crate) logs: logs::LogMemo,
}

/// One compiled generation.
pub(crate) struct Compiled {
    /// For the workers.
    pub(crate) tables: Tables,
    /// What could not be compiled.
    pub(crate) problems: Vec<AppliedProblem>,
}

impl Compiler {
    /// `control` is where workers are to tell of what the control side decides on.
    pub(crate) fn new(logs: logs::LogMemo, registry: Arc<Registry>, control: Sender<Notice>) -> Compiler {
        Compiler {
            clusters: clusters::ClusterMemo::new(registry.clone(), control, &logs.config.limits),
            registry,
            listeners: listeners::ListenerMemo::default(),
            routes: routes::RouteMemo::default(),
            tls: tls::TlsMemo::new(),
            logs,
        }
    }

    /// Compiles the next generation.
    pub(crate) fn compile(&mut self, ir: &Ir, endpoints: &Endpoints, generation: u64) -> Compiled {
        let mut problems = Vec::new();
        self.registry.choose(statistics::compile(ir.statistics.as_ref()));
        let logs = self.logs.compile(&ir.telemetry, &mut problems);
        self.tls.certificates(ir, &mut problems);
        self.routes.begin();
        let clusters = &mut self.clusters;
        let tables_by_name: std::collections::BTreeMap<_, _> = ir
            .route_tables
            .iter()
            .map(|(name, table)| {
                let (compiled, failed) = routes::route_table(table, clusters, &mut self.routes);
                problems.extend(failed);
                (name, compiled)
            })
            .collect();
        let clusters = &mut self.clusters;
        let slots = &mut |key: &ClusterKey| clusters.slot(key);
        let tls = (&mut self.tls, &*self.registry);
        let listeners = self.listeners.compile(ir, &tables_by_name, slots, tls, &mut problems);
        let (clusters, endpoints) = self.clusters.compile(ir, endpoints);
        let tracing = self.tracing(ir, &mut problems);
        self.routes.sweep();
        self.tls.sweep();
        problems.sort();
        problems.dedup();
        Compiled { tables: Tables { generation, logs, tracing, listeners, clusters, endpoints }, problems }
    }

    /// How the requests to each gateway are traced. Call after clusters are compiled: collectors stand in them.
    fn tracing(&self, ir: &Ir, problems: &mut Vec<AppliedProblem>) -> Vec<Option<Tracing>> {
        let hostname = &*self.logs.config.hostname;
        let mut one = |ir_tracing: &limen_ir::tracing::Tracing| {
            let (slot, cluster) = self.clusters.compiled(&ir_tracing.collector.cluster)?;
            tracing::tracing(ir_tracing, (slot, cluster), hostname, problems)
        };
        ir.telemetry.iter().map(|telemetry| telemetry.tracing.as_ref().and_then(&mut one)).collect()
    }

    /// New endpoints for the clusters of the generation that was compiled last.
    pub(crate) fn endpoints(&mut self, endpoints: &Endpoints) -> clusters::EndpointTable {
        self.clusters.endpoints(endpoints)
    }
}

/// A problem with the object that an origin names.
pub(crate) fn problem(code: &'static str, origin: &Origin, message: String, mend: &str) -> AppliedProblem {
    AppliedProblem {
        code,
        kind: origin.kind.to_owned(),
        namespace: origin.namespace.to_string(),
        name: origin.name.to_string(),
        field: origin.field.to_string(),
        message,
        mend: mend.to_owned(),
    }
}
