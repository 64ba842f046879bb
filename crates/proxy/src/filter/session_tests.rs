use super::*;

fn session(cookie: bool, lasts_s: Option<u64>) -> Session {
    let cookie = cookie.then(|| "; Path=/".into());
    Session { name: "own".into(), cookie, lasts_s }
}

fn request(name: &[u8], value: &str) -> RequestHead {
    let mut head = RequestHead::default();
    head.fields.add(name, value.as_bytes());
    head
}

#[test]
fn a_note_is_read_as_it_was_written_until_the_session_is_over() {
    let kept = Kept { address: Address::Inet(([10, 0, 0, 1], 80).into()), began_s: 1000 };
    let cookie = session(true, Some(60));
    let note = cookie.note(kept, true);
    let sent = request(b"cookie", &format!("a=b; {}", note.strip_suffix("; Path=/; Secure").unwrap()));
    assert_eq!(cookie.noted(&sent, 1059), Some(("10.0.0.1:80".to_owned(), 1000)));
    assert_eq!(cookie.noted(&sent, 1060), None);
    let header = session(false, None);
    let sent = request(b"own", &header.note(kept, true));
    assert_eq!(header.noted(&sent, u64::MAX), Some(("10.0.0.1:80".to_owned(), 1000)));
    assert_eq!(header.noted(&sent, 999), None, "nobody begins in the future");
}

#[test]
fn what_is_no_note_says_nothing() {
    let header = session(false, None);
    let of = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for note in ["", "?", &of("nonsense"), &of("x 10.0.0.1:80"), &of("-1 10.0.0.1:80"), &"A".repeat(1000)] {
        assert_eq!(header.noted(&request(b"own", note), 2000), None, "{note}");
    }
    assert_eq!(header.noted(&RequestHead::default(), 2000), None);
}
