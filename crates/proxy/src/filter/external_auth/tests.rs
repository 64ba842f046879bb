use limen_wire::protobuf::Message;

use super::*;

fn request(fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    head.set_method(b"GET");
    head.set_authority(b"shop.example.com");
    head.set_path(b"/cart?a=1&b=2");
    fields.iter().for_each(|(name, value)| head.fields.add(name.as_bytes(), value.as_bytes()));
    head
}

fn lines(fields: &Fields) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|(_, name, value)| format!("{}: {}", text(name), text(value))).collect()
}

fn about<'a>(request: &'a RequestHead, body: &'a [u8]) -> About<'a> {
    let client = "192.0.2.1:5000".parse().unwrap();
    let local = "127.0.0.1:80".parse().unwrap();
    About {
        request,
        body,
        client,
        local,
        https: true,
        server_name: Some("shop"),
        principal: "spiffe://a/b",
        start_ms: 1_500,
    }
}

fn names(names: &[&str]) -> Box<[Box<[u8]>]> {
    names.iter().map(|name| name.as_bytes().into()).collect()
}

fn http(prefix: &str, sends: &[&str], takes: Option<&[&str]>) -> Form {
    Form::Http(HttpForm { prefix: prefix.as_bytes().into(), sends: names(sends), takes: takes.map(names) })
}

fn grpc(sends: Option<&[&str]>) -> Form {
    Form::Grpc(GrpcForm { authority: b"authz:9000"[..].into(), sends: sends.map(names) })
}

#[test]
fn a_request_asks_with_what_always_goes_and_what_is_named() {
    let request = request(&[("authorization", "Bearer t"), ("cookie", "a=b"), ("x-secret", "1")]);
    let mut to = RequestHead::default();
    let body = question(&http("/auth", &["cookie"], None), &about(&request, b"hello"), &mut to);
    assert_eq!((&*body, to.body), (&b"hello"[..], BodyLength::Known(5)));
    assert_eq!(to.path_and_query(), b"/auth/cart?a=1&b=2");
    assert_eq!((to.method(), to.authority()), (&b"GET"[..], &b"shop.example.com"[..]));
    assert_eq!(lines(&to.fields), ["authorization: Bearer t", "cookie: a=b"]);
    let mut to = RequestHead::default();
    question(&http("", &[], None), &about(&request, b""), &mut to);
    assert_eq!(to.body, BodyLength::Known(0), "the length is said");
}

/// What becomes of a request after an answer with these fields.
fn answered(form: &Form, status: u16, fields: &[(&str, &str)], request: &mut RequestHead) -> Verdict {
    let mut head = ResponseHead { status, ..ResponseHead::default() };
    fields.iter().for_each(|(name, value)| head.fields.add(name.as_bytes(), value.as_bytes()));
    answer(form, &Heard { head: &head, body: b"body", trailers: None }, request).unwrap()
}

#[test]
fn exactly_200_lets_in_and_its_fields_stand_instead_of_the_clients() {
    let own = [("x-user", "eve"), ("x-group", "root"), ("x-other", "1"), ("content-type", "a/b")];
    let said =
        [("X-User", "ann"), ("content-type", "c/d"), ("date", "now"), ("server", "s"), ("x-role", "1")];
    let mut all = request(&own);
    let verdict = answered(&http("", &[], None), 200, &said, &mut all);
    assert!(matches!(verdict, Verdict::Allowed(_)));
    assert_eq!(
        lines(&all.fields),
        ["x-group: root", "x-other: 1", "content-type: a/b", "x-user: ann", "x-role: 1"]
    );
    let mut named = request(&own);
    answered(&http("", &[], Some(&["x-user", "x-group"])), 200, &said, &mut named);
    assert_eq!(lines(&named.fields), ["x-other: 1", "content-type: a/b", "x-user: ann"]);
    for status in [201, 204, 302, 401, 500] {
        let mut same = request(&own);
        let verdict =
            answered(&http("", &[], None), status, &[("location", "/in"), ("date", "x")], &mut same);
        let Verdict::Denied(denial) = verdict else { panic!("{status} lets in") };
        assert_eq!((denial.status, &*denial.body), (status, &b"body"[..]));
        assert_eq!(lines(&denial.fields), ["location: /in"]);
    }
}

