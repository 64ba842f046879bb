//! An exchange while it lives, and what is written when it ends.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::task;

use limen_wire::head::{BodyLength, Fields, RequestHead, Span};

use super::error::{Error, RESPONSE_TIMEOUT};
use super::front::{ConnInfo, Front};
use super::mirror::Copies;
use super::silence::Silence;
use super::trace::{Ended, Trace};
use crate::address::Address;
use crate::faults::{self, Point};
use crate::filter::cors::CorsFields;
use crate::filter::grpc_timeout;
use crate::filter::headers::Context;
use crate::filter::policy::{self, HttpPolicy};
use crate::observe::counters::WorkloadId;
use crate::observe::limits::Limit;
use crate::observe::{ClusterId, ClusterStat, Counter, Flags, Gauge, ListenerStat, Record};
use crate::table::routes::{Destination, Rule};
use crate::worker::Worker;
use crate::worker::memory::{Call, Exchange};

/// What the log will say.
pub(crate) struct Note<'t> {
    pub(crate) start_us: u64,
    pub(crate) code: u16,
    pub(crate) flags: Flags,
    /// Flags of injected faults, which stay whatever the outcome.
    pub(crate) injected: Flags,
    pub(crate) details: Cow<'static, str>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) service_time_ms: Option<u64>,
    pub(crate) first_byte_us: Option<u64>,
    /// From the beginning to the last byte of the request.
    pub(crate) last_byte_us: Option<u64>,
    pub(crate) rule: Option<&'t Rule>,
    /// What the response tells the origin of the request, if that is let in.
    pub(crate) cors: Option<&'t CorsFields>,
    pub(crate) destination: Option<&'t Destination>,
    pub(crate) upstream_host: Option<Address>,
    pub(crate) upstream_local: Option<SocketAddr>,
    pub(crate) workload: WorkloadId,
    pub(crate) service: crate::observe::counters::ServiceId,
    /// The cluster that it is sent to.
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) attempts: u32,
    /// The client, by those in front that are trusted to say.
    pub(crate) client: SocketAddr,
    /// It spoke https with the first of them.
    pub(crate) https: bool,
    /// How the listener understands HTTP.
    pub(crate) http: &'t HttpPolicy,
    /// Path and authority as received.
    pub(crate) path: Span,
    pub(crate) authority: Span,
}

/// An exchange with everything that its stages need. Dropping it writes the access log and counts the request.
pub(crate) struct Live<'a, 't, F: Front> {
    pub(crate) worker: &'a Worker,
    pub(crate) conn: &'a ConnInfo,
    pub(crate) front: &'a mut F,
    pub(crate) exchange: &'a mut Exchange,
    /// What is copied of the request for mirrors, until all of it is read.
    pub(crate) copies: Option<Box<Copies>>,
    /// Its trace, if the gateway traces requests.
    pub(crate) trace: Option<Box<Trace<'t>>>,
    pub(crate) note: Note<'t>,
}

