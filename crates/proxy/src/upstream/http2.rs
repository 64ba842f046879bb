//! HTTP/2 behind: connections that the requests of one worker share, and their streams.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use limen_wire::h2::client::{
    self, Answer, ClientConnection, ClientLimits, Pings, RecvBody, Requests, SendBody,
};
use limen_wire::h2::{H2Error, ResetReason};
use limen_wire::head::{BodyLength, Fields, Known, RequestHead, ResponseHead};
use sha1::{Digest, Sha1};

use super::EndpointState;
use super::back::Deaf;
use super::connect::{Dialled, Manner, Opening};
use super::counted::Counted;
use super::fail::Fail;
use super::io::OriginIo;
use super::pool::GENEROUS;
use crate::address::Address;
use crate::clock::{Clock, Timer};
use crate::faults::{self, Point};
use crate::limits::cluster::ClusterLimits;
use crate::observe::{ClusterStat, WorkerCounters};
use crate::stream::inbound::Excess;
use crate::table::clusters::{Cluster, KeepAlive, Protocol};
use crate::tasks::contained;

/// One connection, for as long as anybody holds it: the pool, or a stream. When nobody does, its task closes it, with a
/// GOAWAY. Out of the pool it takes no new stream, and those that are under way finish.
pub(crate) struct Shared {
    requests: Requests,
    state: Rc<State>,
    clock: Rc<Clock>,
    /// Streams that the configuration allows at a time.
    max_streams: u32,
    /// Requests that the configuration allows in all.
    max_requests: Option<u32>,
    /// Millisecond from which on it takes no new request.
    expires_ms: u64,
    /// The gateway's own address on it, if it has one.
    local: Option<SocketAddr>,
    /// How it was begun.
    opening: Opening,
    /// Whom it leads to: there requests wait for a stream.
    endpoint: Weak<EndpointState>,
    /// What it counts against; `None`: nobody waits for anything.
    limits: Option<Arc<ClusterLimits>>,
}

/// What its task and its users both know of a connection.
#[derive(Default)]
struct State {
    /// The connection has ended.
    ended: Cell<bool>,
    /// Streams open.
    active: Cell<u32>,
    /// Requests begun.
    begun: Cell<u32>,
    /// Streams that have ended while somebody waited.
    wanted: Cell<u32>,
    /// Millisecond in which the last stream ended.
    idle_since: Cell<u64>,
    /// Who waits for what the origin says first.
    curious: RefCell<Vec<Waker>>,
}

impl State {
    /// Something may have been heard.
    fn tell(&self) {
        self.curious.take().into_iter().for_each(Waker::wake);
    }
}

impl Shared {
    /// Begins HTTP/2 on a connected stream, and starts the task that moves it.
    pub(crate) async fn begin(
        Dialled { io, local, mut counted }: Dialled,
        manner: &Manner,
        (cluster, endpoint): (&Cluster, &Rc<EndpointState>),
        (counters, clock): (&Rc<WorkerCounters>, &Rc<Clock>),
    ) -> Result<Rc<Shared>, Fail> {
        let limits = ClientLimits {
            max_header_list: u32::try_from(cluster.heads.max_head_bytes).unwrap_or(u32::MAX),
            max_fields: cluster.heads.max_fields,
            ..ClientLimits::default()
        };
        let (requests, connection) = client::connect(io, &limits).await.map_err(|error| fail(&error))?;
        let now_ms = clock.now_ms();
        let state = Rc::new(State { idle_since: Cell::new(now_ms), ..State::default() });
        counted.made(Some(Protocol::Http2));
        let keep_alive = cluster.keep_alive.map(|wanted| (wanted, clock.timer()));
        let driven = (Ending(state.clone()), endpoint.address, cluster.max_requests);
        contained(counters, drive(connection, driven, keep_alive, (counted, clock.clone())));
        Ok(Rc::new(Shared {
            requests,
            state,
            clock: clock.clone(),
            max_streams: cluster.max_streams.unwrap_or(u32::MAX),
            max_requests: cluster.max_requests,
            expires_ms: cluster.max_lifetime_ms.map_or(u64::MAX, |lifetime| now_ms.saturating_add(lifetime)),
            local,
            opening: manner.opening.clone(),
            endpoint: Rc::downgrade(endpoint),
            limits: cluster.limits.clone(),
        }))
    }

