use std::task::Waker;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

fn poll(
    way: &mut Way,
    source: &mut (impl AsyncRead + Unpin),
    sink: &mut (impl AsyncWrite + Unpin),
) -> Poll<Result<(), Broken>> {
    way.poll(&mut Context::from_waker(Waker::noop()), source, sink, &Buffers::default())
}

#[tokio::test]
async fn what_the_sink_does_not_take_is_not_read() {
    let (mut client, mut near) = duplex(1 << 20);
    let (mut far, mut origin) = duplex(1000);
    client.write_all(&[7; 100_000]).await.unwrap();
    let mut way = Way::default();
    assert!(poll(&mut way, &mut near, &mut far).is_pending());
    assert_eq!((way.read, way.written), (BUFFER as u64, 1000), "one buffer is read ahead");

    let mut got = vec![0; 1000];
    origin.read_exact(&mut got).await.unwrap();
    assert!(poll(&mut way, &mut near, &mut far).is_pending());
    assert_eq!((way.read, way.written), (BUFFER as u64, 2000));
}

#[tokio::test]
async fn the_end_follows_the_last_byte_and_the_first_bytes_go_first() {
    let (mut client, mut near) = duplex(100);
    let (mut far, mut origin) = duplex(100);
    client.write_all(b"world").await.unwrap();
    client.shutdown().await.unwrap();
    let mut way = Way::after(b"hello ".to_vec());
    assert_eq!(poll(&mut way, &mut near, &mut far), Poll::Ready(Ok(())));
    let mut got = String::new();
    origin.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "hello world");
    assert_eq!((way.read, way.written), (11, 11));
    assert_eq!(poll(&mut way, &mut near, &mut far), Poll::Ready(Ok(())), "an ended way stays ended");
}

#[tokio::test]
async fn a_silent_way_holds_no_buffer_and_a_busy_one_a_large_one() {
    let (mut client, mut near) = duplex(1 << 20);
    let (mut far, origin) = duplex(BUFFER + 1);
    let mut way = Way::default();
    assert!(poll(&mut way, &mut near, &mut far).is_pending());
    assert_eq!(way.buffer.capacity(), 0);
    client.write_all(&[7; 100_000]).await.unwrap();
    assert!(poll(&mut way, &mut near, &mut far).is_pending());
    assert_eq!(way.buffer.len(), super::super::LARGE_BUFFER);
    drop(origin);
    assert_eq!(poll(&mut way, &mut near, &mut far), Poll::Ready(Err(Broken::Sink)));
}