impl<'a, F: Front> Live<'a, '_, F> {
    /// An exchange begins with its head.
    pub(crate) fn begin(
        worker: &'a Worker,
        conn: &'a ConnInfo,
        front: &'a mut F,
        exchange: &'a mut Exchange,
    ) -> Self {
        let note = Note {
            start_us: worker.clock.now_us(),
            code: 0,
            // If it is dropped before anything else is known, the client has gone.
            flags: Flags::DC,
            injected: Flags::NONE,
            details: "downstream_remote_disconnect".into(),
            received: 0,
            sent: 0,
            service_time_ms: None,
            first_byte_us: None,
            last_byte_us: (exchange.request.body == BodyLength::None).then_some(0),
            rule: None,
            cors: None,
            destination: None,
            upstream_host: None,
            upstream_local: None,
            workload: WorkloadId::default(),
            service: Default::default(),
            cluster: None,
            attempts: 0,
            client: conn.remote,
            https: conn.https,
            http: &policy::DEFAULT,
            path: exchange.request.path_span(),
            authority: exchange.request.authority_span(),
        };
        if grpc_timeout::is_call(&exchange.request) {
            exchange.grpc = Some(Call::default());
        }
        worker.counters.gauge_add(Gauge::RequestsActive, 1);
        let weight = exchange.request.weight;
        worker.counters.limit_seen(Limit::HeaderBytes, weight.bytes.into());
        worker.counters.limit_seen(Limit::Headers, weight.fields.into());
        if front.is_recorded() {
            worker.counters.request_begun(conn.counted);
        }
        Live { worker, conn, front, exchange, copies: None, trace: None, note }
    }

    /// What is known of what was sent last, at this moment of the worker's clock.
    fn sent_until(&self, now_us: u64) -> Ended<'_> {
        Ended {
            now_us: self.worker.clock.epoch_us(now_us),
            host: self.note.upstream_host,
            cluster: self.note.destination.map_or("", |destination| &destination.cluster_name),
            local: self.conn.local,
        }
    }

    /// The request is about to be sent: its trace goes on there, if it has one.
    pub(crate) fn trace_attempt(&mut self, rule: &Rule) {
        let Some(mut trace) = self.trace.take() else { return };
        let ended = self.sent_until(self.worker.clock.now_us());
        // It borrows from the tables, not from the exchange.
        let ended = Ended { cluster: self.note.destination.map_or("", |to| &to.cluster_name), ..ended };
        trace.attempt(self.worker, &mut self.exchange.request, rule, &ended);
        self.trace = Some(trace);
    }

    /// Why nothing is waited for any longer: the client has gone, or the time of its connection is over. Whatever waits before
    /// there is an answer asks this.
    pub(crate) fn abandoned(&mut self, cx: &mut task::Context<'_>) -> Option<Error> {
        if self.conn.over.get() {
            return Some(Error::leaving());
        }
        self.front.poll_gone(cx).then(Error::client_gone)
    }

    /// Watches a wait in which nothing can move but what the client sends ahead.
    pub(super) fn silence(&self) -> Option<Box<Silence>> {
        Silence::watch(self.worker, self.note.http, self.note.start_us)
    }

    /// As [`Live::abandoned`], or since nothing has moved for too long.
    pub(super) fn given_up(
        &mut self,
        silence: Option<&mut Silence>,
        cx: &mut task::Context<'_>,
    ) -> Option<Error> {
        let (moved, received) = (self.note.received, self.note.last_byte_us.is_some());
        self.abandoned(cx).or_else(|| silence?.is_over(moved, received, cx))
    }

    /// What ends the exchange, for the log. Flags of earlier attempts are not kept.
    pub(crate) fn outcome(&mut self, code: u16, flags: Flags, details: Cow<'static, str>) {
        self.note.code = code;
        self.note.flags = flags;
        self.note.details = details;
    }

    /// Counts for the cluster what the client got of it.
    fn count(&self) {
        let (Some(cluster), counters) = (self.note.cluster, &self.worker.counters) else { return };
        if let Some(class) = ClusterStat::of_status(self.note.code) {
            counters.cluster_add(cluster, class, 1);
        }
        if self.note.flags.contains(Flags::UT) && self.note.details == RESPONSE_TIMEOUT {
            counters.cluster_add(cluster, ClusterStat::RqTimeout, 1);
        }
    }

    /// The same for the listener.
    fn count_for_listener(&self) {
        let counters = &self.worker.counters;
        counters.request_ended(self.conn.counted, self.note.code);
        if self.note.flags.contains(Flags::DR) {
            counters.listener_add(self.conn.counted, ListenerStat::RqRxReset, 1);
        }
    }

    fn write(&mut self) {
        faults::strike(Point::Log, || self.path());
        let clock = &self.worker.clock;
        let trace = self.trace.take();
        let (note, request) = (&self.note, &self.exchange.request);
        let rewritten = request.path_span() != note.path;
        let duration_us = clock.recent_us().saturating_sub(note.start_us);
        let call = self.exchange.grpc.as_ref();
        let status_of_head = || grpc_status(&self.exchange.response.fields);
        let record = Record {
            method: request.method(),
            path: request.path_and_query(),
            original_path: rewritten.then(|| request.fields.text(note.path)),
            authority: request.fields.text(note.authority),
            protocol: Some(request.version),
            request_fields: Some(&request.fields),
            request_content_length: known(request.body),
            code: note.code,
            flags: note.flags | note.injected,
            details: &note.details,
            upstream_transport_failure: &self.exchange.transport,
            response_fields: Some(&self.exchange.response.fields),
            response_content_length: known(self.exchange.response.body),
            local_reply_body: &self.exchange.local_body,
            grpc: call.is_some(),
            grpc_status: call.and_then(|call| call.status.or_else(status_of_head)),
            request_messages: call.map_or(0, |call| call.up.count),
            response_messages: call.map_or(0, |call| call.down.count),
            response_trailers: self.exchange.trailers.as_ref(),
            request_duration_us: note.last_byte_us,
            bytes_received: note.received,
            bytes_sent: note.sent,
            request_total_bytes: request.fields.size() as u64 + note.received,
            response_total_bytes: self.exchange.response.fields.size() as u64 + note.sent,
            duration_us,
            response_duration_us: note.first_byte_us,
            upstream_service_time_ms: note.service_time_ms,
            upstream_host: note.upstream_host,
            upstream_local: note.upstream_local,
            cluster: note.destination.map_or("", |destination| &destination.cluster_name),
            attempts: note.attempts,
            sni: self.conn.server_name.as_deref(),
            tls_version: self.conn.tls_version,
            tls_cipher: self.conn.tls_cipher,
            peer: self.conn.secured.as_ref().and_then(|tls| tls.peer()).map(|shown| &shown.peer),
            route_name: note.rule.map_or("", |rule| &rule.name),
            downstream_remote: note.client,
            downstream_direct_remote: self.conn.direct,
            trace: trace.as_ref().and_then(|trace| trace.ids()),
            route_origin: note.rule.map(|rule| (&*rule.origin.namespace, &*rule.origin.name)),
            ..Record::new(clock.epoch_ms(note.start_us), self.conn.local, self.conn.remote)
        };
        self.worker.counters.record(note.service, note.workload, &record);
        self.worker.log(self.conn.listener, &record);
        if let Some(trace) = trace.filter(|trace| trace.sampled) {
            trace.finish(self.worker, &record, &self.sent_until(clock.recent_us()), note.rule);
        }
    }
}

