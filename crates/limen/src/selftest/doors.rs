//! What stands before a request: hellos of TLS, headers of balancers, and the gateway's own admin port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::line::{self, End, Line, PATIENCE};
use super::{Class, Did, MIB, Played, QUIET, Target, watch};

pub(super) const CLASSES: &[Class] = &[
    class(
        "client-hellos",
        "hellos that are cut, fragmented, oversized, or name servers that are none",
        hellos,
    ),
    class(
        "proxy-headers",
        "PROXY headers where none is asked for, and some that are malformed",
        proxy_headers,
    ),
    class("admin", "requests to the admin port as a hostile page could have a browser send them", admin),
];

const fn class(name: &'static str, sends: &'static str, play: fn(&Target) -> Played) -> Class {
    Class { name, sends, cpu: Duration::from_secs(2), memory: 8 * MIB, play }
}

/// A hello for a server of that name, as records.
pub fn hello(host: &str) -> Result<Vec<u8>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let config = line::client("http/1.1").map_err(|error| error.to_string())?;
    let mut client = ClientConnection::new(config, name).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The message of one record, in records of so many bytes.
pub fn fragmented(record: &[u8], size: usize) -> Vec<u8> {
    let message = record.get(5..).unwrap_or_default();
    let records = message.chunks(size.max(1)).flat_map(|piece| {
        let [high, low] = (piece.len() as u16).to_be_bytes();
        [0x16, 3, 1, high, low].into_iter().chain(piece.iter().copied())
    });
    records.collect()
}

/// The hello with other bytes, as many, for the name that it has.
pub fn renamed(record: &[u8], from: &str, to: &[u8]) -> Vec<u8> {
    let mut bytes = record.to_vec();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    if let Some(place) = at.and_then(|at| bytes.get_mut(at..at + from.len())) {
        place.iter_mut().zip(to).for_each(|(own, other)| *own = *other);
    }
    bytes
}

/// Hellos that nobody should get far with.
pub fn bad_hellos() -> Result<Vec<Vec<u8>>, String> {
    const NAME: &str = "abcd.example.com";
    let good = hello(NAME)?;
    let mut long = vec![0x16, 3, 1, 0xff, 0xff, 1, 0, 0xff, 0xfb];
    long.resize(70_000, 0);
    let empties = [0x16, 3, 1, 0, 0].repeat(5_000);
    Ok(vec![
        renamed(&good, NAME, b"ab\0d.example.com"),
        renamed(&good, NAME, b"ab d.example.com"),
        renamed(&good, NAME, b"ab/d.example.com"),
        renamed(&good, NAME, b"ab\xffd.example.com"),
        renamed(&good, NAME, b"................"),
        good.get(..good.len() / 2).unwrap_or_default().to_vec(),
        fragmented(&good, 1),
        long,
        empties,
        [&good[..], b"GET / HTTP/1.1\r\n\r\n"].concat(),
        [0x15, 3, 1, 0, 2, 1, 0].repeat(1_000),
        [0x17, 3, 3, 0, 1, 0].repeat(1_000),
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec(),
        vec![0xff; 70_000],
    ])
}

/// None of these may come to an answer of HTTP, other than a refusal.
fn hellos(target: &Target) -> Played {
    let mut did = Did::default();
    let all = bad_hellos()?;
    for (n, bytes) in all.iter().enumerate() {
        let mut line = Line::raw(target).map_err(|error| format!("cannot connect: {error}"))?;
        let said = line.say(bytes, Duration::from_millis(300), |_| false);
        if watch::status(&said.heard).is_some_and(|status| status < 400) {
            did.wrong.push(format!("hello {n} was answered in HTTP"));
        }
    }
    did.what = format!("let none of {} in", all.len());
    Ok(did)
}

/// Headers that a balancer might send, or nobody would.
pub fn headers() -> Vec<Vec<u8>> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let v2 = |rest: &[u8]| [SIGNATURE, rest].concat();
    let v1 = |line: &str| format!("PROXY {line}\r\n").into_bytes();
    let mut all = vec![
        v1("TCP4 192.0.2.7 192.0.2.8 1234 80"),
        v1("UNKNOWN"),
        v2(&[0x21, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 8, 4, 210, 0, 80]),
        v2(&[0x20, 0, 0, 0]),
    ];
    all.extend(malformed_headers());
    all
}

