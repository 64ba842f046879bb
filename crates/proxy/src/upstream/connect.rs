//! New connections to origins.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;

use super::fail::Fail;
use super::origin::OriginConn;
use crate::clock::Timer;
use crate::limits::Permit;
use crate::observe::{Counter, WorkerCounters};
use crate::table::clusters::Cluster;

/// A connection that nothing was said on yet.
pub(crate) struct Dialled {
    pub(crate) io: TcpStream,
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
        connected = TcpStream::connect(address) => connected,
        () = timer.expired() => {
            counters.add(Counter::UpstreamConnectErrors, 1);
            return Err(if until_ms < connect_by { Fail::Timeout } else { Fail::ConnectTimeout });
        }
    };
    let io = connected.map_err(|error| {
        counters.add(Counter::UpstreamConnectErrors, 1);
        Fail::Connect(error)
    })?;
    // What is written is written whole, so waiting for more only costs time; a socket that refuses the option still works.
    let _ = io.set_nodelay(true);
    let local = io.local_addr().map_err(Fail::Connect)?;
    Ok(Dialled { io, local, permit })
}

/// A connection for HTTP; see [`dial`].
pub(crate) async fn connect(
    cluster: &Cluster,
    address: SocketAddr,
    (timer, counters): (&Timer, &Rc<WorkerCounters>),
    times: (u64, u64),
) -> Result<Box<OriginConn>, Fail> {
    let Dialled { io, local, permit } = dial(cluster, address, (timer, counters), times).await?;
    Ok(Box::new(OriginConn::new(io, local, permit, counters.clone())))
}
