//! A letter in HTTP/1.1, on a connection of its own.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Collector, Letter};
use crate::stream::Stream;

/// More than this of an answer is not read.
const ANSWER_BYTES: usize = 4096;

/// Posts a letter; returns the status of the answer.
pub(super) async fn post(mut stream: Box<dyn Stream>, to: &Collector, letter: &Letter) -> io::Result<u16> {
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n",
        to.path,
        to.authority,
        letter.content_type,
        letter.body.len()
    );
    letter.headers.iter().for_each(|(name, value)| head.extend([name, ": ", value, "\r\n"]));
    to.headers.iter().for_each(|(name, value)| head.extend([name, ": ", value, "\r\n"]));
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&letter.body).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    let mut buffer = [0; 512];
    while !answer.contains(&b'\n') && answer.len() < ANSWER_BYTES {
        match stream.read(&mut buffer).await? {
            0 => break,
            read => answer.extend_from_slice(buffer.get(..read).unwrap_or_default()),
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.trim().parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
