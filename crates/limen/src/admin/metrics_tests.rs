//! What is packed is the same text, and costs little for each label set.

use std::io::Read;

use limen_proxy::observe::counters::{ServiceLabels, WorkloadId};
use limen_proxy::observe::{Record, Registry, SourceLabels};

use super::*;

/// A registry with that many label sets.
fn registry(sets: usize) -> Registry {
    let registry = Registry::default();
    let worker = registry.worker();
    let address = "127.0.0.1:80".parse().unwrap();
    for set in 0..sets {
        let name = format!("service-{set}");
        let host = format!("{name}.default.svc.cluster.local");
        let service = registry.service(&ServiceLabels { host, name, namespace: "default".to_owned() });
        for request in 0..10 {
            let duration_us = (set as u64 + request) * 777;
            let record = Record { code: 200, duration_us, ..Record::new(0, address, address) };
            worker.record(service, WorkloadId::UNKNOWN, &record);
        }
    }
    registry
}

/// What a reader gets.
fn read(registry: &Registry, packed: bool) -> Vec<u8> {
    let (sender, mut receiver) = mpsc::channel(100_000);
    let mut out = Out::new(sender, packed);
    registry.render_parts(&SourceLabels::default(), &mut |text| out.write(text));
    out.end();
    let mut all = Vec::new();
    while let Some(part) = receiver.blocking_recv() {
        all.extend_from_slice(&part);
    }
    all
}

#[test]
fn packed_text_is_the_same_and_much_less() {
    let registry = registry(40);
    let plain = read(&registry, false);
    let packed = read(&registry, true);
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
    assert!(plain == unpacked);
    assert!(plain.len() > 40 * 40_000, "{}", plain.len());
    assert!(packed.len() < 40 * 1_500, "{} bytes for a label set", packed.len() / 40);
}

#[test]
fn only_who_takes_gzip_gets_it() {
    let takes = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
        takes_gzip(&headers)
    };
    assert!(takes("gzip") && takes("deflate, gzip;q=0.5") && takes("br , gzip ; q=1"));
    assert!(
        !takes("identity")
            && !takes("gzip;q=0")
            && !takes("gzip;q=nonsense")
            && !takes_gzip(&HeaderMap::new())
    );
}
