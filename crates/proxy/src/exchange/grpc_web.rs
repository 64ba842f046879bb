//! Clients of gRPC-Web on the ports that are declared to serve them: behind this front a call is like any other.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use limen_wire::grpc_web::{Form, TextDecoder, encode_text, encode_trailers};
use limen_wire::head::{BodyLength, Fields, RequestHead, ResponseHead};

use super::front::{Front, FrontFail};
use crate::clock::Clock;

/// Bytes of a response that become one segment of text at the most.
const SEGMENT: usize = 12 * 1024;

/// A front that speaks gRPC-Web, as the exchange sees it: in gRPC.
pub(super) struct GrpcWeb<'f> {
    client: &'f mut dyn Front,
    /// Of the request: its decoder, if it is text.
    text: Option<TextDecoder>,
    /// What has been decoded, and how much of it is done with.
    piece: Vec<u8>,
    taken: usize,
    /// What the client wants to hear.
    form: Form,
    /// The response is that of a call.
    call: bool,
    /// What is to go out, and how much of it has.
    queued: Vec<u8>,
    sent: usize,
    end: End,
}

/// The end of the response's body.
#[derive(PartialEq, Eq)]
enum End {
    /// More may come.
    Open,
    /// It follows what is queued.
    Queued,
    /// It has been said.
    Said,
}

/// Is it a call in gRPC-Web?
pub(super) fn is_call(request: &RequestHead) -> bool {
    said(request).is_some()
}

fn said(request: &RequestHead) -> Option<(Form, &[u8])> {
    request.fields.get(b"content-type").and_then(Form::of)
}

impl<'f> GrpcWeb<'f> {
    /// Makes the request of [`is_call`] that of a call over HTTP/2.
    pub(super) fn new(client: &'f mut dyn Front, request: &mut RequestHead) -> Self {
        let (form, messages) = said(request).unwrap_or((Form::Binary, b""));
        let call = Form::call_type(messages);
        // What it wants to hear is what it says, unless it names that.
        let wanted = request.fields.get(b"accept").and_then(Form::of).map_or(form, |(wanted, _)| wanted);
        request.fields.set(b"content-type", &call);
        request.te_trailers = true;
        if form == Form::Text && request.body != BodyLength::None {
            request.body = BodyLength::Marked;
        }
        GrpcWeb {
            client,
            text: (form == Form::Text).then(TextDecoder::default),
            piece: Vec::new(),
            taken: 0,
            form: wanted,
            call: false,
            queued: Vec::new(),
            sent: 0,
            end: End::Open,
        }
    }

    /// Appends to what is to go out.
    fn queue(&mut self, bytes: &[u8]) {
        match self.form {
            Form::Binary => self.queued.extend_from_slice(bytes),
            Form::Text => encode_text(bytes, &mut self.queued),
        }
    }

    /// Hands all that is queued to the client's front.
    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrontFail>> {
        while let Some(rest) = self.queued.get(self.sent..).filter(|rest| !rest.is_empty()) {
            self.sent += ready!(self.client.poll_send(cx, rest, false))?;
        }
        self.queued.clear();
        self.sent = 0;
        if self.end == End::Queued {
            self.client.end(None)?;
            self.end = End::Said;
        }
        Poll::Ready(Ok(()))
    }
}

impl Front for GrpcWeb<'_> {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, FrontFail>> {
        let Some(text) = &mut self.text else { return self.client.poll_body(cx) };
        while self.taken == self.piece.len() {
            self.piece.clear();
            self.taken = 0;
            if !ready!(self.client.poll_body(cx))? {
                return Poll::Ready(text.finish().map(|()| false).map_err(|_| FrontFail::Framing));
            }
            let said = self.client.body();
            let length = said.len();
            text.decode(said, &mut self.piece).map_err(|_| FrontFail::Framing)?;
            self.client.consume(length);
        }
        Poll::Ready(Ok(true))
    }

    fn receive_by(&mut self, clock: &Rc<Clock>, at_ms: u64) {
        self.client.receive_by(clock, at_ms);
    }

    fn body(&self) -> &[u8] {
        match self.text {
            Some(_) => self.piece.get(self.taken..).unwrap_or_default(),
            None => self.client.body(),
        }
    }

    fn consume(&mut self, n: usize) {
        match self.text {
            Some(_) => self.taken = (self.taken + n).min(self.piece.len()),
            None => self.client.consume(n),
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        self.client.trailers()
    }

    fn passes_interim(&self) -> bool {
        self.client.passes_interim()
    }

    fn interim(&mut self, head: &ResponseHead) {
        self.client.interim(head);
    }

    /// A status that stands in the head stays there: there is no body then.
    fn begin(&mut self, head: &ResponseHead, end: bool) -> Result<(), FrontFail> {
        let answer = head.fields.get(b"content-type").and_then(|call| self.form.answer_type(call));
        let Some(answer) = answer else { return self.client.begin(head, end) };
        self.call = true;
        let mut head = head.clone();
        head.fields.set(b"content-type", &answer);
        if head.body != BodyLength::None {
            head.body = BodyLength::Marked;
        }
        self.client.begin(&head, end)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8], last: bool) -> Poll<Result<usize, FrontFail>> {
        if !self.call {
            return self.client.poll_send(cx, data, last);
        }
        if self.form == Form::Binary {
            return self.client.poll_send(cx, data, false);
        }
        ready!(self.poll_queued(cx))?;
        let piece = data.get(..SEGMENT).unwrap_or(data);
        self.queue(piece);
        if let Poll::Ready(gone) = self.poll_queued(cx) {
            gone?;
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn end(&mut self, trailers: Option<&Fields>) -> Result<(), FrontFail> {
        if !self.call {
            return self.client.end(trailers);
        }
        let mut frame = Vec::new();
        encode_trailers(trailers, &mut frame);
        self.queue(&frame);
        self.end = End::Queued;
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), FrontFail>> {
        ready!(self.poll_queued(cx))?;
        self.client.poll_flush(cx)
    }

    fn abort(&mut self) {
        self.client.abort();
    }

    fn is_recorded(&self) -> bool {
        self.client.is_recorded()
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        self.client.poll_gone(cx)
    }

    fn closes(&self, request: &RequestHead) -> bool {
        self.client.closes(request)
    }
}
