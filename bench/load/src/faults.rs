//! Faults, one after the other: origins that die, stall and break off, clients that do, and floods that must be sent away.
//! Each is answered for: what fails is what the fault makes fail, and when it is over nothing does.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::{Instant, sleep};

use crate::http1::{Connection, read_body, read_head};
use crate::tally::Failures;
use crate::work::{FLIP, Load, guarded};

/// The host whose origin is not to be relied on.
const FAULTY: &str = "faulty.example.com";
/// A large answer.
const LARGE: usize = 4 << 20;
/// Requests that are under way when an origin dies.
const AT_ONCE: usize = 8;
/// Bytes of a flood after which a gateway that still listens has not sent it away.
const FLOOD: usize = 64 << 20;

/// How the faulty origin answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// It says nothing.
    Silent,
    /// It closes in the middle of an answer.
    Half,
}

/// An origin that can be killed and started again.
pub(crate) struct Faulty {
    address: SocketAddr,
    mood: Rc<Cell<Mood>>,
    /// Requests that have come.
    hits: Rc<Cell<usize>>,
    accepting: Option<JoinHandle<()>>,
}

impl Faulty {
    pub(crate) async fn start() -> Result<Faulty, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let mut faulty =
            Faulty { address, mood: Rc::new(Cell::new(Mood::Well)), hits: Rc::default(), accepting: None };
        faulty.serve(listener);
        Ok(faulty)
    }

    /// Its Service, its endpoint and its routes: only what is not answered has little time.
    pub(crate) fn config(&self) -> String {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: faulty}}, spec: {{ports: [{{name: http, port: 80}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: faulty-a, labels: {{kubernetes.io/service-name: faulty}}}}
addressType: IPv4
ports: [{{name: http, port: {}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: faulty}}
spec:
  hosts: [{FAULTY}]
  gateways: [istio-system/edge]
  http:
  - {{match: [{{uri: {{prefix: /silent}}}}], timeout: 1s, route: [{{destination: {{host: faulty, port: {{number: 80}}}}}}]}}
  - {{route: [{{destination: {{host: faulty, port: {{number: 80}}}}}}]}}
",
            self.address.port()
        )
    }

    fn serve(&mut self, listener: TcpListener) {
        let (mood, hits) = (self.mood.clone(), self.hits.clone());
        self.accepting = Some(spawn_local(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (mood, hits) = (mood.clone(), hits.clone());
                connections.spawn_local(async move {
                    // Who asked sees how it ended.
                    let _ = answer(stream, &mood, &hits).await;
                });
            }
        }));
    }

    /// Its connections are cut, and nobody listens.
    async fn kill(&mut self) {
        if let Some(task) = self.accepting.take() {
            task.abort();
            let _ = task.await;
        }
    }

    async fn revive(&mut self) -> Result<(), String> {
        let listener = TcpListener::bind(self.address).await.map_err(|error| error.to_string())?;
        self.serve(listener);
        Ok(())
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
    }
}

async fn answer(mut io: TcpStream, mood: &Cell<Mood>, hits: &Cell<usize>) -> Result<(), String> {
    let mut unread = Vec::new();
    let say = |error: std::io::Error| error.to_string();
    while let Some(head) = read_head(&mut io, &mut unread).await? {
        read_body(&mut io, &mut unread, head.length()?).await?;
        hits.set(hits.get() + 1);
        let length = if head.first().contains("/large") { LARGE } else { 100 };
        match mood.get() {
            Mood::Silent => std::future::pending().await,
            Mood::Half => {
                io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.map_err(say)?;
                return Ok(());
            }
            Mood::Well => {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                io.write_all(head.as_bytes()).await.map_err(say)?;
                io.write_all(&vec![b'x'; length]).await.map_err(say)?;
            }
        }
    }
    Ok(())
}

/// What became of the faults.
#[derive(Default)]
pub(crate) struct Answered {
    /// How often each was made.
    pub(crate) made: Failures,
    /// What failed that a fault does not account for, or did not fail as it must.
    pub(crate) wrong: Failures,
}

