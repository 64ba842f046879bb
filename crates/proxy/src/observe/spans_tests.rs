use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use super::*;

fn collector(place: u32) -> Arc<Collector> {
    Arc::new(Collector {
        place,
        authority: "spans:9411".to_owned(),
        protocol: SpanProtocol::Zipkin,
        http2: false,
        tls: None,
        path: "/".to_owned(),
        timeout: Duration::from_secs(3600),
        headers: Vec::new(),
        service_name: "edge".to_owned(),
        instance: "edge-0".to_owned(),
    })
}

fn span() -> Span {
    Span {
        ids: TraceIds { high: 0, low: 1, short: false, span: 2 },
        parent: None,
        name: "a".to_owned(),
        client: false,
        start_us: 1,
        duration_us: 1,
        tags: Vec::new(),
        error: false,
        local: ([127, 0, 0, 1], 80).into(),
        peer: None,
        segment: None,
    }
}

/// What `wait` comes to; a hang becomes a panic.
fn within<T: Send + 'static>(what: &str, wait: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, outcome) = mpsc::channel();
    std::thread::spawn(move || done.send(wait()));
    outcome.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("waited for {what}"))
}

#[test]
fn a_collector_that_never_answers_holds_up_no_other_and_not_the_end() {
    let exporter = Exporter::start(Arc::default()).unwrap();
    let listen = |place| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Inet(listener.local_addr().unwrap());
        exporter.place(place, vec![CollectorAddress { address, in_mesh: false }]);
        listener
    };
    let (silent, ready) = (listen(1), listen(2));
    let sender = exporter.sender();
    assert!(sender.send(&collector(1), vec![span()]));
    // It has the spans, and keeps its answer to itself.
    let read = |listener: TcpListener| {
        move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream
        }
    };
    let _never = within("spans at the silent one", read(silent));
    assert!(sender.send(&collector(2), vec![span()]));
    let mut stream = within("spans at the other", read(ready));
    stream.write_all(b"HTTP/1.1 202 Accepted\r\n\r\n").unwrap();
    drop(sender);
    within("the end", move || drop(exporter));
}
