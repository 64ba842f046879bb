//! The ClientHello of TLS (RFC 8446 4.1.2), looked into without being answered: which server the client asks for, and
//! which protocols it offers.
//!
//! The hello may come in any number of records. Nothing is decrypted, and nothing is judged but what must be read.

/// Bytes of a hello; a longer one is refused. Hellos with post-quantum key shares take some 2 KiB.
pub const LONGEST_HELLO: usize = 16 * 1024;
/// Records that a hello may be spread over.
const MOST_RECORDS: usize = 64;
/// The longest record of plain text (RFC 8446 5.1).
const LONGEST_RECORD: usize = 1 << 14;
/// Type, version and length of a record.
const RECORD_HEAD: usize = 5;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const HOST_NAME: u8 = 0;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peeked {
    /// Not enough to tell. Looking again is of no use before there are so many bytes.
    NeedMore(usize),
    /// A whole hello.
    Hello(ClientHello),
    /// Not TLS at all.
    NotTls,
    /// It begins like TLS, but is no hello that can be read.
    Malformed,
}

/// What a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The name of the server (RFC 6066 3), in lower case; visible ASCII, 1 to 255 bytes.
    pub server_name: Option<String>,
    /// The list of protocols (RFC 7301 3.1): each a length and so many bytes.
    alpn: Vec<u8>,
}

impl ClientHello {
    /// The protocols that the client offers, in its order.
    pub fn protocols(&self) -> impl Iterator<Item = &[u8]> {
        let mut list = Reader(&self.alpn);
        std::iter::from_fn(move || list.vector8().ok().filter(|protocol| !protocol.is_empty()))
    }
}

/// Looks into the first bytes of a connection.
pub fn peek(bytes: &[u8]) -> Peeked {
    match bytes {
        [] => return Peeked::NeedMore(1),
        [HANDSHAKE] | [HANDSHAKE, 3] | [HANDSHAKE, 3, _] | [HANDSHAKE, 3, _, _] => {
            return Peeked::NeedMore(RECORD_HEAD);
        }
        [HANDSHAKE, 3, ..] => {}
        _ => return Peeked::NotTls,
    }
    match message(bytes) {
        Ok(Whole::Message(body)) => hello(&body).map_or(Peeked::Malformed, Peeked::Hello),
        Ok(Whole::NeedMore(until)) => Peeked::NeedMore(until),
        Err(Malformed) => Peeked::Malformed,
    }
}

/// It cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Malformed;

enum Whole {
    /// The body of the hello.
    Message(Vec<u8>),
    NeedMore(usize),
}

/// Puts the records together until the hello is whole.
fn message(bytes: &[u8]) -> Result<Whole, Malformed> {
    let mut message = Vec::new();
    let mut at = 0;
    for _ in 0..MOST_RECORDS {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some((head, rest)) = rest.split_at_checked(RECORD_HEAD) else {
            return Ok(Whole::NeedMore(at + RECORD_HEAD));
        };
        let &[HANDSHAKE, 3, _, high, low] = head else { return Err(Malformed) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > LONGEST_RECORD {
            return Err(Malformed);
        }
        let fragment = rest.get(..length).unwrap_or(rest);
        message.extend_from_slice(fragment);
        if let Some(&kind) = message.first()
            && kind != CLIENT_HELLO
        {
            return Err(Malformed);
        }
        if let &[_, a, b, c, ref body @ ..] = &*message {
            let wanted = u32::from_be_bytes([0, a, b, c]) as usize;
            if wanted > LONGEST_HELLO {
                return Err(Malformed);
            }
            if let Some(body) = body.get(..wanted) {
                return Ok(Whole::Message(body.to_vec()));
            }
        }
        if fragment.len() < length {
            return Ok(Whole::NeedMore(at + RECORD_HEAD + length));
        }
        at += RECORD_HEAD + length;
    }
    Err(Malformed)
}

fn hello(body: &[u8]) -> Option<ClientHello> {
    let mut body = Reader(body);
    let read = |body: &mut Reader<'_>| -> Result<ClientHello, Malformed> {
        let _version = body.take(2)?;
        let _random = body.take(32)?;
        let _session = body.vector8()?;
        let _suites = body.vector16()?;
        let _compression = body.vector8()?;
        if body.0.is_empty() {
            // As before TLS had extensions.
            return Ok(ClientHello::default());
        }
        extensions(&mut Reader(body.vector16()?))
    };
    read(&mut body).ok()
}

fn extensions(list: &mut Reader<'_>) -> Result<ClientHello, Malformed> {
    let mut hello = ClientHello::default();
    let (mut named, mut offered) = (false, false);
    while !list.0.is_empty() {
        let kind = list.u16()?;
        let mut data = Reader(list.vector16()?);
        match kind {
            SERVER_NAME if std::mem::replace(&mut named, true) => return Err(Malformed),
            SERVER_NAME => hello.server_name = server_name(&mut data)?,
            ALPN if std::mem::replace(&mut offered, true) => return Err(Malformed),
            ALPN => {
                let protocols = data.vector16()?;
                let mut check = Reader(protocols);
                while !check.0.is_empty() {
                    check.vector8()?;
                }
                hello.alpn = protocols.to_vec();
            }
            _ => {}
        }
    }
    Ok(hello)
}

/// Of names of one kind there is at most one; kinds that nobody knows are passed over.
fn server_name(data: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    let mut list = Reader(data.vector16()?);
    let mut found = None;
    while !list.0.is_empty() {
        let kind = list.take(1)?;
        let name = list.vector16()?;
        if kind != [HOST_NAME] {
            continue;
        }
        let sound = (1..=255).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
        if found.is_some() || !sound {
            return Err(Malformed);
        }
        found = Some(String::from_utf8_lossy(name).to_ascii_lowercase());
    }
    Ok(found)
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        let taken = self.take(2)?;
        taken.try_into().map(u16::from_be_bytes).map_err(|_| Malformed)
    }

    fn vector8(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.take(1)?.first().copied().ok_or(Malformed)?;
        self.take(usize::from(length))
    }

    fn vector16(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
#[path = "client_hello_tests.rs"]
mod tests;
