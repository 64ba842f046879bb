//! A letter in HTTP/2, and gRPC calls, which are such letters with a status at their end.

use std::future::poll_fn;
use std::io;

use bytes::Bytes;
use limen_wire::h2::H2Error;
use limen_wire::h2::client::{self, ClientLimits, RecvBody, Requests, SendBody};
use limen_wire::head::{BodyLength, Fields, RequestHead, ResponseHead};

use super::{Collector, Letter};
use crate::stream::Stream;

/// More than this of an answer is not kept.
const ANSWER_BYTES: usize = 4096;
const GRPC_STATUS: &[u8] = b"grpc-status";

/// What a collector answers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// As it is written.
    pub(super) grpc_status: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Begins a connection, which a task of its own moves until it ends.
pub(super) async fn begin(stream: Box<dyn Stream>) -> io::Result<Requests> {
    let (requests, connection) = client::connect(stream, &ClientLimits::default()).await.map_err(failed)?;
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(requests)
}

/// Posts a letter and reads the answer to its end.
pub(super) async fn post(requests: &mut Requests, to: &Collector, letter: &Letter) -> io::Result<Answer> {
    let https = to.tls.is_some();
    let (mut answer, body) = requests.send(&head(to, letter), https, false).map_err(failed)?;
    // A collector may answer before it has read everything; what it then says counts.
    let sent = send(body, &letter.body).await;
    let mut head = ResponseHead::default();
    let body = loop {
        match poll_fn(|cx| answer.poll_head(cx, &mut head)).await {
            Ok(Some(body)) => break body,
            Ok(None) => {}
            Err(error) => return Err(failed(sent.err().unwrap_or(error))),
        }
    };
    read(body, &head).await.map_err(failed)
}

fn head(to: &Collector, letter: &Letter) -> RequestHead {
    let mut head = RequestHead::default();
    head.set_method(b"POST");
    head.set_path(to.path.as_bytes());
    head.set_authority(to.authority.as_bytes());
    head.body = BodyLength::Marked;
    head.fields.add(b"content-type", letter.content_type.as_bytes());
    if to.protocol.is_grpc() {
        head.te_trailers = true;
        let most = to.timeout.as_millis().min(99_999_999);
        head.fields.add(b"grpc-timeout", format!("{most}m").as_bytes());
    }
    letter.headers.iter().for_each(|(name, value)| head.fields.add(name.as_bytes(), value.as_bytes()));
    to.headers.iter().for_each(|(name, value)| head.fields.add(name.as_bytes(), value.as_bytes()));
    head
}

async fn send(mut body: SendBody, mut left: &[u8]) -> Result<(), H2Error> {
    while !left.is_empty() {
        let room = body.capacity(left.len()).await?;
        let (piece, rest) = left.split_at(room.min(left.len()));
        body.send_data(Bytes::copy_from_slice(piece), false)?;
        left = rest;
    }
    body.send_data(Bytes::new(), true)
}

async fn read(mut body: RecvBody, head: &ResponseHead) -> Result<Answer, H2Error> {
    let status =
        |fields: &Fields| fields.get(GRPC_STATUS).map(|status| String::from_utf8_lossy(status).into_owned());
    let mut answer = Answer { status: head.status, grpc_status: status(&head.fields), ..Answer::default() };
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.release(piece.len());
        let room = ANSWER_BYTES.saturating_sub(answer.body.len());
        answer.body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
    }
    if let Some(trailers) = body.trailers().await? {
        answer.grpc_status = status(&trailers).or(answer.grpc_status);
    }
    Ok(answer)
}

fn failed(error: H2Error) -> io::Error {
    io::Error::other(error.to_string())
}
