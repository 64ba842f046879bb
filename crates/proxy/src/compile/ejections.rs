//! Who of a cluster is left out for its errors, and until when: decided once for all workers. Time is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use limen_ir::policy::outlier::OutlierDetection;

use crate::address::Address;
use crate::limits::outlier::{Notice, Thresholds, Watch};

/// Longest time that an endpoint is left out, unless its base is longer (Envoy).
const LONGEST: Duration = Duration::from_secs(300);

/// The watched endpoints of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Ejections {
    hosts: BTreeMap<Address, Host>,
    /// When it is looked again who may come back. `None`: nobody is left out and nobody was lately.
    next_look: Option<Instant>,
}

#[derive(Debug)]
struct Host {
    watch: Arc<Watch>,
    since: Option<Instant>,
    /// How often it was left out lately.
    times: u32,
}

/// What became of too many errors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// The endpoint is left out.
    Ejected,
    /// It is not: too many are already.
    TooMany,
    /// It is not known any more, or is left out already.
    Stale,
}

impl Ejections {
    /// Watches these endpoints. Who stays keeps its state.
    pub(crate) fn reconcile(
        &mut self,
        policy: Option<&OutlierDetection>,
        cluster: u32,
        addresses: impl Iterator<Item = Address>,
        control: &Sender<Notice>,
    ) {
        let Some(policy) = policy else {
            *self = Ejections::default();
            return;
        };
        let thresholds = thresholds(policy);
        let mut old = std::mem::take(&mut self.hosts);
        self.hosts = addresses
            .map(|address| {
                let known = old.remove(&address);
                let (watch, since, times) = match known {
                    Some(host) => (Some(host.watch), host.since, host.times),
                    None => (None, None, 0),
                };
                let same =
                    watch.filter(|watch| *watch.thresholds() == thresholds && watch.cluster == cluster);
                let watch = same
                    .unwrap_or_else(|| Watch::new(thresholds.clone(), (cluster, address), control.clone()));
                (address, Host { watch, since, times })
            })
            .collect();
    }

    /// The counter of an endpoint's errors.
    pub(crate) fn watch(&self, address: Address) -> Option<&Arc<Watch>> {
        self.hosts.get(&address).map(|host| &host.watch)
    }

    /// Is it left out?
    pub(crate) fn is_ejected(&self, address: Address) -> bool {
        self.hosts.get(&address).is_some_and(|host| host.since.is_some())
    }

    /// Those that are left out.
    pub(crate) fn ejected(&self) -> impl Iterator<Item = Address> {
        self.hosts.iter().filter(|(_, host)| host.since.is_some()).map(|(address, _)| *address)
    }

    /// An endpoint had too many errors in a row. One may always be left out, more up to the policy's share.
    pub(crate) fn judge(&mut self, policy: &OutlierDetection, watch: &Arc<Watch>, now: Instant) -> Judged {
        let (active, all) = (self.ejected().count(), self.hosts.len());
        let Some(host) = self.hosts.get_mut(&watch.address).filter(|host| Arc::ptr_eq(&host.watch, watch))
        else {
            return Judged::Stale;
        };
        if host.since.is_some() {
            return Judged::Stale;
        }
        host.watch.forget();
        let within = (active + 1) * 100 <= policy.max_ejection_percent as usize * all;
        if active > 0 && !within {
            return Judged::TooMany;
        }
        host.since = Some(now);
        host.times = host.times.saturating_add(1);
        self.next_look.get_or_insert(now + policy.interval.duration());
        Judged::Ejected
    }

    /// Lets those come back whose time is over; true: there were some. Who behaves is left out for a shorter time again.
    pub(crate) fn look(&mut self, policy: &OutlierDetection, now: Instant) -> bool {
        if self.next_look.is_none_or(|next| next > now) {
            return false;
        }
        let mut back = false;
        for host in self.hosts.values_mut() {
            match host.since {
                None => host.times = host.times.saturating_sub(1),
                Some(since) if now.duration_since(since) >= time_out(policy, host.times) => {
                    host.since = None;
                    host.watch.forget();
                    back = true;
                }
                Some(_) => {}
            }
        }
        let busy = self.hosts.values().any(|host| host.since.is_some() || host.times > 0);
        self.next_look = busy.then(|| now + policy.interval.duration());
        back
    }

    /// When [`Ejections::look`] wants to be called.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }
}

/// Grows with how often the endpoint was left out.
fn time_out(policy: &OutlierDetection, times: u32) -> Duration {
    let base = policy.base_ejection.duration();
    base.saturating_mul(times).min(LONGEST.max(base))
}

fn thresholds(policy: &OutlierDetection) -> Thresholds {
    let OutlierDetection {
        consecutive_5xx,
        consecutive_gateway,
        consecutive_local,
        error_codes,
        interval: _,
        base_ejection: _,
        max_ejection_percent: _,
        min_health_percent: _,
    } = policy;
    Thresholds {
        five_xx: consecutive_5xx.unwrap_or(0),
        gateway: consecutive_gateway.unwrap_or(0),
        local: *consecutive_local,
        codes: error_codes.as_slice().into(),
    }
}

#[cfg(test)]
#[path = "ejections_tests.rs"]
mod tests;
