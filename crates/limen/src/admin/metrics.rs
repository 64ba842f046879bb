//! `/stats/prometheus`: written while it is read, and packed for whoever takes that.
//!
//! Of a label set there are some 50 kB, most of it the labels again and again, which pack to a fiftieth. Thousands of
//! label sets are more than should stand in memory at once.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Frame;
use tokio::sync::mpsc;

use super::{Admin, expiry, process};

/// Parts that wait for the reader at most.
const PARTS: usize = 4;
/// A packed part is handed on once it has this size.
const PART_BYTES: usize = 32 * 1024;

/// Everything that is counted, in Prometheus' text format.
pub(super) async fn prometheus(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let packed = takes_gzip(&headers);
    let (parts, receiver) = mpsc::channel(PARTS);
    tokio::task::spawn_blocking(move || write(&admin, Out::new(parts, packed)));
    let mut response = Response::new(Body::new(Parts(receiver)));
    let answer = response.headers_mut();
    answer.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    answer.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if packed {
        answer.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn write(admin: &Admin, mut out: Out) {
    admin.registry.render_parts(&admin.source, &mut |text| out.write(text));
    let view = admin.view();
    out.write(&expiry::render(&view.certificates));
    out.write(&view.rejected.render());
    out.write(&process::render());
    out.end();
}

/// Whether the client takes gzip (RFC 9110 section 12.5.3); what refuses it has weight 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight =
            weight.trim().strip_prefix("q=").map_or(Some(1.0), |text| text.trim().parse::<f32>().ok());
        matches!(name.trim(), "gzip" | "x-gzip") && weight.is_some_and(|weight| weight > 0.0)
    })
}

/// Where text goes: packed or not, in parts, for as long as there is a reader.
struct Out {
    parts: mpsc::Sender<Bytes>,
    packer: Option<GzEncoder<Vec<u8>>>,
}

impl Out {
    fn new(parts: mpsc::Sender<Bytes>, packed: bool) -> Out {
        Out { parts, packer: packed.then(|| GzEncoder::new(Vec::new(), Compression::fast())) }
    }

    fn write(&mut self, text: &str) {
        let Some(packer) = &mut self.packer else {
            return self.send(Bytes::copy_from_slice(text.as_bytes()));
        };
        // Writing to a Vec cannot fail.
        let _ = packer.write_all(text.as_bytes());
        if packer.get_ref().len() >= PART_BYTES {
            let part = std::mem::take(packer.get_mut());
            self.send(part.into());
        }
    }

    fn end(mut self) {
        if let Some(rest) = self.packer.take().and_then(|packer| packer.finish().ok()) {
            self.send(rest.into());
        }
    }

    /// Waits for a slow reader; one that has left gets nothing more.
    fn send(&self, part: Bytes) {
        if !part.is_empty() {
            let _ = self.parts.blocking_send(part);
        }
    }
}

/// The body of the answer: parts as they come.
struct Parts(mpsc::Receiver<Bytes>);

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
