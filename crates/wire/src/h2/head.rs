//! Heads from field lines and back, and the rules that a received head must keep (RFC 9113 8).

use crate::authority;
use crate::h1::{HeadError, decimal};
use crate::head::{BodyLength, Fields, Known, MAX_METHOD_BYTES, MethodKind, RequestHead, ResponseHead};
use crate::head::{Span, Version, Weight};

use super::hpack::{Encoder, Line};
use super::{H2Error, Limits};

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Malformed: its stream is reset (RFC 9113 8.1.1).
    Malformed,
    /// Understood, but refused: the request is answered with an error.
    Refused(HeadError),
}

/// Puts a request head together, a line at a time.
pub(super) struct HeadBuilder<'a> {
    head: &'a mut RequestHead,
    limits: &'a Limits,
    /// Where the crumbs of a cookie are joined.
    cookie: &'a mut Vec<u8>,
    cookie_at: Option<usize>,
    method: bool,
    scheme: Option<bool>,
    path: Option<Span>,
    authority: Option<Span>,
    protocol: Option<Span>,
    host: Option<Span>,
    length: Option<u64>,
    content_type: bool,
    /// A line that is not a pseudo-header field has come.
    regular: bool,
    fields: usize,
    size: usize,
    malformed: bool,
    refused: Option<HeadError>,
}

impl<'a> HeadBuilder<'a> {
    pub(super) fn new(
        head: &'a mut RequestHead,
        limits: &'a Limits,
        cookie: &'a mut Vec<u8>,
    ) -> HeadBuilder<'a> {
        head.clear();
        head.version = Version::H2;
        cookie.clear();
        HeadBuilder {
            head,
            limits,
            cookie,
            cookie_at: None,
            method: false,
            scheme: None,
            path: None,
            authority: None,
            protocol: None,
            host: None,
            length: None,
            content_type: false,
            regular: false,
            fields: 0,
            size: 0,
            malformed: false,
            refused: None,
        }
    }

    /// Takes a line. What comes after the limits have been passed is only counted.
    pub(super) fn line(&mut self, line: Line<'_>) {
        self.size += line.name.len() + line.value.len() + 32;
        if self.size > self.limits.max_header_list as usize {
            return self.refuse(HeadError::TooLarge);
        }
        if !line.sound {
            self.malformed = true;
            return;
        }
        if line.name.first() == Some(&b':') {
            return self.pseudo(line.name, line.value);
        }
        self.regular = true;
        self.fields += 1;
        if self.fields > self.limits.max_fields {
            return self.refuse(HeadError::TooManyFields);
        }
        self.field(line);
    }

    /// Bytes of the lines so far, 32 more counted for each, up to the first beyond the limit.
    pub(super) fn size(&self) -> usize {
        self.size.min(self.limits.max_header_list as usize)
    }

    fn refuse(&mut self, error: HeadError) {
        self.refused.get_or_insert(error);
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) {
        let place = match name {
            b":method" => {
                self.malformed |= self.regular || self.method || !is_token(value);
                self.method = true;
                if value.len() > MAX_METHOD_BYTES {
                    self.refuse(HeadError::Bad("method"));
                }
                return self.head.set_method(value);
            }
            b":scheme" => {
                self.malformed |= self.regular || self.scheme.is_some() || !is_scheme(value);
                let ours = value.eq_ignore_ascii_case(b"http") || value.eq_ignore_ascii_case(b"https");
                self.scheme = Some(ours);
                return;
            }
            b":path" => &mut self.path,
            b":authority" => &mut self.authority,
            b":protocol" if self.limits.extended_connect => &mut self.protocol,
            _ => return self.malformed = true,
        };
        let again = place.replace(self.head.fields.store(value)).is_some();
        self.malformed |= self.regular || again;
    }

    fn field(&mut self, line: Line<'_>) {
        let Line { known, name, value, .. } = line;
        if value.first().is_some_and(is_blank) || value.last().is_some_and(is_blank) {
            return self.refuse(HeadError::Bad("white space around a field value"));
        }
        match known {
            Known::Host => {
                if self.host.replace(self.head.fields.store(value)).is_some() {
                    self.refuse(HeadError::Bad("several host fields"));
                }
            }
            Known::ContentLength => match decimal(value) {
                Some(length) if self.length.is_none_or(|other| other == length) => {
                    if self.length.replace(length).is_some() {
                        self.refuse(HeadError::Bad("several content-length fields"));
                    }
                }
                _ => self.malformed = true,
            },
            Known::Te => {
                self.malformed |= !value.eq_ignore_ascii_case(b"trailers");
                self.head.te_trailers = true;
            }
            Known::Expect if value.eq_ignore_ascii_case(b"100-continue") => self.head.expect_continue = true,
            Known::Expect => self.refuse(HeadError::Expectation),
            Known::Trailer => {}
            known if known.is_per_hop() => self.malformed = true,
            Known::ContentType if std::mem::replace(&mut self.content_type, true) => {
                self.refuse(HeadError::Bad("several content-type fields"));
            }
            Known::Other if name == b"cookie" => self.crumb(value),
            _ => self.head.fields.add_known(known, name, value),
        }
    }

    /// One `cookie` line out of all crumbs (RFC 9113 8.2.3), where the first of them stood. One that holds nothing adds
    /// nothing: no line may begin or end with the white space that would stand beside it (8.2.1).
    fn crumb(&mut self, value: &[u8]) {
        self.cookie_at.get_or_insert(self.head.fields.len());
        if value.is_empty() {
            return;
        }
        if !self.cookie.is_empty() {
            self.cookie.extend_from_slice(b"; ");
        }
        self.cookie.extend_from_slice(value);
    }

    /// The whole head has come; `ended`: the stream carries no body.
    pub(super) fn finish(mut self, ended: bool) -> Result<(), Flaw> {
        if let Some(at) = self.cookie_at {
            self.head.fields.insert(at, b"cookie", self.cookie);
        }
        self.target();
        self.head.body = match self.length {
            Some(length) if ended && length > 0 => {
                self.malformed = true;
                BodyLength::None
            }
            _ if ended => BodyLength::None,
            Some(0) => BodyLength::None,
            Some(length) => BodyLength::Known(length),
            None => BodyLength::Marked,
        };
        match self.refused {
            // A head that was cut short by the limits lacks what it lacks for that reason.
            Some(error @ (HeadError::TooLarge | HeadError::TooManyFields)) => Err(Flaw::Refused(error)),
            _ if self.malformed => Err(Flaw::Malformed),
            Some(error) => Err(Flaw::Refused(error)),
            None => {
                self.head.weight = Weight { bytes: self.size as u32, fields: self.fields as u32 };
                Ok(())
            }
        }
    }

    /// Method, scheme, authority and path, as each kind of request has them (RFC 9113 8.3.1, 8.5; RFC 8441 4).
    fn target(&mut self) {
        let connect = self.head.method_kind == MethodKind::Connect;
        let tunnel = connect && self.protocol.is_none();
        self.malformed |= !self.method
            || self.scheme.is_none() != tunnel
            || self.path.is_none() != tunnel
            || self.protocol.is_some() && !connect;
        if self.scheme == Some(false) {
            self.refuse(HeadError::Bad("scheme"));
        }
        let fields = &self.head.fields;
        let mut refused = None;
        let host = self.host.map(|host| fields.text(host));
        match self.authority.or(self.host) {
            None => refused = Some("no authority"),
            Some(authority) => {
                let text = fields.text(authority);
                if !authority::is_valid(text) {
                    refused = Some("authority");
                } else if host.is_some_and(|host| !host.eq_ignore_ascii_case(text)) {
                    refused = Some("authority and host differ");
                } else if tunnel && !authority::has_port(text) {
                    refused = Some("CONNECT target");
                }
                self.head.place_authority(authority);
            }
        }
        if let Some(path) = self.path {
            let text = self.head.fields.text(path);
            let asterisk = text == b"*" && self.head.method() == b"OPTIONS";
            if text.is_empty() {
                self.malformed = true;
            } else if !asterisk && !is_path(text) {
                refused = refused.or(Some("path"));
            }
            self.head.place_path(path);
        }
        self.head.upgrade = self.protocol;
        if let Some(rule) = refused {
            self.refuse(HeadError::Bad(rule));
        }
    }
}

