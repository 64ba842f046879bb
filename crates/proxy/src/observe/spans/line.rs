//! The line to one collector: batches one after the other, over a connection that is kept where HTTP/2 is spoken.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use limen_wire::h2::client::Requests;
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::{Collector, CollectorAddress, Letter, Mail, Sending, Span, SpanProtocol, http1, http2, otlp};
use crate::address::Address;
use crate::observe::names::Counter;
use crate::stream::{Stream, connect_unix};

/// Spans that are sent together at the most.
const BATCH: usize = 256;
/// How long the first span of a batch waits for others.
const LINGER: Duration = Duration::from_millis(500);
/// A line that has nothing to send for so long ends, and its connection with it.
const IDLE: Duration = Duration::from_secs(60);

pub(super) struct Line {
    collector: Arc<Collector>,
    sending: Rc<Sending>,
    /// A connection in HTTP/2, and where it leads.
    kept: Option<(CollectorAddress, Requests)>,
    turn: usize,
}

impl Line {
    pub(super) fn new(collector: Arc<Collector>, sending: Rc<Sending>) -> Line {
        Line { collector, sending, kept: None, turn: 0 }
    }

    /// Sends what comes, until nothing more will.
    pub(super) async fn run(mut self, mut queue: Receiver<Mail>) {
        loop {
            let Ok(next) = timeout(IDLE, queue.recv()).await else {
                // What was put in meanwhile is still sent.
                queue.close();
                continue;
            };
            let Some(first) = next else { return };
            let until = Instant::now() + LINGER;
            let mut spans = first.spans;
            while spans.len() < BATCH {
                let Ok(Some(mail)) = timeout_at(until, queue.recv()).await else { break };
                spans.extend(mail.spans);
            }
            let count = spans.len() as u64;
            let refused = match timeout(self.collector.timeout, self.send(&spans)).await {
                Ok(Ok(refused)) => refused.min(count),
                outcome => {
                    let collector = &self.collector.authority;
                    let why = outcome.map(|sent| sent.map_err(|error| error.to_string()));
                    tracing::debug!(%collector, ?why, "a collector did not take spans");
                    self.kept = None;
                    count
                }
            };
            self.sending.registry.add(Counter::SpansSent, count - refused);
            self.sending.registry.add(Counter::SpansLost, refused);
        }
    }

    /// Sends a batch; returns how many of its spans the collector says it did not take.
    async fn send(&mut self, spans: &[Span]) -> io::Result<u64> {
        let collector = &*self.collector;
        let letter = Letter::of(collector, spans);
        if !collector.http2 {
            let (_, stream) = connect(collector, &mut self.turn, &self.sending).await?;
            let status = http1::post(stream, collector, &letter).await?;
            return taken(status).map(|()| 0);
        }
        let mut requests = self.connection().await?;
        let answer = http2::post(&mut requests, &self.collector, &letter).await?;
        taken(answer.status)?;
        match (self.collector.protocol, &answer.grpc_status) {
            (protocol, _) if !protocol.is_grpc() => Ok(0),
            (SpanProtocol::OtlpGrpc, Some(status)) if status == "0" => Ok(otlp::refused(&answer.body)),
            (_, Some(status)) if status == "0" => Ok(0),
            (_, status) => {
                // A call that fails says nothing of its connection.
                let status = status.as_deref().unwrap_or("no status");
                tracing::debug!(collector = %self.collector.authority, %status, "a collector refused spans");
                Ok(u64::MAX)
            }
        }
    }

    /// The connection that is kept, unless it has ended or leads to where the collector is not any more.
    async fn connection(&mut self) -> io::Result<Requests> {
        if let Some((address, requests)) = &self.kept
            && requests.is_open()
            && self.sending.addresses(self.collector.place).contains(address)
        {
            return Ok(requests.clone());
        }
        self.kept = None;
        let (address, stream) = connect(&self.collector, &mut self.turn, &self.sending).await?;
        let requests = http2::begin(stream).await?;
        self.kept = Some((address, requests.clone()));
        Ok(requests)
    }
}

fn taken(status: u16) -> io::Result<()> {
    match status {
        200..=299 => Ok(()),
        status => Err(io::Error::other(format!("status {status}"))),
    }
}

/// Connects to the collector's next address.
async fn connect(
    collector: &Collector,
    turn: &mut usize,
    sending: &Sending,
) -> io::Result<(CollectorAddress, Box<dyn Stream>)> {
    let addresses = sending.addresses(collector.place);
    *turn = turn.wrapping_add(1);
    let next = addresses.get(turn.checked_rem(addresses.len()).unwrap_or_default());
    let Some(at @ CollectorAddress { address, in_mesh }) = next.copied() else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    let stream = dial(address).await?;
    match &collector.tls {
        Some(tls) if in_mesh || !tls.speakers_only => {
            let connector = TlsConnector::from(tls.config.clone());
            Ok((at, Box::new(connector.connect(tls.name.clone(), stream).await?)))
        }
        _ => Ok((at, stream)),
    }
}

async fn dial(address: Address) -> io::Result<Box<dyn Stream>> {
    match address {
        Address::Inet(address) => {
            let stream = TcpStream::connect(address).await?;
            // What is written is written whole, so waiting for more only costs time; a socket that refuses the option
            // still works.
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream))
        }
        Address::Unix(path) => Ok(Box::new(connect_unix(path).await?)),
    }
}
