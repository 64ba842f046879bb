//! Spans on their way to a collector: one thread takes them from the workers and sends them, a batch at a time. A
//! collector that is slow or gone costs spans, which are counted, and never holds a worker up.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::counters::Registry;
use super::names::Counter;

/// Requests whose spans may wait for the thread.
const WAITING: usize = 1024;
/// Spans that are sent together at the most.
const BATCH: usize = 256;
/// How long the first span of a batch waits for others.
const LINGER: Duration = Duration::from_millis(500);
/// How long a sending may take while the process ends.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// More than this of an answer is not read.
const ANSWER_BYTES: usize = 4096;

/// What a collector speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanProtocol {
    /// Zipkin's JSON, version 2.
    Zipkin,
    /// OTLP in JSON over HTTP.
    Otlp,
}

/// Who gets spans.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Collector {
    /// What its addresses are known by.
    pub(crate) place: u32,
    /// Its name and port.
    pub(crate) host: String,
    pub(crate) protocol: SpanProtocol,
    pub(crate) path: String,
    pub(crate) timeout: Duration,
    /// Header fields of its requests.
    pub(crate) headers: Vec<(String, String)>,
    /// What spans call this gateway.
    pub(crate) service_name: String,
}

/// The names of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceIds {
    /// The upper half of the trace's id; 0 where it has none.
    pub(crate) high: u64,
    /// The lower half.
    pub(crate) low: u64,
    /// The trace's id is 64 bits long.
    pub(crate) short: bool,
    /// The span's own.
    pub(crate) span: u64,
}

impl TraceIds {
    /// The trace's id in hexadecimal.
    pub(crate) fn trace(self) -> String {
        if self.short { format!("{:016x}", self.low) } else { self.long() }
    }

    /// The same in 32 digits, whatever its length.
    pub(crate) fn long(self) -> String {
        format!("{:016x}{:016x}", self.high, self.low)
    }

    /// The span's id in hexadecimal.
    pub(crate) fn own(self) -> String {
        format!("{:016x}", self.span)
    }
}

/// A finished span.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) ids: TraceIds,
    /// The span that it is a part of.
    pub(crate) parent: Option<u64>,
    pub(crate) name: String,
    /// It is about a request that was sent, not one that was received.
    pub(crate) client: bool,
    /// Microseconds since the Unix epoch.
    pub(crate) start_us: u64,
    pub(crate) duration_us: u64,
    pub(crate) tags: Vec<(Cow<'static, str>, String)>,
    pub(crate) error: bool,
    /// This gateway's end of the client's connection.
    pub(crate) local: SocketAddr,
}

struct Mail {
    collector: Arc<Collector>,
    spans: Vec<Span>,
}

/// A worker's way to the thread.
#[derive(Clone)]
pub(crate) struct SpanSender {
    mail: SyncSender<Mail>,
}

impl SpanSender {
    /// Hands spans over; `false`: there is no room, and they are lost.
    pub(crate) fn send(&self, collector: &Arc<Collector>, spans: Vec<Span>) -> bool {
        self.mail.try_send(Mail { collector: Arc::clone(collector), spans }).is_ok()
    }
}

type Addresses = Mutex<BTreeMap<u32, Vec<SocketAddr>>>;

/// The handle of the thread. Dropping it sends what was handed over and ends the thread; drop the workers' senders
/// first.
pub(crate) struct Exporter {
    sender: Option<SpanSender>,
    addresses: Arc<Addresses>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A map whose holder panicked is still one: every change is a single insertion.
fn lock(addresses: &Addresses) -> MutexGuard<'_, BTreeMap<u32, Vec<SocketAddr>>> {
    addresses.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread can be had.
    pub(crate) fn start(registry: Arc<Registry>) -> io::Result<Exporter> {
        let (mail, inbox) = sync_channel(WAITING);
        let (addresses, ending) = (Arc::<Addresses>::default(), Arc::<AtomicBool>::default());
        let sending = Sending { addresses: addresses.clone(), ending: ending.clone(), registry, turn: 0 };
        let run = move || sending.run(&inbox);
        let thread = std::thread::Builder::new().name("spans".to_owned()).spawn(run)?;
        Ok(Exporter { sender: Some(SpanSender { mail }), addresses, ending, thread: Some(thread) })
    }

    /// A sender for one worker.
    pub(crate) fn sender(&self) -> SpanSender {
        match &self.sender {
            Some(sender) => sender.clone(),
            None => unreachable!("it is taken only when the exporter is dropped"),
        }
    }