/// Makes faults until all is over, this long after each other; `hurried`: for so long, a tenth of that.
pub(crate) async fn run(load: Rc<Load>, mut faulty: Faulty, every: Duration, hurried: Duration) -> Answered {
    let answered = Answered::default();
    let begun = Instant::now();
    for nth in 0.. {
        sleep(if begun.elapsed() < hurried { every / 10 } else { every }).await;
        if load.over() {
            break;
        }
        let (name, done) = match nth % 10 {
            0 => ("origins killed and started again", killed(&load, &mut faulty).await),
            1 => ("origins that say nothing", silent(&load, &faulty).await),
            2 => ("answers that break off", half(&load, &faulty).await),
            3 => ("requests that break off", half_asked(&load).await),
            4 => ("answers that are read in part", half_read(&load).await),
            5 => ("floods of PING", flood(&load, &frame(6, 0, 0, &[0; 8])).await),
            6 => ("floods of SETTINGS", flood(&load, &frame(4, 0, 0, &[])).await),
            7 => ("floods of requests that are reset", rapid_reset(&load).await),
            8 => ("heads that are none", malformed(&load).await),
            _ => ("heads that never end", endless(&load).await),
        };
        answered.made.add(name.to_owned());
        if let Err(why) = done {
            answered.wrong.add(format!("{name}: {why}"));
        }
        if let Err(why) = recovered(&load).await {
            answered.wrong.add(format!("after {name}: {why}"));
        }
    }
    answered
}

/// The status of one request on a connection of its own; an error if the answer does not come whole.
async fn status(load: &Load, path: &str) -> Result<String, String> {
    let mut connection = Connection::new(load.connect(None).await?);
    let (head, _) = guarded("an answer", connection.ask((FAULTY, path), "", None)).await?;
    Ok(head.status().to_owned())
}

/// So many requests at a time; what each came to. `between` runs once all have reached the origin.
async fn several(
    load: &Rc<Load>,
    faulty: &mut Faulty,
    between: impl AsyncFnOnce(&mut Faulty),
) -> Vec<Result<String, String>> {
    // Others may still be on their way there: whoever has not reached it is answered in the same way.
    let reached = faulty.hits.get() + AT_ONCE;
    let mut asking = JoinSet::new();
    for _ in 0..AT_ONCE {
        let load = load.clone();
        asking.spawn_local(async move { status(&load, "/several").await });
    }
    let begun = Instant::now();
    while faulty.hits.get() < reached && begun.elapsed() < Duration::from_secs(1) {
        sleep(Duration::from_millis(1)).await;
    }
    between(faulty).await;
    let mut all = Vec::new();
    while let Some(done) = asking.join_next().await {
        all.push(done.unwrap_or_else(|error| Err(error.to_string())));
    }
    all
}

/// Whether all came to this.
fn all(outcomes: &[Result<String, String>], wanted: &[&str]) -> Result<(), String> {
    match outcomes.iter().find(|outcome| !outcome.as_ref().is_ok_and(|status| wanted.contains(&&**status))) {
        Some(other) => Err(format!("{other:?} instead of {wanted:?}")),
        None => Ok(()),
    }
}

/// What was under way is answered 503, as is what comes while nobody is there.
async fn killed(load: &Rc<Load>, faulty: &mut Faulty) -> Result<(), String> {
    faulty.mood.set(Mood::Silent);
    let under_way = several(load, faulty, async |faulty: &mut Faulty| faulty.kill().await).await;
    let dead = status(load, "/dead").await;
    faulty.mood.set(Mood::Well);
    faulty.revive().await?;
    all(&under_way, &["503"])?;
    all(&[dead], &["503"])
}

async fn silent(load: &Rc<Load>, faulty: &Faulty) -> Result<(), String> {
    faulty.mood.set(Mood::Silent);
    let outcome = status(load, "/silent").await;
    faulty.mood.set(Mood::Well);
    all(&[outcome], &["504"])
}

async fn half(load: &Rc<Load>, faulty: &Faulty) -> Result<(), String> {
    faulty.mood.set(Mood::Half);
    let outcome = status(load, "/half").await;
    faulty.mood.set(Mood::Well);
    if outcome.is_err() { Ok(()) } else { Err(format!("{outcome:?} for half of an answer")) }
}

