//! The demo's origins: they answer what they saw as JSON, with httpbin-like paths, and say their version.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A body larger than this is answered with 413.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// `/delay/{s}` waits no longer.
const MAX_DELAY: Duration = Duration::from_secs(10);
/// `/bytes/{n}` sends no more.
const MAX_BYTES: usize = 10 * 1024 * 1024;

/// An origin that listens on a loopback port of the kernel's choice; it lives as long as the runtime it was started on.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Origin {
    /// Starts an origin that calls itself `version`.
    ///
    /// # Errors
    /// No loopback port could be bound.
    pub async fn start(version: &'static str) -> std::io::Result<Origin> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let app = Router::new().fallback(answer).with_state(version);
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, service).await {
                tracing::error!(%error, version, "the demo's origin ended");
            }
        });
        Ok(Origin { address })
    }
}

async fn answer(
    State(version): State<&'static str>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return with_version(StatusCode::PAYLOAD_TOO_LARGE.into_response(), version);
    };
    let path = parts.uri.path();
    let (first, rest) = match path.trim_start_matches('/').split_once('/') {
        Some((first, rest)) => (first, rest),
        None => (path.trim_start_matches('/'), ""),
    };
    let response = match first {
        "headers" => json_answer(json!({"version": version, "headers": headers_of(&parts.headers)})),
        "ip" => json_answer(json!({"version": version, "origin": client_of(&parts.headers, peer)})),
        "user-agent" => {
            let agent = parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
            json_answer(json!({"version": version, "user-agent": agent}))
        }
        "uuid" => json_answer(json!({"version": version, "uuid": uuid()})),
        "status" => status(rest),
        "bytes" => bytes(rest),
        "delay" => {
            let seconds = rest.parse::<f64>().ok().filter(|s| s.is_finite() && *s >= 0.0).unwrap_or(0.0);
            tokio::time::sleep(Duration::from_secs_f64(seconds.min(MAX_DELAY.as_secs_f64()))).await;
            json_answer(seen(version, &parts, peer, &body))
        }
        "" | "get" | "post" | "put" | "patch" | "delete" | "anything" => {
            json_answer(seen(version, &parts, peer, &body))
        }
        _ => {
            let what =
                json!({"version": version, "error": "no such path on the demo's origin", "path": path});
            (StatusCode::NOT_FOUND, json_answer(what)).into_response()
        }
    };
    with_version(response, version)
}

fn with_version(mut response: Response, version: &'static str) -> Response {
    response.headers_mut().insert("x-demo-version", header::HeaderValue::from_static(version));
    response
}

fn json_answer(value: Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], format!("{value:#}\n")).into_response()
}

fn seen(version: &str, parts: &Parts, peer: SocketAddr, body: &[u8]) -> Value {
    json!({
        "version": version,
        "method": parts.method.as_str(),
        "path": parts.uri.path(),
        "query": parts.uri.query().unwrap_or_default(),
        "headers": headers_of(&parts.headers),
        "origin": client_of(&parts.headers, peer),
        "body": { "length": body.len(), "text": String::from_utf8_lossy(body.get(..4096).unwrap_or(body)) },
    })
}

fn headers_of(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        all.entry(name.to_string())
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    all
}

fn client_of(headers: &HeaderMap, peer: SocketAddr) -> String {
    let forwarded = headers.get("x-forwarded-for").and_then(|v| v.to_str().ok());
    forwarded.map_or_else(|| peer.ip().to_string(), str::to_owned)
}

fn status(rest: &str) -> Response {
    let code = rest.split('/').next().and_then(|c| c.parse::<u16>().ok()).filter(|c| (200..=599).contains(c));
    let code = code.and_then(|c| StatusCode::from_u16(c).ok()).unwrap_or(StatusCode::BAD_REQUEST);
    code.into_response()
}

fn bytes(rest: &str) -> Response {
    let length = rest.split('/').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0).min(MAX_BYTES);
    let body = Body::from(random_bytes(length));
    ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response()
}

/// Bytes that do not compress, without a random generator of their own: nothing here is a secret.
fn random_bytes(length: usize) -> Vec<u8> {
    let random = RandomState::new();
    let chunks = (0..length.div_ceil(8)).flat_map(|i| {
        let mut hasher = random.build_hasher();
        hasher.write_usize(i);
        hasher.finish().to_ne_bytes()
    });
    chunks.take(length).collect()
}

/// A version 4 UUID (RFC 9562 section 5.4).
fn uuid() -> String {
    let hex: String = random_bytes(16)
        .into_iter()
        .enumerate()
        .map(|(i, byte)| match i {
            6 => (byte & 0x0f) | 0x40,
            8 => (byte & 0x3f) | 0x80,
            _ => byte,
        })
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
