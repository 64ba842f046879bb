//! Gateways that other groups of instances serve: do those speak for themselves? Pure.
//!
//! Somebody has to say of a Gateway whose instances are not there that it is not served. Who made them does, after a
//! moment, so that the two never speak of one Gateway at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use limen_resources::{Kind, ObjectKey};

use super::lease::{Seen, lease_of};
use super::members::Members;
use crate::leader::Held;

/// A group of which no instance takes traffic for so long does not speak for itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The groups that have Leases beside our own.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// Which group serves which of our Gateways and of their ListenerSets.
    whose: Arc<BTreeMap<ObjectKey, String>>,
    groups: BTreeMap<String, Group>,
    /// Were the Leases listed once?
    listed: bool,
}

#[derive(Debug, Default)]
struct Group {
    members: Members,
    /// Since when none of them takes traffic, as far as was looked.
    silent: Option<Instant>,
    /// The Lease of its leader, and when it was new to us.
    leader: Option<(Held, Instant)>,
    /// Its Gateway is none of ours any more.
    over: bool,
    /// When its Leases were cleared away last.
    cleared: Option<Instant>,
}

impl Group {
    fn see(&mut self, seen: Seen, now: Instant) {
        match seen {
            Seen::Instance(instance) => self.members.see(instance, now),
            Seen::Leader(held) => {
                if self.leader.as_ref().is_none_or(|(known, _)| known.version != held.version) {
                    self.leader = Some((held, now));
                }
            }
            Seen::Other { .. } => {}
        }
    }
}

impl Elsewhere {
    /// These are served elsewhere from now on, and by whom.
    pub(super) fn serve(&mut self, whose: &Arc<BTreeMap<ObjectKey, String>>) {
        if Arc::ptr_eq(&self.whose, whose) {
            return;
        }
        for group in self.whose.values() {
            self.groups.entry(group.clone()).or_default().over = true;
        }
        for group in whose.values() {
            self.groups.entry(group.clone()).or_default().over = false;
        }
        self.whose = Arc::clone(whose);
    }

    /// Is it served elsewhere?
    pub(super) fn has(&self, key: &ObjectKey) -> bool {
        self.whose.contains_key(key)
    }

    /// These are all Leases of other groups.
    pub(super) fn all(&mut self, leases: Vec<(String, Seen)>, now: Instant) {
        self.listed = true;
        let mut names: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let mut leaders = BTreeSet::new();
        for (group, seen) in &leases {
            match seen {
                Seen::Instance(instance) => {
                    names.entry(group).or_default().insert(instance.name.clone());
                }
                Seen::Leader(_) | Seen::Other { .. } => {
                    leaders.insert(group.clone());
                }
            }
        }
        for (name, group) in &mut self.groups {
            group.members.retain(names.get(&**name).unwrap_or(&BTreeSet::new()));
            group.leader = group.leader.take().filter(|_| leaders.contains(name));
        }
        leases.into_iter().for_each(|(group, seen)| self.see(group, seen, now));
    }

    /// A Lease of another group is there, or says something else now.
    pub(super) fn see(&mut self, group: String, seen: Seen, now: Instant) {
        self.groups.entry(group).or_default().see(seen, now);
    }

    /// It is not there any more.
    pub(super) fn gone(&mut self, group: &str, seen: &Seen) {
        let Some(group) = self.groups.get_mut(group) else { return };
        match seen {
            Seen::Instance(instance) => group.members.leave(&instance.name),
            Seen::Leader(_) | Seen::Other { .. } => group.leader = None,
        }
    }

    /// The Gateways of which nobody speaks now but we.
    pub(super) fn unspoken(&mut self, now: Instant) -> BTreeSet<ObjectKey> {
        if !self.listed {
            return BTreeSet::new();
        }
        for group in self.groups.values_mut() {
            match group.members.anybody(now) {
                true => group.silent = None,
                false => group.silent = group.silent.or(Some(now)),
            }
        }
        let gateways = self.whose.iter().filter(|(key, _)| key.kind == Kind::ApiGateway);
        let silent = gateways.filter(|(_, group)| {
            let since = self.groups.get(*group).and_then(|group| group.silent);
            since.is_some_and(|since| now >= since + PATIENCE)
        });
        silent.map(|(key, _)| key.clone()).collect()
    }

    /// The Leases that groups which are over have left behind, once nobody renews any of a group.
    pub(super) fn left_behind(&mut self, now: Instant) -> Vec<String> {
        let left = |group: &Group| {
            let free = |(held, seen): &(Held, Instant)| held.holder.is_empty() || now >= *seen + held.lasts;
            group.over && group.leader.as_ref().is_none_or(free) && group.members.next_end(now).is_none()
        };
        let mut leases = Vec::new();
        self.groups.retain(|name, group| {
            if !left(group) || group.cleared.is_some_and(|at| now < at + PATIENCE) {
                return true;
            }
            let before = leases.len();
            leases.extend(group.leader.as_ref().map(|_| name.clone()));
            leases.extend(group.members.names().map(|instance| lease_of(name, instance)));
            group.cleared = Some(now);
            leases.len() > before
        });
        leases
    }

    /// When to look again although nothing is heard.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let groups = || self.groups.values();
        let silent = groups().filter_map(|group| group.silent).map(|since| since + PATIENCE);
        let ends = groups().filter_map(|group| group.members.next_end(now));
        let over = groups().filter(|group| group.over).filter_map(|group| group.leader.as_ref());
        let over = over.map(|(held, seen)| *seen + held.lasts);
        let again = groups().filter_map(|group| group.cleared).map(|at| at + PATIENCE);
        silent.chain(ends).chain(over).chain(again).filter(|at| *at > now).min()
    }
}

#[cfg(test)]
#[path = "elsewhere_tests.rs"]
mod tests;
