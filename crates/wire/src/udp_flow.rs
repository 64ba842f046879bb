//! Flows of datagrams: who speaks with which origin, and for how long they have been silent.
//!
//! UDP has no connections, so a flow is what a client's datagrams from one address have in common: they go to the same
//! origin, and its answers go back to that client and to nobody else. A flow ends after a time of silence in both
//! directions, when its origin is gone, or to make room for a new one.
//!
//! The time is an argument, and what to do with a flow that has ended is for the caller: it gets back what it put in.
//! Times are milliseconds of one clock that does not go back.

use std::collections::HashMap;
use std::hash::Hash;

/// No flow.
const NONE: u32 = u32::MAX;

/// Names one flow for as long as it lives; it never means another one afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowId {
    slot: u32,
    birth: u32,
}

/// The flows of one listener. `K` tells clients apart, `U` is what the caller keeps for each flow, such as the socket
/// towards its origin.
#[derive(Debug)]
pub struct FlowTable<K, U> {
    by_client: HashMap<K, u32>,
    slots: Vec<Slot<K, U>>,
    free: Vec<u32>,
    /// The flow that has been silent for longest.
    first: u32,
    /// The flow that was heard of last.
    last: u32,
    idle_ms: u64,
}

#[derive(Debug)]
struct Slot<K, U> {
    /// Flows that have been here before.
    birth: u32,
    flow: Option<Flow<K, U>>,
}

#[derive(Debug)]
struct Flow<K, U> {
    client: K,
    upstream: U,
    heard_ms: u64,
    before: u32,
    after: u32,
}

impl<K: Clone + Eq + Hash, U> FlowTable<K, U> {
    /// A table of flows that end after `idle_ms` milliseconds of silence.
    pub fn new(idle_ms: u64) -> FlowTable<K, U> {
        FlowTable {
            by_client: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            first: NONE,
            last: NONE,
            idle_ms,
        }
    }

    /// Another time of silence, for the flows that there are too.
    pub fn set_idle(&mut self, idle_ms: u64) {
        self.idle_ms = idle_ms;
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.by_client.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }

    /// A datagram has come from this client: the flow that it belongs to, if there is one.
    pub fn from_client(&mut self, client: &K, now_ms: u64) -> Option<(FlowId, &mut U)> {
        let slot = *self.by_client.get(client)?;
        self.heard(slot, now_ms);
        let held = self.slots.get_mut(slot as usize)?;
        let id = FlowId { slot, birth: held.birth };
        Some((id, &mut held.flow.as_mut()?.upstream))
    }

    /// A datagram has come from the origin of this flow: the client that it goes to. `None`: the flow has ended, and
    /// nobody is to get it.
    pub fn from_origin(&mut self, id: FlowId, now_ms: u64) -> Option<(&K, &mut U)> {
        self.slots.get(id.slot as usize).filter(|held| held.birth == id.birth && held.flow.is_some())?;
        self.heard(id.slot, now_ms);
        let flow = self.slots.get_mut(id.slot as usize)?.flow.as_mut()?;
        Some((&flow.client, &mut flow.upstream))
    }

    /// Begins a flow. `make` is told the name of it. A client that has a flow gets it back as ended.
    pub fn begin(
        &mut self,
        client: K,
        now_ms: u64,
        make: impl FnOnce(FlowId) -> U,
    ) -> (FlowId, Option<(K, U)>) {
        let former = self.by_client.get(&client).copied().and_then(|slot| self.take(slot));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { birth: 0, flow: None });
            self.slots.len() as u32 - 1
        });
        let held = &mut self.slots[slot as usize];
        let id = FlowId { slot, birth: held.birth };
        let flow = Flow {
            client: client.clone(),
            upstream: make(id),
            heard_ms: now_ms,
            before: self.last,
            after: NONE,
        };
        held.flow = Some(flow);
        self.by_client.insert(client, slot);
        self.append(slot);
        (id, former)
    }

    /// Ends a flow. `None`: it had ended.
    pub fn end(&mut self, id: FlowId) -> Option<(K, U)> {
        self.slots.get(id.slot as usize).filter(|held| held.birth == id.birth)?;
        self.take(id.slot)
    }

    /// Ends the flow that has been silent for longest.
    pub fn evict(&mut self) -> Option<(K, U)> {
        self.take(self.first)
    }

    /// Ends a flow whose time of silence is over, if there is one. Call it until it says `None`.
    pub fn expire(&mut self, now_ms: u64) -> Option<(K, U)> {
        if self.next_expiry()? > now_ms { None } else { self.evict() }
    }

    /// When [`FlowTable::expire`] will end the next flow, if nothing is heard of it until then.
    pub fn next_expiry(&self) -> Option<u64> {
        let first = self.slots.get(self.first as usize)?.flow.as_ref()?;
        Some(first.heard_ms.saturating_add(self.idle_ms))
    }

    /// Ends the flows that `keep` says no to, the one that has been silent for longest first.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &U) -> bool, mut ended: impl FnMut(K, U)) {
        let mut at = self.first;
        while let Some(flow) = self.slots.get(at as usize).and_then(|held| held.flow.as_ref()) {
            let after = flow.after;
            if !keep(&flow.client, &flow.upstream)
                && let Some((client, upstream)) = self.take(at)
            {
                ended(client, upstream);
            }
            at = after;
        }
    }

    /// Moves a flow behind all others.
    fn heard(&mut self, slot: u32, now_ms: u64) {
        if self.last != slot {
            self.unlink(slot);
            let last = self.last;
            if let Some(flow) = self.flow(slot) {
                (flow.before, flow.after) = (last, NONE);
            }
            self.append(slot);
        }
        if let Some(flow) = self.flow(slot) {
            flow.heard_ms = now_ms;
        }
    }

    /// Makes a flow that knows who is before it the last.
    fn append(&mut self, slot: u32) {
        match self.flow(self.last) {
            Some(last) => last.after = slot,
            None => self.first = slot,
        }
        self.last = slot;
    }

    /// Takes a flow out of the order.
    fn unlink(&mut self, slot: u32) {
        let Some((before, after)) = self.flow(slot).map(|flow| (flow.before, flow.after)) else { return };
        match self.flow(before) {
            Some(flow) => flow.after = after,
            None => self.first = after,
        }
        match self.flow(after) {
            Some(flow) => flow.before = before,
            None => self.last = before,
        }
    }

    fn take(&mut self, slot: u32) -> Option<(K, U)> {
        self.unlink(slot);
        let held = self.slots.get_mut(slot as usize)?;
        let flow = held.flow.take()?;
        held.birth = held.birth.wrapping_add(1);
        self.free.push(slot);
        self.by_client.remove(&flow.client);
        Some((flow.client, flow.upstream))
    }

    fn flow(&mut self, slot: u32) -> Option<&mut Flow<K, U>> {
        self.slots.get_mut(slot as usize)?.flow.as_mut()
    }
}

#[cfg(test)]
#[path = "udp_flow_tests.rs"]
mod tests;
