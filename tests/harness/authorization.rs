//! A service that decides on requests by what they ask for: Envoy's `Authorization/Check`.

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue};
use limen_wire::protobuf::{Message, Value, field};

use crate::calls;

/// What is asked about.
#[derive(Default)]
struct Asked {
    fields: Vec<(String, String)>,
    method: String,
    path: String,
    host: String,
    body: String,
    source: String,
    principal: String,
    sni: String,
}

impl Asked {
    fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }
}

/// Answers a call. The header `x-verdict` of the request in question says how:
///
/// - `allow`: it is let in, with what was told of it in `x-asked`, `x-names` (of the fields), `x-body`, `x-source`,
///   `x-principal`, `x-sni`, a
///   `x-user` of its own, without `x-drop`, and with `x-told` in the answer;
/// - `deny`: 401, with `www-authenticate` and a body;
/// - `fail`: the call fails though its message lets in; `strange`: a message that says nothing; `split`: a field that would be two;
/// - anything else: it is refused without a word.
pub(crate) async fn decide(
    request: http::Request<h2::RecvStream>,
    respond: &mut SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let right = request.method() == "POST"
        && request.uri().path() == "/envoy.service.auth.v3.Authorization/Check"
        && request.headers().get("content-type").is_some_and(|own| own == "application/grpc");
    let mut data = request.into_body();
    let mut body = Vec::new();
    while let Some(piece) = data.data().await {
        let piece = piece?;
        data.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    let asked = read(body.get(5..).unwrap_or_default());
    let status = if right && asked.field("x-verdict") != "fail" { "0" } else { "13" };
    let mut answer = Vec::new();
    verdict(&asked).frame(&mut answer);
    let mut send = respond.send_response(calls::answer(), false)?;
    send.send_data(answer.into(), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    send.send_trailers(trailers)
}

fn verdict(asked: &Asked) -> Message {
    let mut message = Message::default();
    let code = |message: &mut Message, code| {
        message.message(1, |status| {
            status.number(1, code);
        });
    };
    let pair = |options: &mut Message, field, name: &str, value: &str| {
        options.message(field, |option| {
            option.message(1, |pair| {
                pair.text(1, name).text(2, value);
            });
        });
    };
    match asked.field("x-verdict") {
        "allow" => {
            code(&mut message, 0);
            message.message(3, |ok| {
                let names: Vec<&str> = asked.fields.iter().map(|(name, _)| &**name).collect();
                pair(ok, 2, "x-asked", &format!("{} {}{}", asked.method, asked.host, asked.path));
                pair(ok, 2, "x-names", &names.join(" "));
                pair(ok, 2, "x-body", &asked.body);
                pair(ok, 2, "x-source", &asked.source);
                pair(ok, 2, "x-sni", &asked.sni);
                pair(ok, 2, "x-principal", &asked.principal);
                pair(ok, 2, "X-User", "ann");
                ok.text(5, "x-drop");
                pair(ok, 6, "x-told", "by the service");
            });
        }
        "deny" => {
            code(&mut message, 16);
            message.message(2, |denied| {
                denied.message(1, |status| {
                    status.number(1, 401);
                });
                pair(denied, 2, "www-authenticate", "Basic realm=\"shop\"");
                denied.text(3, "who are you?");
            });
        }
        "split" => {
            code(&mut message, 0);
            message.message(3, |ok| pair(ok, 2, "x-user", "a\r\nx-admin: yes"));
        }
        "strange" => {}
        "fail" => code(&mut message, 0),
        _ => code(&mut message, 7),
    }
    message
}

/// What a `CheckRequest` tells.
fn read(message: &[u8]) -> Asked {
    let mut asked = Asked::default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    each(message, |_, attributes| {
        each(attributes, |number, part| match number {
            // Peer, Address, SocketAddress.
            1 => each(part, |number, own| match number {
                1 => each(own, |_, socket| {
                    each(socket, |number, own| {
                        if number == 2 {
                            asked.source = text(own);
                        }
                    });
                }),
                4 => asked.principal = text(own),
                _ => {}
            }),
            4 => each(part, |number, http| {
                if number == 2 {
                    each(http, |number, own| match number {
                        2 => asked.method = text(own),
                        3 => {
                            let mut pair = (String::new(), String::new());
                            each(own, |number, own| match number {
                                1 => pair.0 = text(own),
                                _ => pair.1 = text(own),
                            });
                            asked.fields.push(pair);
                        }
                        4 => asked.path = text(own),
                        5 => asked.host = text(own),
                        11 => asked.body = text(own),
                        _ => {}
                    });
                }
            }),
            12 => each(part, |_, own| asked.sni = text(own)),
            _ => {}
        });
    });
    asked
}

/// Calls for each field that has a length.
fn each<'a>(mut bytes: &'a [u8], mut read: impl FnMut(u64, &'a [u8])) {
    while let Some((number, value, rest)) = field(bytes) {
        if let Value::Bytes(value) = value {
            read(number, value);
        }
        bytes = rest;
    }
}
