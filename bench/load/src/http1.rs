//! Requests over HTTP/1.1 connections that are kept alive, and the little of HTTP/1.1 that takes.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::work::{Io, Job, Load, Pace, Work, guarded};

/// Requests on one connection before the lane takes another: handshakes go on throughout.
const REQUESTS: usize = 400;

/// A head, and what has been read beyond it.
pub(crate) struct Head {
    text: Vec<u8>,
}

impl Head {
    /// The first line.
    pub(crate) fn first(&self) -> &str {
        self.lines().next().unwrap_or_default()
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> &str {
        self.first().get(9..12).unwrap_or_default()
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        std::str::from_utf8(&self.text).unwrap_or_default().split("\r\n")
    }

    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The length of the body that follows; none is 0.
    pub(crate) fn length(&self) -> Result<usize, String> {
        if self.field("transfer-encoding").is_some() {
            return Err("a body of unknown length".to_owned());
        }
        self.field("content-length").map_or(Ok(0), |text| text.parse().map_err(|_| format!("length {text}")))
    }
}

/// Reads a head; `None`: the connection ended where one could begin.
pub(crate) async fn read_head(
    io: &mut (impl AsyncRead + Unpin),
    unread: &mut Vec<u8>,
) -> Result<Option<Head>, String> {
    loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = unread.split_off(end + 4);
            unread.truncate(end);
            return Ok(Some(Head { text: std::mem::replace(unread, rest) }));
        }
        match io.read_buf(unread).await {
            Ok(0) if unread.is_empty() => return Ok(None),
            Ok(0) => return Err("the end in a head".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(format!("in a head: {error}")),
        }
    }
}

/// Reads that many bytes.
pub(crate) async fn read_body(
    io: &mut (impl AsyncRead + Unpin),
    unread: &mut Vec<u8>,
    length: usize,
) -> Result<Vec<u8>, String> {
    while unread.len() < length {
        match io.read_buf(unread).await {
            Ok(0) => return Err("the end in a body".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(format!("in a body: {error}")),
        }
    }
    let rest = unread.split_off(length);
    Ok(std::mem::replace(unread, rest))
}

/// Reads a body in chunks.
async fn read_chunks(io: &mut (impl AsyncRead + Unpin), unread: &mut Vec<u8>) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = unread.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            let more = read_body(io, unread, unread.len() + 1).await?;
            *unread = [more, std::mem::take(unread)].concat();
        };
        let line = read_body(io, unread, end + 2).await?;
        let digits = std::str::from_utf8(&line[..end]).unwrap_or_default();
        let size = usize::from_str_radix(digits, 16).map_err(|_| format!("a chunk of {digits}"))?;
        let chunk = read_body(io, unread, size + 2).await?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// A connection to ask on.
pub(crate) struct Connection {
    io: Io,
    unread: Vec<u8>,
    out: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(io: Io) -> Connection {
        Connection { io, unread: Vec::new(), out: Vec::new() }
    }

    /// Asks, and reads the answer to its end.
    pub(crate) async fn ask(
        &mut self,
        (host, path): (&str, &str),
        more: &str,
        body: Option<&[u8]>,
    ) -> Result<(Head, Vec<u8>), String> {
        self.out.clear();
        let method = if body.is_some() { "POST" } else { "GET" };
        self.out.extend_from_slice(format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{more}").as_bytes());
        if let Some(body) = body {
            self.out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
            self.out.extend_from_slice(body);
        } else {
            self.out.extend_from_slice(b"\r\n");
        }
        self.io.write_all(&self.out).await.map_err(|error| format!("writing: {error}"))?;
        self.io.flush().await.map_err(|error| format!("writing: {error}"))?;
        let head = read_head(&mut self.io, &mut self.unread).await?;
        let head = head.ok_or("the end instead of an answer")?;
        let body = if head.field("transfer-encoding").is_some() {
            read_chunks(&mut self.io, &mut self.unread).await?
        } else {
            read_body(&mut self.io, &mut self.unread, head.length()?).await?
        };
        Ok((head, body))
    }

    /// One request of the load; whether the connection goes on.
    async fn job(&mut self, load: &Load, job: &Job) -> Result<bool, String> {
        let sent = job.body.map(|(at, length)| &load.text[at..at + length]);
        let (head, body) = self.ask((job.host, &job.path), "", sent).await?;
        if head.status() != "200" {
            return Err(format!("{} {}", head.first(), String::from_utf8_lossy(&body)));
        }
        if body != sent.unwrap_or(job.path.as_bytes()) {
            return Err("an answer to something else".to_owned());
        }
        Ok(head.field("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")))
    }

    /// The stream, and what has been read of it already.
    pub(crate) fn into_parts(self) -> (Io, Vec<u8>) {
        (self.io, self.unread)
    }
}

/// Asks at its pace until all is over.
pub(crate) async fn lane(load: Rc<Load>, number: usize, secure: bool, interval: Duration) {
    let kind = if secure { "H1 in TLS" } else { "H1" };
    let mut pace = Pace::new(interval, number);
    let mut work = Work::new(format!("h1-{number}"));
    while !load.over() {
        let mut connection = match load.connect(secure.then_some(&load.tls.h1)).await {
            Ok(io) => Connection::new(io),
            Err(why) => {
                load.tally.failed.add(format!("{kind}: {why}"));
                pace.turn().await;
                continue;
            }
        };
        for _ in 0..REQUESTS {
            pace.turn().await;
            if load.over() {
                break;
            }
            let job = work.next();
            let begun = Instant::now();
            match guarded("a request", connection.job(&load, &job)).await {
                Ok(keep) => {
                    load.tally.served(begun, job.body.is_some());
                    if !keep {
                        break;
                    }
                }
                Err(why) => {
                    load.tally.failed.add(format!("{kind}: {why}"));
                    break;
                }
            }
        }
    }
}
