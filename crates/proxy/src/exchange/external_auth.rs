//! Questions to a service that decides on requests. The filter says what is asked and what the answer means; it is asked
//! here, by a rule of its own, and whatever goes wrong on the way refuses the request.

use std::future::poll_fn;
use std::task::{Context, Poll};

use limen_wire::head::{BodyLength, Fields, RequestHead, ResponseHead};

use super::error::Error;
use super::forward;
use super::front::{Front, FrontFail};
use super::live::Live;
use super::silence::Silence;
use super::upload::unread;
use crate::filter::external_auth::{self, About, Denial, Heard, Verdict};
use crate::filter::policy;
use crate::observe::{Counter, Flags};
use crate::table::listeners::Tables;
use crate::table::routes::{Action, ExternalAuth};

/// Bytes of an answer's body; no longer one is understood.
const MAX_ANSWER: usize = 1 << 20;

/// Asks about the request. What it is to go on with is written into it.
///
/// # Errors
/// There is no answer, or none that is known; or the client's body cannot be told.
pub(super) async fn ask<'t, F: Front>(
    live: &mut Live<'_, 't, F>,
    tables: &'t Tables,
    auth: &'t ExternalAuth,
) -> Result<Option<Box<Denial>>, Error> {
    if let Some(most) = auth.body_most {
        read_body(live, most).await?;
    }
    let asked = asked(live, tables, auth).await;
    // Deadlines that follow count from here.
    live.worker.clock.now_us();
    let undecided = |why: &str| Err(Error::undecided(why.replace(' ', "_")));
    let judged = match asked {
        Asked::Abandoned(error) => return Err(error),
        Asked::Failed(why) => undecided(&why),
        Asked::Answered(answer) => {
            let Answer { head, body, trailers } = &*answer;
            let heard = Heard { head, body, trailers: trailers.as_ref() };
            external_auth::answer(&auth.form, &heard, &mut live.exchange.request).or_else(undecided)
        }
    };
    let (counter, outcome) = match judged {
        Err(error) => (Counter::ExternalAuthFailed, Err(error)),
        Ok(Verdict::Denied(denial)) => (Counter::ExternalAuthDenied, Ok(Some(Box::new(denial)))),
        Ok(Verdict::Allowed(granted)) => {
            live.exchange.granted.extend(granted);
            (Counter::ExternalAuthAllowed, Ok(None))
        }
    };
    live.worker.count(counter);
    outcome
}

/// What came of a question.
enum Asked {
    Answered(Box<Answer>),
    /// In the words of the access log.
    Failed(String),
    /// The client has gone, or the time of its connection is over.
    Abandoned(Error),
}

async fn asked<'t, F: Front>(
    live: &mut Live<'_, 't, F>,
    tables: &'t Tables,
    auth: &'t ExternalAuth,
) -> Asked {
    let Action::Forward(to) = &auth.rule.action else { return Asked::Failed("nobody to ask".to_owned()) };
    let worker = live.worker;
    let peer = live.conn.secured.as_ref().and_then(|tls| tls.peer()).map(|shown| &shown.peer);
    let about = About {
        request: &live.exchange.request,
        body: if auth.body_most.is_some() { &live.exchange.replay } else { b"" },
        client: live.note.client,
        local: live.conn.local,
        https: live.note.https,
        server_name: live.conn.server_name.as_deref(),
        principal: peer.map_or("", |peer| peer.principal()),
        start_ms: worker.clock.epoch_ms(live.note.start_us),
    };
    let mut exchange = worker.take_exchange();
    let body = external_auth::question(&auth.form, &about, &mut exchange.request);
    let mut asker = Asker { client: live.front, body, read: 0, answer: Box::default(), too_long: false };
    let mut own = Live::begin(worker, live.conn, &mut asker, &mut exchange);
    own.note.http = &policy::OWN;
    own.note.client = live.note.client;
    let destination = forward::choose(&mut own, to);
    let done = forward::run(&mut own, tables, &auth.rule, (to, destination)).await;
    drop(own);
    worker.give_exchange(exchange);
    match done {
        Ok(()) => Asked::Answered(asker.answer),
        Err(_) if asker.too_long => Asked::Failed("an answer that is too long".to_owned()),
        Err(error) if error.flags == Flags::DC || error.flags == Flags::LR => Asked::Abandoned(error),
        Err(error) => Asked::Failed(error.details.to_string()),
    }
}

