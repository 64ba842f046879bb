//! What an API server would refuse in filters of type ExternalAuth.

use super::api_routes::backend;
use super::gateway_api::count;
use super::syntax::is_token;
use super::{Check, Path};
use crate::gateway_api::{ExternalAuthProtocol, HttpExternalAuth};

pub(super) fn external_auth(check: &mut Check<'_>, at: Path<'_>, own: &HttpExternalAuth) {
    let HttpExternalAuth { protocol, backend_ref, grpc, http, forward_body: _ } = own;
    backend(check, at.field("backendRef"), backend_ref);
    let calls = *protocol == ExternalAuthProtocol::Grpc;
    for (field, written, wanted) in [("grpc", grpc.is_some(), calls), ("http", http.is_some(), !calls)] {
        if written != wanted {
            let needs = if wanted { "needs" } else { "has no" };
            let message = format!("protocol {} {needs} {field}", protocol.as_str());
            check.error(at.field(field), message, "write the protocol, and the field of that name");
        }
    }
    if let Some(grpc) = grpc {
        let at = at.field("grpc");
        names(check, at.field("allowedHeaders"), &grpc.allowed_headers);
    }
    if let Some(http) = http {
        let at = at.field("http");
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
        if http.path.len() > 1024 || !http.path.bytes().all(known) {
            let message = format!("expected the beginning of a path, found {:?}", http.path);
            check.error(at.field("path"), message, "write at most 1024 characters, others than these as %XX");
        }
        names(check, at.field("allowedHeaders"), &http.allowed_headers);
        names(check, at.field("allowedResponseHeaders"), &http.allowed_response_headers);
    }
}

fn names(check: &mut Check<'_>, at: Path<'_>, names: &[String]) {
    count(check, at, names.len(), 0, 64);
    for (index, name) in names.iter().enumerate() {
        if !is_token(name) {
            let message = format!("expected the name of a header field, found {name:?}");
            check.error(at.item(index), message, "write one without spaces");
        }
    }
}
