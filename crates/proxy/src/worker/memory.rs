//! The memory of exchanges, reused from request to request.

use std::rc::Rc;

use limen_wire::head::{Fields, RequestHead, ResponseHead};

use crate::address::Address;
use crate::clock::{Clock, Timer};
use crate::filter::external_auth::Granted;
use crate::filter::headers::HeaderScratch;
use crate::filter::session::Kept;
use crate::observe::messages::Messages;

/// The memory of an exchange: taken from the worker when a head arrives, given back when it has ended.
pub(crate) struct Exchange {
    /// The request; from forwarding on, as the origin sees it.
    pub(crate) request: RequestHead,
    /// The response.
    pub(crate) response: ResponseHead,
    /// What has been read of the request's body, for another attempt.
    pub(crate) replay: Vec<u8>,
    /// For whatever needs a few bytes.
    pub(crate) scratch: Vec<u8>,
    /// The origin that scripts of the request come from, where a rule lets it in.
    pub(crate) origin: Vec<u8>,
    /// The body of an answer that was made here, where the access log wants it.
    pub(crate) local_body: Vec<u8>,
    /// What came after the response's body, where the access log wants it.
    pub(crate) trailers: Option<Fields>,
    /// What passes of a gRPC call, if it is one.
    pub(crate) grpc: Option<Call>,
    /// For header operations.
    pub(crate) headers: HeaderScratch,
    /// Endpoints that were tried.
    pub(crate) tried: Vec<Address>,
    /// What the request's endpoint is found by, if its rule asks for that.
    pub(crate) hash: Option<u64>,
    /// Where the client's session is, if its rule asks for that and the client has one.
    pub(crate) session: Option<Kept>,
    /// Cookies that the client is to be given.
    pub(crate) cookies: Vec<String>,
    /// Other fields that the client is to be given, whoever answers the request.
    pub(crate) granted: Granted,
    /// Why the origin's transport failed.
    pub(crate) transport: String,
    /// The deadlines of the exchange.
    pub(crate) timer: Rc<Timer>,
}

/// A gRPC call.
#[derive(Default)]
pub(crate) struct Call {
    /// From the client.
    pub(crate) up: Messages,
    /// To the client.
    pub(crate) down: Messages,
    /// `grpc-status` of the trailers.
    pub(crate) status: Option<u32>,
}

/// More than this is not kept from one exchange to the next.
const KEPT_BYTES: usize = 16 * 1024;

impl Exchange {
    pub(crate) fn new(clock: &Rc<Clock>) -> Exchange {
        Exchange {
            request: RequestHead::default(),
            response: ResponseHead::default(),
            replay: Vec::new(),
            scratch: Vec::new(),
            origin: Vec::new(),
            local_body: Vec::new(),
            trailers: None,
            grpc: None,
            headers: HeaderScratch::default(),
            tried: Vec::new(),
            hash: None,
            session: None,
            cookies: Vec::new(),
            granted: Granted::new(),
            transport: String::new(),
            timer: Rc::new(clock.timer()),
        }
    }

    /// Forgets the message, keeps ordinary amounts of memory.
    pub(crate) fn clear(&mut self) {
        if self.request.fields.capacity() > KEPT_BYTES {
            self.request = RequestHead::default();
        }
        if self.response.fields.capacity() > KEPT_BYTES {
            self.response = ResponseHead::default();
        }
        self.request.clear();
        self.response.clear();
        self.tried.clear();
        (self.hash, self.session) = (None, None);
        self.cookies.clear();
        self.granted.clear();
        self.transport.clear();
        self.timer.release();
        (self.trailers, self.grpc) = (None, None);
        for buffer in [&mut self.replay, &mut self.scratch, &mut self.origin, &mut self.local_body] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
    }
}
