//! Why an attempt at an origin failed.

use std::rc::Rc;

use limen_wire::h1::HeadError;

use crate::observe::limits::Limit;
use crate::stream::inbound::{Excess, ReadFail};

/// A failed attempt, before it is known what the client will hear.
#[derive(Debug, Clone)]
pub(crate) enum Fail {
    /// No such cluster.
    NoCluster,
    /// No endpoint that may be chosen.
    NoEndpoint,
    /// A limit of the cluster is reached.
    Overflow,
    /// The connection could not be made: why, as the client hears it.
    Connect(Rc<str>),
    /// The connection was not made in time.
    ConnectTimeout,
    /// The origin closed or reset before any byte of its answer.
    Closed {
        /// Bytes of the request had gone out.
        sent: bool,
    },
    /// The origin gave the request back before it looked at it (HTTP/2: REFUSED_STREAM, or GOAWAY before it).
    Refused,
    /// The origin reset the request's stream before its answer.
    Reset,
    /// The origin answered something that is not HTTP.
    Garbage,
    /// The origin's answer has more of something than is taken, in its head or after its body.
    TooMuch(Excess),
    /// The request has a head that the origin's version of HTTP cannot carry.
    Unsayable,
    /// The attempt took longer than its own limit.
    PerTryTimeout,
    /// The request took longer than the route's limit.
    Timeout,
}

impl Fail {
    /// The limit that the origin went beyond, if it did.
    pub(crate) fn limit(&self) -> Option<Limit> {
        match self {
            Fail::TooMuch(Excess::Bytes) => Some(Limit::ResponseHeaderBytes),
            Fail::TooMuch(Excess::Fields) => Some(Limit::ResponseHeaders),
            _ => None,
        }
    }

    /// Does it tell something about the endpoint that was tried?
    pub(crate) fn is_the_endpoints(&self) -> bool {
        match self {
            Fail::Connect(_)
            | Fail::ConnectTimeout
            | Fail::Closed { .. }
            | Fail::Garbage
            | Fail::TooMuch(_)
            | Fail::Refused
            | Fail::Reset
            | Fail::PerTryTimeout
            | Fail::Timeout => true,
            Fail::NoCluster | Fail::NoEndpoint | Fail::Overflow | Fail::Unsayable => false,
        }
    }

    /// Of a read that failed before the head was complete.
    pub(crate) fn of_head(fail: ReadFail) -> Fail {
        match fail {
            ReadFail::Head(HeadError::TooLarge) => Fail::TooMuch(Excess::Bytes),
            ReadFail::Head(HeadError::TooManyFields) => Fail::TooMuch(Excess::Fields),
            ReadFail::Head(_) | ReadFail::Trailers(_) => Fail::Garbage,
            ReadFail::Closed | ReadFail::Cut | ReadFail::Io | ReadFail::Body => Fail::Closed { sent: true },
        }
    }

    /// Of a read that failed within the body.
    pub(crate) fn of_body(fail: ReadFail) -> Fail {
        match fail {
            ReadFail::Trailers(what) => Fail::TooMuch(what),
            ReadFail::Head(_) | ReadFail::Body => Fail::Garbage,
            ReadFail::Closed | ReadFail::Cut | ReadFail::Io => Fail::Closed { sent: true },
        }
    }

    /// Of a TLS handshake that failed, in the words of Envoy where it has some.
    pub(crate) fn of_handshake(error: &std::io::Error) -> Fail {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let library = "SSL routines:OPENSSL_internal";
        let why = match tls {
            Some(rustls::Error::InvalidCertificate(why)) => {
                format!("TLS_error:|268435581:{library}:CERTIFICATE_VERIFY_FAILED:{why}:TLS_error_end")
            }
            Some(rustls::Error::InvalidMessage(_)) => {
                format!("TLS_error:|268435703:{library}:WRONG_VERSION_NUMBER:TLS_error_end")
            }
            Some(error) => format!("TLS_error:|{error}:TLS_error_end"),
            None => "TLS_error:|the connection was closed in the handshake:TLS_error_end".to_owned(),
        };
        Fail::Connect(why.into())
    }

    /// Of a connect call that failed: the system's text without Rust's error number.
    pub(crate) fn of_connect(error: &std::io::Error) -> Fail {
        Fail::connect("delayed", error)
    }

    /// The same at a unix socket, which fails or is connected at once.
    pub(crate) fn of_local_connect(error: &std::io::Error) -> Fail {
        Fail::connect("immediate", error)
    }

    fn connect(when: &str, error: &std::io::Error) -> Fail {
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        Fail::Connect(format!("{when} connect error: {text}").into())
    }
}
