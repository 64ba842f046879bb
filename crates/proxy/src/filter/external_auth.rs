//! What a service is asked about a request, and what its answer means (Envoy's ext_authz, in both of its forms).
//!
//! Only what is understood lets a request in. What the request goes on with is what the service says: fields that are
//! its to set replace those that the client may have sent under their names.

mod check;

use std::net::SocketAddr;

use limen_wire::h1::is_field;
use limen_wire::head::{BodyLength, Fields, Known, RequestHead, ResponseHead};

/// How a service is asked.
#[derive(Debug)]
pub(crate) enum Form {
    Http(HttpForm),
    Grpc(GrpcForm),
}

/// By a request. Names of fields are lower case.
#[derive(Debug)]
pub(crate) struct HttpForm {
    /// Stands before the path.
    pub(crate) prefix: Box<[u8]>,
    /// Fields that are sent besides `authorization`.
    pub(crate) sends: Box<[Box<[u8]>]>,
    /// Fields of the answer that the request goes on with; `None`: all that do not speak of the answer itself.
    pub(crate) takes: Option<Box<[Box<[u8]>]>>,
}

/// By a call.
#[derive(Debug)]
pub(crate) struct GrpcForm {
    pub(crate) authority: Box<[u8]>,
    /// Fields that it tells, in lower case; `None`: all.
    pub(crate) sends: Option<Box<[Box<[u8]>]>>,
}

/// What is asked about.
pub(crate) struct About<'a> {
    pub(crate) request: &'a RequestHead,
    /// Its body, as far as that is to be told.
    pub(crate) body: &'a [u8],
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) https: bool,
    /// Of the handshake.
    pub(crate) server_name: Option<&'a str>,
    /// Who the client is by its certificate; empty: nobody vouches for any.
    pub(crate) principal: &'a str,
    /// When the request began: milliseconds since the Unix epoch.
    pub(crate) start_ms: u64,
}

/// What a service says.
pub(crate) struct Heard<'a> {
    pub(crate) head: &'a ResponseHead,
    pub(crate) body: &'a [u8],
    pub(crate) trailers: Option<&'a Fields>,
}

/// What that means.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The request goes on, changed as the service wants it.
    Allowed(Granted),
    /// The client gets this instead.
    Denied(Denial),
}

/// What the client gets with the answer of whoever the request goes on to: fields in lower case.
pub(crate) type Granted = Vec<(Vec<u8>, Vec<u8>)>;

/// An answer that refuses.
#[derive(Debug, Default)]
pub(crate) struct Denial {
    /// 200 to 599.
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
}

/// The answer cannot be understood, for this reason.
pub(crate) type Strange = &'static str;

/// A field that belongs to a connection, to the framing of a message, or to whoever answers.
fn is_of_its_message(known: Known, name: &[u8]) -> bool {
    known.is_per_hop() || matches!(known, Known::Date | Known::Server) || name.starts_with(b":")
}

/// Writes the question into `to`, which is empty, and returns its body.
pub(crate) fn question(form: &Form, about: &About<'_>, to: &mut RequestHead) -> Vec<u8> {
    let body = match form {
        Form::Http(form) => {
            form.question(about, to);
            about.body.to_vec()
        }
        Form::Grpc(form) => {
            to.set_method(b"POST");
            to.set_path(check::PATH);
            to.set_authority(&form.authority);
            to.fields.add(b"content-type", b"application/grpc");
            to.te_trailers = true;
            check::question(form, about)
        }
    };
    // The length is said even if it is 0.
    to.body = BodyLength::Known(body.len() as u64);
    body
}

/// What the answer means, and `request` as it goes on.
///
/// # Errors
/// The answer is none that is known. The request must go nowhere.
pub(crate) fn answer(form: &Form, heard: &Heard<'_>, request: &mut RequestHead) -> Result<Verdict, Strange> {
    match form {
        Form::Http(form) => form.answer(heard, request),
        Form::Grpc(_) => check::answer(heard, request),
    }
}

impl HttpForm {
    fn question(&self, about: &About<'_>, to: &mut RequestHead) {
        let request = about.request;
        to.set_method(request.method());
        to.set_authority(request.authority());
        let path = request.path_and_query();
        // `OPTIONS *` has no path that could stand below another.
        match path.starts_with(b"/") {
            true => to.set_path(&[&self.prefix, path].concat()),
            false => to.set_path(if self.prefix.is_empty() { path } else { &self.prefix }),
        }
        for (_, name, value) in request.fields.iter() {
            if name == b"authorization" || self.sends.iter().any(|sent| **sent == *name) {
                to.fields.add(name, value);
            }
        }
    }

    fn answer(&self, heard: &Heard<'_>, request: &mut RequestHead) -> Result<Verdict, Strange> {
        let Heard { head, body, trailers: _ } = heard;
        if head.status != 200 {
            let mut denial = Denial { status: head.status, body: body.to_vec(), ..Denial::default() };
            for (known, name, value) in head.fields.iter() {
                if !is_of_its_message(known, name) {
                    denial.fields.add(name, value);
                }
            }
            return Ok(Verdict::Denied(denial));
        }
        let told = |name: &[u8]| match &self.takes {
            Some(takes) => takes.iter().any(|taken| **taken == *name),
            // What describes the answer would be wrong of the request.
            None => !name.starts_with(b"content-"),
        };
        let taken = || {
            let all = head.fields.iter().filter(|(known, name, _)| !is_of_its_message(*known, name));
            all.filter(|(_, name, _)| told(name))
        };
        // What is the service's to say, the client does not say, whether the service says it or not.
        for name in self.takes.iter().flatten() {
            request.fields.remove(name);
        }
        for (_, name, _) in taken() {
            request.fields.remove(name);
        }
        for (_, name, value) in taken() {
            request.fields.add(name, value);
        }
        Ok(Verdict::Allowed(Granted::new()))
    }
}

/// A field that an answer may set: whole, and none that frames a message or names its parts.
fn settable(name: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Strange> {
    let name = name.to_ascii_lowercase();
    if name.starts_with(b":") {
        return Ok(None);
    }
    if !is_field(&name, value) {
        return Err("a header field that cannot be sent");
    }
    Ok(Some(name).filter(|name| !is_of_its_message(Known::of(name), name)))
}

#[cfg(test)]
#[path = "external_auth/tests.rs"]
mod tests;
