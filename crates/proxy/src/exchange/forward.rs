//! Forwarding: pick, connect, send, read the head, decide on a retry; then stream the response.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use limen_wire::h1;
use limen_wire::head::BodyLength;

use super::apart::seldom;
use super::download::{Answered, respond};
use super::error::Error;
use super::front::Front;
use super::live::{Live, context};
use super::mirror;
use super::retry::{Attempts, Next};
use super::session;
use super::silence::Silence;
use super::upload::Upload;
use crate::address::Address;
use crate::clock::Timer;
use crate::filter::hash::{self, Ends};
use crate::filter::{forwarded, grpc_timeout, rewrite};
use crate::limits::cluster::Permit;
use crate::observe::limits::Limit;
use crate::observe::{ClusterStat, Counter};
use crate::table::clusters::Cluster;
use crate::table::listeners::Tables;
use crate::table::routes::{Destination, Forward, Instead, Rewrite, Rule};
use crate::upstream::back::Back;
use crate::upstream::connect::Manner;
use crate::upstream::fail::Fail;
use crate::upstream::pool::{self, Asking, Refused};
use crate::upstream::{EndpointState, InFlight};
use crate::worker::Worker;

/// Interim (1xx) responses that an origin may send before its answer.
const MAX_INTERIM: u32 = 16;
/// A moment that never comes.
const NEVER: u64 = u64::MAX;

/// The destination of a request: the one that its client's session is at, else one in proportion to the weights.
pub(crate) fn choose<'t, F: Front>(live: &mut Live<'_, '_, F>, to: &'t Forward) -> &'t Destination {
    let resumed = if to.resumes { session::resume(live, to) } else { None };
    resumed.unwrap_or_else(|| &to.destinations[to.pick(live.worker.random_u32())])
}

/// Sends the request where its rule says and the response back.
pub(crate) async fn run<'t, F: Front>(
    live: &mut Live<'_, 't, F>,
    tables: &'t Tables,
    rule: &'t Rule,
    (to, destination): (&'t Forward, &'t Destination),
) -> Result<(), Error> {
    let worker = live.worker;
    live.note.destination = Some(destination);
    let Some(cluster) = tables.cluster(destination.cluster) else {
        return Err(Error::no_cluster(to.no_cluster_status));
    };
    live.note.service = cluster.service;
    live.note.cluster = Some(cluster.series);
    let now_ms = || worker.clock.common_ms(worker.clock.recent_us());
    let permit = Permit::request(cluster.limits.as_ref(), now_ms);
    let _permit = permit.ok_or_else(|| overflow(worker, cluster))?;
    let mut retrying = None;
    if !to.hash.is_empty() {
        let ends = Ends { remote: live.note.client, local: live.conn.local };
        let exchange = &mut *live.exchange;
        exchange.hash = hash::hash(&to.hash, &exchange.request, ends, &mut exchange.cookies);
    }
    if worker.config.in_mesh && !(cluster.external && live.note.http.added.peer_metadata_in_mesh) {
        worker.introduction.add(&mut live.exchange.request);
    }
    prepare(live, rule, to, destination);
    if live.exchange.request.body == BodyLength::None {
        mirror::complete(live);
    }

    let timer = live.exchange.timer.clone();
    let timeout_ms = grpc_timeout::effective(&live.exchange.request, to.timeout_ms);
    // The time that was taken to decide on the request counts, too.
    let from_ms = match (&rule.external_auth, &destination.external_auth) {
        (None, None) => worker.clock.recent_ms(),
        _ => live.note.start_us / 1000,
    };
    let deadline_ms = timeout_ms.map_or(NEVER, |ms| from_ms.saturating_add(ms));
    let mut attempts = Attempts::new(&to.retry, live.exchange.request.method_kind);
    let mut upload = Upload::new(attempts.possible());
    let answered = loop {
        attempts.begun += 1;
        live.note.attempts = attempts.begun;
        if live.trace.is_some() {
            live.trace_attempt(rule);
        }
        let outcome = attempt(live, cluster, destination, &attempts, &mut upload, &timer, deadline_ms).await;
        let (next, answered) = match outcome {
            Ok(answered) => {
                let next = attempts.after_answer(&live.exchange.response, upload.keep);
                let next = within(next, &mut retrying, cluster, worker);
                if !matches!(next, Next::Again(_)) {
                    if attempts.begun > 1 && next == Next::Final {
                        worker.counters.cluster_add(cluster.series, ClusterStat::RqRetrySuccess, 1);
                    }
                    break (answered, next);
                }
                (next, Ok(answered))
            }
            Err(Stop::Attempt(fail)) => {
                count(&fail, cluster, worker);
                let next = attempts.after_failure(&fail, upload.keep);
                (within(next, &mut retrying, cluster, worker), Err(fail))
            }
            Err(Stop::Exchange(error)) => return Err(error),
        };
        // An answer that is not taken costs its connection: its body may be long.
        match (next, answered) {
            (Next::Again(at_most), _) => {
                seldom(pause(live, &timer, (&attempts, at_most), deadline_ms)).await?;
                upload.again();
            }
            (next, Err(fail)) => {
                return Err(Error::origin(fail, attempts.begun > 1).with(next.flags()));
            }
            (_, Ok(_)) => {}
        }
    };
    let (answered, next) = answered;
    let flags = next.flags();
    respond(live, rule, destination, cluster, answered, &mut upload, (&timer, deadline_ms), flags).await
}

