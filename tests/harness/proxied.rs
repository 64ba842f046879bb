//! PROXY headers in front of what origins are sent.

use std::net::{Ipv4Addr, SocketAddrV4};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What the header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads a header and no byte more: the line of version 1, or `v2` and both addresses (IPv4); `None`: there is none.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    loop {
        head.push(stream.read_u8().await.ok()?);
        if head == SIGNATURE {
            return version_2(stream).await;
        }
        if !SIGNATURE.starts_with(&head) && !b"PROXY ".starts_with(head.get(..6).unwrap_or(&head)) {
            return None;
        }
        if head.starts_with(b"PROXY ") && head.ends_with(b"\r\n") {
            return Some(String::from_utf8_lossy(&head).trim_end().to_owned());
        }
    }
}

async fn version_2(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let [command, family, high, low] = stream.read_u32().await.ok()?.to_be_bytes();
    let mut rest = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    stream.read_exact(&mut rest).await.ok()?;
    let address = |ip: &[u8], port: &[u8]| {
        let ip = Ipv4Addr::from(<[u8; 4]>::try_from(ip).unwrap());
        SocketAddrV4::new(ip, u16::from_be_bytes(port.try_into().unwrap()))
    };
    let known = (command, family) == (0x21, 0x11) && rest.len() >= 12;
    known.then(|| format!("v2 {} {}", address(&rest[..4], &rest[8..10]), address(&rest[4..8], &rest[10..12])))
}