/// Reads the request's body, all of it, so that it can be told and still be sent. No route keeps more of it than any
/// request may have.
async fn read_body<F: Front>(live: &mut Live<'_, '_, F>, most: usize) -> Result<(), Error> {
    let any = live.worker.config.limits.max_body_bytes;
    let (most, too_long): (_, fn() -> Error) = match usize::try_from(any) {
        Ok(any) if any <= most => (any, Error::too_large_a_body),
        Ok(_) | Err(_) => (most, Error::too_long_a_body),
    };
    let request = &mut live.exchange.request;
    match request.body {
        BodyLength::None => return Ok(()),
        BodyLength::Known(length) if length > most as u64 => return Err(too_long()),
        // Another service may have been told it before, and may be told more.
        _ if live.exchange.replay.len() > most => return Err(too_long()),
        _ => {}
    }
    if std::mem::take(&mut request.expect_continue) && live.front.passes_interim() {
        live.front.interim(&ResponseHead { status: 100, ..ResponseHead::default() });
    }
    let mut silence = Silence::watch(live.worker, live.note.http, live.note.start_us);
    poll_fn(|cx| {
        loop {
            match live.front.poll_body(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(fail)) => return Poll::Ready(Err(unread(&fail))),
                Poll::Pending => break,
            }
            let piece = live.front.body();
            if live.exchange.replay.len() + piece.len() > most {
                return Poll::Ready(Err(too_long()));
            }
            live.exchange.replay.extend_from_slice(piece);
            if let Some(call) = &mut live.exchange.grpc {
                call.up.feed(piece);
            }
            let n = piece.len();
            live.note.received += n as u64;
            live.front.consume(n);
        }
        if matches!(live.front.poll_flush(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(Err(Error::client_gone()));
        }
        if live.conn.over.get() {
            return Poll::Ready(Err(Error::leaving()));
        }
        let received = live.note.received;
        let over = silence.as_deref_mut().and_then(|silence| silence.is_over(received, false, cx));
        over.map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    })
    .await
}

/// An answer, whole.
#[derive(Default)]
struct Answer {
    head: ResponseHead,
    body: Vec<u8>,
    trailers: Option<Fields>,
}

/// The client of a question: it has a body to send, keeps what it hears, and is gone when that of the request is.
struct Asker<'f> {
    client: &'f mut dyn Front,
    body: Vec<u8>,
    read: usize,
    answer: Box<Answer>,
    too_long: bool,
}

impl Front for Asker<'_> {
    fn poll_body(&mut self, _cx: &mut Context<'_>) -> Poll<Result<bool, FrontFail>> {
        Poll::Ready(Ok(!self.body().is_empty()))
    }

    fn body(&self) -> &[u8] {
        self.body.get(self.read..).unwrap_or_default()
    }

    fn consume(&mut self, n: usize) {
        self.read += n;
    }

    fn trailers(&self) -> Option<&Fields> {
        None
    }

    fn begin(&mut self, head: &ResponseHead, _end: bool) -> Result<(), FrontFail> {
        self.answer.head = head.clone();
        Ok(())
    }

    fn poll_send(
        &mut self,
        _cx: &mut Context<'_>,
        data: &[u8],
        _last: bool,
    ) -> Poll<Result<usize, FrontFail>> {
        if self.answer.body.len() + data.len() > MAX_ANSWER {
            self.too_long = true;
            return Poll::Ready(Err(FrontFail::Gone));
        }
        self.answer.body.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn end(&mut self, trailers: Option<&Fields>) -> Result<(), FrontFail> {
        self.answer.trailers = trailers.cloned();
        Ok(())
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), FrontFail>> {
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {}

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        self.client.poll_gone(cx)
    }

    fn closes(&self, _request: &RequestHead) -> bool {
        false
    }

    fn is_recorded(&self) -> bool {
        false
    }
}