/// A limit of the cluster is reached.
#[cold]
fn overflow(worker: &Worker, cluster: &Cluster) -> Error {
    worker.count(Counter::Overflows);
    worker.counters.cluster_add(cluster.series, ClusterStat::RqPendingOverflow, 1);
    Error::origin(Fail::Overflow, false)
}

/// Is there room for another attempt? It is `held` for as long as the attempt lasts.
#[cold]
fn within(next: Next, held: &mut Option<Permit>, cluster: &Cluster, worker: &Worker) -> Next {
    let count = |stat| worker.counters.cluster_add(cluster.series, stat, 1);
    *held = None;
    match next {
        Next::Again(_) => {}
        Next::Exhausted => {
            count(ClusterStat::RqRetryLimit);
            return next;
        }
        Next::Final | Next::Overflow => return next,
    }
    *held = Permit::retry(cluster.limits.as_ref(), worker.clock.common_ms(worker.clock.recent_us()));
    if held.is_none() {
        worker.count(Counter::RetryOverflows);
        count(ClusterStat::RqRetryOverflow);
        return Next::Overflow;
    }
    worker.count(Counter::Retries);
    count(ClusterStat::RqRetry);
    next
}

/// Counts what made an attempt fail, where that is not counted where it happens.
#[cold]
fn count(fail: &Fail, cluster: &Cluster, worker: &Worker) {
    if let Some(limit) = fail.limit() {
        worker.refused_for(limit);
    }
    let stat = match fail {
        Fail::NoEndpoint => ClusterStat::CxNoneHealthy,
        Fail::PerTryTimeout => ClusterStat::RqPerTryTimeout,
        Fail::Reset => ClusterStat::RqRxReset,
        _ => return,
    };
    worker.counters.cluster_add(cluster.series, stat, 1);
}

/// The head as the origin is to see it.
fn prepare<F: Front>(live: &mut Live<'_, '_, F>, rule: &Rule, to: &Forward, destination: &Destination) {
    let (worker, conn) = (live.worker, live.conn);
    let exchange = &mut *live.exchange;
    for ops in [&destination.request_headers, &rule.request_headers] {
        if !ops.is_empty() {
            let context = context(worker, conn, &exchange.request, &live.note);
            ops.apply_request(&mut exchange.request, &context, &mut exchange.headers);
        }
    }
    if !live.front.can_tunnel() {
        exchange.request.upgrade = None;
    }
    exchange.request.expect_continue &= live.front.passes_interim();
    let (own_host, own_path) = match destination.instead.as_deref() {
        Some(Instead::Rewrite { host, path }) => (host.as_ref(), path.as_ref()),
        _ => (None, None),
    };
    if let Some(host) = own_host.or(to.host_rewrite.as_ref()) {
        exchange.request.set_authority(host);
    }
    if live.note.http.added.forwarded_host && exchange.request.authority_span() != live.note.authority {
        forwarded::host_rewritten(&mut exchange.request, live.note.authority, &mut exchange.scratch);
    }
    match own_path.or(to.path_rewrite.as_deref()) {
        None => {}
        Some(Rewrite::Matched(rewrite)) => rewrite.apply(&mut exchange.request, &mut exchange.scratch),
        Some(Rewrite::Found(found)) => {
            rewrite::substitute(&mut exchange.request, &mut exchange.scratch, |path, to| {
                worker.substitute(found, path, to);
            });
        }
    }
}

/// Why an attempt ended without an answer.
enum Stop {
    /// The attempt failed; another may be made.
    Attempt(Fail),
    /// There is nobody to make another for.
    Exchange(Error),
}

impl Stop {
    /// An attempt at an endpoint that counts against it, if it is its fault.
    fn of(endpoint: &EndpointState, fail: Fail) -> Stop {
        endpoint.failed(&fail);
        Stop::Attempt(fail)
    }
}