/// Origin form, without white space, controls or a fragment.
fn is_path(text: &[u8]) -> bool {
    text.first() == Some(&b'/') && text.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#')
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| crate::h1::is_token_byte(*byte))
}

fn is_scheme(text: &[u8]) -> bool {
    let byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.first().is_some_and(u8::is_ascii_alphabetic) && text.iter().all(byte)
}

/// Whether HTTP/2 can carry these fields. Asked before the first is encoded: a block that is begun must be sent.
pub(super) fn check(fields: &Fields) -> Result<(), H2Error> {
    for (known, name, value) in fields.iter() {
        if known.is_per_hop() {
            continue;
        }
        if name.first() == Some(&b':') || !super::hpack::is_name(name) {
            return Err(H2Error::Head("field name"));
        }
        if !super::hpack::is_value(value) {
            return Err(H2Error::Head("field value"));
        }
    }
    Ok(())
}

/// Appends the block of a response head.
pub(super) fn encode_response(
    head: &ResponseHead,
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
) -> Result<(), H2Error> {
    if !(100..=999).contains(&head.status) {
        return Err(H2Error::Head("status code"));
    }
    check(&head.fields)?;
    encoder.begin(out);
    encoder.status(head.status, out);
    encode_fields(&head.fields, encoder, out);
    let length = match (head.status, head.body) {
        (100..=199 | 204, _) => None,
        (_, BodyLength::Known(length)) => Some(length),
        _ => head.named_length,
    };
    if let Some(length) = length {
        encoder.content_length(length, out);
    }
    Ok(())
}

/// Appends the block of trailers.
pub(super) fn encode_trailers(
    trailers: &Fields,
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
) -> Result<(), H2Error> {
    check(trailers)?;
    encoder.begin(out);
    encode_fields(trailers, encoder, out);
    Ok(())
}

fn encode_fields(fields: &Fields, encoder: &mut Encoder, out: &mut Vec<u8>) {
    for (known, name, value) in fields.iter() {
        if !known.is_per_hop() {
            encoder.line(known, name, value, out);
        }
    }
}
