//! HTTP/2 frames written and read by hand, for what no client library would do.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::within;

/// What a client begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The type of a HEADERS frame.
pub const HEADERS: u8 = 1;
/// The type of a RST_STREAM frame.
pub const RESET: u8 = 3;
/// The type of a SETTINGS frame.
pub const SETTINGS: u8 = 4;
/// The error code of a stream that was not looked at (RFC 9113, 7).
pub const REFUSED_STREAM: u32 = 7;

/// The error code of a stream that is not wanted any more.
pub const CANCEL: u32 = 8;

/// One frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// The stream it belongs to; 0: the connection.
    pub stream: u32,
    /// What follows its head.
    pub payload: Vec<u8>,
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `GET http://a/`, whole: static entries 2, 6 and 4, and a literal for entry 1 (RFC 7541, appendix A).
pub fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0x5, stream, b"\x82\x86\x84\x01\x01a")
}

/// Reads the next frame; a connection that ends instead is a panic.
pub async fn next(from: &mut (impl AsyncRead + Unpin)) -> Frame {
    let mut head = [0; 9];
    within("a frame", from.read_exact(&mut head)).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    within("the rest of a frame", from.read_exact(&mut payload)).await.unwrap();
    Frame { kind: head[3], stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload }
}
