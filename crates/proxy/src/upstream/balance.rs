//! Which endpoint is next.

use std::net::SocketAddr;
use std::rc::Rc;

use super::EndpointState;
use crate::table::clusters::Balance;

/// Times that a random choice is repeated to avoid an endpoint that the request has tried (Istio's 5).
const RESELECT: usize = 5;

/// The balancer of one cluster on one worker.
pub(crate) struct Balancer {
    balance: Balance,
    eligible: Vec<Eligible>,
    /// Sum of the weights up to and including each endpoint.
    cumulative: Vec<u64>,
    same_weight: bool,
    next: usize,
}

struct Eligible {
    endpoint: Rc<EndpointState>,
    weight: u32,
    /// Smooth weighted round robin: what the endpoint is owed.
    owed: i64,
}

impl Balancer {
    pub(crate) fn new(balance: Balance) -> Balancer {
        Balancer { balance, eligible: Vec::new(), cumulative: Vec::new(), same_weight: true, next: 0 }
    }

    /// New endpoints. The round robin goes on where it was.
    pub(crate) fn update(&mut self, balance: Balance, endpoints: Vec<(Rc<EndpointState>, u32)>) {
        self.balance = balance;
        self.same_weight = endpoints.windows(2).all(|pair| pair[0].1 == pair[1].1);
        self.cumulative = endpoints
            .iter()
            .scan(0, |sum, (_, weight)| {
                *sum += u64::from(*weight);
                Some(*sum)
            })
            .collect();
        self.eligible =
            endpoints.into_iter().map(|(endpoint, weight)| Eligible { endpoint, weight, owed: 0 }).collect();
    }

    /// The next endpoint, if possible none of `tried`; `None`: there is none at all.
    pub(crate) fn pick(
        &mut self,
        random: &mut dyn FnMut() -> u32,
        tried: &[SocketAddr],
    ) -> Option<Rc<EndpointState>> {
        match self.eligible.len() {
            0 => return None,
            1 => return Some(self.eligible[0].endpoint.clone()),
            _ => {}
        }
        let attempts = if tried.is_empty() { 0 } else { RESELECT.max(self.eligible.len()) };
        let mut index = self.choose(random);
        for _ in 0..attempts {
            if !tried.contains(&self.eligible[index].endpoint.address) {
                break;
            }
            index = self.choose(random);
        }
        if tried.contains(&self.eligible[index].endpoint.address) {
            // The dice insist (a busy endpoint may lose every comparison): take any that is left.
            let left = self.eligible.iter().position(|other| !tried.contains(&other.endpoint.address));
            index = left.unwrap_or(index);
        }
        Some(self.eligible[index].endpoint.clone())
    }

    fn choose(&mut self, random: &mut dyn FnMut() -> u32) -> usize {
        match self.balance {
            Balance::RoundRobin => self.in_turn(random),
            Balance::Random => self.at_random(random()),
            Balance::LeastRequest => {
                let (a, b) = (self.at_random(random()), self.at_random(random()));
                // Two different endpoints where the dice allow it.
                let b = if a == b { (a + 1) % self.eligible.len() } else { b };
                let busy = |index: usize| self.eligible[index].endpoint.active.get();
                if busy(b) < busy(a) { b } else { a }
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
