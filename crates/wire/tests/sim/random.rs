//! Properties over generated heads and over damaged ones.

use crate::check::{Request, check_chunked, check_request, check_response, request};
use crate::{bodies, requests, responses};
use limen_wire::h1::encode_request;
use limen_wire::head::{BodyLength, MethodKind, RequestHead, Version};
use proptest::prelude::*;

/// One change to some bytes.
#[derive(Debug, Clone)]
enum Damage {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Double(prop::sample::Index, prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let telling = prop::sample::select(&b"\r\n\0\t :;,0159afAFx\x7f\x80\xff#@*/%-+_?[]"[..]);
    let byte = prop_oneof![3 => telling, 1 => any::<u8>()];
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), byte.clone()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (at(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        at().prop_map(Damage::Remove),
        (at(), at()).prop_map(|(from, to)| Damage::Double(from, to)),
    ]
}

fn damaged(mut bytes: Vec<u8>, all: &[Damage]) -> Vec<u8> {
    for damage in all {
        let length = bytes.len();
        match damage {
            _ if length == 0 => {}
            Damage::Replace(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Insert(at, byte) => bytes.insert(at.index(length), *byte),
            Damage::Remove(at) => drop(bytes.remove(at.index(length))),
            Damage::Double(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let (from, to) = (from.min(to), from.max(to));
                let piece = bytes[from..to].to_vec();
                bytes.splice(from..from, piece);
            }
        }
    }
    bytes
}

fn corpus(all: impl Iterator<Item = &'static [u8]>) -> impl Strategy<Value = Vec<u8>> {
    let all: Vec<Vec<u8>> = all.map(<[u8]>::to_vec).collect();
    (prop::sample::select(all), prop::collection::vec(damage(), 0..4))
        .prop_map(|(bytes, damages)| damaged(bytes, &damages))
}

/// Heads as a filter may have left them.
fn head() -> impl Strategy<Value = RequestHead> {
    let method =
        prop_oneof!["GET|HEAD|POST|PUT|OPTIONS", "[A-Z]{1,9}"].prop_filter("other rules", |m| m != "CONNECT");
    let name = "x-[a-z0-9!#$%&'*+.^_`|~-]{1,12}";
    let value =
        prop_oneof![Just(Vec::new()), "[!-~]([ -~\t\u{80}-\u{ff}]{0,20}[!-~])?".prop_map(String::into_bytes)];
    let body = prop_oneof![
        Just(BodyLength::None),
        Just(BodyLength::Marked),
        (1..i64::MAX as u64).prop_map(BodyLength::Known)
    ];
    let fields = prop::collection::vec((name, value), 0..20);
    let upgrade = prop::option::of("[a-z]{4,9}(/[0-9]\\.[0-9])?");
    (method, "/[!\"$-~]{0,40}", "[a-zA-Z0-9.-]{1,20}(:[0-9]{1,4})?", fields, body, upgrade).prop_map(
        |(method, path, authority, fields, body, upgrade)| {
            let mut head = RequestHead::default();
            head.set_method(method.as_bytes());
            head.set_path(path.as_bytes());
            head.set_authority(authority.as_bytes());
            for (name, value) in fields {
                head.fields.add(name.as_bytes(), &value);
            }
            head.body = body;
            head.upgrade = upgrade.map(|upgrade| head.fields.store(upgrade.as_bytes()));
            head.version = Version::H11;
            head
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_as_it_was_meant(head in head()) {
        let mut out = Vec::new();
        encode_request(&head, &mut out);
        let (length, read) = request(&out).unwrap().unwrap();
        prop_assert_eq!(length, out.len());
        prop_assert_eq!(read, Request::from(&head));
        check_request(&out);
    }

    #[test]
    fn damaged_requests(raw in corpus(requests::VALID.iter().map(|(raw, _)| *raw))) {
        check_request(&raw);
    }

    #[test]
    fn damaged_responses(raw in corpus(responses::VALID.iter().map(|(raw, _, _)| *raw))) {
        for kind in [MethodKind::Head, MethodKind::Idempotent, MethodKind::Connect] {
            check_response(&raw, kind);
        }
    }

    #[test]
    fn damaged_chunks(raw in corpus(bodies::CHUNKED.iter().map(|(raw, _)| *raw))) {
        check_chunked(&raw);
    }
}
