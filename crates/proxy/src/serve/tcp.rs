//! Connections that are not looked into: to an endpoint and back, as they are.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::Connection;
use crate::address::Address;
use crate::clock::Timer;
use crate::exchange::front::ConnInfo;
use crate::faults::{self, Point};
use crate::limits::cluster::Place;
use crate::observe::{ClusterStat, Flags, Record, ServiceId, TcpCounts, WorkloadId};
use crate::stream::Stream;
use crate::stream::peered::Peered;
use crate::stream::prefixed::Prefixed;
use crate::stream::relay::{Broken, Way};
use crate::table::clusters::Cluster;
use crate::table::tcp::{TcpDestination, TcpRoute};
use crate::upstream::counted::Counted;
use crate::upstream::fail::Fail;
use crate::upstream::io::OriginIo;
use crate::upstream::{EndpointState, InFlight, connect};
use crate::worker::Worker;

/// A moment that never comes.
const NEVER: u64 = u64::MAX;

/// A client's stream that can be broken off, so that its peer does not take what it got for the whole.
pub(crate) trait Cut: Stream {
    /// The socket will be reset when it is dropped.
    fn cut(&self);
}

impl Cut for TcpStream {
    fn cut(&self) {
        // Where it cannot be asked for, an ordinary end must do.
        let _ = socket2::SockRef::from(self).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl Cut for Box<TlsStream<TcpStream>> {
    fn cut(&self) {
        self.get_ref().0.cut();
    }
}

impl<S: Cut> Cut for Peered<S> {
    fn cut(&self) {
        self.get_ref().cut();
    }
}

impl<S: Cut> Cut for Prefixed<S> {
    fn cut(&self) {
        self.get_ref().cut();
    }
}

/// The task of a connection. `first`: what was read of it already.
///
/// `route` is of the tables that are in force. What it leads to is looked up before anything else runs: in the next tables
/// it may not be there.
pub(crate) fn spawn<S: Cut>(conn: Connection, io: S, info: ConnInfo, route: Arc<TcpRoute>, first: Vec<u8>) {
    let worker = conn.worker.clone();
    let mut session = Session::begin(worker.clone(), info);
    let Some(destination) = route.pick(worker.random_u32()) else { return };
    let chosen = choose(&mut session, destination);
    tokio::task::spawn_local(Box::pin(serve(conn, (io, first), session, route, chosen)));
}

/// Connects to an endpoint and passes bytes both ways until both sides have said their last.
async fn serve<S: Cut>(
    conn: Connection,
    client: (S, Vec<u8>),
    mut session: Session,
    route: Arc<TcpRoute>,
    chosen: Result<Chosen, Fail>,
) {
    let timer = conn.worker.clock.timer();
    let reached = match chosen {
        Ok(chosen) => reach(&mut session, chosen, &timer).await,
        Err(fail) => Err(fail),
    };
    match reached {
        Ok(origin) => pass(conn, client, origin, &mut session, (&route, &timer)).await,
        Err(fail) => session.flags = flags(&fail),
    }
}

/// Where a connection is to go.
struct Chosen {
    cluster: Arc<Cluster>,
    endpoint: Rc<EndpointState>,
    in_flight: InFlight,
}

fn choose(session: &mut Session, destination: &TcpDestination) -> Result<Chosen, Fail> {
    let worker = session.worker.clone();
    session.cluster = destination.cluster_name.clone();
    // The tables are not held on to: the connection may outlive many generations.
    let cluster = worker.tables().cluster(destination.cluster).cloned().ok_or(Fail::NoCluster)?;
    session.service = cluster.service;
    let state =
        worker.upstreams.named(destination.cluster, &destination.cluster_name).ok_or(Fail::NoCluster)?;
    let endpoint = state.pick_anew(&mut || worker.random_u32(), &[], None).ok_or_else(|| {
        worker.counters.cluster_add(cluster.series, ClusterStat::CxNoneHealthy, 1);
        Fail::NoEndpoint
    })?;
    session.upstream_host = Some(endpoint.address);
    session.workload = endpoint.workload.get();
    let in_flight = InFlight::new(&endpoint);
    Ok(Chosen { cluster, endpoint, in_flight })
}

/// A connection to an endpoint.
struct Origin {
    io: OriginIo,
    _in_flight: InFlight,
    counted: Counted,
}

async fn reach(session: &mut Session, chosen: Chosen, timer: &Timer) -> Result<Origin, Fail> {
    let Chosen { cluster, endpoint, mut in_flight } = chosen;
    let worker = session.worker.clone();
    let times = (worker.clock.now_ms(), NEVER);
    let manner = connect::Manner::bytes(&cluster, (session.info.remote, session.info.local));
    let own = (timer, &worker.counters);
    let count = |stat| worker.counters.cluster_add(cluster.series, stat, 1);
    let place = Place::take(cluster.limits.as_ref()).ok_or_else(|| {
        count(ClusterStat::CxOverflow);
        Fail::Overflow
    })?;
    count(ClusterStat::RqPendingTotal);
    let dialled = connect::dial(&cluster, &endpoint, &manner, own, times, place).await;
    let connect::Dialled { io, local, mut counted } = dialled.inspect_err(|fail| {
        count(ClusterStat::RqPendingFailure);
        endpoint.failed(fail);
    })?;
    session.upstream_local = local;
    counted.made(None);
    in_flight.sent(&worker.counters, cluster.series);
    Ok(Origin { io, _in_flight: in_flight, counted })
}

/// Of one attempt there is one: Envoy says so with `URX`.
fn flags(fail: &Fail) -> Flags {
    match fail {
        Fail::NoCluster => Flags::NC,
        Fail::NoEndpoint => Flags::UH,
        Fail::Overflow => Flags::UO,
        _ => Flags::UF | Flags::URX,
    }
}

/// The two sides of a connection that is not looked into.
struct Sides<S: Cut> {
    client: S,
    origin: Origin,
}

impl<S: Cut> Drop for Sides<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.client.cut();
            self.origin.io.socket().cut();
        }
    }
}

