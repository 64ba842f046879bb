//! What the gateway says in every response.

use limen_wire::head::{Known, ResponseHead};

use super::peer_metadata::{METADATA, METADATA_ID};
use super::policy::ServerName;
use super::text;

const SERVICE_TIME: &[u8] = b"x-envoy-upstream-service-time";

/// Before header operations, which may drop it: how many milliseconds the upstream took until its head came, if that
/// is to be said. What a sidecar tells of itself is for the gateway and not for clients.
pub(crate) fn begin(head: &mut ResponseHead, took_ms: Option<u64>, scratch: &mut Vec<u8>) {
    head.fields.retain(|known, name, _| match known {
        Known::XEnvoy => {
            name != METADATA && name != METADATA_ID && (took_ms.is_none() || name != SERVICE_TIME)
        }
        _ => true,
    });
    if let Some(took_ms) = took_ms {
        scratch.clear();
        text::push_decimal(scratch, took_ms);
        head.fields.add_known(Known::XEnvoy, SERVICE_TIME, scratch);
    }
}

/// After header operations, which cannot change it (Envoy): `server` is overwritten unless the origin's is to be passed
/// on, a missing `date` is added. `date` is the present time in the form of RFC 9110 5.6.7.
pub(crate) fn finish(head: &mut ResponseHead, server: &ServerName, date: &[u8]) {
    match server {
        ServerName::Istio => head.fields.set_known(Known::Server, b"server", b"istio-envoy"),
        ServerName::Named(name) => head.fields.set_known(Known::Server, b"server", name.as_bytes()),
        ServerName::PassOn => {}
    }
    if head.fields.get_known(Known::Date).is_none() {
        head.fields.add_known(Known::Date, b"date", date);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(head: &ResponseHead) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        head.fields.iter().map(|(_, name, value)| format!("{}: {}", text(name), text(value))).collect()
    }

    #[test]
    fn an_upstream_cannot_speak_for_the_gateway() {
        let mut head = ResponseHead::default();
        head.fields.add(b"Server", b"nginx");
        head.fields.add(b"server", b"again");
        head.fields.add(b"x-envoy-upstream-service-time", b"1");
        head.fields.add(b"x-envoy-peer-metadata-id", b"sidecar~");
        begin(&mut head, Some(12), &mut Vec::new());
        finish(&mut head, &ServerName::Istio, b"Sun, 06 Nov 1994 08:49:37 GMT");
        let expected = [
            "x-envoy-upstream-service-time: 12",
            "server: istio-envoy",
            "date: Sun, 06 Nov 1994 08:49:37 GMT",
        ];
        assert_eq!(lines(&head), expected);
    }

    #[test]
    fn a_server_has_the_name_that_it_is_given() {
        let said = |own: &[(&str, &str)], server: ServerName| {
            let mut head = ResponseHead::default();
            own.iter().for_each(|(name, value)| head.fields.add(name.as_bytes(), value.as_bytes()));
            finish(&mut head, &server, b"now");
            lines(&head)
        };
        let nginx = [("server", "nginx")];
        assert_eq!(said(&nginx, ServerName::Named("edge".into())), ["server: edge", "date: now"]);
        assert_eq!(said(&nginx, ServerName::PassOn), ["server: nginx", "date: now"]);
        assert_eq!(said(&[], ServerName::PassOn), ["date: now"]);
    }

    #[test]
    fn an_upstream_knows_its_own_date() {
        let mut head = ResponseHead::default();
        head.fields.add(b"date", b"Mon, 07 Nov 1994 08:49:37 GMT");
        finish(&mut head, &ServerName::Istio, b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(lines(&head), ["date: Mon, 07 Nov 1994 08:49:37 GMT", "server: istio-envoy"]);
    }
}