/// Headers that are refused even where one is asked for.
pub fn malformed_headers() -> Vec<Vec<u8>> {
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let v2 = |rest: &[u8]| [SIGNATURE, rest].concat();
    let v1 = |line: &str| format!("PROXY {line}\r\n").into_bytes();
    let long = format!("TCP4 192.0.2.7 192.0.2.8 1234 80{}", " ".repeat(100));
    vec![
        v1(""),
        v1("TCP4 192.0.2.7"),
        v1("TCP4 192.0.2.7 192.0.2.8 1234 80 more"),
        v1("TCP4 192.0.2.7 192.0.2.8 01234 80"),
        v1("TCP4 192.0.2.7 192.0.2.8 99999 80"),
        v1("TCP4 192.0.2.7  192.0.2.8 1234 80"),
        v1("TCP4 192.0.2.07 192.0.2.8 1234 80"),
        v1("TCP4 2001:db8::1 2001:db8::2 1234 80"),
        v1("TCP6 192.0.2.7 192.0.2.8 1234 80"),
        v1(&long),
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\n".to_vec(),
        b"proxy TCP4 192.0.2.7 192.0.2.8 1234 80\r\n".to_vec(),
        v2(&[0x21, 0x11, 0, 4, 192, 0, 2, 7]),
        v2(&[0x21, 0x21, 0, 12, 192, 0, 2, 7, 192, 0, 2, 8, 4, 210, 0, 80]),
        v2(&[0x31, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 8, 4, 210, 0, 80]),
        v2(&[0x22, 0x11, 0, 12, 192, 0, 2, 7, 192, 0, 2, 8, 4, 210, 0, 80]),
        v2(&[0x21, 0x41, 0, 12, 192, 0, 2, 7, 192, 0, 2, 8, 4, 210, 0, 80]),
        [&v2(&[0x21, 0x11, 0xff, 0xff])[..], &[0; 70_000]].concat(),
    ]
}

/// Who says where a client is must be asked: elsewhere such a header is no request.
fn proxy_headers(target: &Target) -> Played {
    let mut did = Did::default();
    let all = headers();
    let behind = format!("GET {} HTTP/1.1\r\nhost: {}\r\n\r\n", target.path, target.host);
    for header in &all {
        let mut line = Line::raw(target).map_err(|error| format!("cannot connect: {error}"))?;
        let said = line.say(&[header, behind.as_bytes()].concat(), QUIET, |_| false);
        let shown = header.get(..header.len().min(60)).unwrap_or_default().escape_ascii().to_string();
        match watch::status(&said.heard) {
            Some(status) if status < 400 || status == 404 => {
                did.wrong.push(format!("answered {status}: {shown}"))
            }
            _ if said.end == End::Open => did.wrong.push(format!("left open: {shown}")),
            _ => {}
        }
    }
    did.what = format!("refused {} of {}", all.len() - did.wrong.len(), all.len());
    Ok(did)
}

/// Requests that a browser could be made to send, by a page that is not the gateway's.
pub fn foreign(port: u16) -> Vec<String> {
    let get = |fields: &str| format!("GET /state HTTP/1.1\r\n{fields}\r\n");
    vec![
        get("host: evil.example\r\n"),
        get(&format!("host: evil.example:{port}\r\n")),
        get("host: localhost.evil.example\r\n"),
        get("host: 127.0.0.1.evil.example\r\n"),
        get("host: localhost\r\nhost: evil.example\r\n"),
        get("host: localhost@evil.example\r\n"),
        get("host: \r\n"),
        get(""),
        get("host: localhost\r\norigin: https://evil.example\r\n"),
        get("host: localhost\r\norigin: null\r\n"),
        get("host: 0.0.0.0\r\n"),
        "GET http://evil.example/state HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        "POST /logging?level=trace HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n\
         content-length: 0\r\n\r\n"
            .to_owned(),
        "GET /../../etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        "GET /logging?level=trace HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
    ]
}

fn admin(target: &Target) -> Played {
    let mut did = Did::default();
    let all = foreign(target.admin.port());
    for request in &all {
        let answer = ask(target, request).map_err(|error| format!("the admin port: {error}"))?;
        match watch::status(&answer) {
            Some(400..=499) => {}
            other => did.wrong.push(format!("answered {other:?}: {}", request.escape_debug())),
        }
    }
    did.what = format!("refused {} of {}", all.len() - did.wrong.len(), all.len());
    Ok(did)
}

fn ask(target: &Target, request: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&target.admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = vec![0; 64];
    let n = stream.read(&mut answer)?;
    answer.truncate(n);
    Ok(answer)
}
