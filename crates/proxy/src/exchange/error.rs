//! What can go wrong with a request, whose fault it is, and what the client hears. Texts and flags are Envoy's, as
//! Istio's users know them.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use limen_wire::h1::HeadError;
use limen_wire::head::Version;

use crate::filter::fault::AbortStatus;
use crate::observe::Flags;
use crate::observe::limits::Limit;
use crate::stream::inbound::Excess;
use crate::upstream::fail::Fail;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client sent something wrong or went away.
    Client,
    /// The configuration has no answer for the request.
    Config,
    /// The origin failed.
    Origin,
    /// The gateway has no room for the request.
    Overload,
}

/// The details of a request that took longer than its route allows.
pub(crate) const RESPONSE_TIMEOUT: &str = "response_timeout";

/// The details of what is cut when the time to finish is over.
pub(crate) const LEAVING: &str = "drain_deadline";

/// An exchange that cannot be completed. Boxed: results that may be one are passed at every step of every request, and
/// are as small as they can be.
#[derive(Debug)]
pub(crate) struct Error(Box<Told>);

/// What becomes of an exchange that cannot be completed.
#[derive(Debug)]
pub(crate) struct Told {
    /// Whose fault.
    pub(crate) fault: Fault,
    /// The status to answer; 0: nobody is there to hear it.
    pub(crate) status: u16,
    /// Response flags.
    pub(crate) flags: Flags,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub(crate) details: Cow<'static, str>,
    /// The body of the answer.
    pub(crate) body: Cow<'static, str>,
    /// The origin's transport failure, for the access log.
    pub(crate) transport: String,
    /// Say `x-envoy-overloaded`.
    pub(crate) overloaded: bool,
    /// What clients that speak gRPC are told, if not what the status means to them.
    pub(crate) grpc_status: Option<u8>,
    /// The limit that was reached.
    pub(crate) limit: Option<Limit>,
}

impl Deref for Error {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Told {
        &mut self.0
    }
}

impl Error {
    #[cold]
    #[inline(never)]
    fn new(fault: Fault, status: u16, flags: Flags, details: &'static str, body: &'static str) -> Error {
        Error(Box::new(Told {
            fault,
            status,
            flags,
            details: details.into(),
            body: body.into(),
            transport: String::new(),
            overloaded: false,
            grpc_status: None,
            limit: None,
        }))
    }

    /// A rule's injected answer.
    pub(crate) fn injected(status: AbortStatus) -> Error {
        let (status, grpc_status) = match status {
            AbortStatus::Http(status) => (status, None),
            AbortStatus::Grpc(status) => (200, Some(status)),
        };
        let mut error =
            Error::new(Fault::Config, status, Flags::FI, "fault_filter_abort", "fault filter abort");
        error.grpc_status = grpc_status;
        error
    }

    /// No host, no rule or no listener for the request.
    pub(crate) fn no_route() -> Error {
        Error::new(Fault::Config, 404, Flags::NR, "route_not_found", "")
    }

    /// The host belongs to another TLS chain of the port (RFC 9110 15.5.20).
    pub(crate) fn misdirected() -> Error {
        Error::new(Fault::Client, 421, Flags::NR, "misdirected_request", "")
    }

    /// The path cannot be normalised.
    pub(crate) fn bad_path() -> Error {
        Error::new(Fault::Client, 400, Flags::NONE, "path_normalization_failed", "")
    }

    /// A header field whose name holds an underscore, where that is refused. HTTP/2 has a way to refuse a stream.
    pub(crate) fn underscore(version: Version) -> Error {
        let status = if version == Version::H2 { 0 } else { 400 };
        Error::new(Fault::Client, status, Flags::NONE, "http1.unexpected_underscore", "")
    }

    /// The process has too little memory left to begin with it.
    pub(crate) fn overloaded() -> Error {
        Error::new(Fault::Overload, 503, Flags::OM, "overload", "envoy overloaded").beyond(Limit::Memory)
    }

    /// The client has gone.
    pub(crate) fn client_gone() -> Error {
        Error::new(Fault::Client, 0, Flags::DC, "downstream_remote_disconnect", "")
    }

    /// The same, if the client has given up this exchange and not its connection.
    pub(crate) fn reset(mut self, details: Option<&'static str>) -> Error {
        if let Some(details) = details.filter(|_| self.flags == Flags::DC) {
            (self.flags, self.details) = (Flags::DR, details.into());
        }
        self
    }

    /// Nothing has moved on the stream for too long; `received`: the request has come to its end.
    pub(crate) fn stream_idle(received: bool) -> Error {
        let status = if received { 504 } else { 408 };
        let error = Error::new(Fault::Client, status, Flags::SI, "stream_idle_timeout", "stream timeout");
        error.beyond(Limit::StreamIdleTime)
    }

    /// The stream has lived for as long as it may.
    pub(crate) fn too_long() -> Error {
        Error::new(Fault::Client, 408, Flags::NONE, "max_duration_timeout", "downstream duration timeout")
    }

    /// Nothing has passed in either direction for too long.
    pub(crate) fn silent() -> Error {
        let error = Error::new(Fault::Client, 0, Flags::SI, "stream_idle_timeout", "");
        error.beyond(Limit::StreamIdleTime)
    }

    /// What let the connection in has gone, or the process ends, and the time to finish is over.
    #[cold]
    pub(crate) fn leaving() -> Error {
        let mut error =
            Error::new(Fault::Config, 503, Flags::LR, LEAVING, "the gateway closes the connection");
        error.grpc_status = Some(14);
        error
    }

    /// The request has taken too long to arrive.
    pub(crate) fn late() -> Error {
        let error = Error::new(Fault::Client, 408, Flags::NONE, "request_overall_timeout", "request timeout");
        error.beyond(Limit::RequestTime)
    }

