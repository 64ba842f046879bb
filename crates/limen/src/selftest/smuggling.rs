//! Requests that two parsers could read in two ways: each must be refused, and nothing behind it may be taken for another.

use std::time::Duration;

use super::frames::{self, Block, END_STREAM, Status};
use super::line::{End, Line};
use super::{Class, Did, MIB, Played, QUIET, Target, watch};

pub(super) const CLASSES: &[Class] = &[
    class("h1-framing", "heads whose length can be read in two ways, with a request behind each", |target| {
        let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\nconnection: keep-alive";
        let old = format!("{old}\r\nhost: {}\r\n\r\n0\r\n\r\n{}", target.host, smuggled(&target.host));
        refused(target, &[heads(&target.host, FRAMING), vec![old.into_bytes()]].concat())
    }),
    class("h1-lines", "heads with lines that are none, with a request behind each", |target| {
        refused(target, &heads(&target.host, LINES))
    }),
    class(
        "h1-targets",
        "heads that name several hosts, or none that is one, with a request behind each",
        |target| refused(target, &targets(&target.host)),
    ),
    class("h1-chunks", "chunked bodies that are not, with a request behind each", |target| {
        refused(target, &chunks(&target.host))
    }),
    class("h1-after-close", "requests that end the connection, with another behind each", |target| {
        once(target, &after_close(&target.host, &target.path))
    }),
    class("h2-downgrade", "HTTP/2 heads that would be something else in HTTP/1", downgrade),
];

const fn class(name: &'static str, sends: &'static str, play: fn(&Target) -> Played) -> Class {
    Class { name, sends, cpu: Duration::from_secs(2), memory: 8 * MIB, play }
}

/// What is said in a connection of its own.
pub type Raw = Vec<u8>;

/// Fields that say how long a body is, each with a body that suits one reading.
pub const FRAMING: &[&str] = &[
    "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "content-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "content-length: 5\r\ncontent-length: 0\r\n\r\nhello",
    "content-length: 5, 5\r\n\r\nhello",
    "content-length: +5\r\n\r\nhello",
    "content-length: -1\r\n\r\n",
    "content-length: 0x5\r\n\r\nhello",
    "content-length: 5_0\r\n\r\nhello",
    "content-length: 5 5\r\n\r\nhello",
    "content-length:\r\n\r\n",
    "content-length: 18446744073709551621\r\n\r\nhello",
    "content-length: 9223372036854775808\r\n\r\nhello",
    "content-length : 5\r\n\r\nhello",
    "content-length\t: 5\r\n\r\nhello",
    "content-length: 5\r\n ,0\r\n\r\nhello",
    "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "transfer-encoding: identity\r\n\r\n",
    "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "transfer-encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    "transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding: chunked\x0b\r\n\r\n0\r\n\r\n",
    "transfer-encoding: \u{a0}chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "transfer_encoding: x\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
    "connection: content-length\r\ncontent-length: 5\r\n\r\nhello",
    "connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "connection: host\r\n\r\n",
    "expect: 100-continue, x\r\ncontent-length: 5\r\n\r\nhello",
];

/// Lines that are none.
pub const LINES: &[&str] = &[
    "x: a\r\n folded\r\n\r\n",
    "x: a\r\n\tfolded\r\n\r\n",
    " x: a\r\n\r\n",
    "x: a\nx: b\r\n\r\n",
    "x: a\rx: b\r\n\r\n",
    "x: a\r\n\nGET /smuggled HTTP/1.1\r\n\r\n",
    "x: a\0b\r\n\r\n",
    "x: a\x01b\r\n\r\n",
    "x: a\x7fb\r\n\r\n",
    "x\0y: a\r\n\r\n",
    "x y: a\r\n\r\n",
    "x\u{e9}: a\r\n\r\n",
    ": a\r\n\r\n",
    "x\r\n\r\n",
    "x(: a\r\n\r\n",
];

/// A request with these fields (and body) after its host, and another behind it.
fn heads(host: &str, rest: &[&str]) -> Vec<Raw> {
    let behind = smuggled(host);
    let one = |rest: &&str| format!("POST / HTTP/1.1\r\nhost: {host}\r\n{rest}{behind}").into_bytes();
    rest.iter().map(one).collect()
}