/// One attempt: until the head of an answer is in `live.exchange.response`.
#[expect(clippy::too_many_arguments, reason = "the parts of an exchange that outlive an attempt")]
async fn attempt<F: Front>(
    live: &mut Live<'_, '_, F>,
    cluster: &Arc<Cluster>,
    destination: &Destination,
    attempts: &Attempts<'_>,
    upload: &mut Upload,
    timer: &Timer,
    deadline_ms: u64,
) -> Result<Answered, Stop> {
    let worker = live.worker;
    let state = worker.upstreams.cluster(destination).ok_or(Stop::Attempt(Fail::NoCluster))?;
    let avoid: &[_] =
        if attempts.policy().is_none_or(|policy| policy.avoid_previous) { &live.exchange.tried } else { &[] };
    let elsewhere = attempts.leaves().and_then(|count| {
        let tried = live.exchange.tried.get(..count).unwrap_or_default();
        state.pick_elsewhere(worker.random_u32(), tried)
    });
    let kept = live.exchange.session.filter(|_| attempts.begun == 1);
    let endpoint = kept
        .and_then(|kept| state.at(kept.address))
        .or(elsewhere)
        .or_else(|| state.pick(&mut || worker.random_u32(), avoid, live.exchange.hash))
        .ok_or(Stop::Attempt(Fail::NoEndpoint))?;
    live.note.upstream_host = Some(endpoint.address);
    live.note.workload = endpoint.workload.get();
    live.exchange.tried.push(endpoint.address);
    if live.exchange.request.authority().is_empty() {
        // An HTTP/1.0 client need not name a host; HTTP/1.1, which goes on from here, must.
        let host = match endpoint.address {
            Address::Inet(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        };
        live.exchange.request.set_authority(host.as_bytes());
    }
    let mut in_flight = InFlight::new(&endpoint);

    // The first attempt is made within the poll that took the request.
    let now_ms = if attempts.begun > 1 { worker.clock.now_ms() } else { worker.clock.recent_ms() };
    let request = &live.exchange.request;
    let manner = Manner::of(cluster, &endpoint, request, (live.note.client, live.conn.local));
    let tunnel = manner.is_shared() && request.upgrade.is_some();
    let ready = if tunnel { None } else { endpoint.take(&manner, now_ms) };
    let mut back = match ready {
        Some(back) => back,
        None => {
            let own = (&worker.clock, &worker.counters);
            let (endpoint, until_ms) = (&endpoint, deadline_ms);
            let asking = Asking { cluster, endpoint, manner, tunnel, timer, own, now_ms, until_ms };
            let make_room = || {
                state.make_room();
                worker.ask_for_room(destination.cluster);
            };
            let mut abandoned = None;
            let mut silence = live.silence();
            let mut gone = |cx: &mut Context<'_>| {
                abandoned = live.given_up(silence.as_deref_mut(), cx);
                abandoned.is_some()
            };
            // A shared connection may outlive the request that it is made for.
            worker.has_idle();
            let obtained = seldom(pool::obtain(asking, &make_room, &mut gone)).await;
            obtained.map_err(|refused| match refused {
                Refused::Fail(fail) => Stop::of(endpoint, fail),
                Refused::Gone => Stop::Exchange(abandoned.unwrap_or_else(Error::client_gone)),
            })?
        }
    };
    live.note.upstream_local = back.local();
    let connected_us = if back.is_new() { worker.clock.now_us() } else { worker.clock.recent_us() };
    let per_try = attempts.policy().and_then(|policy| policy.per_try_timeout_ms);
    let attempt_by = per_try.map_or(NEVER, |ms| (connected_us / 1000).saturating_add(ms));
    timer.arm(deadline_ms.min(attempt_by));
    let left_ms = (deadline_ms != NEVER).then(|| deadline_ms.saturating_sub(now_ms).max(1));
    let expected_ms = per_try.into_iter().chain(left_ms).min();
    let exchange = &mut *live.exchange;
    let said = (attempts.begun, expected_ms);
    forwarded::attempt(&mut exchange.request, &live.note.http.added, said, &mut exchange.scratch);

    back.begin(&exchange.request, live.conn.https, &worker.buffers)
        .map_err(|fail| Stop::of(&endpoint, fail))?;
    in_flight.sent(&worker.counters, cluster.series);
    exchange.response.fields.keep_spelling(live.note.http.keeps_spelling);
    upload.done = exchange.request.body == BodyLength::None;
    let mut silence = Silence::watch(worker, live.note.http, live.note.start_us);
    let answered = poll_fn(|cx| {
        let answered = poll_answer(live, &mut back, upload, timer, attempt_by < deadline_ms, cx);
        let over = |silence: &mut Silence| silence.is_over(live.note.received, upload.done, cx);
        match silence.as_deref_mut().filter(|_| answered.is_pending()).and_then(over) {
            Some(error) => Poll::Ready(Err(Stop::Exchange(error))),
            None => answered,
        }
    });
    answered.await.map_err(|stop| match stop {
        Stop::Attempt(fail) => Stop::of(&endpoint, fail),
        Stop::Exchange(error) => Stop::Exchange(error),
    })?;
    endpoint.answered(&live.exchange.response);
    note_answer(live, connected_us);
    Ok(Answered { back, endpoint, _in_flight: in_flight })
}