    /// The request's body is longer than what is to be told of it.
    pub(crate) fn too_long_a_body() -> Error {
        Error::new(Fault::Client, 413, Flags::NONE, "request_payload_too_large", "Payload Too Large")
    }

    /// The request's body is larger than it may be.
    pub(crate) fn too_large_a_body() -> Error {
        Error::too_long_a_body().beyond(Limit::BodyBytes)
    }

    /// The client has taken nothing for too long of what there is for it.
    pub(crate) fn stalled() -> Error {
        Error::client_gone().beyond(Limit::StallTime)
    }

    /// What came after the request's body is more than is taken.
    pub(crate) fn bad_trailers(what: Excess) -> Error {
        Error::bad_body().beyond(match what {
            Excess::Bytes => Limit::HeaderBytes,
            Excess::Fields => Limit::Headers,
        })
    }

    /// Whoever decides on the request did not, for this reason.
    pub(crate) fn undecided(why: String) -> Error {
        let mut error = Error::new(Fault::Origin, 403, Flags::UAEX, "ext_authz_error", "");
        error.transport = why;
        error
    }

    /// The client broke the framing of its body.
    pub(crate) fn bad_body() -> Error {
        Error::new(Fault::Client, 400, Flags::DPE, "http1.codec_error", "Bad Request")
    }

    /// A head that is not acceptable.
    #[cold]
    pub(crate) fn head(error: &HeadError) -> Error {
        let bad = |status, details, body| Error::new(Fault::Client, status, Flags::DPE, details, body);
        match error {
            HeadError::Bad(rule) => {
                let mut bad = bad(400, "", "Bad Request");
                bad.details = format!("http.bad_request{{{}}}", detail(rule)).into();
                bad
            }
            HeadError::TooLarge => bad(431, "request_headers_too_large", "").beyond(Limit::HeaderBytes),
            HeadError::TooManyFields => bad(431, "too_many_headers", "").beyond(Limit::Headers),
            HeadError::Version => bad(505, "http_version_not_supported", ""),
            HeadError::Expectation => bad(417, "expectation_failed", ""),
        }
    }

    /// HTTP/1.0, where that is not served.
    pub(crate) fn low_version() -> Error {
        Error::new(Fault::Client, 426, Flags::NONE, "low_version", "")
    }

    /// A head that did not arrive in time.
    pub(crate) fn head_timeout() -> Error {
        let error =
            Error::new(Fault::Client, 408, Flags::NONE, "request_header_timeout", "request header timeout");
        error.beyond(Limit::HeaderTime)
    }

    /// The request's destination names no cluster: `status` is what its API says of that. For gRPC it is UNAVAILABLE.
    pub(crate) fn no_cluster(status: u16) -> Error {
        let mut error = Error::new(Fault::Config, status, Flags::NC, "cluster_not_found", "");
        error.grpc_status = Some(14);
        error
    }

    /// An attempt that failed for good.
    #[cold]
    pub(crate) fn origin(fail: Fail, retried: bool) -> Error {
        let origin = |status, flags, details, body| Error::new(Fault::Origin, status, flags, details, body);
        match fail {
            Fail::NoCluster => Error::no_cluster(503),
            Fail::NoEndpoint => origin(503, Flags::UH, "no_healthy_upstream", "no healthy upstream"),
            Fail::Timeout => origin(504, Flags::UT, RESPONSE_TIMEOUT, "upstream request timeout"),
            Fail::PerTryTimeout => {
                origin(504, Flags::UT, "upstream_per_try_timeout", "upstream request timeout")
            }
            Fail::Overflow => {
                let mut error = reset(503, Flags::UO, retried, "overflow", None);
                error.overloaded = true;
                error
            }
            Fail::Connect(why) => {
                reset(503, Flags::UF, retried, "remote connection failure", Some(why.to_string()))
            }
            Fail::ConnectTimeout => reset(503, Flags::UF, retried, "connection timeout", None),
            Fail::Closed { .. } => reset(503, Flags::UC, retried, "connection termination", None),
            Fail::Refused => reset(503, Flags::UR, retried, "remote refused stream reset", None),
            Fail::Reset => reset(503, Flags::UR, retried, "remote reset", None),
            Fail::Unsayable => Error::new(
                Fault::Client,
                400,
                Flags::DPE,
                "http.bad_request{head_that_http2_cannot_carry}",
                "Bad Request",
            ),
            Fail::Garbage | Fail::TooMuch(_) => reset(502, Flags::UPE, retried, "protocol error", None),
        }
    }

    /// It is for this limit.
    fn beyond(mut self, limit: Limit) -> Error {
        self.limit = Some(limit);
        self
    }

    /// Adds a flag.
    pub(crate) fn with(mut self, flags: Flags) -> Error {
        self.flags |= flags;
        self
    }
}

/// An attempt that ended before the origin's head.
fn reset(status: u16, flags: Flags, retried: bool, reason: &str, transport: Option<String>) -> Error {
    let again = if retried { "retried and the latest " } else { "" };
    let mut body =
        format!("upstream connect error or disconnect/reset before headers. {again}reset reason: {reason}");
    let mut inner = detail(reason);
    if let Some(why) = &transport {
        body.push_str(", transport failure reason: ");
        body.push_str(why);
        inner.push('|');
        inner.push_str(&detail(why));
    }
    let mut error = Error::new(Fault::Origin, status, flags, "", "");
    error.details = format!("upstream_reset_before_response_started{{{inner}}}").into();
    error.body = body.into();
    error.transport = transport.unwrap_or_default();
    error
}

/// Details hold no spaces.
fn detail(text: &str) -> String {
    text.replace(' ', "_")
}
