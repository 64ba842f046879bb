//! Datagrams: what one client sends from one address is a flow, which goes to one endpoint through a socket of its own.
//! What that socket hears goes back to that client, from the address that it sent to, and to nobody else. The table of
//! flows is [`limen_wire::udp_flow`]; here are its sockets, its clock and its books.
//!
//! The kernel gives all datagrams of a client's address to the same worker's socket, so flows are a worker's own.

mod flow;
mod socket;

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::{Rc, Weak};

use limen_wire::udp_flow::{FlowId, FlowTable};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::observe::limits::Limit;
use crate::observe::{Counter, Flags};
use crate::table::listeners::{ListenerSlot, Serves};
use crate::tasks::contained;
use crate::worker::Worker;
use flow::{Books, Dropped, Flow, Upstream};
use socket::Client;
pub(crate) use socket::Downstream;

/// Larger than any datagram.
const LARGEST: usize = 65_536;
/// Datagrams taken from one socket before others have their turn.
const BURST: usize = 32;
/// An endpoint's socket has something to tell when there is an answer, and when there was a refusal.
const HEARS: Interest = Interest::READABLE.add(Interest::ERROR);
/// A moment that never comes.
const NEVER: u64 = u64::MAX;

/// A listener for datagrams on one worker.
struct Listening {
    worker: Rc<Worker>,
    slot: ListenerSlot,
    socket: Downstream,
    flows: RefCell<FlowTable<Client, Flow>>,
    /// For one datagram at a time.
    buffer: RefCell<Box<[u8]>>,
}

/// Serves a listener until it is closed (the task is aborted then). Its socket and its flows end with the task: theirs hold
/// it only while they have something to do.
pub(crate) async fn serve(worker: Rc<Worker>, slot: ListenerSlot, socket: Downstream) {
    let listening = Rc::new(Listening {
        flows: RefCell::new(FlowTable::new(NEVER)),
        buffer: RefCell::new(vec![0; LARGEST].into_boxed_slice()),
        worker: worker.clone(),
        slot,
        socket,
    });
    listening.review();
    let timer = worker.clock.timer();
    let mut moved = pin!(worker.endpoints_moved());
    loop {
        // What changed comes first: nothing is sent on by what held before.
        let anew = tokio::select! {
            biased;
            () = moved.as_mut() => {
                moved.set(worker.endpoints_moved());
                listening.review();
                true
            }
            () = timer.expired() => {
                listening.expire();
                true
            }
            readable = listening.socket.readable() => match readable {
                Ok(()) => {
                    let had_none = listening.flows.borrow().is_empty();
                    if listening.receive() {
                        // Whoever sends without a pause is not the only one.
                        tokio::task::yield_now().await;
                    }
                    had_none
                }
                Err(error) => return tracing::error!(%error, "a listener's socket cannot be watched"),
            }
        };
        // While flows are heard of, the moment only moves away, which is found out when the timer fires.
        if anew {
            timer.arm(listening.flows.borrow().next_expiry().unwrap_or(NEVER));
        }
    }
}

