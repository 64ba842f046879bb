//! An HTTP/1.1 client that sends the bytes it is given and believes nothing that is not exactly so.

use std::collections::BTreeMap;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::reply::Reply;

/// A connection that requests are sent over one after the other.
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Takes a connected stream.
    pub fn new(stream: S) -> Connection<S> {
        Connection { stream, buffer: Vec::new() }
    }

    /// Sends bytes. A peer that has closed already is no error here: what it said is read later.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Reads one final response (1xx responses are passed over).
    ///
    /// # Errors
    /// What was not as RFC 9112 wants it, or how the connection ended.
    pub async fn read(&mut self, method: &str) -> Result<Reply, String> {
        loop {
            let head = self.read_head().await?;
            if head.status >= 200 {
                return self.rest(method, head).await;
            }
        }
    }

    /// As [`Connection::read`], but a 1xx is an error.
    ///
    /// # Errors
    /// As there.
    pub async fn read_final(&mut self, method: &str) -> Result<Reply, String> {
        let head = self.read_head().await?;
        if head.status < 200 {
            return Err(format!("an interim response: {head:?}"));
        }
        self.rest(method, head).await
    }

    /// What follows a final head.
    async fn rest(&mut self, method: &str, mut reply: Reply) -> Result<Reply, String> {
        reply.body = self.body(method, &mut reply).await?;
        if reply.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")) {
            self.end().await?;
            reply.closed = true;
        }
        Ok(reply)
    }

    /// Reads the next head, whatever its status, as a reply without a body.
    ///
    /// # Errors
    /// As [`Connection::read`].
    pub async fn read_head(&mut self) -> Result<Reply, String> {
        let head = self.head().await?;
        parse(&head)
    }

    /// Reads that many bytes.
    ///
    /// # Errors
    /// The connection ended before.
    pub async fn read_bytes(&mut self, length: usize) -> Result<Vec<u8>, String> {
        self.take(length).await
    }

    /// Says that no more will be sent.
    pub async fn close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Waits for the end of the connection.
    ///
    /// # Errors
    /// Bytes that came before it.
    pub async fn end(&mut self) -> Result<(), String> {
        while self.fill().await.unwrap_or(false) {}
        if self.buffer.is_empty() {
            return Ok(());
        }
        Err(format!("bytes after the response: {:?}", String::from_utf8_lossy(&self.buffer)))
    }

    async fn fill(&mut self) -> Result<bool, String> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(n) => Ok(n > 0),
            Err(error) => Err(format!("reading: {error}")),
        }
    }

    async fn fill_or(&mut self, missing: &str) -> Result<(), String> {
        if self.fill().await? {
            return Ok(());
        }
        Err(format!("closed before {missing}, after {:?}", String::from_utf8_lossy(&self.buffer)))
    }

    async fn head(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head[..end].to_vec())
                    .map_err(|_| "a head that is not text".to_owned());
            }
            self.fill_or("the end of a head").await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, String> {
        while self.buffer.len() < length {
            self.fill_or("the end of a body").await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return String::from_utf8(line[..end].to_vec())
                    .map_err(|_| "a chunk line that is not text".to_owned());
            }
            self.fill_or("the end of a chunk line").await?;
        }
    }

    async fn body(&mut self, method: &str, reply: &mut Reply) -> Result<Vec<u8>, String> {
        let length = reply.header("content-length");
        let coding = reply.header("transfer-encoding");
        if length.is_some() && coding.is_some() {
            return Err("both content-length and transfer-encoding".to_owned());
        }
        if method == "HEAD" || matches!(reply.status, 204 | 304) {
            return Ok(Vec::new());
        }
        match (length, coding.as_deref()) {
            (Some(length), _) => {
                self.take(length.parse().map_err(|_| format!("content-length {length:?}"))?).await
            }
            (None, Some("chunked")) => self.chunks(&mut reply.trailers).await,
            (None, Some(other)) => Err(format!("transfer-encoding {other:?}")),
            (None, None) => {
                while self.fill().await? {}
                reply.closed = true;
                Ok(std::mem::take(&mut self.buffer))
            }
        }
    }

    async fn chunks(&mut self, trailers: &mut Vec<(String, String)>) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| format!("chunk size {line:?}"))?;
            if size == 0 {
                break;
            }
            body.extend(self.take(size).await?);
            let end = self.line().await?;
            if !end.is_empty() {
                return Err(format!("{end:?} after a chunk"));
            }
        }
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(body);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| format!("trailer line {line:?}"))?;
            trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

fn parse(head: &str) -> Result<Reply, String> {
    let mut lines = head.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let (version, rest) = match start.split_once(' ') {
        Some(("HTTP/1.1", rest)) => ("HTTP/1.1", rest),
        Some(("HTTP/1.0", rest)) => ("HTTP/1.0", rest),
        _ => return Err(format!("status line {start:?}")),
    };
    let code = rest.get(..3).filter(|_| matches!(rest.as_bytes().get(3), None | Some(b' ')));
    let status = code.and_then(|c| c.parse().ok()).ok_or_else(|| format!("status line {start:?}"))?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("header line {line:?}"))?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let sound = !name.is_empty() && name.bytes().all(token) && !value.contains(['\r', '\n', '\0']);
        if !sound {
            return Err(format!("header line {line:?}"));
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    for name in ["content-length", "transfer-encoding", "date", "server"] {
        if headers.iter().filter(|(n, _)| n == name).count() > 1 {
            return Err(format!("{name} stands more than once"));
        }
    }
    Ok(Reply { status, version, headers, body: Vec::new(), trailers: Vec::new(), closed: false })
}

/// The bytes of an ordinary request.
pub fn request(method: &str, target: &str, host: &str, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    request_with(method, target, host, headers, body, &BTreeMap::new())
}

/// The same with trailers after the body, which then goes in a chunk.
pub fn request_with(
    method: &str,
    target: &str,
    host: &str,
    headers: &[(String, String)],
    body: &[u8],
    trailers: &BTreeMap<String, String>,
) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !trailers.is_empty() {
        text.push_str(&format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len()));
    } else if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    } else {
        text.push_str("\r\n");
    }
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    if !trailers.is_empty() {
        let lines: String = trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        bytes.extend_from_slice(format!("\r\n0\r\n{lines}\r\n").as_bytes());
    }
    bytes
}
