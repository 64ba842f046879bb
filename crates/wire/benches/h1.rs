//! What one HTTP/1 message costs in nanoseconds: `cargo bench -p limen-wire`. The best of several rounds, since everything
//! else that runs on the machine only ever adds.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench is run by hand"
)]

use limen_wire::h1::{BodyDecoder, Limits, encode_request, encode_response, parse_request, parse_response};
use limen_wire::head::{BodyLength, MethodKind, RequestHead, ResponseHead, Version};
use std::hint::black_box;
use std::time::Instant;

const REQUEST: &[u8] = b"GET /api/v1/products/42?view=full HTTP/1.1\r\nHost: shop.example.com\r\n\
    User-Agent: curl/8.9.1\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nX-Request-Id: 0b5c1f6e-7a52-4a43\r\n\
    Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789\r\n\r\n";

const BROWSER: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"124\", \"Google Chrome\";v=\"124\", \"Not-A.Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
    AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,\
    application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 06:04:00 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 13\r\nConnection: keep-alive\r\nCache-Control: no-store\r\n\r\n";

fn measure(name: &str, mut work: impl FnMut()) {
    const LOOPS: u32 = 50_000;
    let mut best = f64::MAX;
    for _ in 0..15 {
        let start = Instant::now();
        (0..LOOPS).for_each(|_| work());
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(LOOPS));
    }
    println!("{name:<40} {best:>8.1} ns");
}

fn main() {
    let limits = Limits::default();
    let (mut head, mut answer, mut out) = (RequestHead::default(), ResponseHead::default(), Vec::new());
    for (name, raw) in [("6 fields", REQUEST), ("browser", BROWSER)] {
        measure(&format!("parse request, {name}"), || {
            parse_request(black_box(raw), &mut 0, &limits, &mut head).unwrap();
        });
        measure(&format!("encode request, {name}"), || {
            out.clear();
            encode_request(black_box(&head), &mut out);
        });
    }
    measure("parse response", || {
        parse_response(black_box(RESPONSE), &mut 0, &limits, MethodKind::Idempotent, &mut answer).unwrap();
    });
    measure("encode response", || {
        out.clear();
        encode_response(black_box(&answer), Version::H11, MethodKind::Idempotent, true, &mut out);
    });
    let mut chunked = Vec::new();
    for _ in 0..16 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.resize(chunked.len() + 4096, b'x');
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    measure("decode 16 chunks of 4 KiB", || {
        let mut decoder = BodyDecoder::new(BodyLength::Marked);
        let mut at = 0;
        while !decoder.is_done() {
            at += decoder.decode(black_box(&chunked[at..])).unwrap().consumed;
        }
    });
}