impl Listening {
    /// Takes what has come from clients. Whether there may be more.
    fn receive(self: &Rc<Listening>) -> bool {
        let mut buffer = self.buffer.borrow_mut();
        let now_ms = self.worker.clock.now_ms();
        for _ in 0..BURST {
            match self.socket.receive(&mut buffer) {
                Ok((length, client)) => {
                    let counters = &self.worker.counters;
                    counters.add(Counter::UdpReceived, 1);
                    counters.add(Counter::UdpBytesReceived, length as u64);
                    self.pass(client, buffer.get(..length).unwrap_or_default(), now_ms);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // It says that an answer has not arrived; the next may be a datagram.
                Err(_) => {}
            }
        }
        true
    }

    /// Sends a client's datagram on, in a new flow if it has none.
    fn pass(self: &Rc<Listening>, client: Client, data: &[u8], now_ms: u64) {
        let known =
            self.flows.borrow_mut().from_client(&client, now_ms).map(|(id, flow)| (id, flow.send(data)));
        match known {
            Some((_, Ok(()))) => return,
            Some((id, Err(dropped))) if dropped.ends => self.end(id, dropped),
            Some((_, Err(dropped))) => return self.worker.count(dropped.counter),
            None => {}
        }
        if let Err(dropped) = self.begin(client, data, now_ms) {
            self.worker.count(dropped.counter);
        }
    }

    /// Begins a flow with its first datagram.
    fn begin(self: &Rc<Listening>, client: Client, data: &[u8], now_ms: u64) -> Result<(), Dropped> {
        let mut books = Books::begin(&self.worker, self.slot, client);
        let opened = self.make_room().and_then(|()| Upstream::open(&self.worker, &mut books));
        let upstream = match opened {
            Ok(upstream) => upstream,
            Err(dropped) => {
                (books.flags, books.received) = (dropped.flags, data.len() as u64);
                return Err(dropped);
            }
        };
        let mut flows = self.flows.borrow_mut();
        let (id, _) = flows.begin(client, now_ms, |id| {
            let answers = answers(Rc::downgrade(self), id, upstream.socket.clone());
            let task = contained(&self.worker.counters, answers).abort_handle();
            Flow { books, upstream, task }
        });
        let Some((_, flow)) = flows.from_client(&client, now_ms) else { return Ok(()) };
        let sent = flow.send(data);
        drop(flows);
        sent.inspect_err(|dropped| {
            if dropped.ends {
                self.end(id, *dropped);
            }
        })
    }

    /// Where there are as many flows as there may be, the one that was silent for longest ends.
    fn make_room(&self) -> Result<(), Dropped> {
        let worker = &self.worker;
        let no_room = Dropped { counter: Counter::UdpNoRoom, flags: Flags::UO, ends: true };
        if let Some(short) = worker.short_of() {
            worker.refused_for(short);
            return Err(Dropped { flags: Flags::OM, ..no_room });
        }
        if worker.admits_flow() {
            return Ok(());
        }
        worker.refused_for(Limit::UdpFlows);
        let evicted = self.flows.borrow_mut().evict();
        worker.counters.add(Counter::UdpFlowsEvicted, evicted.is_some().into());
        evicted.map(drop).ok_or(no_room)
    }

    /// Ends a flow for what happened to it.
    fn end(&self, id: FlowId, dropped: Dropped) {
        let ended = self.flows.borrow_mut().end(id);
        if let Some((_, mut flow)) = ended {
            flow.books.flags = dropped.flags;
            if dropped.flags == Flags::UF {
                self.worker.count(Counter::UdpRefused);
            }
        }
    }

    /// Ends those that were silent for too long.
    fn expire(&self) {
        let now_ms = self.worker.clock.now_ms();
        while let Some(ended) = self.flows.borrow_mut().expire(now_ms) {
            drop(ended);
        }
    }

    /// Takes up what the tables and endpoints are now: flows that would not be begun as they are end.
    fn review(&self) {
        let tables = self.worker.tables();
        let route = tables.listener(self.slot).and_then(|listener| match &listener.serves {
            Serves::Udp(route) => Some(&**route),
            _ => None,
        });
        self.flows.borrow_mut().set_idle(route.map_or(0, |route| route.idle_timeout_ms));
        self.end_unless(|flow| flow.stands(route));
    }

    fn end_unless(&self, stands: impl Fn(&Flow) -> bool) {
        let mut ended = Vec::new();
        self.flows.borrow_mut().retain(|_, flow| stands(flow), |_, flow| ended.push(flow));
    }

    /// Takes one answer of a flow's endpoint to its client. `Ok(false)`: there is none yet.
    fn answer(&self, id: FlowId, socket: &UdpSocket) -> Result<bool, Dropped> {
        let mut buffer = self.buffer.borrow_mut();
        let length = match socket.try_recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(Dropped::by(&error)),
        };
        let data = buffer.get(..length).unwrap_or_default();
        let mut flows = self.flows.borrow_mut();
        if let Some((client, flow)) = flows.from_origin(id, self.worker.clock.now_ms()) {
            let counters = &self.worker.counters;
            match self.socket.send(client, data) {
                Ok(_) => {
                    flow.books.sent += length as u64;
                    counters.add(Counter::UdpSent, 1);
                    counters.add(Counter::UdpBytesSent, length as u64);
                }
                Err(_) => counters.add(Counter::UdpErrors, 1),
            }
        }
        Ok(true)
    }
}

/// The task of a flow: takes answers to its client until the flow ends (the task is aborted then).
async fn answers(listening: Weak<Listening>, id: FlowId, socket: Rc<UdpSocket>) {
    while let Ok(ready) = socket.ready(HEARS).await {
        let Some(listening) = listening.upgrade() else { return };
        let refused = ready.is_error().then(|| refusal(&socket)).flatten();
        let mut more = true;
        for _ in 0..BURST {
            more = match listening.answer(id, &socket) {
                Ok(more) => more,
                Err(dropped) if dropped.ends => return listening.end(id, dropped),
                Err(_) => false,
            };
            if !more {
                break;
            }
        }
        if let Some(dropped) = refused.filter(|dropped| dropped.ends) {
            return listening.end(id, dropped);
        }
        drop(listening);
        if more {
            // Whoever answers without a pause is not the only one.
            tokio::task::yield_now().await;
        }
    }
}

/// What the kernel says against an endpoint.
fn refusal(socket: &UdpSocket) -> Option<Dropped> {
    let taken: io::Result<()> =
        socket.try_io(Interest::ERROR, || match SockRef::from(socket).take_error()? {
            Some(error) => Err(error),
            // That makes the next wait one for the next error.
            None => Err(io::ErrorKind::WouldBlock.into()),
        });
    taken.err().filter(|error| error.kind() != io::ErrorKind::WouldBlock).map(|error| Dropped::by(&error))
}