    /// Where the collector of that place is now.
    pub(crate) fn place(&self, place: u32, addresses: Vec<SocketAddr>) {
        lock(&self.addresses).insert(place, addresses);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Sending {
    addresses: Arc<Addresses>,
    ending: Arc<AtomicBool>,
    registry: Arc<Registry>,
    turn: usize,
}

impl Sending {
    fn run(mut self, inbox: &Receiver<Mail>) {
        while let Ok(first) = inbox.recv() {
            let since = Instant::now();
            let mut batches: Vec<Mail> = vec![first];
            while batches.iter().map(|batch| batch.spans.len()).sum::<usize>() < BATCH {
                let Ok(mail) = inbox.recv_timeout(LINGER.saturating_sub(since.elapsed())) else { break };
                match batches.iter_mut().find(|batch| batch.collector == mail.collector) {
                    Some(batch) => batch.spans.extend(mail.spans),
                    None => batches.push(mail),
                }
            }
            batches.into_iter().for_each(|batch| self.send(&batch));
        }
    }

    fn send(&mut self, Mail { collector, spans }: &Mail) {
        let count = spans.len() as u64;
        let addresses = lock(&self.addresses).get(&collector.place).cloned().unwrap_or_default();
        self.turn = self.turn.wrapping_add(1);
        let Some(address) = addresses.get(self.turn.checked_rem(addresses.len()).unwrap_or_default()) else {
            return self.registry.add(Counter::SpansLost, count);
        };
        let body = match collector.protocol {
            SpanProtocol::Zipkin => zipkin(collector, spans),
            SpanProtocol::Otlp => otlp(collector, spans),
        };
        let patience = if self.ending.load(Ordering::Relaxed) { LAST_PATIENCE } else { collector.timeout };
        match post(*address, collector, body.to_string().as_bytes(), patience.min(collector.timeout)) {
            Ok(200..=299) => self.registry.add(Counter::SpansSent, count),
            outcome => {
                tracing::debug!(%address, ?outcome, "a collector did not take spans");
                self.registry.add(Counter::SpansLost, count);
            }
        }
    }
}

/// Sends a body within a time; returns the status of the answer.
fn post(address: SocketAddr, to: &Collector, body: &[u8], patience: Duration) -> io::Result<u16> {
    let until = Instant::now() + patience;
    let left = || match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n",
        to.path,
        to.host,
        body.len()
    );
    to.headers.iter().for_each(|(name, value)| head.extend([name, ": ", value, "\r\n"]));
    head.push_str("\r\n");
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while !answer.contains(&b'\n') && answer.len() < ANSWER_BYTES {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => answer.extend_from_slice(buffer.get(..read).unwrap_or_default()),
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.trim().parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Zipkin's list of spans, version 2.
fn zipkin(collector: &Collector, spans: &[Span]) -> Value {
    let one = |span: &Span| {
        let tags: serde_json::Map<_, _> =
            span.tags.iter().map(|(name, value)| (name.to_string(), Value::from(&**value))).collect();
        let family = if span.local.is_ipv4() { "ipv4" } else { "ipv6" };
        let mut made = json!({
            "traceId": span.ids.trace(),
            "id": span.ids.own(),
            "name": span.name,
            "kind": if span.client { "CLIENT" } else { "SERVER" },
            "timestamp": span.start_us,
            "duration": span.duration_us.max(1),
            "localEndpoint": {
                "serviceName": collector.service_name,
                family: span.local.ip().to_string(),
                "port": span.local.port(),
            },
            "tags": tags,
        });
        if let Some(parent) = span.parent {
            made["parentId"] = Value::from(format!("{parent:016x}"));
        }
        made
    };
    spans.iter().map(one).collect()
}

/// OTLP's request in its JSON form, in which ids are hexadecimal and 64-bit numbers are texts.
fn otlp(collector: &Collector, spans: &[Span]) -> Value {
    let attribute = |name: &str, value: &str| json!({"key": name, "value": {"stringValue": value}});
    let one = |span: &Span| {
        let end_us = span.start_us.saturating_add(span.duration_us);
        json!({
            "traceId": span.ids.long(),
            "spanId": span.ids.own(),
            "parentSpanId": span.parent.map(|parent| format!("{parent:016x}")).unwrap_or_default(),
            "name": span.name,
            "kind": if span.client { 3 } else { 2 },
            "startTimeUnixNano": span.start_us.saturating_mul(1000).to_string(),
            "endTimeUnixNano": end_us.saturating_mul(1000).to_string(),
            "attributes": span.tags.iter().map(|(name, value)| attribute(name, value)).collect::<Vec<_>>(),
            "status": if span.error { json!({"code": 2}) } else { json!({}) },
        })
    };
    json!({"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", &collector.service_name)]},
        "scopeSpans": [{"scope": {"name": "limen"}, "spans": spans.iter().map(one).collect::<Vec<_>>()}],
    }]})
}
