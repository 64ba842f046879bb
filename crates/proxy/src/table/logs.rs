//! The access logs of each gateway, as the workers write them.

use std::sync::Arc;

use crate::observe::{AccessLog, Expression, LogWriter};

/// The access logs of all gateways of the process.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    /// By the number of the gateway; never empty but before the first configuration.
    pub(crate) gateways: Vec<Box<[Log]>>,
    /// Where lines go besides the process's own target. The last to hold a writer ends it.
    pub(crate) outlets: Vec<Arc<LogWriter>>,
    /// Does one of them hold the bodies of answers that are made here?
    pub(crate) wants_bodies: bool,
    /// Does one of them hold what comes after bodies?
    pub(crate) wants_trailers: bool,
}

/// One log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// What a line looks like.
    pub(crate) format: Arc<AccessLog>,
    /// What is logged; `None`: everything.
    pub(crate) filter: Option<Arc<Expression>>,
    /// Where lines go.
    pub(crate) outlet: Outlet,
}

/// Where lines go: 0 is the process's own target, those of [`Logs::outlets`] follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outlet(pub(crate) usize);

impl Outlet {
    /// The process's own target.
    pub(crate) const OWN: Outlet = Outlet(0);
}

impl Logs {
    /// The logs of a gateway.
    pub(crate) fn of(&self, gateway: usize) -> &[Log] {
        self.gateways.get(gateway).or(self.gateways.first()).map_or(&[], |logs| &**logs)
    }
}
