use std::future::Future;

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::*;
use http1::Http1;

/// The size of the future that an async function returns.
fn size<A, F: Future>(_: fn(A) -> F) -> usize {
    size_of::<F>()
}

/// What a connection holds between requests is its task and the box that the task waits on.
#[test]
fn an_idle_connection_is_cheap_to_hold() {
    let clear = size(http1::serve::<TcpStream>) + size_of::<Http1<TcpStream>>();
    assert!(clear <= 1024, "{clear}");
    let tls = size(http1::serve::<Box<TlsStream<TcpStream>>>) + size_of::<Http1<Box<TlsStream<TcpStream>>>>();
    assert!(tls <= 1024, "{tls}");
}