    /// Whether it can never again carry a request.
    pub(crate) fn is_spent(&self) -> bool {
        self.state.ended.get()
            || self.expires_ms <= self.clock.recent_ms()
            || self.max_requests.is_some_and(|most| self.state.begun.get() >= most)
            || !self.requests.is_open()
    }

    /// Whether its origin, or an error, has ended it.
    pub(crate) fn has_ended(&self) -> bool {
        self.state.ended.get()
    }

    /// Whether it has carried no request yet.
    pub(crate) fn is_unused(&self) -> bool {
        self.state.begun.get() == 0
    }

    /// How it was begun.
    pub(crate) fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Whether another stream may be opened now.
    pub(crate) fn has_room(&self) -> bool {
        self.has_room_beside(0)
    }

    /// Whether another stream may be opened now and so many after it.
    pub(crate) fn has_room_beside(&self, others: usize) -> bool {
        let most = self.requests.max_streams().min(self.max_streams as usize);
        (self.state.active.get() as usize).saturating_add(others) < most
    }

    /// Whether it carries no stream.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.active.get() == 0
    }

    /// Whether it has carried no stream since that millisecond.
    pub(crate) fn idle_before(&self, ms: u64) -> bool {
        self.is_idle() && self.state.idle_since.get() < ms
    }

    /// A place for one request.
    pub(crate) fn open(self: &Rc<Shared>) -> Box<Http2> {
        let state = &self.state;
        state.active.set(state.active.get() + 1);
        state.begun.set(state.begun.get().saturating_add(1));
        Box::new(Http2 {
            first: state.begun.get() == 1,
            shared: self.clone(),
            answer: None,
            send: None,
            body: None,
            piece: Bytes::new(),
            trailers: None,
            accept: None,
        })
    }

    /// Ready with whether it carries tunnels, once the origin has said it or can no longer do so.
    fn poll_takes_tunnels(&self, cx: &Context<'_>) -> Poll<bool> {
        match self.requests.takes_tunnels() {
            _ if self.state.ended.get() => Poll::Ready(false),
            Some(takes) => Poll::Ready(takes),
            None => {
                self.state.curious.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// A stream has ended.
    fn left(self: &Rc<Shared>) {
        let state = &self.state;
        state.active.set(state.active.get().saturating_sub(1));
        state.idle_since.set(self.clock.recent_ms());
        if self.is_wanted()
            && let Some(endpoint) = self.endpoint.upgrade()
        {
            state.wanted.set(state.wanted.get().saturating_add(1));
            if state.wanted.get() < GENEROUS {
                endpoint.seats.give_streams(self, 0);
            }
            if state.wanted.get() >= GENEROUS || self.is_idle() {
                endpoint.let_go(self);
            }
        }
    }

    /// It has been made, for so many requests.
    pub(super) fn made(self: &Rc<Shared>, for_requests: usize) {
        if self.is_wanted()
            && let Some(endpoint) = self.endpoint.upgrade()
        {
            endpoint.seats.give_streams(self, for_requests);
            if for_requests == 0 && self.is_idle() {
                endpoint.let_go(self);
            }
        }
    }

    /// The origin has said how many streams it allows.
    fn heard(self: &Rc<Shared>) {
        if self.is_wanted()
            && let Some(endpoint) = self.endpoint.upgrade()
        {
            endpoint.seats.give_streams(self, 0);
        }
    }

    /// Does anybody, on any worker, wait for it?
    fn is_wanted(&self) -> bool {
        self.limits.as_ref().is_some_and(|limits| limits.wanted())
    }
}

/// Held by who moves a connection: however that ends, it carries nothing any more.
struct Ending(Rc<State>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ended.set(true);
        self.0.tell();
    }
}

/// Moves a connection until it ends.
async fn drive(
    mut connection: ClientConnection<OriginIo>,
    (ending, address, max_requests): (Ending, Address, Option<u32>),
    keep_alive: Option<(KeepAlive, Timer)>,
    (counted, clock): (Counted, Rc<Clock>),
) {
    let pings = keep_alive.and_then(|(wanted, timer)| Some((wanted, timer, connection.pings()?)));
    let state = &ending.0;
    let moved = poll_fn(|cx| {
        faults::strike(Point::Shared, || format!("{address:?}"));
        connection.at(clock.recent_ms());
        let over = Pin::new(&mut connection).poll(cx).map(drop);
        state.tell();
        over
    });
    match pings {
        None => moved.await,
        Some((wanted, timer, pings)) => tokio::select! {
            () = moved => {}
            () = watch(wanted, timer, pings) => {}
        },
    }
    // Its task no longer reads.
    drop(connection);
    state.ended.set(true);
    state.tell();
    if max_requests.is_some_and(|most| state.begun.get() >= most) {
        counted.count(ClusterStat::CxMaxRequests);
    }
    // The gateway ends one by letting go of it; its keep-alive does so as well, for an origin that is not there.
    if Rc::strong_count(state) > 1 {
        counted.by_origin();
    }
    if state.active.get() > 0 {
        counted.with_request();
    }
}

/// Asks the origin from time to time whether it is there; ends when it is not.
async fn watch(wanted: KeepAlive, timer: Timer, mut pings: Pings) {
    loop {
        timer.arm_in(wanted.interval_ms);
        timer.expired().await;
        if pings.ask().is_err() {
            return;
        }
        timer.arm_in(wanted.timeout_ms);
        tokio::select! {
            biased;
            answered = std::future::poll_fn(|cx| pings.poll_answer(cx)) => {
                if answered.is_err() {
                    return;
                }
            }
            () = timer.expired() => return,
        }
    }
}

/// One request on a shared connection.
pub(crate) struct Http2 {
    shared: Rc<Shared>,
    first: bool,
    answer: Option<Answer>,
    /// Where the request's body goes, until its end.
    send: Option<SendBody>,
    /// Where the response's body comes from, until its end.
    body: Option<RecvBody>,
    piece: Bytes,
    trailers: Option<Fields>,
    /// Of a request for a tunnel: what a client of HTTP/1.1 takes for the origin's consent.
    accept: Option<Box<str>>,
}

/// What a server of WebSocket appends to a client's key (RFC 6455 1.3).
const WEBSOCKET: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The key of the WebSocket that a request asks for, if it could go over a stream: nothing of it is a body.
pub(super) fn websocket_key(head: &RequestHead) -> Option<&[u8]> {
    let asked = head.upgrade_protocol()?.eq_ignore_ascii_case(b"websocket");
    let plain = head.method() == b"GET" && head.body == BodyLength::None;
    head.fields.get(b"sec-websocket-key").filter(|_| asked && plain)
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.shared.left();
    }
}

