//! Which endpoint is next.

use std::rc::Rc;
use std::sync::Arc;

use super::EndpointState;
use crate::address::Address;
use crate::table::clusters::{Balance, EndpointSet, Group};
use crate::table::hashing::HashTable;

/// Times that a random choice is repeated to avoid an endpoint that the request has tried (Istio's 5).
const RESELECT: usize = 5;

/// The balancer of one cluster on one worker.
pub(crate) struct Balancer {
    balance: Balance,
    lanes: Vec<Lane>,
    /// Sum of the lanes' shares.
    total: u64,
}

/// Endpoints that share a part of the requests.
#[derive(Default)]
struct Lane {
    share: u32,
    eligible: Vec<Eligible>,
    /// Sum of the weights up to and including each endpoint.
    cumulative: Vec<u64>,
    same_weight: bool,
    next: usize,
    hash: Option<Arc<HashTable>>,
}

struct Eligible {
    endpoint: Rc<EndpointState>,
    weight: u32,
    /// Smooth weighted round robin: what the endpoint is owed.
    owed: i64,
}

impl Balancer {
    pub(crate) fn new(balance: Balance) -> Balancer {
        Balancer { balance, lanes: Vec::new(), total: 0 }
    }

    /// New endpoints; `states` are those of the set, in its order. The round robin goes on where it was.
    pub(crate) fn update(&mut self, balance: Balance, set: &EndpointSet, states: &[Rc<EndpointState>]) {
        self.balance = balance;
        self.lanes.resize_with(set.groups.len(), Lane::default);
        for (lane, group) in self.lanes.iter_mut().zip(&set.groups) {
            lane.update(group, states);
        }
        self.total = self.lanes.iter().map(|lane| u64::from(lane.share)).sum();
    }

    /// The next endpoint, if possible none of `tried`; `None`: there is none at all.
    pub(crate) fn pick(
        &mut self,
        random: &mut dyn FnMut() -> u32,
        tried: &[Address],
        hash: Option<u64>,
    ) -> Option<Rc<EndpointState>> {
        let hash = hash.filter(|_| self.balance == Balance::Hash);
        // The table looks at all bits, the choice of a lane at other ones than its beginning.
        let lane = match self.lanes.len() {
            0 | 1 => 0,
            _ => self.lane(hash.map_or_else(&mut *random, |hash| hash.swap_bytes() as u32)),
        };
        let lane = self.lanes.get_mut(lane)?;
        match hash.and_then(|hash| lane.by_hash(hash, tried)) {
            Some(endpoint) => Some(endpoint),
            None => lane.pick(self.balance, random, tried),
        }
    }

    fn lane(&self, random: u32) -> usize {
        let mut at = (u64::from(random) * self.total) >> u32::BITS;
        for (index, lane) in self.lanes.iter().enumerate() {
            let share = u64::from(lane.share);
            if at < share {
                return index;
            }
            at -= share;
        }
        0
    }
}

impl Lane {
    fn update(&mut self, group: &Group, states: &[Rc<EndpointState>]) {
        let members = group.members.iter();
        let eligible = members.filter_map(|(index, weight)| {
            let endpoint = states.get(*index as usize)?.clone();
            Some(Eligible { endpoint, weight: *weight, owed: 0 })
        });
        self.share = group.share;
        self.hash.clone_from(&group.hash);
        self.eligible = eligible.collect();
        self.same_weight = self.eligible.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let weights = self.eligible.iter().map(|eligible| u64::from(eligible.weight));
        self.cumulative = weights
            .scan(0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
    }

    /// The endpoint that the hash belongs to, or who stands in for it if it was tried.
    fn by_hash(&self, hash: u64, tried: &[Address]) -> Option<Rc<EndpointState>> {
        let table = self.hash.as_ref()?;
        let mut found = table.find(hash).filter_map(|index| self.eligible.get(index as usize));
        let first = found.next()?;
        let untried = |own: &&Eligible| !tried.contains(&own.endpoint.address);
        let chosen = if untried(&first) { first } else { found.find(untried).unwrap_or(first) };
        Some(chosen.endpoint.clone())
    }

    fn pick(
        &mut self,
        balance: Balance,
        random: &mut dyn FnMut() -> u32,
        tried: &[Address],
    ) -> Option<Rc<EndpointState>> {
        match self.eligible.len() {
            0 => return None,
            1 => return Some(self.eligible[0].endpoint.clone()),
            _ => {}
        }
        let attempts = if tried.is_empty() { 0 } else { RESELECT.max(self.eligible.len()) };
        let mut index = self.choose(balance, random);
        for _ in 0..attempts {
            if !tried.contains(&self.eligible[index].endpoint.address) {
                break;
            }
            index = self.choose(balance, random);
        }
        if tried.contains(&self.eligible[index].endpoint.address) {
            // The dice insist (a busy endpoint may lose every comparison): take any that is left.
            let left = self.eligible.iter().position(|other| !tried.contains(&other.endpoint.address));
            index = left.unwrap_or(index);
        }
        Some(self.eligible[index].endpoint.clone())
    }

    fn choose(&mut self, balance: Balance, random: &mut dyn FnMut() -> u32) -> usize {
        match balance {
            Balance::RoundRobin => self.in_turn(random),
            Balance::Random | Balance::Hash => self.at_random(random()),
            Balance::LeastRequest => {
                let (a, b) = (self.at_random(random()), self.at_random(random()));
                // Two different endpoints where the dice allow it.
                let b = if a == b { (a + 1) % self.eligible.len() } else { b };
                // Each is as busy as its requests are many for its weight.
                let busy = |one: usize, other: usize| {
                    u64::from(self.eligible[one].endpoint.active.get())
                        * u64::from(self.eligible[other].weight)
                };
                if busy(b, a) < busy(a, b) { b } else { a }
            }
        }
    }

    fn at_random(&self, random: u32) -> usize {
        let random = u64::from(random);
        if self.same_weight {
            return ((random * self.eligible.len() as u64) >> 32) as usize;
        }
        let total = u128::from(self.cumulative.last().copied().unwrap_or(1));
        let at = ((u128::from(random) * total) >> 32) as u64;
        self.cumulative.partition_point(|sum| *sum <= at).min(self.eligible.len() - 1)
    }

    fn in_turn(&mut self, random: &mut dyn FnMut() -> u32) -> usize {
        if self.next == 0 {
            // Workers begin at different places, so that few requests still spread.
            self.next = 1 + random() as usize % self.eligible.len();
        }
        if self.same_weight {
            self.next += 1;
            return (self.next - 1) % self.eligible.len();
        }
        let mut best = 0;
        let mut total = 0;
        for index in 0..self.eligible.len() {
            let weight = i64::from(self.eligible[index].weight);
            self.eligible[index].owed += weight;
            total += weight;
            if self.eligible[index].owed > self.eligible[best].owed {
                best = index;
            }
        }
        self.eligible[best].owed -= total;
        best
    }
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