/// Bytes both ways. Each side may end its own direction first; when one breaks off, so does the other.
async fn pass<S: Cut>(
    conn: Connection,
    (client, first): (S, Vec<u8>),
    origin: Origin,
    session: &mut Session,
    (route, timer): (&TcpRoute, &Timer),
) {
    let mut sides = Sides { client, origin };
    let Sides { client, origin } = &mut sides;
    let worker = session.worker.clone();
    let counts = session.open();
    let mut clocks = Clocks::begin(&worker, route);
    let (mut up, mut down) = (Way::after(first), Way::default());
    let ended = poll_fn(|cx| {
        faults::strike(Point::Relay, || format!("{:?}", session.upstream_host));
        let sent = up.poll(cx, client, &mut origin.io, &worker.buffers);
        let answered = down.poll(cx, &mut origin.io, client, &worker.buffers);
        counts.received(up.read - session.received);
        counts.sent(down.written - session.sent);
        let moved = (up.read, down.written) != (session.received, session.sent);
        (session.received, session.sent) = (up.read, down.written);
        match (sent, answered) {
            (Poll::Ready(Err(broken)), _) => Poll::Ready(End::Broken(broken == Broken::Source)),
            (_, Poll::Ready(Err(broken))) => Poll::Ready(End::Broken(broken == Broken::Sink)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Closed),
            _ => clocks.poll(cx, &conn, timer, moved),
        }
    })
    .await;
    match ended {
        End::Closed => origin.counted.by_origin(),
        End::Broken(by_client) => {
            if !by_client {
                origin.counted.by_origin();
            }
            // A side that was cut off must not take what it got for the whole.
            if by_client { origin.io.socket().cut() } else { client.cut() }
        }
        End::TooOld => session.flags = Flags::DT,
        // Envoy has no flag for it.
        End::Silent | End::Leaving => {}
    }
}

