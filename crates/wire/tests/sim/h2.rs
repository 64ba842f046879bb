//! HTTP/2: connections of every shape cut everywhere, and heads that say too much, too little or the same twice.

use crate::h2_check::{check_head, check_session, compose, frame, limits, literals};
use proptest::prelude::*;

const GET: [(&[u8], &[u8]); 4] =
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"a.example")];

#[test]
fn a_connection_is_the_same_however_it_is_cut() {
    let scripts: &[&[u8]] = &[
        b"",
        b"\x80\0\x01\0\x80\0\x03\0",
        b"\x81\0\x01\0\x84\0\x01\x05\0\x01\x01\x03end\x80\0\x03\0",
        b"\x81\0\x01\x07\x0f\x0d\x03100\x84\x01\x01\x01\x80\0\x03\0",
        b"\x80\0\x01\0\x82\0\x03\0\x80\0\x05\0\x87\0\0\0\x80\0\x07\0",
        b"\x81\0\x01\0\x86\x03\x01\x04\0\0\0\x08\x80\0\x03\0",
        b"\x83\0\x01\0\x09\x04\x01\0\x86\x09\x01\xff",
        b"\x04\0\0\x06\0\x04\0\0\0\x05\x80\0\x01\0\x85\0\x01\x09\x85\0\0\xff\x80\0\x03\0",
    ];
    for script in scripts {
        (0..4).for_each(|choice| check_session(&compose(script), &limits(choice)));
    }
    let mut raw = Vec::new();
    frame(4, 0, 0, &[0, 3, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0], &mut raw);
    frame(1, 5, 1, &literals(&GET), &mut raw);
    frame(1, 1, 3, &literals(&GET[..2]), &mut raw);
    frame(9, 4, 3, &literals(&GET[2..]), &mut raw);
    check_session(&raw, &limits(0));
}

/// A client that was told to go, and has heard it: whether what it says then has come already makes no difference.
#[test]
fn what_stands_behind_the_end_is_not_looked_at() {
    // The two fields have the request answered at once.
    let mut raw = compose(b"\x82\0\x01\x0a\0\x01a\x01b\0\x01a\x01b\x87\0\0\0");
    // Longer than any frame may be.
    raw.extend([0xff; 9]);
    (0..4).for_each(|choice| check_session(&raw, &limits(choice)));
}

#[test]
fn heads_are_carried_to_http1_as_they_were_meant() {
    let more: &[&[(&[u8], &[u8])]] = &[
        &[],
        &[(b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")],
        &[(b"cookie", b""), (b"cookie", b"b=2"), (b"cookie", b"")],
        &[(b"cookie", b"")],
        &[(b"host", b"A.example"), (b"te", b"trailers"), (b"expect", b"100-continue")],
        &[(b"content-length", b"0")],
        &[(b"content-length", b"7")],
        &[(b"x", b"a\r\nb: c")],
        &[(b"transfer-encoding", b"chunked")],
    ];
    for lines in more {
        for ended in [false, true] {
            check_head(&[&GET[..], lines].concat(), ended, &limits(0));
        }
    }
}

fn line() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let names =
        [":method", ":path", ":scheme", ":authority", "host", "cookie", "content-length", "te", "x", "X", ""];
    let value = prop_oneof!["[ -~]{0,8}", "a", "/", "http", "5", "\\PC{0,3}", "[\r\n\0a]{1,3}"];
    (prop::sample::select(names.to_vec()), value).prop_map(|(name, value)| (name.into(), value.into_bytes()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scripts_of_any_kind(choice in 0u8..4, script in prop::collection::vec(
        (prop_oneof![0u8..11, 0x80u8..0x88], any::<u8>(), 0u8..8, prop::collection::vec(any::<u8>(), 0..12)), 0..12))
    {
        let mut bytes = Vec::new();
        for (kind, flags, stream, payload) in script {
            bytes.extend([kind, flags, stream, payload.len() as u8]);
            bytes.extend(payload);
        }
        check_session(&compose(&bytes), &limits(choice));
    }

    #[test]
    fn heads_of_any_kind(ended: bool, at in 0usize..5, lines in prop::collection::vec(line(), 0..4)) {
        let mut all: Vec<(&[u8], &[u8])> = GET.to_vec();
        for (name, value) in &lines {
            all.insert(at.min(all.len()), (name, value));
        }
        check_head(&all, ended, &limits(2));
    }
}