fn smuggled(host: &str) -> String {
    format!("GET /smuggled HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

/// Request lines and hosts that leave open who is asked for what.
pub fn targets(host: &str) -> Vec<Raw> {
    let line = |line: &str, fields: &str| {
        format!("{line}\r\n{fields}\r\n{}", smuggled(host)).replace("HOST", host).into_bytes()
    };
    let with_host = |request: &str| line(request, "host: HOST\r\n");
    let asked_for = |authority: &str| line("GET / HTTP/1.1", &format!("host: {authority}\r\n"));
    let mut all = vec![
        line("GET / HTTP/1.1", ""),
        line("GET / HTTP/1.1", "host: HOST\r\nhost: HOST\r\n"),
        line("GET / HTTP/1.1", "host: HOST\r\nhost: other\r\n"),
        line("GET / HTTP/1.1", "host: HOST\r\nHost : other\r\n"),
        line("GET http://other/ HTTP/1.1", "host: HOST\r\n"),
        line("GET http://HOST/ HTTP/1.1", "host: other\r\n"),
        line("GET http://HOST@other/ HTTP/1.1", "host: other\r\n"),
        line("GET http://HOST:80/ HTTP/1.1", "host: HOST:81\r\n"),
    ];
    all.extend(
        ["user@HOST", "HOST,other", "HOST other", "HOST/x", "HOST#x", "HOST?x", "HOST\\x", "HOST:x", "HOST:"]
            .map(asked_for),
    );
    all.extend(["HOST:99999", "HOST\0.other", "[::1", "http://HOST", "", "HOST\u{e9}"].map(asked_for));
    all.extend(
        [
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET\t/ HTTP/1.1",
            " GET / HTTP/1.1",
            "GET / HTTP/1.2x",
            "GET / HTTP/01.1",
            "GET / http/1.1",
            "GET /#f HTTP/1.1",
            "GET /\0 HTTP/1.1",
            "GET /\u{e9} HTTP/1.1",
            "GET x HTTP/1.1",
            "GET * HTTP/1.1",
            "GET ftp://HOST/ HTTP/1.1",
            "GET http:///x HTTP/1.1",
            "GET http:/HOST/ HTTP/1.1",
            "G@T / HTTP/1.1",
            "CONNECT / HTTP/1.1",
            "GET /",
        ]
        .map(with_host),
    );
    all
}

/// Chunked bodies that somebody might read otherwise.
pub fn chunks(host: &str) -> Vec<Raw> {
    let bodies = [
        "\r\n",
        ";x\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhelloo\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a\0b\r\nhello\r\n0\r\n\r\n",
        "0\r\nx y: z\r\n\r\n",
        "0\r\nx: z\n\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\nx\r\n\r\n",
        "0\r\n\n",
    ];
    let head = format!("POST / HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n");
    bodies.iter().map(|body| format!("{head}{body}{}", smuggled(host)).into_bytes()).collect()
}

/// Requests after which the connection ends, each with one behind.
pub fn after_close(host: &str, path: &str) -> Vec<Raw> {
    let behind = smuggled(host);
    let heads = [
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: x, CLOSE\r\n\r\n"),
        format!("GET {path} HTTP/1.0\r\nhost: {host}\r\n\r\n"),
        format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"
        ),
    ];
    heads.iter().map(|head| format!("{head}{behind}").into_bytes()).collect()
}

/// Each must be refused, and the connection closed.
fn refused(target: &Target, all: &[Raw]) -> Played {
    let mut did = Did::default();
    for raw in all {
        let (statuses, end) = answers(target, raw)?;
        let shown = String::from_utf8_lossy(raw.get(..raw.len().min(120)).unwrap_or_default())
            .escape_debug()
            .to_string();
        if statuses.iter().any(|status| *status < 400) {
            did.wrong.push(format!("answered {statuses:?}: {shown}"));
        } else if statuses.len() > 1 {
            did.wrong.push(format!("answered what stood behind, {statuses:?}: {shown}"));
        } else if end != End::Closed {
            did.wrong.push(format!("left open: {shown}"));
        }
    }
    did.what = format!("refused {} of {}", all.len() - did.wrong.len(), all.len());
    Ok(did)
}

/// Each must be answered once, and the connection closed.
fn once(target: &Target, all: &[Raw]) -> Played {
    let mut did = Did::default();
    for raw in all {
        let (statuses, end) = answers(target, raw)?;
        if statuses.len() != 1 || end != End::Closed {
            let shown = String::from_utf8_lossy(raw).escape_debug().to_string();
            did.wrong.push(format!("{} answers, {end:?}: {shown}", statuses.len()));
        }
    }
    did.what = format!("answered {} of {} once", all.len() - did.wrong.len(), all.len());
    Ok(did)
}

/// The statuses of what is answered, and how it ended.
fn answers(target: &Target, raw: &[u8]) -> Result<(Vec<u16>, End), String> {
    let mut line = Line::connect(target, "http/1.1").map_err(|error| format!("cannot connect: {error}"))?;
    let said = line.say(raw, QUIET, |_| false);
    let starts =
        said.heard.windows(7).enumerate().filter(|(_, bytes)| *bytes == b"HTTP/1.").map(|(at, _)| at);
    let statuses = starts.filter_map(|at| watch::status(said.heard.get(at..)?)).collect();
    Ok((statuses, said.end))
}

/// Heads of HTTP/2 that must not become heads of HTTP/1.
pub fn downgrades(host: &str) -> Vec<Block> {
    let get = || Block::get(host, "/");
    let post = || Block::request("POST", host, "/");
    let raw = |lines: &[(&[u8], &[u8])]| {
        lines.iter().fold(Block::default(), |block, (name, value)| block.line(name, value))
    };
    let host = host.as_bytes();
    let whole: [(&[u8], &[u8]); 4] =
        [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", host)];
    let instead = |name: &[u8], value: &[u8]| {
        let lines: Vec<_> =
            whole.iter().map(|(n, v)| if *n == name { (*n, value) } else { (*n, *v) }).collect();
        raw(&lines)
    };
    let without = |name: &[u8]| raw(&whole.iter().copied().filter(|(n, _)| *n != name).collect::<Vec<_>>());
    let values: [&[u8]; 5] =
        [b"a\r\nx: b", b"a\nx: b", b"a\0b", b"\x01", b"a\r\n\r\nGET /smuggled HTTP/1.1\r\n"];
    let names: [&[u8]; 7] = [b"X-Upper", b"x y", b"x:y", b"x\r\ny", b"", b"x\0", b":unknown"];
    let per_hop: [(&[u8], &[u8]); 8] = [
        (b"connection", b"close"),
        (b"connection", b"x-forwarded-for"),
        (b"transfer-encoding", b"chunked"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"close"),
        (b"upgrade", b"h2c"),
        (b"te", b"gzip"),
        (b"http2-settings", b"AA"),
    ];
    let lengths: [&[u8]; 6] = [b"5", b"+0", b"-1", b"0x0", b"", b"18446744073709551616"];
    let paths: [&[u8]; 8] = [b"", b"x", b"/a b", b"/\r\nx: y", b"/#f", b"/\0", b"http://other/", b"/\xe9"];
    let authorities: [&[u8]; 6] = [b"", b"a b", b"user@a", b"a/b", b"a\r\nx: y", b"a,b"];
    let mut all: Vec<Block> = values.iter().map(|value| get().line(b"x", value)).collect();
    all.extend(names.iter().map(|name| get().line(name, b"v")));
    all.extend(per_hop.iter().map(|(name, value)| get().line(name, value)));
    all.extend(lengths.iter().map(|length| post().line(b"content-length", length)));
    all.extend(paths.iter().map(|path| instead(b":path", path)));
    all.extend(authorities.iter().map(|authority| instead(b":authority", authority)));
    all.extend([b":method", b":scheme" as &[u8], b":path", b":authority"].map(without));
    all.extend(
        [&b"GET /smuggled HTTP/1.1\r\n"[..], b"G T", b"", b"G:T"].map(|method| instead(b":method", method)),
    );
    all.extend([&b"https://other/?"[..], b"ht tp", b"", b"file"].map(|scheme| instead(b":scheme", scheme)));
    all.push(post().line(b"content-length", b"0").line(b"content-length", b"5"));
    all.push(get().line(b"host", b"other.example"));
    all.push(get().line(b"host", host).line(b"host", host));
    all.push(get().line(b"x", b"y").line(b":path", b"/other"));
    all.push(get().line(b":path", b"/other"));
    all.push(get().line(b":method", b"POST"));
    all.push(get().line(b":authority", b"other.example"));
    all
}

/// Each on a connection of its own must be reset, answered 400, or end the connection.
fn downgrade(target: &Target) -> Played {
    let mut did = Did::default();
    let all = downgrades(&target.host);
    for (n, block) in all.iter().enumerate() {
        let mut line = Line::connect(target, "h2").map_err(|error| format!("cannot connect: {error}"))?;
        let bytes = [frames::greeting(), block.head(1, END_STREAM)].concat();
        let said = line.say(&bytes, QUIET, |heard| {
            let heard = frames::heard(heard);
            heard.done() > 0 || heard.goaway.is_some()
        });
        let heard = frames::heard(&said.heard);
        let answered = heard.answers.iter().all(|(_, status)| *status == Status::Is(400));
        let refused = heard.done() > 0 || heard.goaway.is_some() || said.end == End::Closed;
        if !answered || !refused {
            let shown = String::from_utf8_lossy(&block.0).escape_debug().to_string();
            did.wrong.push(format!("{n}, {shown}: {:?}", heard.answers));
        }
    }
    did.what = format!("refused {} of {}", all.len() - did.wrong.len(), all.len());
    Ok(did)
}