/// How a connection ended.
enum End {
    Closed,
    /// The client, or else the origin, broke off.
    Broken(bool),
    Silent,
    /// It has reached its age.
    TooOld,
    /// Its listener has gone.
    Leaving,
}

/// What can end a connection but its two sides.
struct Clocks {
    idle_ms: u64,
    silent_at: u64,
    old_at: u64,
    leaving_at: u64,
}

impl Clocks {
    fn begin(worker: &Worker, route: &TcpRoute) -> Clocks {
        let now_ms = worker.clock.now_ms();
        let after = |ms: Option<u64>| ms.map_or(NEVER, |ms| now_ms.saturating_add(ms));
        Clocks {
            idle_ms: route.idle_timeout_ms.unwrap_or(NEVER),
            // Set in the first poll.
            silent_at: 0,
            old_at: after(route.max_duration_ms),
            leaving_at: NEVER,
        }
    }

    /// Whether the time is over. `moved`: a byte has passed since the last call.
    fn poll(&mut self, cx: &mut Context<'_>, conn: &Connection, timer: &Timer, moved: bool) -> Poll<End> {
        let clock = &conn.worker.clock;
        let mut changed = moved || self.silent_at == 0;
        if changed {
            self.silent_at = clock.now_ms().saturating_add(self.idle_ms);
        }
        if conn.look(cx) {
            // It is another one if what had gone has come back meanwhile.
            self.leaving_at = conn.leave_ms.get();
            changed = true;
        }
        let first = self.silent_at.min(self.old_at).min(self.leaving_at);
        if changed {
            timer.arm(first);
        }
        if !timer.poll_fired(cx) {
            return Poll::Pending;
        }
        Poll::Ready(match first {
            at if at == self.old_at => End::TooOld,
            at if at == self.silent_at => End::Silent,
            _ => End::Leaving,
        })
    }
}

/// What the log and the metrics will say of a connection. Dropping it writes them.
struct Session {
    worker: Rc<Worker>,
    info: ConnInfo,
    start_us: u64,
    flags: Flags,
    cluster: Arc<str>,
    service: ServiceId,
    workload: WorkloadId,
    upstream_host: Option<Address>,
    upstream_local: Option<SocketAddr>,
    received: u64,
    sent: u64,
    opened: bool,
}

impl Session {
    fn begin(worker: Rc<Worker>, info: ConnInfo) -> Session {
        let start_us = worker.clock.now_us();
        Session {
            worker,
            info,
            start_us,
            flags: Flags::NONE,
            cluster: "".into(),
            service: ServiceId::default(),
            workload: WorkloadId::default(),
            upstream_host: None,
            upstream_local: None,
            received: 0,
            sent: 0,
            opened: false,
        }
    }

    fn counts(&self) -> TcpCounts {
        self.worker.counters.tcp(self.service, self.workload, self.flags)
    }

    /// Both sides are there.
    fn open(&mut self) -> TcpCounts {
        self.opened = true;
        let counts = self.counts();
        counts.opened();
        counts
    }

    fn write(&self) {
        let counts = self.counts();
        if !self.opened {
            // It is seen only now, with what became of it.
            counts.opened();
        }
        counts.closed();
        let clock = &self.worker.clock;
        let record = Record {
            flags: self.flags,
            bytes_received: self.received,
            bytes_sent: self.sent,
            duration_us: clock.now_us().saturating_sub(self.start_us),
            upstream_host: self.upstream_host,
            upstream_local: self.upstream_local,
            cluster: &self.cluster,
            sni: self.info.server_name.as_deref(),
            tls_version: self.info.tls_version,
            tls_cipher: self.info.tls_cipher,
            downstream_direct_remote: self.info.direct,
            ..Record::new(clock.epoch_ms(self.start_us), self.info.local, self.info.remote)
        };
        self.worker.log(self.info.listener, &record);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.write();
    }
}
