use proptest::prelude::*;

use super::*;

fn decoded(pieces: &[&[u8]]) -> Result<Vec<u8>, BadText> {
    let (mut decoder, mut bytes) = (TextDecoder::default(), Vec::new());
    for piece in pieces {
        decoder.decode(piece, &mut bytes)?;
    }
    decoder.finish().map(|()| bytes)
}

fn encoded(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    encode_text(bytes, &mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn text_is_that_of_rfc_4648() {
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(encoded(bytes.as_bytes()), text);
        assert_eq!(decoded(&[text.as_bytes()]).as_deref(), Ok(bytes.as_bytes()), "{text}");
    }
    assert_eq!(encoded(&[0xfb, 0xff]), "+/8=");
}

#[test]
fn segments_may_each_be_padded() {
    assert_eq!(decoded(&[b"Zg==Zm8=Zm9v"]).as_deref(), Ok(&b"ffofoo"[..]));
    assert_eq!(decoded(&[b"Z", b"g=", b"=Zm", b"8="]).as_deref(), Ok(&b"ffo"[..]));
}

#[test]
fn what_is_not_base64_is_refused() {
    for bad in ["Zg", "Zg=", "=", "Z===", "Zg=v", "Zm9v=", "Zm-v", "Zm_v", "Zm9\n", "Zm9v "] {
        assert_eq!(decoded(&[bad.as_bytes()]), Err(BadText), "{bad:?}");
    }
}

#[test]
fn types_say_the_form_and_keep_the_kind_of_messages() {
    let of = |text: &'static str| Form::of(text.as_bytes());
    assert_eq!(of("application/grpc-web"), Some((Form::Binary, &b""[..])));
    assert_eq!(of("application/grpc-web+proto"), Some((Form::Binary, &b"+proto"[..])));
    assert_eq!(of("Application/gRPC-Web-Text+thrift; q=1"), Some((Form::Text, &b"+thrift"[..])));
    for other in
        ["application/grpc", "application/grpc+proto", "application/grpc-websocket", "text/plain", ""]
    {
        assert_eq!(of(other), None, "{other}");
    }
    assert_eq!(Form::call_type(b"+json"), b"application/grpc+json");
    let answers = [
        (Form::Binary, "application/grpc", Some("application/grpc-web+proto")),
        (Form::Text, "application/grpc+json", Some("application/grpc-web-text+json")),
        (Form::Text, "text/html", None),
        (Form::Text, "application/grpcx", None),
    ];
    for (form, call, answer) in answers {
        assert_eq!(form.answer_type(call.as_bytes()).as_deref(), answer.map(str::as_bytes), "{call}");
    }
}

#[test]
fn trailers_are_a_frame_of_lines() {
    let mut trailers = Fields::default();
    trailers.add(b"Grpc-Status", b"5");
    trailers.add(b"grpc-message", b"not%20here");
    let mut frame = b"before".to_vec();
    encode_trailers(Some(&trailers), &mut frame);
    assert_eq!(frame, b"before\x80\0\0\0\x28grpc-status:5\r\ngrpc-message:not%20here\r\n");
    let mut frame = Vec::new();
    encode_trailers(None, &mut frame);
    assert_eq!(frame, b"\x80\0\0\0\0");
}

proptest! {
    #[test]
    fn whatever_is_said_in_segments_is_heard_however_it_is_cut(
        segments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
        cut in 1_usize..9,
    ) {
        let mut text = Vec::new();
        segments.iter().for_each(|segment| encode_text(segment, &mut text));
        let pieces: Vec<&[u8]> = text.chunks(cut).collect();
        prop_assert_eq!(decoded(&pieces), Ok(segments.concat()));
    }
}
