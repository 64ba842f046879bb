//! A connection for a request that found none idle: a new one or, where the cluster's limit is reached, the first that is
//! given back on any worker. Of HTTP/2, whose connections are shared, a stream in the same way.
//!
//! Only clusters with a limit come to the waiting part. A connection that is given back, or a stream that ends, goes to a
//! request of the same worker that waits for the same endpoint; else, while others wait, the connection is closed, and its
//! place goes to the one that has waited longest. Now and then a place is given away although the own worker has use for
//! it, so that nobody starves.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::EndpointState;
use super::back::Back;
use super::connect::{self, Manner, Opening};
use super::counted::Raised;
use super::fail::Fail;
use super::http2::Shared;
use super::origin::OriginConn;
use super::streams;

use crate::clock::{Clock, Timer};
use crate::limits::cluster::{ClusterLimits, Permit, Place};
use crate::observe::limits::Limit;
use crate::observe::{ClusterStat, Counter, Gauge, WorkerCounters};
use crate::table::clusters::{Cluster, Protocol};

/// Each time that a connection has served this many requests while others waited, these come first.
pub(super) const GENEROUS: u32 = 16;

/// A request that waits for a connection to an endpoint.
#[derive(Default)]
struct Seat {
    /// What it must be like.
    manner: Manner,
    given: RefCell<Option<Back>>,
    waker: RefCell<Option<Waker>>,
}

impl Seat {
    fn give(&self, back: Back) {
        self.given.replace(Some(back));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The requests of one worker that wait for a connection to one endpoint, in the order in which they came.
#[derive(Default)]
pub(crate) struct Seats(RefCell<VecDeque<Rc<Seat>>>);

impl Seats {
    /// The first that waits for such a connection; it waits no longer.
    fn next(&self, protocol: Protocol, opening: &Opening) -> Option<Rc<Seat>> {
        let mut seats = self.0.borrow_mut();
        let fits = |seat: &Rc<Seat>| seat.manner.protocol == protocol && seat.manner.opening == *opening;
        let at = seats.iter().position(fits)?;
        seats.remove(at)
    }

    /// Gives a connection to the first that waits; with nobody it is closed.
    fn give(&self, conn: Box<OriginConn>) {
        if let Some(seat) = self.next(Protocol::Http1, &conn.opening) {
            seat.give(Back::Http1(conn));
        }
    }

    /// Gives the streams that may be opened to those who wait, but for so many that are promised.
    pub(super) fn give_streams(&self, shared: &Rc<Shared>, promised: usize) {
        while shared.has_room_beside(promised)
            && !shared.is_spent()
            && let Some(seat) = self.next(Protocol::Http2, shared.opening())
        {
            seat.give(Back::Http2(shared.open()));
        }
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
        if !conn.requests.is_multiple_of(GENEROUS) {
            // Who is left over is closed: somebody waits for its place elsewhere.
            self.give(conn);
        }
        None
    }
}

/// A seat that is left when the request no longer waits. A connection that came too late goes to the next.
struct Seated<'a> {
    endpoint: &'a EndpointState,
    seat: Rc<Seat>,
}

impl<'a> Seated<'a> {
    fn new(endpoint: &'a EndpointState, manner: &Manner) -> Seated<'a> {
        let seat = Rc::new(Seat { manner: manner.clone(), ..Seat::default() });
        endpoint.seats.0.borrow_mut().push_back(seat.clone());
        Seated { endpoint, seat }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Back> {
        if let Some(back) = self.seat.given.take() {
            return Poll::Ready(back);
        }
        self.seat.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        self.endpoint.seats.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.seat));
        match self.seat.given.take() {
            Some(Back::Http1(conn)) => self.endpoint.seats.give(conn),
            // A stream that ends goes to the next of itself.
            Some(Back::Http2(_)) | None => {}
        }
    }
}

/// What a request brings along.
pub(crate) struct Asking<'a> {
    pub(crate) cluster: &'a Arc<Cluster>,
    pub(crate) endpoint: &'a Rc<EndpointState>,
    pub(crate) manner: Manner,
    /// It is to become a tunnel over HTTP/2, or over HTTP/1.1 where that cannot be.
    pub(crate) tunnel: bool,
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
    /// Nobody waits for one any longer.
    Gone,
}

