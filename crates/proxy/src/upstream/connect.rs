//! New connections to origins.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::EndpointState;
use super::back::Back;
use super::fail::Fail;
use super::http2::Shared;
use super::io::OriginIo;
use super::origin::OriginConn;
use crate::clock::{Clock, Timer};
use crate::limits::Permit;
use crate::observe::{Counter, WorkerCounters};
use crate::table::clusters::{Cluster, Protocol};

/// A worker's clock and counters.
type Own<'a> = (&'a Rc<Clock>, &'a Rc<WorkerCounters>);

/// A connection that nothing was said on yet.
pub(crate) struct Dialled {
    pub(crate) io: OriginIo,
    /// The gateway's own address on it.
    pub(crate) local: SocketAddr,
    /// Counts it against the cluster's limit.
    pub(crate) permit: Permit,
}

/// Connects within the cluster's time and limit. `timer` must not be in use otherwise; the earlier of its deadline
/// (`until_ms`, the route's) and the connect timeout counts.
pub(crate) async fn dial(
    cluster: &Cluster,
    address: SocketAddr,
    (timer, counters): (&Timer, &Rc<WorkerCounters>),
    (now_ms, until_ms): (u64, u64),
) -> Result<Dialled, Fail> {
    let permit = Permit::connection(cluster.limits.as_ref()).ok_or(Fail::Overflow)?;
    let connect_by = now_ms + cluster.connect_timeout_ms;
    timer.arm(connect_by.min(until_ms));
    let connected = tokio::select! {
        biased;
        connected = open(address) => connected,
        () = timer.expired() => Err(if until_ms < connect_by { Fail::Timeout } else { Fail::ConnectTimeout }),
    };
    let (io, local) = connected.inspect_err(|_| counters.add(Counter::UpstreamConnectErrors, 1))?;
    Ok(Dialled { io, local, permit })
}

async fn open(address: SocketAddr) -> Result<(OriginIo, SocketAddr), Fail> {
    let io = TcpStream::connect(address).await.map_err(|error| Fail::of_connect(&error))?;
    // What is written is written whole, so waiting for more only costs time; a socket that refuses the option still works.
    let _ = io.set_nodelay(true);
    let local = io.local_addr().map_err(|error| Fail::of_connect(&error))?;
    Ok((OriginIo::Plain(io), local))
}

/// What carries one request to an endpoint, on a connection that is new or being made; see [`dial`] for `timer`.
pub(crate) async fn connect(
    cluster: &Arc<Cluster>,
    endpoint: &Rc<EndpointState>,
    protocol: Protocol,
    (timer, own): (&Timer, Own<'_>),
    times: (u64, u64),
) -> Result<Back, Fail> {
    match protocol {
        Protocol::Http1 => {
            let Dialled { io, local, permit } =
                dial(cluster, endpoint.address, (timer, own.1), times).await?;
            Ok(Back::Http1(Box::new(OriginConn::new(io, local, permit, own.1.clone()))))
        }
        Protocol::Http2 => {
            timer.arm(times.1);
            join(cluster, endpoint, timer, own).await
        }
    }
}

/// A shared connection that is being made. Requests wait for it together, and it is made even if the first of them goes
/// away.
#[derive(Default)]
pub(crate) struct Dial {
    outcome: RefCell<Option<Result<Rc<Shared>, Fail>>>,
    done: Notify,
}

/// A stream of a shared connection, one that is being made already if there is one with room.
async fn join(
    cluster: &Arc<Cluster>,
    endpoint: &Rc<EndpointState>,
    timer: &Timer,
    own: Own<'_>,
) -> Result<Back, Fail> {
    loop {
        let dial = match endpoint.dialing(cluster) {
            Some(dial) => dial,
            None => start(cluster, endpoint, own),
        };
        let outcome = loop {
            if let Some(outcome) = &*dial.outcome.borrow() {
                break outcome.clone();
            }
            tokio::select! {
                biased;
                () = dial.done.notified() => {}
                () = timer.expired() => return Err(Fail::Timeout),
            }
        };
        let shared = outcome?;
        if !shared.is_spent() && shared.has_room() {
            return Ok(Back::Http2(shared.open()));
        }
        if let Some(back) = endpoint.take(Protocol::Http2) {
            return Ok(back);
        }
    }
}

fn start(cluster: &Arc<Cluster>, endpoint: &Rc<EndpointState>, (clock, counters): Own<'_>) -> Rc<Dial> {
    let made = Rc::new(Dial::default());
    let (cluster, clock, counters) = (cluster.clone(), clock.clone(), counters.clone());
    let (endpoint, waited) = (endpoint.clone(), made.clone());
    endpoint.begin_dial(&made);
    tokio::task::spawn_local(async move {
        let timer = clock.timer();
        let times = (clock.now_ms(), u64::MAX);
        let outcome = match dial(&cluster, endpoint.address, (&timer, &counters), times).await {
            Ok(dialled) => Shared::begin(dialled, &cluster, (&clock, &counters)).await,
            Err(fail) => Err(fail),
        };
        endpoint.dialed(&made, outcome.as_ref().ok());
        *made.outcome.borrow_mut() = Some(outcome);
        made.done.notify_waiters();
    });
    waited
}
