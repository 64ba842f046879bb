//! WebSockets that stay open: a message now and then, which comes back.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::http1::Connection;
use crate::work::{FLIP, Io, Load, POOL, Pace, guarded};

/// What a client asks for. The key is that of RFC 6455, 1.3.
const UPGRADE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// The answer to that key.
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Opcodes with the bit that says that a frame is a whole message.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const CLOSE: u8 = 0x88;

/// Reads a frame of at most 125 bytes: its first byte and what it carries. `None`: the end.
pub(crate) async fn read(io: &mut (impl AsyncRead + Unpin)) -> Result<Option<(u8, Vec<u8>)>, String> {
    let mut head = [0; 2];
    if io.read_exact(&mut head[..1]).await.is_err() {
        return Ok(None);
    }
    let say = |error: std::io::Error| format!("in a frame: {error}");
    io.read_exact(&mut head[1..]).await.map_err(say)?;
    let length = usize::from(head[1] & 0x7f);
    if length > 125 {
        return Err("a large frame".to_owned());
    }
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        io.read_exact(&mut mask).await.map_err(say)?;
    }
    let mut text = vec![0; length];
    io.read_exact(&mut text).await.map_err(say)?;
    text.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(Some((head[0], text)))
}

/// The bytes of a frame; `mask`: as clients must.
pub(crate) fn frame(kind: u8, text: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = vec![kind, text.len() as u8 | if mask.is_some() { 0x80 } else { 0 }];
    bytes.extend(mask.into_iter().flatten());
    let mask = mask.unwrap_or_default();
    bytes.extend(text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Talks at its pace until all is over, then closes.
pub(crate) async fn lane(load: Rc<Load>, number: usize, secure: bool, interval: Duration) {
    if let Err(why) = talk(&load, number, secure, interval).await {
        load.tally.cut.add(format!("WebSocket: {why}"));
    }
}

async fn talk(load: &Load, number: usize, secure: bool, interval: Duration) -> Result<(), String> {
    let mut pace = Pace::new(interval, number);
    pace.turn().await;
    let mut connection = Connection::new(load.connect(secure.then_some(&load.tls.h1)).await?);
    let host = if number.is_multiple_of(2) { FLIP } else { POOL };
    let path = format!("/socket/{number}");
    let (head, _) = guarded("an upgrade", connection.ask((host, &path), UPGRADE, None)).await?;
    if head.status() != "101" || head.field("sec-websocket-accept") != Some(ACCEPT) {
        return Err(format!("no upgrade: {}", head.first()));
    }
    let (mut io, unread) = connection.into_parts();
    if !unread.is_empty() {
        return Err("bytes before the first message".to_owned());
    }
    let mask = (number as u32).wrapping_mul(0x9E37_79B9).to_be_bytes();
    for nth in 0.. {
        pace.turn().await;
        if load.over() {
            break;
        }
        let text = format!("message {nth} of {number}").into_bytes();
        send(&mut io, &frame(TEXT, &text, Some(mask))).await?;
        match guarded("an echo", read(&mut io)).await? {
            Some((TEXT, heard)) if heard == text => load.tally.heard(),
            Some((kind, heard)) => return Err(format!("{kind:#x} {}", String::from_utf8_lossy(&heard))),
            None => return Err("the end".to_owned()),
        }
    }
    send(&mut io, &frame(CLOSE, &1000_u16.to_be_bytes(), Some(mask))).await?;
    match guarded("a farewell", read(&mut io)).await? {
        Some((CLOSE, _)) => Ok(()),
        other => Err(format!("{other:?} instead of a farewell")),
    }
}

async fn send(io: &mut Io, bytes: &[u8]) -> Result<(), String> {
    io.write_all(bytes).await.map_err(|error| format!("writing: {error}"))?;
    io.flush().await.map_err(|error| format!("writing: {error}"))
}