impl From<Fail> for Refused {
    fn from(fail: Fail) -> Refused {
        Refused::Fail(fail)
    }
}

/// Makes a connection, or waits for one, and counts what comes of it. `make_room` closes connections to the cluster that nobody uses, on all workers;
/// `gone` tells whether anybody still waits for it.
pub(crate) async fn obtain(
    asking: Asking<'_>,
    make_room: &dyn Fn(),
    gone: &mut dyn FnMut(&mut Context<'_>) -> bool,
) -> Result<Back, Refused> {
    let (counters, cluster) = (asking.own.1, asking.cluster.series);
    counters.cluster_add(cluster, ClusterStat::RqPendingTotal, 1);
    let _waits = Raised::new(counters, cluster, ClusterStat::RqPendingActive);
    let obtained = seek(asking, make_room, gone).await;
    match &obtained {
        Err(Refused::Gone) => counters.cluster_add(cluster, ClusterStat::RqCancelled, 1),
        Err(Refused::Fail(Fail::Connect(_) | Fail::ConnectTimeout)) => {
            counters.cluster_add(cluster, ClusterStat::RqPendingFailure, 1);
        }
        Ok(_) | Err(Refused::Fail(_)) => {}
    }
    obtained
}

async fn seek(
    asking: Asking<'_>,
    make_room: &dyn Fn(),
    gone: &mut dyn FnMut(&mut Context<'_>) -> bool,
) -> Result<Back, Refused> {
    let Some(_pending) = Permit::pending(asking.cluster.limits.as_ref()) else {
        asking.own.1.add(Counter::Overflows, 1);
        asking.own.1.cluster_add(asking.cluster.series, ClusterStat::RqPendingOverflow, 1);
        asking.own.1.limit_refused(Limit::PendingRequests, 1);
        return Err(Fail::Overflow.into());
    };
    if let Some(limits) = &asking.cluster.limits {
        asking.own.1.limit_seen(Limit::PendingRequests, limits.pending().into());
    }
    match asking.manner.protocol {
        Protocol::Http1 => connection(asking, make_room, gone).await,
        // Boxed: it is seldom needed.
        Protocol::Http2 if asking.tunnel => Box::pin(tunnel(asking, make_room, gone)).await,
        Protocol::Http2 => stream(&asking, make_room, gone).await,
    }
}

/// A stream of a connection whose origin takes tunnels, or else a connection for HTTP/1.1.
async fn tunnel(
    mut asking: Asking<'_>,
    make_room: &dyn Fn(),
    gone: &mut dyn FnMut(&mut Context<'_>) -> bool,
) -> Result<Back, Refused> {
    let Asking { cluster, endpoint, timer, own: (clock, _), until_ms, .. } = asking;
    let opened = match endpoint.take(&asking.manner, asking.now_ms) {
        Some(back) => Ok(back),
        None => stream(&asking, make_room, gone).await,
    };
    match opened {
        Ok(Back::Http2(stream)) => {
            timer.arm(until_ms.min(clock.now_ms().saturating_add(cluster.connect_timeout_ms)));
            let takes = poll_fn(|cx| match stream.poll_takes_tunnels(cx) {
                Poll::Ready(takes) => Poll::Ready(Ok(takes)),
                Poll::Pending if gone(cx) => Poll::Ready(Err(Refused::Gone)),
                Poll::Pending => {
                    if timer.poll_fired(cx) {
                        Poll::Ready(Ok(false))
                    } else {
                        Poll::Pending
                    }
                }
            });
            if takes.await? {
                return Ok(Back::Http2(stream));
            }
            endpoint.no_tunnels.set(true);
        }
        Ok(back) => return Ok(back),
        Err(refused @ (Refused::Gone | Refused::Fail(Fail::Timeout | Fail::Overflow))) => {
            return Err(refused);
        }
        Err(Refused::Fail(_)) => {}
    }
    asking.manner.protocol = Protocol::Http1;
    match endpoint.take(&asking.manner, clock.now_ms()) {
        Some(back) => Ok(back),
        None => connection(asking, make_room, gone).await,
    }
}

async fn connection(
    asking: Asking<'_>,
    make_room: &dyn Fn(),
    gone: &mut dyn FnMut(&mut Context<'_>) -> bool,
) -> Result<Back, Refused> {
    let place = match place(&asking, make_room, gone).await? {
        Got::Place(place) => place,
        Got::Connection(back) => return Ok(back),
    };
    let Asking { cluster, endpoint, manner, timer, own, now_ms, until_ms, tunnel: _ } = asking;
    let times = (now_ms, until_ms);
    let made = connect::http1(cluster, endpoint, manner, (timer, own.1), times, place);
    unless(gone, made).await
}

/// A stream of a shared connection: one that is being made already if there is one with room, or a new one.
async fn stream(
    asking: &Asking<'_>,
    make_room: &dyn Fn(),
    gone: &mut dyn FnMut(&mut Context<'_>) -> bool,
) -> Result<Back, Refused> {
    let Asking { cluster, endpoint, manner, timer, own, until_ms, .. } = asking;
    loop {
        let dial = match endpoint.dialing(cluster, manner) {
            Some(dial) => dial,
            None => match place(asking, make_room, gone).await? {
                Got::Place(place) => streams::dial(cluster, endpoint, manner, *own, place),
                Got::Connection(back) => return Ok(back),
            },
        };
        timer.arm(*until_ms);
        let shared = unless(gone, dial.made(timer)).await?;
        if !shared.is_spent() && shared.has_room() {
            return Ok(Back::Http2(shared.open()));
        }
        if shared.has_ended() || shared.is_unused() {
            // The origin takes connections and ends them, or allows no stream on them: another would fare no better.
            endpoint.let_go(&shared);
            return Err(Fail::Closed { sent: false }.into());
        }
        // Others were faster.
        if let Some(back) = endpoint.take(manner, own.0.now_ms()) {
            return Ok(back);
        }
    }
}

/// What is being made for a request, unless nobody waits for it any longer.
async fn unless<T>(
    gone: &mut dyn FnMut(&mut Context<'_>) -> bool,
    made: impl Future<Output = Result<T, Fail>>,
) -> Result<T, Refused> {
    let mut made = pin!(made);
    poll_fn(|cx| match made.as_mut().poll(cx) {
        Poll::Ready(made) => Poll::Ready(made.map_err(Refused::Fail)),
        Poll::Pending if gone(cx) => Poll::Ready(Err(Refused::Gone)),
        Poll::Pending => Poll::Pending,
    })
    .await
}

enum Got {
    /// Room for another connection.
    Place(Place),
    /// What another request has done with.
    Connection(Back),
}

/// Room for a connection, if need be after others.
async fn place(
    asking: &Asking<'_>,
    make_room: &dyn Fn(),
    gone: &mut dyn FnMut(&mut Context<'_>) -> bool,
) -> Result<Got, Refused> {
    let limits = asking.cluster.limits.as_ref();
    match (Place::take(limits), limits) {
        (Some(place), _) => Ok(Got::Place(place)),
        (None, None) => Ok(Got::Place(Place::default())),
        (None, Some(limits)) => {
            asking.own.1.cluster_add(asking.cluster.series, ClusterStat::CxOverflow, 1);
            let _count = Pending::new(asking.own.1);
            asking.timer.arm(asking.until_ms);
            let seated = Seated::new(asking.endpoint, &asking.manner);
            wait(limits, seated, asking.timer, make_room, gone).await
        }
    }
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
        if let Poll::Ready(back) = seated.poll(cx) {
            return Poll::Ready(Ok(Got::Connection(back)));
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