/// What is known with the head of an answer, on a connection that was there at this moment.
fn note_answer<F: Front>(live: &mut Live<'_, '_, F>, connected_us: u64) {
    let (worker, weight) = (live.worker, live.exchange.response.weight);
    worker.counters.limit_seen(Limit::ResponseHeaderBytes, weight.bytes.into());
    worker.counters.limit_seen(Limit::ResponseHeaders, weight.fields.into());
    let answered_us = worker.clock.now_us();
    live.note.service_time_ms = Some(answered_us.saturating_sub(connected_us) / 1000);
    live.note.first_byte_us = Some(answered_us - live.note.start_us);
}

/// Sends what there is of the request and looks for the head of the response, which may come first.
fn poll_answer<F: Front>(
    live: &mut Live<'_, '_, F>,
    back: &mut Back,
    upload: &mut Upload,
    timer: &Timer,
    per_try: bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Stop>> {
    if timer.poll_fired(cx) {
        let fail = if per_try { Fail::PerTryTimeout } else { Fail::Timeout };
        return Poll::Ready(Err(Stop::Attempt(fail)));
    }
    if let Poll::Ready(Err(error)) = upload.poll(live, back, cx) {
        return Poll::Ready(Err(Stop::Exchange(error)));
    }
    loop {
        let method = live.exchange.request.method_kind;
        match back.poll_head(cx, method, &mut live.exchange.response, &live.worker.buffers) {
            Poll::Ready(Ok(())) if live.exchange.response.status == 101 => {
                // Only to a protocol that the client asked for may the origin switch.
                let switched = h1::upgrade_accepted(&live.exchange.request, &live.exchange.response);
                return Poll::Ready(if switched { Ok(()) } else { Err(Stop::Attempt(Fail::Garbage)) });
            }
            Poll::Ready(Ok(())) if live.exchange.response.status < 200 => {
                upload.interim += 1;
                if upload.interim > MAX_INTERIM {
                    return Poll::Ready(Err(Stop::Attempt(Fail::Garbage)));
                }
                pass_interim(live, upload);
            }
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(Fail::Closed { .. })) if upload.origin_deaf && !upload.any_sent() => {
                return Poll::Ready(Err(Stop::Attempt(Fail::Closed { sent: false })));
            }
            Poll::Ready(Err(fail)) => return Poll::Ready(Err(Stop::Attempt(fail))),
            Poll::Pending => break,
        }
    }
    let unsent = upload.interim > 0 && matches!(live.front.poll_flush(cx), Poll::Ready(Err(_)));
    let abandoned = live.abandoned(cx).or_else(|| unsent.then(Error::client_gone));
    abandoned.map_or(Poll::Pending, |error| Poll::Ready(Err(Stop::Exchange(error))))
}

/// Passes a 1xx on, if the client can make anything of it; leave to send the body only if it waits for that. After
/// that there is no other attempt (Envoy): the client has been told what this origin makes of the request.
#[cold]
fn pass_interim<F: Front>(live: &mut Live<'_, '_, F>, upload: &mut Upload) {
    let exchange = &mut *live.exchange;
    let waits = std::mem::take(&mut exchange.request.expect_continue);
    if exchange.response.status == 100 && !waits || !live.front.passes_interim() {
        return;
    }
    exchange.request.expect_continue = waits && exchange.response.status != 100;
    live.front.interim(&exchange.response);
    upload.keep = false;
}

/// Waits as the back-off has it.
async fn pause<F: Front>(
    live: &mut Live<'_, '_, F>,
    timer: &Timer,
    (attempts, at_most_ms): (&Attempts<'_>, u64),
    deadline_ms: u64,
) -> Result<(), Error> {
    if at_most_ms == 0 {
        return Ok(());
    }
    let wait = attempts.wait(live.worker.random_u32(), at_most_ms);
    let until = live.worker.clock.now_ms().saturating_add(wait);
    timer.arm(until.min(deadline_ms));
    let mut silence = live.silence();
    poll_fn(|cx| {
        if timer.poll_fired(cx) {
            return Poll::Ready(if deadline_ms <= until {
                Err(Error::origin(Fail::Timeout, false))
            } else {
                Ok(())
            });
        }
        live.given_up(silence.as_deref_mut(), cx).map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    })
    .await
}
