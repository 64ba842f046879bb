//! Services that are asked about requests: filters of type ExternalAuth.

use std::sync::Arc;

use limen_ir::Millis;
use limen_ir::cluster::ClusterKey;
use limen_ir::policy::external_auth::{AuthForm, ExternalAuth, GrpcAuth, HttpAuth};
use limen_resources::gateway_api::{ExternalAuthProtocol, HttpExternalAuth, HttpRouteTimeouts};

use super::No;
use super::backends::{Backend, Carries};

/// How long a service may take; the API has no field for it.
const TIMEOUT_MS: u64 = 5_000;

/// In what a service is spoken to.
pub(super) fn carries(written: &HttpExternalAuth) -> Carries {
    match written.protocol {
        ExternalAuthProtocol::Http => Carries::Requests,
        ExternalAuthProtocol::Grpc => Carries::Calls,
    }
}

/// What is asked of the service that was found.
///
/// # Errors
/// What is written does not say how.
pub(super) fn policy(
    (written, timeouts): (&HttpExternalAuth, Option<&HttpRouteTimeouts>),
    found: Option<&Backend>,
    nowhere: impl FnOnce() -> ClusterKey,
) -> Result<Arc<ExternalAuth>, No> {
    let HttpExternalAuth { protocol, backend_ref: _, grpc, http, forward_body } = written;
    let lower = |names: &[String]| -> Vec<String> {
        let mut lower: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        lower.sort();
        lower.dedup();
        lower
    };
    let some = |names: &[String]| (!names.is_empty()).then(|| lower(names));
    let form = match protocol {
        ExternalAuthProtocol::Http => {
            let http = http.clone().unwrap_or_default();
            AuthForm::Http(HttpAuth {
                path_prefix: prefix(&http.path)?,
                sends: lower(&http.allowed_headers),
                takes: some(&http.allowed_response_headers),
            })
        }
        ExternalAuthProtocol::Grpc => AuthForm::Grpc(GrpcAuth {
            authority: found.map_or_else(String::new, |found| {
                format!("{}:{}", found.service.spoken_to(), found.cluster.port)
            }),
            sends: grpc.as_ref().and_then(|grpc| some(&grpc.allowed_headers)),
        }),
    };
    let body_most = forward_body.as_ref().map(|body| body.max_size).filter(|most| *most > 0);
    // The whole request may take no longer.
    let whole = timeouts.and_then(|timeouts| Millis::new(timeouts.request?.millis()));
    let usual = Millis::new(TIMEOUT_MS).unwrap_or_else(|| unreachable!());
    let timeout = whole.map_or(usual, |whole| whole.min(usual));
    let cluster = found.map_or_else(nowhere, |found| found.cluster.clone());
    Ok(Arc::new(ExternalAuth { cluster, form, body_most, timeout }))
}

/// The beginning of a path, such that what follows it stays below it.
fn prefix(written: &str) -> Result<String, No> {
    let path = written.trim_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    let escapes = path.to_ascii_lowercase().contains("%2f");
    if escapes || path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        let why = format!("`{written}` is no path that others can stand below");
        return Err(("UnsupportedValue", why));
    }
    Ok(format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_paths_begins_with_a_slash_and_leads_nowhere_else() {
        for (written, expected) in
            [("", ""), ("/", ""), ("auth", "/auth"), ("/a/b/", "/a/b"), ("/a.b/..c", "/a.b/..c")]
        {
            assert_eq!(prefix(written).as_deref(), Ok(expected), "{written}");
        }
        for wrong in ["/a/../b", "/..", "a//b", "/./a", "/a%2Fb"] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
    }
}
