//! Spans on their way to collectors: one thread takes them from the workers and sends them, a batch at a time. A
//! collector that is slow or gone costs its spans, which are counted; it holds up no worker and no other collector.

mod datadog;
mod http1;
mod http2;
mod line;
mod otlp;
mod skywalking;
mod zipkin;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio::task::JoinSet;

use super::counters::Registry;
use super::names::Counter;
use crate::address::Address;
use line::Line;

/// Requests whose spans may wait for the thread, and for each collector.
const WAITING: usize = 1024;
/// How long the process waits for collectors while it ends.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// What a collector speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanProtocol {
    /// Zipkin's JSON, version 2.
    Zipkin,
    /// OTLP in JSON over HTTP.
    Otlp,
    /// OTLP over gRPC.
    OtlpGrpc,
    /// Datadog's traces, version 0.4.
    Datadog,
    /// SkyWalking's segments over gRPC, version 3.
    SkyWalking,
}

impl SpanProtocol {
    pub(crate) fn is_grpc(self) -> bool {
        matches!(self, SpanProtocol::OtlpGrpc | SpanProtocol::SkyWalking)
    }
}

/// Who gets spans.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Collector {
    /// What its addresses are known by.
    pub(crate) place: u32,
    /// Its name and port.
    pub(crate) authority: String,
    pub(crate) protocol: SpanProtocol,
    /// It is spoken to in HTTP/2, with prior knowledge.
    pub(crate) http2: bool,
    /// `None`: in clear text.
    pub(crate) tls: Option<CollectorTls>,
    pub(crate) path: String,
    pub(crate) timeout: Duration,
    /// Header fields of its requests, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// What spans call this gateway.
    pub(crate) service_name: String,
    /// What they call this process.
    pub(crate) instance: String,
}

/// TLS towards a collector.
#[derive(Debug)]
pub(crate) struct CollectorTls {
    pub(crate) config: Arc<ClientConfig>,
    /// The name that is asked for.
    pub(crate) name: ServerName<'static>,
    /// Only addresses that say they speak it; the others get clear text.
    pub(crate) speakers_only: bool,
}

impl PartialEq for CollectorTls {
    fn eq(&self, other: &CollectorTls) -> bool {
        let CollectorTls { config, name, speakers_only } = self;
        Arc::ptr_eq(config, &other.config) && (name, speakers_only) == (&other.name, &other.speakers_only)
    }
}

impl Eq for CollectorTls {}

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
    /// The other end of its request's connection, if there was one.
    pub(crate) peer: Option<Address>,
    /// SkyWalking: what its request's spans have in common.
    pub(crate) segment: Option<Arc<Segment>>,
}

/// SkyWalking: the spans of one request in one process.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// What the client said of its own.
    pub(crate) parent: Option<SegmentParent>,
}

/// SkyWalking: the segment that sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentParent {
    pub(crate) trace: String,
    pub(crate) segment: String,
    pub(crate) span: i32,
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) endpoint: String,
    /// Where it believed to send the request to.
    pub(crate) target: String,
}

struct Mail {
    collector: Arc<Collector>,
    spans: Vec<Span>,
}

/// A worker's way to the thread.
#[derive(Clone)]
pub(crate) struct SpanSender {
    mail: Sender<Mail>,
}

impl SpanSender {
    /// Hands spans over; `false`: there is no room, and they are lost.
    pub(crate) fn send(&self, collector: &Arc<Collector>, spans: Vec<Span>) -> bool {
        self.mail.try_send(Mail { collector: Arc::clone(collector), spans }).is_ok()
    }
}

/// Where a collector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CollectorAddress {
    pub(crate) address: Address,
    /// It says that it speaks the TLS of its mesh.
    pub(crate) in_mesh: bool,
}

type Addresses = Mutex<BTreeMap<u32, Vec<CollectorAddress>>>;

/// The handle of the thread. Dropping it sends what was handed over and ends the thread; drop the workers' senders
/// first.
pub(crate) struct Exporter {
    sender: Option<SpanSender>,
    addresses: Arc<Addresses>,
    thread: Option<JoinHandle<()>>,
}

