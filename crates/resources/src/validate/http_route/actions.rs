//! Rules for redirect, directResponse and rewrite.

use super::super::syntax::{check_port, check_regex};
use super::super::{Check, Path};
use crate::istio::{Body, DirectResponse, HttpMatch, Redirect, Rewrite, StringMatch};

/// A larger body of a direct response is refused.
const MAX_BODY: usize = 1 << 20;
/// A larger one is warned about.
const LARGE_BODY: usize = 100 << 10;

pub(super) fn redirect(check: &mut Check<'_>, at: Path<'_>, redirect: &Redirect, matches: &[HttpMatch]) {
    let Redirect { uri, prefix_rewrite, authority, port, derive_port, scheme, redirect_code } = redirect;
    let texts = [uri, prefix_rewrite, authority, scheme];
    if texts.iter().all(|text| text.is_empty()) && port.is_none() && derive_port.is_none() {
        let mend = "write uri, prefixRewrite, authority, port or scheme";
        check.error(at, "expected something that the redirect changes", mend);
    }
    if !uri.is_empty() && !prefix_rewrite.is_empty() {
        check.error(
            at.field("prefixRewrite"),
            "uri and prefixRewrite cannot stand together",
            "keep one of them",
        );
    }
    let by_prefix = |matching: &HttpMatch| matches!(matching.uri, Some(StringMatch::Prefix(_)));
    if !prefix_rewrite.is_empty() && (matches.is_empty() || !matches.iter().all(by_prefix)) {
        let mend = "write uri.prefix in every match, or use uri";
        check.error(at.field("prefixRewrite"), "prefixRewrite needs a prefix to rewrite", mend);
    }
    if !matches!(scheme.as_str(), "" | "http" | "https") {
        check.error(
            at.field("scheme"),
            format!("expected http or https, found {scheme:?}"),
            "write one of the two",
        );
    }
    if port.is_some() && derive_port.is_some() {
        check.error(at.field("derivePort"), "port and derivePort cannot stand together", "keep one of them");
    }
    if let Some(port) = port {
        check_port(check, at.field("port"), u32::from(*port));
    }
    match redirect_code {
        0 | 301 | 302 | 303 | 307 | 308 => {}
        300..=399 => {
            let message =
                format!("a redirect with {redirect_code} cannot be made; its requests would get no answer");
            check.warn(at.field("redirectCode"), message, "write 301, 302, 303, 307 or 308");
        }
        _ => {
            let message = format!("expected a code from 300 to 399, found {redirect_code}");
            check.error(at.field("redirectCode"), message, "write 301, 302, 303, 307 or 308");
        }
    }
}

pub(super) fn direct_response(check: &mut Check<'_>, at: Path<'_>, response: &DirectResponse) {
    if !(200..=600).contains(&response.status) {
        let message = format!("expected a status from 200 to 600, found {}", response.status);
        check.error(at.field("status"), message, "write 200, for example");
    }
    let length = match &response.body {
        Some(Body::String(text)) => text.len(),
        Some(Body::Bytes(bytes)) => bytes.len(),
        None => 0,
    };
    if length > MAX_BODY {
        check.error(
            at.field("body"),
            format!("expected at most {MAX_BODY} bytes, found {length}"),
            "shorten it",
        );
    } else if length > LARGE_BODY {
        check.warn(
            at.field("body"),
            format!("{length} bytes are much for a direct response"),
            "serve it by a backend",
        );
    }
}

pub(super) fn rewrite(check: &mut Check<'_>, at: Path<'_>, rewrite: &Rewrite) {
    let Rewrite { uri, authority, uri_regex_rewrite } = rewrite;
    if uri.is_empty() && authority.is_empty() && uri_regex_rewrite.is_none() {
        check.error(at, "expected something that is rewritten", "write uri, authority or uriRegexRewrite");
    }
    let Some(regex) = uri_regex_rewrite else { return };
    let at = at.field("uriRegexRewrite");
    if !uri.is_empty() {
        check.error(at, "uri and uriRegexRewrite cannot stand together", "keep one of them");
    }
    check_regex(check, at.field("match"), &regex.pattern);
    if regex.rewrite.is_empty() {
        check.error(at.field("rewrite"), "expected what to write instead", "use \\1 for the first group");
    }
}