#[test]
fn a_call_tells_the_request() {
    let request = request(&[("x-request-id", "id"), ("accept", "a"), ("accept", "b"), ("x-secret", "1")]);
    let mut to = RequestHead::default();
    let body = question(&grpc(Some(&["accept", ":path"])), &about(&request, b"hi"), &mut to);
    assert_eq!(to.path_and_query(), b"/envoy.service.auth.v3.Authorization/Check");
    let mut expected = Message::default();
    let peer = |peer: &mut Message, address: &str, port: i64, principal: &str| {
        peer.message(1, |own| {
            own.message(1, |socket| {
                socket.text(2, address).number(3, port);
            });
        });
        peer.text(4, principal);
    };
    expected.message(1, |attributes| {
        attributes.message(1, |source| peer(source, "192.0.2.1", 5000, "spiffe://a/b"));
        attributes.message(2, |destination| peer(destination, "127.0.0.1", 80, ""));
        attributes.message(4, |request| {
            request.message(1, |time| {
                time.number(1, 1).number(2, 500_000_000);
            });
            request.message(2, |http| {
                http.text(1, "id").text(2, "GET");
                for (name, value) in [(":path", "/cart?a=1&b=2"), ("accept", "a,b")] {
                    http.message(3, |entry| {
                        entry.text(1, name).text(2, value);
                    });
                }
                http.text(4, "/cart?a=1&b=2").text(5, "shop.example.com").text(6, "https");
                http.text(10, "HTTP/1.1").text(11, "hi");
            });
        });
        attributes.message(12, |session| {
            session.text(1, "shop");
        });
    });
    let mut framed = Vec::new();
    expected.frame(&mut framed);
    assert_eq!(body, framed);
}

fn pair(option: &mut Message, name: &str, value: &str) {
    option.message(1, |pair| {
        pair.text(1, name).text(2, value);
    });
}

/// The answer to a call: this message, and this status of the call.
fn called(
    write: impl FnOnce(&mut Message),
    status: &str,
    request: &mut RequestHead,
) -> Result<Verdict, Strange> {
    let mut message = Message::default();
    write(&mut message);
    let mut body = Vec::new();
    message.frame(&mut body);
    let head = ResponseHead { status: 200, ..ResponseHead::default() };
    let mut trailers = Fields::default();
    trailers.add(b"grpc-status", status.as_bytes());
    answer(&grpc(None), &Heard { head: &head, body: &body, trailers: Some(&trailers) }, request)
}

#[test]
fn ok_lets_in_and_changes_what_goes_on() {
    let mut request = request(&[("x-user", "eve"), ("x-more", "1"), ("x-drop", "1"), ("x-kept", "own")]);
    let verdict = called(
        |message| {
            message.message(1, |_| {});
            message.message(3, |ok| {
                ok.message(2, |option| pair(option, "X-User", "ann"));
                ok.message(2, |option| {
                    pair(option, "x-more", "2");
                    option.message(2, |append| {
                        append.number(1, 1);
                    });
                });
                ok.message(2, |option| {
                    pair(option, "x-kept", "other");
                    option.number(3, 1);
                });
                ok.message(2, |option| {
                    pair(option, "x-absent", "other");
                    option.number(3, 3);
                });
                ok.message(2, |option| pair(option, ":path", "/elsewhere"));
                ok.message(2, |option| pair(option, "host", "elsewhere"));
                ok.text(5, "x-drop");
                ok.message(6, |option| pair(option, "x-told", "client"));
                ok.message(7, |own| {
                    own.text(1, "b").text(2, "3 4");
                });
                ok.text(8, "a");
            });
        },
        "0",
        &mut request,
    );
    let Ok(Verdict::Allowed(granted)) = verdict else { panic!("it is let in") };
    assert_eq!(granted, [(b"x-told".to_vec(), b"client".to_vec())]);
    assert_eq!(lines(&request.fields), ["x-more: 1", "x-kept: own", "x-user: ann", "x-more: 2"]);
    assert_eq!(
        (request.path_and_query(), request.authority()),
        (&b"/cart?b=3%204"[..], &b"shop.example.com"[..])
    );
}