async fn half_asked(load: &Load) -> Result<(), String> {
    let mut io = load.connect(None).await?;
    let head = format!("POST /half HTTP/1.1\r\nhost: {FLIP}\r\ncontent-length: 1000\r\n\r\nhalf");
    io.write_all(head.as_bytes()).await.map_err(|error| error.to_string())
}

async fn half_read(load: &Load) -> Result<(), String> {
    let mut io = load.connect(None).await?;
    let head = format!("GET /large HTTP/1.1\r\nhost: {FAULTY}\r\n\r\n");
    io.write_all(head.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut some = vec![0; 100_000];
    guarded("some of an answer", async {
        io.read_exact(&mut some).await.map(drop).map_err(|error| error.to_string())
    })
    .await
}

/// The bytes of a frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What clients of HTTP/2 begin with.
fn preface() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat()
}

/// The same frame again and again, until the gateway has had enough.
async fn flood(load: &Load, one: &[u8]) -> Result<(), String> {
    let many = one.repeat(1000);
    pour(load, |_| many.clone()).await
}

async fn rapid_reset(load: &Load) -> Result<(), String> {
    // `GET http://flip.example.com/`: entries 2, 6 and 4, and a literal for entry 1 (RFC 7541, appendix A).
    let mut head = vec![0x82, 0x86, 0x84, 0x01, FLIP.len() as u8];
    head.extend_from_slice(FLIP.as_bytes());
    pour(load, |round| {
        let ids = (0..100_u32).map(|nth| (round * 100 + nth) * 2 + 1);
        ids.flat_map(|id| [frame(1, 5, id, &head), frame(3, 0, id, &8_u32.to_be_bytes())].concat()).collect()
    })
    .await
}

/// Sends what there is of each round until the gateway closes.
async fn pour(load: &Load, make: impl Fn(u32) -> Vec<u8>) -> Result<(), String> {
    let io = load.connect(None).await?;
    let (mut from, mut to) = tokio::io::split(io);
    let pouring = async {
        let mut poured = 0;
        to.write_all(&preface()).await.map_err(drop)?;
        for round in 0.. {
            let bytes = make(round);
            poured += bytes.len();
            to.write_all(&bytes).await.map_err(drop)?;
            if poured > FLOOD {
                return Ok(());
            }
        }
        Err(())
    };
    let hearing = async {
        let mut some = vec![0; 4096];
        while from.read(&mut some).await.is_ok_and(|n| n > 0) {}
    };
    guarded("a flood", async {
        tokio::select! {
            poured = pouring => if poured.is_ok() { Err(format!("{FLOOD} bytes were taken")) } else { Ok(()) },
            () = hearing => Ok(()),
        }
    })
    .await
}

async fn malformed(load: &Load) -> Result<(), String> {
    for (text, wanted) in [
        ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", "400"),
    ] {
        let mut io = load.connect(None).await?;
        io.write_all(text.as_bytes()).await.map_err(|error| error.to_string())?;
        let head = guarded("a refusal", read_head(&mut io, &mut Vec::new())).await?;
        let status = head.as_ref().map(|head| head.status()).unwrap_or_default();
        if status != wanted {
            return Err(format!("{status} for {text:?}"));
        }
    }
    Ok(())
}

async fn endless(load: &Load) -> Result<(), String> {
    let mut io = load.connect(None).await?;
    let text = format!("GET / HTTP/1.1\r\nhost: {FLIP}\r\nx: {}", "a".repeat(100_000));
    // The gateway may have had enough before all of it is written.
    let _ = io.write_all(text.as_bytes()).await;
    let head = guarded("a refusal", read_head(&mut io, &mut Vec::new())).await?;
    let status = head.as_ref().map(|head| head.status()).unwrap_or_default();
    if status == "431" { Ok(()) } else { Err(format!("{status:?} for a head without end")) }
}

/// The faulty origin is well again, and so is what comes from it.
async fn recovered(load: &Load) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let outcome = status(load, "/well").await;
        if outcome.as_deref() == Ok("200") {
            break;
        }
        // A connection that the gateway kept may have been cut when the origin died.
        if begun.elapsed() > Duration::from_secs(5) {
            return Err(format!("{outcome:?} from an origin that is well"));
        }
        sleep(Duration::from_millis(10)).await;
    }
    all(&[status(load, "/well").await], &["200"])
}
