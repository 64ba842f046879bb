//! Which instances there are, and how far each has come. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many of our own states are remembered: another instance that is further behind has none of them.
const REMEMBERED: usize = 512;

/// By how many instances something is served, of how many. Shown as `2/3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) serving: usize,
    pub(super) instances: usize,
}

impl Share {
    /// Do all serve it?
    pub(super) fn all(self) -> bool {
        self.serving == self.instances
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.serving, self.instances)
    }
}

/// What an instance says of itself in its Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) name: String,
    /// The digest of what it serves.
    pub(super) applied: String,
    /// Does it take traffic?
    pub(super) ready: bool,
    /// Without news for so long it does not count any more.
    pub(super) lasts: Duration,
    /// Differs with every renewal.
    pub(super) renewal: String,
}

#[derive(Debug)]
struct Member {
    instance: Instance,
    /// When its newest renewal was seen: clocks of different machines are not compared.
    seen: Instant,
}

/// All instances of a group but the own one, and the own history.
#[derive(Debug, Default)]
pub(super) struct Members {
    others: BTreeMap<String, Member>,
    /// The digests of what was served here, oldest first, with the number of each.
    history: VecDeque<(u64, String)>,
    served: u64,
    /// Those that the cluster sends no traffic to, whatever they say.
    unready: Arc<BTreeSet<String>>,
}

impl Members {
    /// This is served here now. Returns its number.
    pub(super) fn serve(&mut self, digest: String) -> u64 {
        if self.history.back().is_none_or(|(_, last)| *last != digest) {
            self.served += 1;
            self.history.push_back((self.served, digest));
            if self.history.len() > REMEMBERED {
                self.history.pop_front();
            }
        }
        self.served
    }

    /// The cluster sends no traffic to these.
    pub(super) fn are_unready(&mut self, names: Arc<BTreeSet<String>>) {
        self.unready = names;
    }

    /// Another instance was seen. A renewal that was seen before is no sign of life.
    pub(super) fn see(&mut self, instance: Instance, now: Instant) {
        match self.others.get_mut(&instance.name) {
            Some(known) if known.instance.renewal == instance.renewal => {}
            Some(known) => *known = Member { instance, seen: now },
            None => {
                self.others.insert(instance.name.clone(), Member { instance, seen: now });
            }
        }
    }

    /// An instance has taken its leave.
    pub(super) fn leave(&mut self, name: &str) {
        self.others.remove(name);
    }

    /// These are all there are.
    pub(super) fn retain(&mut self, names: &BTreeSet<String>) {
        self.others.retain(|name, _| names.contains(name));
    }

    /// By how many instances what we served under this number is served. Who serves something newer serves it too.
    pub(super) fn share(&self, number: u64, now: Instant) -> Share {
        let alive = self.others.values().filter(|member| self.counts(member, now));
        let mut share = Share { serving: 1, instances: 1 };
        for Member { instance, .. } in alive {
            let reached = self.history.iter().rev().find(|(_, digest)| *digest == instance.applied);
            share.instances += 1;
            share.serving += usize::from(reached.is_some_and(|(reached, _)| *reached >= number));
        }
        share
    }

    fn counts(&self, member: &Member, now: Instant) -> bool {
        let Member { instance, .. } = member;
        member.alive(now) && instance.ready && !self.unready.contains(&instance.name)
    }

    /// Those that were seen and have not taken their leave.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.others.keys().map(String::as_str)
    }

    /// Does any of them live and take traffic?
    pub(super) fn anybody(&self, now: Instant) -> bool {
        self.others.values().any(|member| self.counts(member, now))
    }

    /// When the next instance stops counting if it stays silent.
    pub(super) fn next_end(&self, now: Instant) -> Option<Instant> {
        self.others.values().filter(|member| member.alive(now)).map(Member::end).min()
    }

    /// Those that have been silent for much longer than they said.
    pub(super) fn dead(&self, now: Instant) -> Vec<String> {
        let long = |member: &&Member| now >= member.end() + member.instance.lasts * 3;
        self.others.values().filter(long).map(|member| member.instance.name.clone()).collect()
    }
}

impl Member {
    fn end(&self) -> Instant {
        self.seen + self.instance.lasts
    }

    fn alive(&self, now: Instant) -> bool {
        now < self.end()
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