/// A map whose holder panicked is still one: every change is a single insertion.
fn lock(addresses: &Addresses) -> MutexGuard<'_, BTreeMap<u32, Vec<CollectorAddress>>> {
    addresses.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread can be had, or it cannot wait for sockets.
    pub(crate) fn start(registry: Arc<Registry>) -> io::Result<Exporter> {
        let (mail, inbox) = channel(WAITING);
        let addresses = Arc::<Addresses>::default();
        let sending = Sending { addresses: addresses.clone(), registry };
        let (made, outcome) = std::sync::mpsc::sync_channel(1);
        let run = move || match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(Default::default())
        {
            Ok(runtime) => {
                let _ = made.send(Ok(()));
                runtime.block_on(sending.run(inbox));
            }
            Err(error) => {
                let _ = made.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("spans".to_owned()).spawn(run)?;
        outcome.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
        Ok(Exporter { sender: Some(SpanSender { mail }), addresses, thread: Some(thread) })
    }

    /// A sender for one worker.
    pub(crate) fn sender(&self) -> SpanSender {
        match &self.sender {
            Some(sender) => sender.clone(),
            None => unreachable!("it is taken only when the exporter is dropped"),
        }
    }

    /// Where the collector of that place is now.
    pub(crate) fn place(&self, place: u32, addresses: Vec<CollectorAddress>) {
        lock(&self.addresses).insert(place, addresses);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Sending {
    addresses: Arc<Addresses>,
    registry: Arc<Registry>,
}

impl Sending {
    /// Gives each collector's spans to its line, until all workers have ended.
    async fn run(self, mut inbox: Receiver<Mail>) {
        let sending = Rc::new(self);
        let mut lines: Vec<(Arc<Collector>, Sender<Mail>)> = Vec::new();
        let mut running = JoinSet::new();
        while let Some(mail) = inbox.recv().await {
            while running.try_join_next().is_some() {}
            lines.retain(|(_, line)| !line.is_closed());
            let same =
                |known: &Arc<Collector>| Arc::ptr_eq(known, &mail.collector) || *known == mail.collector;
            let line = match lines.iter().position(|(known, _)| same(known)) {
                Some(at) => at,
                None => {
                    let (line, queue) = channel(WAITING);
                    running.spawn_local(Line::new(mail.collector.clone(), sending.clone()).run(queue));
                    lines.push((mail.collector.clone(), line));
                    lines.len() - 1
                }
            };
            let Some((_, line)) = lines.get(line) else { continue };
            if let Err(TrySendError::Full(mail) | TrySendError::Closed(mail)) = line.try_send(mail) {
                sending.registry.add(Counter::SpansLost, mail.spans.len() as u64);
            }
        }
        drop(lines);
        let _ =
            tokio::time::timeout(LAST_PATIENCE, async { while running.join_next().await.is_some() {} }).await;
    }

    fn addresses(&self, place: u32) -> Vec<CollectorAddress> {
        lock(&self.addresses).get(&place).cloned().unwrap_or_default()
    }
}

/// What a collector is sent, and how its answer is read.
struct Letter {
    content_type: &'static str,
    body: Vec<u8>,
    /// What only this kind of collector wants to know.
    headers: Vec<(&'static str, String)>,
}

impl Letter {
    fn of(collector: &Collector, spans: &[Span]) -> Letter {
        let plain = |content_type, body| Letter { content_type, body, headers: Vec::new() };
        match collector.protocol {
            SpanProtocol::Zipkin => plain("application/json", zipkin::encode(collector, spans)),
            SpanProtocol::Otlp => plain("application/json", otlp::json(collector, spans)),
            SpanProtocol::OtlpGrpc => plain("application/grpc", otlp::grpc(collector, spans)),
            SpanProtocol::SkyWalking => plain("application/grpc", skywalking::encode(collector, spans)),
            SpanProtocol::Datadog => {
                let (body, traces) = datadog::encode(collector, spans);
                let headers = vec![("x-datadog-trace-count", traces.to_string())];
                Letter { content_type: "application/msgpack", body, headers }
            }
        }
    }
}

#[cfg(test)]
#[path = "spans_tests.rs"]
mod tests;
