//! Mirroring: a share of a rule's requests is sent to other clusters as well. It is sent and forgotten: the answer is
//! read to its end and dropped, and the access log and the request metrics do not know of it.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use limen_wire::head::{BodyLength, Fields, Known, MethodKind, RequestHead, ResponseHead};

use super::forward;
use super::front::{ConnInfo, Front, FrontFail};
use super::live::Live;
use crate::faults::{self, Point};
use crate::filter::peer_metadata::{METADATA, METADATA_ID};
use crate::observe::Counter;
use crate::table::routes::{Action, Forward, Rule};
use crate::tasks::contained;
use crate::worker::shadow::{Copied, Shadow};
use crate::worker::{Held, Worker};

/// Fields that are written anew for each destination.
const OF_ITS_OWN: [&[u8]; 4] =
    [b"x-envoy-attempt-count", b"x-envoy-expected-rq-timeout-ms", METADATA, METADATA_ID];

/// What is copied of a request while it is sent.
pub(crate) struct Copies {
    tables: Rc<Held>,
    /// One for each mirror that the request falls on.
    rules: Vec<Arc<Rule>>,
    body: Copied,
}

/// Draws the mirrors that a request falls on; `None`: none. A connection that carries something else afterwards is not
/// mirrored.
pub(crate) fn begin<F: Front>(
    live: &Live<'_, '_, F>,
    tables: &Rc<Held>,
    to: &Forward,
) -> Option<Box<Copies>> {
    let request = &live.exchange.request;
    if request.method_kind == MethodKind::Connect || request.upgrade.is_some() {
        return None;
    }
    let drawn = to.mirrors.iter().filter(|mirror| mirror.share.holds(live.worker.random_u32()));
    let rules: Vec<_> = drawn.map(|mirror| mirror.rule.clone()).collect();
    if rules.is_empty() {
        return None;
    }
    let mut body = live.worker.shadows.body();
    // What has been read of the body before it is sent.
    if !body.push(&live.exchange.replay) {
        live.worker.counters.add(Counter::MirrorsDropped, rules.len() as u64);
        return None;
    }
    Some(Box::new(Copies { tables: tables.clone(), rules, body }))
}

/// A piece of the request's body is being sent.
pub(super) fn copy<F: Front>(live: &mut Live<'_, '_, F>, n: usize) {
    if let Some(copies) = &mut live.copies
        && !copies.body.push(live.front.body().get(..n).unwrap_or_default())
    {
        live.worker.counters.add(Counter::MirrorsDropped, copies.rules.len() as u64);
        live.copies = None;
    }
}

/// All of the request has been read: its copies can go. Its head is as the origin sees it.
pub(super) fn complete<F: Front>(live: &mut Live<'_, '_, F>) {
    let Some(copies) = live.copies.take() else { return };
    let Copies { tables, rules, body } = *copies;
    let (worker, body) = (live.worker, Rc::new(body));
    for rule in rules {
        let mut exchange = worker.take_exchange();
        let head = &mut exchange.request;
        head.clone_from(&live.exchange.request);
        // It has attempts of its own to count, and the gateway introduces itself anew.
        head.fields.retain(|known, name, _| known != Known::XEnvoy || !OF_ITS_OWN.contains(&name));
        head.expect_continue = false;
        head.body = match body.bytes().len() as u64 {
            0 => BodyLength::None,
            length => BodyLength::Known(length),
        };
        let left = worker.shadows.leave(Shadow {
            tables: tables.clone(),
            rule,
            exchange,
            body: body.clone(),
            listener: (live.conn.listener, live.conn.counted),
            local: live.conn.local,
            remote: live.conn.remote,
            https: live.conn.https,
        });
        worker.count(if left { Counter::Mirrors } else { Counter::MirrorsDropped });
    }
}

/// Sends the copies that requests leave, for as long as the worker lives.
pub(crate) async fn serve(worker: Rc<Worker>) {
    loop {
        let (shadow, under_way) = worker.shadows.next().await;
        let worker = worker.clone();
        let counters = worker.counters.clone();
        contained(&counters, async move {
            send(&worker, shadow).await;
            drop(under_way);
        });
    }
}

async fn send(worker: &Worker, shadow: Shadow) {
    let Shadow { tables, rule, mut exchange, body, listener, local, remote, https } = shadow;
    let Action::Forward(to) = &rule.action else { return };
    let conn = ConnInfo { https, ..ConnInfo::clear(listener, local, remote) };
    let mut front = Nobody { body, read: 0 };
    let mut live = Live::begin(worker, &conn, &mut front, &mut exchange);
    faults::strike(Point::Mirror, || live.path());
    if let Some(listener) = tables.listener(listener.0) {
        live.note.http = &listener.http;
    }
    let destination = forward::choose(&mut live, to);
    // Whatever comes of it, there is nobody to tell.
    let _ = forward::run(&mut live, &tables, &rule, (to, destination)).await;
    drop(live);
    worker.give_exchange(exchange);
}

/// The client of a copy: it has a body to send, and takes every answer at once.
struct Nobody {
    body: Rc<Copied>,
    read: usize,
}

impl Front for Nobody {
    fn poll_body(&mut self, _cx: &mut Context<'_>) -> Poll<Result<bool, FrontFail>> {
        Poll::Ready(Ok(!self.body().is_empty()))
    }

    fn body(&self) -> &[u8] {
        self.body.bytes().get(self.read..).unwrap_or_default()
    }

    fn consume(&mut self, n: usize) {
        self.read += n;
    }

    fn trailers(&self) -> Option<&Fields> {
        None
    }

    fn begin(&mut self, _head: &ResponseHead, _end: bool) -> Result<(), FrontFail> {
        Ok(())
    }

    fn poll_send(
        &mut self,
        _cx: &mut Context<'_>,
        data: &[u8],
        _last: bool,
    ) -> Poll<Result<usize, FrontFail>> {
        Poll::Ready(Ok(data.len()))
    }

    fn end(&mut self, _trailers: Option<&Fields>) -> Result<(), FrontFail> {
        Ok(())
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), FrontFail>> {
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {}

    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> bool {
        false
    }

    fn closes(&self, _request: &RequestHead) -> bool {
        false
    }

    fn is_recorded(&self) -> bool {
        false
    }
}
