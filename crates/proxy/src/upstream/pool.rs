//! A connection for a request that found none idle: a new one or, where the cluster's limit is reached, the first that is
//! given back on any worker.
//!
//! Only clusters with a limit come to the waiting part. A connection that is given back goes to a request of the same
//! worker that waits for the same endpoint; else, while others wait, it is closed, and its place goes to the one that has
//! waited longest. Now and then a place is given away although the own worker has use for it, so that nobody starves.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::EndpointState;
use super::back::Back;
use super::connect::{self, Manner};
use super::fail::Fail;
use super::origin::OriginConn;
use rustls_pki_types::ServerName;

use crate::clock::{Clock, Timer};
use crate::limits::cluster::{ClusterLimits, Permit, Place};
use crate::observe::{Counter, Gauge, WorkerCounters};
use crate::table::clusters::{Cluster, Protocol};

/// Each time that a connection has served this many requests, others come first.
const GENEROUS: u32 = 16;

/// A request that waits for a connection to an endpoint.
#[derive(Default)]
struct Seat {
    /// The TLS server name that its connection must have been made with.
    name: Option<ServerName<'static>>,
    given: RefCell<Option<Box<OriginConn>>>,
    waker: RefCell<Option<Waker>>,
}

/// The requests of one worker that wait for a connection to one endpoint, in the order in which they came.
#[derive(Default)]
pub(crate) struct Seats(RefCell<VecDeque<Rc<Seat>>>);

impl Seats {
    /// Gives a connection to the first that waits; `Some`: nobody does.
    fn give(&self, conn: Box<OriginConn>) -> Option<Box<OriginConn>> {
        let mut seats = self.0.borrow_mut();
        let at = seats.iter().position(|seat| seat.name == conn.name);
        let Some(seat) = at.and_then(|at| seats.remove(at)) else { return Some(conn) };
        drop(seats);
        seat.given.replace(Some(conn));
        if let Some(waker) = seat.waker.take() {
            waker.wake();
        }
        None
    }

    /// What becomes of a connection that is given back; `Some`: it is not needed now.
    pub(super) fn offer(
        &self,
        conn: Box<OriginConn>,
        limits: Option<&Arc<ClusterLimits>>,
    ) -> Option<Box<OriginConn>> {
        if !limits.is_some_and(|limits| limits.wanted()) {
            return Some(conn);
        }
        if conn.requests.is_multiple_of(GENEROUS) {
            return None;
        }
        // Who is left over is closed: somebody waits for its place elsewhere.
        self.give(conn);
        None
    }
}

/// A seat that is left when the request no longer waits. A connection that came too late goes to the next.
struct Seated<'a> {
    endpoint: &'a EndpointState,
    seat: Rc<Seat>,
}

impl<'a> Seated<'a> {
    fn new(endpoint: &'a EndpointState, name: Option<ServerName<'static>>) -> Seated<'a> {
        let seat = Rc::new(Seat { name, ..Seat::default() });
        endpoint.seats.0.borrow_mut().push_back(seat.clone());
        Seated { endpoint, seat }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Box<OriginConn>> {
        if let Some(conn) = self.seat.given.take() {
            return Poll::Ready(conn);
        }
        self.seat.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        self.endpoint.seats.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.seat));
        if let Some(conn) = self.seat.given.take() {
            self.endpoint.seats.give(conn);
        }
    }
}

/// What a request brings along.
pub(crate) struct Asking<'a> {
    pub(crate) cluster: &'a Arc<Cluster>,
    pub(crate) endpoint: &'a Rc<EndpointState>,
    pub(crate) manner: Manner,
    /// Not in use otherwise.
    pub(crate) timer: &'a Timer,
    pub(crate) own: (&'a Rc<Clock>, &'a Rc<WorkerCounters>),
    pub(crate) now_ms: u64,
    /// The request's own deadline.
    pub(crate) until_ms: u64,
}

/// Why there is no connection.
pub(crate) enum Refused {
    /// The attempt has failed.
    Fail(Fail),
    /// The client has gone.
    Gone,
}

impl From<Fail> for Refused {
    fn from(fail: Fail) -> Refused {
        Refused::Fail(fail)
    }
}

/// Makes a connection, or waits for one. `make_room` closes connections to the cluster that nobody uses, on all workers;
/// `gone` tells whether the client has gone.
pub(crate) async fn obtain(
    asking: Asking<'_>,
    make_room: &dyn Fn(),
    gone: &mut dyn FnMut(&mut Context<'_>) -> bool,
) -> Result<Back, Refused> {
    let Asking { cluster, endpoint, manner, timer, own, now_ms, until_ms } = asking;
    let limits = cluster.limits.as_ref();
    let Some(_pending) = Permit::pending(limits) else {
        own.1.add(Counter::Overflows, 1);
        return Err(Fail::Overflow.into());
    };
    if manner.protocol == Protocol::Http2 {
        // Whoever finds no room on a shared connection and may have no other has no reason to wait: none ends soon.
        timer.arm(until_ms);
        return Ok(connect::join(cluster, endpoint, &manner, (timer, own)).await?);
    }
    let place = match (Place::take(limits), limits) {
        (Some(place), _) => place,
        (None, None) => Place::default(),
        (None, Some(limits)) => {
            let _count = Pending::new(own.1);
            timer.arm(until_ms);
            let seated = Seated::new(endpoint, manner.name.clone());
            match wait(limits, seated, timer, make_room, gone).await? {
                Got::Place(place) => place,
                Got::Connection(conn) => return Ok(Back::Http1(conn)),
            }
        }
    };
    let times = (now_ms, until_ms);
    Ok(connect::http1(cluster, endpoint.address, manner, (timer, own.1), times, place).await?)
}

enum Got {
    Place(Place),
    Connection(Box<OriginConn>),
}

async fn wait(
    limits: &Arc<ClusterLimits>,
    seated: Seated<'_>,
    timer: &Timer,
    make_room: &dyn Fn(),
    gone: &mut dyn FnMut(&mut Context<'_>) -> bool,
) -> Result<Got, Refused> {
    let _waiting = Permit::waiting(limits);
    // Who gave a connection back before this request counted as waiting has kept it.
    make_room();
    let mut place = pin!(limits.next_place());
    poll_fn(|cx| {
        if let Poll::Ready(conn) = seated.poll(cx) {
            return Poll::Ready(Ok(Got::Connection(conn)));
        }
        if let Poll::Ready(place) = place.as_mut().poll(cx) {
            return Poll::Ready(place.map(Got::Place).ok_or(Refused::Fail(Fail::Overflow)));
        }
        if timer.poll_fired(cx) {
            return Poll::Ready(Err(Refused::Fail(Fail::Timeout)));
        }
        if gone(cx) { Poll::Ready(Err(Refused::Gone)) } else { Poll::Pending }
    })
    .await
}

/// Counts a request that waits.
struct Pending<'a>(&'a WorkerCounters);

impl<'a> Pending<'a> {
    fn new(counters: &'a WorkerCounters) -> Pending<'a> {
        counters.gauge_add(Gauge::RequestsPending, 1);
        Pending(counters)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.gauge_add(Gauge::RequestsPending, -1);
    }
}