impl Http2 {
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.shared.local
    }

    /// Whether its connection carried no request before.
    pub(crate) fn is_first(&self) -> bool {
        self.first
    }

    /// Ready with whether it could be a tunnel.
    pub(super) fn poll_takes_tunnels(&self, cx: &Context<'_>) -> Poll<bool> {
        self.shared.poll_takes_tunnels(cx)
    }

    /// A request for another protocol becomes one for a tunnel: its answer then is a 101 or none.
    pub(crate) fn begin(&mut self, head: &RequestHead, https: bool) -> Result<(), Fail> {
        self.accept = websocket_key(head).map(|key| {
            let digest = Sha1::new().chain_update(key).chain_update(WEBSOCKET).finalize();
            STANDARD.encode(digest).into()
        });
        let end = head.body == BodyLength::None && head.upgrade.is_none();
        let mut requests = self.shared.requests.clone();
        let (answer, send) = requests.send(head, https, end).map_err(|error| match error {
            H2Error::Head(_) => Fail::Unsayable,
            _ => Fail::Closed { sent: false },
        })?;
        self.answer = Some(answer);
        self.send = (!end).then_some(send);
        Ok(())
    }

    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Deaf>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Err(Deaf)) };
        let room = ready!(send.poll_capacity(data.len(), cx)).map_err(|_| Deaf)?;
        let n = room.min(data.len());
        let piece = Bytes::copy_from_slice(data.get(..n).unwrap_or_default());
        send.send_data(piece, false).map_err(|_| Deaf)?;
        Poll::Ready(Ok(n))
    }

    pub(crate) fn end(&mut self, trailers: Option<&Fields>) {
        if let Some(mut send) = self.send.take() {
            // A stream that has ended says so where the answer is read.
            let _ = match trailers.filter(|trailers| !trailers.is_empty()) {
                Some(trailers) => send.send_trailers(trailers),
                None => send.send_data(Bytes::new(), true),
            };
        }
    }

    /// Of a tunnel: says that nothing more follows.
    pub(crate) fn close(&mut self) {
        self.end(None);
    }

    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), Fail>> {
        let Some(answer) = &mut self.answer else {
            return Poll::Ready(Err(Fail::Closed { sent: false }));
        };
        if let Some(body) = ready!(answer.poll_head(cx, head)).map_err(|error| fail(&error))? {
            self.body = (head.body != BodyLength::None).then_some(body);
        }
        if self.first {
            self.shared.heard();
        }
        if head.status == 101 {
            // HTTP/2 has none (RFC 9113 8.6).
            return Poll::Ready(Err(Fail::Garbage));
        }
        if (200..300).contains(&head.status)
            && let Some(accept) = self.accept.take()
        {
            // What HTTP/1.1 would have said, for clients that speak it.
            (head.status, head.body, head.keep_alive) = (101, BodyLength::None, false);
            head.fields.add_known(Known::Upgrade, b"upgrade", b"websocket");
            head.fields.set(b"sec-websocket-accept", accept.as_bytes());
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Fail>> {
        loop {
            if !self.piece.is_empty() {
                return Poll::Ready(Ok(true));
            }
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(false)) };
            match ready!(body.poll_data(cx)) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Poll::Ready(Err(fail(&error))),
                None => {
                    self.trailers = ready!(body.poll_trailers(cx)).map_err(|error| fail(&error))?;
                    self.body = None;
                }
            }
        }
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.piece
    }

    pub(crate) fn is_last(&self) -> bool {
        self.body.as_ref().is_none_or(RecvBody::is_end_stream)
    }

    /// The origin may send as much again as the client has taken.
    pub(crate) fn consume(&mut self, n: usize) {
        let n = n.min(self.piece.len());
        self.piece.advance(n);
        if let Some(body) = &mut self.body {
            body.release(n);
        }
    }

    pub(crate) fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref()
    }
}

/// What a stream's error means for its request.
fn fail(error: &H2Error) -> Fail {
    match error {
        H2Error::Reset { reason: ResetReason::REFUSED_STREAM, .. } => Fail::Refused,
        // The codec ends only those streams with it that the origin says it has not looked at (RFC 9113 6.8).
        H2Error::GoAway { remote: true, .. } => Fail::Refused,
        H2Error::Reset { remote: true, .. } => Fail::Reset,
        H2Error::TooLarge => Fail::TooMuch(Excess::Bytes),
        H2Error::TooManyFields => Fail::TooMuch(Excess::Fields),
        H2Error::Io(_) | H2Error::Closed => Fail::Closed { sent: true },
        H2Error::Reset { .. } | H2Error::GoAway { .. } | H2Error::Head(_) | H2Error::Misuse(_) => {
            Fail::Garbage
        }
    }
}
