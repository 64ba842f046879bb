//! The limits of a cluster, held by all workers together. A cluster that sets none has none of this.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::rate::{RateCounts, RetryRate};

/// One counter, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Gauge(AtomicU32);

impl Gauge {
    /// Takes one, unless there are `most`.
    fn take(&self, most: u32) -> bool {
        let taken = self.0.fetch_add(1, Ordering::Relaxed);
        if taken >= most {
            self.0.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    fn give(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many retries may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryLimit {
    /// So many.
    Count(u32),
    /// A share of the requests in flight, in millionths; so many are always allowed.
    Budget { share: u32, at_least: u32 },
    /// A share of the requests of a time.
    Rate(RetryRate),
}

/// What is allowed; `None`: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Connections.
    pub(crate) connections: Option<u32>,
    /// Requests that wait for a connection, also while it is made.
    pub(crate) pending: Option<u32>,
    /// Requests in flight.
    pub(crate) requests: Option<u32>,
    /// Retries under way.
    pub(crate) retries: Option<RetryLimit>,
}

/// What is used, and how much may be; `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Connections.
    pub(crate) connections: Option<(u32, u32)>,
    /// Requests that wait for a connection.
    pub(crate) pending: Option<(u32, u32)>,
    /// Requests in flight.
    pub(crate) requests: Option<(u32, u32)>,
    /// Retries under way.
    pub(crate) retries: Option<(u32, u32)>,
}

/// The limits of one cluster and what is used of them.
#[derive(Debug)]
pub(crate) struct ClusterLimits {
    allowed: Allowed,
    connections: Arc<Semaphore>,
    /// Requests that wait for somebody else to give a connection back.
    waiting: Gauge,
    pending: Gauge,
    requests: Gauge,
    retries: Gauge,
    rate: Option<Box<RateCounts>>,
}

impl ClusterLimits {
    /// `None`: nothing is limited, so nothing is counted.
    pub(crate) fn new(allowed: Allowed) -> Option<Arc<ClusterLimits>> {
        let places = allowed.connections.map_or(0, |most| most as usize).min(Semaphore::MAX_PERMITS);
        (allowed != Allowed::default()).then(|| {
            Arc::new(ClusterLimits {
                allowed,
                connections: Arc::new(Semaphore::new(places)),
                waiting: Gauge::default(),
                pending: Gauge::default(),
                requests: Gauge::default(),
                retries: Gauge::default(),
                rate: match allowed.retries {
                    Some(RetryLimit::Rate(rate)) => Some(Box::new(RateCounts::new(rate))),
                    _ => None,
                },
            })
        })
    }

    /// What is used of them.
    pub(crate) fn usage(&self) -> Usage {
        let connections = self.allowed.connections.map(|most| {
            let left = u32::try_from(self.connections.available_permits()).unwrap_or(u32::MAX);
            (most.saturating_sub(left), most)
        });
        let of = |which| self.most(which).map(|most| (self.gauge(which).get(), most));
        Usage {
            connections,
            pending: of(Which::Pending),
            requests: self.allowed.requests.and_then(|_| of(Which::Request)),
            retries: of(Which::Retry),
        }
    }

    /// Does anybody, on any worker, wait for a connection to be given back?
    pub(crate) fn wanted(&self) -> bool {
        self.allowed.connections.is_some() && self.waiting.get() > 0
    }

    /// The next connection that is closed makes room for this one; first come, first served.
    pub(crate) fn next_place(self: &Arc<Self>) -> impl Future<Output = Option<Place>> + use<> {
        let places = self.connections.clone();
        async move { places.acquire_owned().await.ok().map(|permit| Place(Some(permit))) }
    }

    /// Requests that wait for a connection, if they are counted.
    pub(crate) fn pending(&self) -> u32 {
        self.pending.get()
    }

    fn gauge(&self, which: Which) -> &Gauge {
        match which {
            Which::Waiting => &self.waiting,
            Which::Pending => &self.pending,
            Which::Request => &self.requests,
            Which::Retry => &self.retries,
        }
    }

    /// How many there may be, if they are counted at all.
    fn most(&self, which: Which) -> Option<u32> {
        match which {
            Which::Waiting => Some(u32::MAX),
            Which::Pending => self.allowed.pending,
            // A budget needs to know how many there are.
            Which::Request => match (self.allowed.requests, self.allowed.retries) {
                (None, Some(RetryLimit::Budget { .. })) => Some(u32::MAX),
                (most, _) => most,
            },
            Which::Retry => match self.allowed.retries? {
                RetryLimit::Count(most) => Some(most),
                RetryLimit::Budget { share, at_least } => {
                    let budget = u64::from(self.requests.get()) * u64::from(share) / 1_000_000;
                    Some(at_least.max(u32::try_from(budget).unwrap_or(u32::MAX)))
                }
                // It is not about how many are under way.
                RetryLimit::Rate(_) => None,
            },
        }
    }
}

/// Room for one connection, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Place(#[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

impl Place {
    /// Without waiting; `None`: there is none left.
    pub(crate) fn take(limits: Option<&Arc<ClusterLimits>>) -> Option<Place> {
        let Some(limits) = limits.filter(|limits| limits.allowed.connections.is_some()) else {
            return Some(Place(None));
        };
        limits.connections.clone().try_acquire_owned().ok().map(|permit| Place(Some(permit)))
    }
}

/// One unit of what is limited, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Option<Arc<ClusterLimits>>,
    which: Which,
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Waiting,
    Pending,
    Request,
    Retry,
}

impl Permit {
    /// A request that waits for a connection of somebody else.
    pub(crate) fn waiting(limits: &Arc<ClusterLimits>) -> Option<Permit> {
        Permit::take(Some(limits), Which::Waiting)
    }

    /// A request without a connection; `None`: the limit is reached.
    pub(crate) fn pending(limits: Option<&Arc<ClusterLimits>>) -> Option<Permit> {
        Permit::take(limits, Which::Pending)
    }

    /// A request in flight; `None`: the limit is reached. `now_ms`: since the Unix epoch.
    pub(crate) fn request(
        limits: Option<&Arc<ClusterLimits>>,
        now_ms: impl FnOnce() -> u64,
    ) -> Option<Permit> {
        let permit = Permit::take(limits, Which::Request)?;
        if let Some(rate) = limits.and_then(|limits| limits.rate.as_ref()) {
            rate.request(now_ms());
        }
        Some(permit)
    }

    /// A retry; `None`: the limit is reached. `now_ms`: since the Unix epoch.
    pub(crate) fn retry(limits: Option<&Arc<ClusterLimits>>, now_ms: u64) -> Option<Permit> {
        let within = |limits: &Arc<ClusterLimits>| limits.rate.as_ref().is_none_or(|rate| rate.retry(now_ms));
        if !limits.is_none_or(within) {
            return None;
        }
        Permit::take(limits, Which::Retry)
    }

    fn take(limits: Option<&Arc<ClusterLimits>>, which: Which) -> Option<Permit> {
        match limits.and_then(|limits| Some((limits, limits.most(which)?))) {
            None => Some(Permit { limits: None, which }),
            Some((limits, most)) if limits.gauge(which).take(most) => {
                Some(Permit { limits: Some(limits.clone()), which })
            }
            Some(_) => None,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limits) = &self.limits {
            limits.gauge(self.which).give();
        }
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