#[test]
fn a_refusal_says_how() {
    let denied = called(
        |message| {
            message.message(1, |status| {
                status.number(1, 16);
            });
            message.message(2, |denied| {
                denied.message(1, |status| {
                    status.number(1, 401);
                });
                denied.message(2, |option| pair(option, "www-authenticate", "Basic"));
                denied.text(3, "who are you?");
            });
        },
        "0",
        &mut request(&[]),
    );
    let Ok(Verdict::Denied(denial)) = denied else { panic!("{denied:?}") };
    assert_eq!((denial.status, &*denial.body), (401, &b"who are you?"[..]));
    assert_eq!(lines(&denial.fields), ["www-authenticate: Basic"]);
    let bare = called(
        |message| {
            message.message(1, |status| {
                status.number(1, 7);
            });
        },
        "0",
        &mut request(&[]),
    );
    assert!(matches!(bare, Ok(Verdict::Denied(Denial { status: 403, .. }))));
}

#[test]
fn what_is_not_understood_is_no_answer() {
    let ok = |message: &mut Message| {
        message.message(1, |_| {});
    };
    assert!(matches!(called(ok, "0", &mut request(&[])), Ok(Verdict::Allowed(_))));
    assert!(called(ok, "14", &mut request(&[])).is_err(), "the call failed");
    assert!(called(|_| {}, "0", &mut request(&[])).is_err(), "nothing is said");
    let broken = |message: &mut Message| {
        message.message(1, |_| {}).bytes(3, b"\x12\xff");
    };
    assert!(called(broken, "0", &mut request(&[])).is_err());
    let split = |message: &mut Message| {
        message.message(1, |_| {}).message(3, |ok| {
            ok.message(2, |option| pair(option, "x-user", "a\r\nx-admin: 1"));
        });
    };
    assert!(called(split, "0", &mut request(&[])).is_err(), "no field may become two");
    for (status, body) in [(200, &b"\0\0\0\0\x02\x0a"[..]), (200, b"\x01\0\0\0\0"), (503, b""), (200, b"")] {
        let mut head = ResponseHead { status, ..ResponseHead::default() };
        head.fields.add(b"grpc-status", b"0");
        let heard = Heard { head: &head, body, trailers: None };
        assert!(answer(&grpc(None), &heard, &mut request(&[])).is_err(), "{status} {body:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_answer_breaks_anything_or_leaves_a_field_that_is_two(body: Vec<u8>, cut in 0..64_usize) {
        let mut message = Message::default();
        message.message(1, |_| {}).message(3, |ok| {
            ok.message(2, |option| pair(option, "x-user", "ann")).bytes(2, &body).bytes(7, &body);
        });
        let mut framed = Vec::new();
        message.frame(&mut framed);
        let mut other = vec![0, 0, 0, 0, body.len() as u8];
        other.extend(&body);
        framed.truncate(framed.len().saturating_sub(cut));
        for body in [&framed, &other] {
            let head = ResponseHead { status: 200, ..ResponseHead::default() };
            let mut trailers = Fields::default();
            trailers.add(b"grpc-status", b"0");
            let mut request = request(&[("x-user", "eve")]);
            let _ = answer(&grpc(None), &Heard { head: &head, body, trailers: Some(&trailers) }, &mut request);
            for (_, name, value) in request.fields.iter() {
                proptest::prop_assert!(is_field(name, value), "{name:?} {value:?}");
            }
        }
    }
}
