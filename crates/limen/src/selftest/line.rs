//! A connection to the gateway that is attacked, in clear text or in TLS, on which much may be said without listening.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

use super::Target;

/// A gateway that takes longer than this to take or to answer anything does not serve.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a socket on which nothing moves.
const PAUSE: Duration = Duration::from_millis(2);

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The gateway closed or reset the connection.
    Closed,
    /// Nothing more came; the connection stands.
    Open,
}

/// What came of sending something.
#[derive(Debug, Clone)]
pub struct Said {
    /// Bytes that the gateway took.
    pub sent: usize,
    /// Everything that it said.
    pub heard: Vec<u8>,
    /// How it ended.
    pub end: End,
    /// It ended by a reset, or while there was more to send. What the gateway said last may then be lost.
    pub cut: bool,
}

/// A connection.
pub struct Line(Kind);

enum Kind {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Line {
    /// Connects, and shakes hands where the target speaks TLS; `alpn` is what is then asked for.
    pub fn connect(target: &Target, alpn: &str) -> io::Result<Line> {
        let socket = Line::socket(target)?;
        if !target.tls {
            socket.set_nonblocking(true)?;
            return Ok(Line(Kind::Clear(socket)));
        }
        let name = ServerName::try_from(target.host.clone())
            .unwrap_or_else(|_| ServerName::IpAddress(target.address.ip().into()));
        let session = ClientConnection::new(client(alpn)?, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        stream.sock.set_nonblocking(true)?;
        Ok(Line(Kind::Tls(Box::new(stream))))
    }

    /// A socket on which nothing has been said, not even of TLS.
    pub fn socket(target: &Target) -> io::Result<TcpStream> {
        let socket = TcpStream::connect_timeout(&target.address, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    /// The same as a line of clear text.
    pub fn raw(target: &Target) -> io::Result<Line> {
        let socket = Line::socket(target)?;
        socket.set_nonblocking(true)?;
        Ok(Line(Kind::Clear(socket)))
    }

    /// Sends all of it while listening, then listens until `enough` is heard, the gateway closes, or nothing has moved
    /// for `quiet`.
    pub fn say(&mut self, bytes: &[u8], quiet: Duration, enough: impl Fn(&[u8]) -> bool) -> Said {
        let (mut sent, mut heard) = (0, Vec::new());
        let (start, mut moved) = (Instant::now(), Instant::now());
        loop {
            let before = (sent, heard.len());
            let rest = bytes.get(sent..).unwrap_or_default();
            // What the gateway said before it closed can still be read when nothing can be sent.
            let deaf = match self.write_some(rest) {
                Ok(n) => {
                    sent += n;
                    false
                }
                Err(_) => true,
            };
            let read = self.read_some(&mut heard);
            // What was sent last may not have left this side.
            let reset = deaf || read.is_err();
            if !matches!(read, Ok(End::Open)) || deaf && before.1 == heard.len() {
                return Said { sent, heard, end: End::Closed, cut: reset || sent < bytes.len() };
            }
            let now = Instant::now();
            if (sent, heard.len()) != before {
                moved = now;
            }
            let done = sent == bytes.len() && enough(&heard);
            if done || now - moved > quiet || now - start > 6 * PATIENCE {
                return Said { sent, heard, end: End::Open, cut: false };
            }
            if moved != now {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Sends what the gateway takes, and hears nothing of what it says.
    pub fn shout(&mut self, bytes: &[u8], quiet: Duration) -> usize {
        let (mut sent, mut moved) = (0, Instant::now());
        while sent < bytes.len() && moved.elapsed() <= quiet {
            match self.write_some(bytes.get(sent..).unwrap_or_default()) {
                Ok(0) => thread::sleep(PAUSE),
                Ok(n) => (sent, moved) = (sent + n, Instant::now()),
                Err(_) => break,
            }
        }
        sent
    }

    /// Whether the gateway has neither closed nor reset the connection, or has said something that nobody has read.
    pub fn stands(&self) -> bool {
        self.peek().map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |read| read > 0)
    }

    /// Whether the gateway waits for more, and has said nothing that nobody has read.
    pub fn waits(&self) -> bool {
        self.peek().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn peek(&self) -> io::Result<usize> {
        let socket = match &self.0 {
            Kind::Clear(socket) => socket,
            Kind::Tls(stream) => &stream.sock,
        };
        socket.peek(&mut [0])
    }

    /// Says that nothing more is sent.
    pub fn finish(&mut self) {
        let socket = match &mut self.0 {
            Kind::Clear(socket) => socket,
            Kind::Tls(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                &mut stream.sock
            }
        };
        let _ = socket.shutdown(Shutdown::Write);
    }

    /// How many bytes were taken at once.
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.0 {
            Kind::Clear(_) if bytes.is_empty() => return Ok(0),
            Kind::Clear(socket) => socket.write(bytes),
            Kind::Tls(stream) if bytes.is_empty() => stream.flush().map(|()| 0),
            Kind::Tls(stream) => stream.write(bytes),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Appends what is there. Fails if the gateway has reset the connection.
    fn read_some(&mut self, into: &mut Vec<u8>) -> io::Result<End> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = match &mut self.0 {
                Kind::Clear(socket) => socket.read(&mut buffer),
                Kind::Tls(stream) => stream.read(&mut buffer),
            };
            match read {
                Ok(0) => return Ok(End::Closed),
                Ok(n) => into.extend(buffer.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(End::Open),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Without a last word of TLS.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(End::Closed),
                Err(error) => return Err(error),
            }
        }
    }
}

/// A client of one protocol that takes any certificate: it is an attacker, to whom it does not matter who is there.
pub fn client(alpn: &str) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?.dangerous();
    let mut config =
        builder.with_custom_certificate_verifier(Arc::new(Anyone(schemes))).with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Ok(Arc::new(config))
}

/// Takes every certificate.
#[derive(Debug)]
struct Anyone(Vec<SignatureScheme>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    // Test code: a failed expectation is a panic with a reason.
    #![allow(clippy::unwrap_used)]

    use std::net::TcpListener;

    use super::*;

    /// What is said of a gateway that takes a word whole or leaves it unread, and closes.
    fn said(reads: bool) -> Said {
        const WORD: &[u8] = b"a word";
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gateway = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut word = [0; WORD.len()];
            // What is closed with something unread is reset.
            if reads {
                stream.read_exact(&mut word).unwrap()
            } else {
                stream.peek(&mut word).map(drop).unwrap()
            }
        });
        let (host, path) = (String::new(), String::new());
        let target = Target { address, tls: false, host, path, admin: address };
        let said = Line::connect(&target, "").unwrap().say(WORD, PATIENCE, |_| false);
        gateway.join().unwrap();
        assert_eq!((said.sent, said.end), (WORD.len(), End::Closed));
        said
    }

    #[test]
    fn a_reset_may_lose_what_was_said_last_though_all_was_sent() {
        assert!(!said(true).cut);
        assert!(said(false).cut);
    }
}
