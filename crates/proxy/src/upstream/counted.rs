//! What the counters know of a connection to an origin, from its beginning to its end.

use std::cell::Cell;
use std::rc::Rc;

use super::fail::Fail;
use crate::limits::cluster::Place;
use crate::observe::{ClusterId, ClusterStat, Counter, Gauge, WorkerCounters};
use crate::table::clusters::{Cluster, Protocol};

/// A connection, from the moment that it is begun. Dropping it counts its end.
pub(crate) struct Counted {
    counters: Rc<WorkerCounters>,
    cluster: ClusterId,
    made: bool,
    by_origin: Cell<bool>,
    /// Counts it against the cluster's limit.
    _place: Place,
}

impl Counted {
    /// It begins to be made.
    pub(super) fn begin(cluster: &Cluster, counters: &Rc<WorkerCounters>, place: Place) -> Counted {
        let begun = Counted {
            counters: counters.clone(),
            cluster: cluster.series,
            made: false,
            by_origin: Cell::new(false),
            _place: place,
        };
        begun.count(ClusterStat::CxTotal);
        begun.counters.cluster_add(begun.cluster, ClusterStat::CxActive, 1);
        begun
    }

    /// It could not be made.
    pub(super) fn failed(&self, fail: &Fail) {
        self.counters.add(Counter::UpstreamConnectErrors, 1);
        match fail {
            // The request's own time is over, which says nothing about the connection.
            Fail::Timeout => {}
            Fail::ConnectTimeout => {
                self.count(ClusterStat::CxConnectFail);
                self.count(ClusterStat::CxConnectTimeout);
            }
            _ => {
                self.count(ClusterStat::CxConnectFail);
                self.by_origin();
            }
        }
    }

    /// It has been made; `None`: for bytes that are not looked into.
    pub(crate) fn made(&mut self, protocol: Option<Protocol>) {
        self.made = true;
        self.counters.add(Counter::UpstreamConnections, 1);
        self.counters.gauge_add(Gauge::UpstreamConnectionsActive, 1);
        match protocol {
            Some(Protocol::Http1) => self.count(ClusterStat::CxHttp1Total),
            Some(Protocol::Http2) => self.count(ClusterStat::CxHttp2Total),
            None => {}
        }
    }

    /// The origin has ended it.
    pub(crate) fn by_origin(&self) {
        self.by_origin.set(true);
    }

    /// It ends while there is a request on it.
    pub(crate) fn with_request(&self) {
        self.count(ClusterStat::CxDestroyWithActive);
    }

    /// Counts for its cluster.
    pub(crate) fn count(&self, stat: ClusterStat) {
        self.counters.cluster_add(self.cluster, stat, 1);
    }

    fn end(&self) {
        if self.made {
            self.counters.gauge_add(Gauge::UpstreamConnectionsActive, -1);
        }
        self.counters.cluster_add(self.cluster, ClusterStat::CxActive, -1);
        self.count(ClusterStat::CxDestroy);
        self.count(match self.by_origin.get() {
            true => ClusterStat::CxDestroyRemote,
            false => ClusterStat::CxDestroyLocal,
        });
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.end();
    }
}

/// Keeps a gauge of a cluster up by one for as long as it exists.
pub(crate) struct Raised {
    counters: Rc<WorkerCounters>,
    cluster: ClusterId,
    stat: ClusterStat,
}

impl Raised {
    /// Takes it up.
    pub(crate) fn new(counters: &Rc<WorkerCounters>, cluster: ClusterId, stat: ClusterStat) -> Raised {
        counters.cluster_add(cluster, stat, 1);
        Raised::already(counters, cluster, stat)
    }

    /// One that has been taken up.
    pub(crate) fn already(counters: &Rc<WorkerCounters>, cluster: ClusterId, stat: ClusterStat) -> Raised {
        Raised { counters: counters.clone(), cluster, stat }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.counters.cluster_add(self.cluster, self.stat, -1);
    }
}