/// The status of a gRPC call in these fields or trailers.
pub(crate) fn grpc_status(fields: &Fields) -> Option<u32> {
    std::str::from_utf8(fields.get(b"grpc-status")?).ok()?.parse().ok()
}

/// What header templates can see.
pub(crate) fn context<'c>(
    worker: &'c Worker,
    conn: &'c ConnInfo,
    request: &RequestHead,
    note: &'c Note<'_>,
) -> Context<'c> {
    Context {
        downstream_remote: note.client,
        downstream_local: conn.local,
        https: note.https,
        protocol: request.version,
        server_name: conn.server_name.as_deref(),
        upstream_host: note.upstream_host,
        upstream_cluster: note.destination.map_or("", |destination| &destination.cluster_name),
        response_code: (note.code != 0).then_some(note.code),
        // Until there is a response they say what would be, had the client gone.
        response_flags: if note.code == 0 { Flags::NONE } else { note.flags | note.injected },
        start_ms: worker.clock.epoch_ms(note.start_us),
        hostname: &worker.config.hostname,
    }
}

fn known(body: BodyLength) -> Option<u64> {
    match body {
        BodyLength::Known(length) => Some(length),
        BodyLength::None | BodyLength::Marked | BodyLength::UntilClose => None,
    }
}

impl<F: Front> Live<'_, '_, F> {
    fn end(&mut self) {
        if self.note.received > 0 && self.note.code != 101 {
            self.worker.counters.limit_seen(Limit::BodyBytes, self.note.received);
            let took_ms = self.note.last_byte_us.unwrap_or_default() / 1000;
            self.worker.counters.limit_seen(Limit::RequestTime, took_ms);
        }
        self.count();
        if self.front.is_recorded() {
            self.count_for_listener();
            self.write();
        }
    }

    /// The exchange ends in a panic. What made it panic may do so again here, where a second panic would end the process.
    #[cold]
    fn end_in_panic(&mut self) {
        self.outcome(self.note.code, Flags::LR, "internal_error".into());
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end()));
        if ended.is_err() {
            self.worker.count(Counter::Panics);
        }
    }

    /// The path as it is now, for tests.
    pub(crate) fn path(&self) -> String {
        String::from_utf8_lossy(self.exchange.request.path_and_query()).into_owned()
    }
}

impl<F: Front> Drop for Live<'_, '_, F> {
    fn drop(&mut self) {
        self.worker.counters.gauge_add(Gauge::RequestsActive, -1);
        match std::thread::panicking() {
            false => self.end(),
            true => self.end_in_panic(),
        }
    }
}
