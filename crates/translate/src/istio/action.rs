//! What an HTTP route does: forward, redirect, reply.

use std::sync::Arc;

use limen_ir::Share;
use limen_ir::atoms::Millis;
use limen_ir::policy::headers::HeaderOps;
use limen_ir::policy::retry::Retry;
use limen_ir::policy::rewrite::PathRewrite;
use limen_ir::route::{RedirectPath, Reply};
use limen_resources::Problem;
use limen_resources::istio::{
    Body, DerivePort, Destination, DirectResponse, HttpRoute, Mirror, Redirect, RegexRewrite,
    RouteDestination, StringMatch,
};

use super::{headers, matching, names, retry, substitution};
use crate::draft::{
    ActionDraft, DestinationDraft, ForwardDraft, MirrorDraft, PortChoice, RedirectDraft, RedirectPortDraft,
};
use crate::messages::{At, route as messages};

/// What the drafts of one object's routes need to know.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The namespace that short names are completed with.
    pub(crate) namespace: &'a str,
    pub(crate) cluster_domain: &'a str,
    /// What the mesh says of retries.
    pub(crate) default_retry: Option<&'a Retry>,
    pub(crate) istio_default_retries: bool,
    pub(crate) at: At<'a>,
}

/// The action of a route that is written at `field`. One that cannot be done as written becomes a reply of 500: another
/// route must not catch its requests.
pub(crate) fn action(
    route: &HttpRoute,
    context: Context<'_>,
    field: &str,
    problems: &mut Vec<Problem>,
) -> ActionDraft {
    let mut reader = Reader { context, field, problems };
    if let Some(redirect) = &route.redirect {
        return reader.redirect(route, redirect);
    }
    if let Some(response) = &route.direct_response {
        return reader.reply(response);
    }
    if route.route.is_empty() {
        return reader.refuse("", "the route does nothing", "write one of route, redirect, directResponse");
    }
    reader.forward(route)
}

struct Reader<'a> {
    context: Context<'a>,
    field: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn refuse(&mut self, part: &str, message: &str, mend: &str) -> ActionDraft {
        let field = format!("{}{part}", self.field);
        self.problems.push(messages::refused(self.context.at.field(&field), message, mend));
        refusal()
    }

    fn redirect(&mut self, route: &HttpRoute, redirect: &Redirect) -> ActionDraft {
        let code = match redirect.redirect_code {
            0 => 301,
            code @ (301 | 302 | 303 | 307 | 308) => code as u16,
            _ => {
                let message = "the code of the redirect cannot be sent";
                return self.refuse(".redirect.redirectCode", message, "write 301, 302, 303, 307 or 308");
            }
        };
        if !matches!(&*redirect.scheme, "" | "http" | "https") {
            return self.refuse(".redirect.scheme", "the scheme is unknown", "write http or https");
        }
        let path = if !redirect.prefix_rewrite.is_empty() {
            let prefixes = |uri: &Option<StringMatch>| matches!(uri, Some(StringMatch::Prefix(_)));
            if route.matches.is_empty() || !route.matches.iter().all(|block| prefixes(&block.uri)) {
                let message = "a prefix is rewritten, but not every match block asks for one";
                return self.refuse(
                    ".redirect.prefixRewrite",
                    message,
                    "match uri.prefix, or write redirect.uri",
                );
            }
            Some(RedirectPath::Prefix(redirect.prefix_rewrite.clone()))
        } else {
            non_empty(&redirect.uri).map(RedirectPath::Full)
        };
        let port = match (redirect.port, redirect.derive_port) {
            (Some(port), _) if port > 0 => RedirectPortDraft::Fixed(port),
            (_, Some(DerivePort::FromRequestPort)) => RedirectPortDraft::Declared,
            _ => RedirectPortDraft::Unsaid,
        };
        let (scheme, authority) = (non_empty(&redirect.scheme), non_empty(&redirect.authority));
        ActionDraft::Redirect(RedirectDraft { code, scheme, authority, port, path })
    }

    fn reply(&mut self, response: &DirectResponse) -> ActionDraft {
        /// Istio's bound, 1 MiB.
        const LONGEST_BODY: usize = 1 << 20;
        let Some(status) = u16::try_from(response.status).ok().filter(|status| (200..=599).contains(status))
        else {
            return self.refuse(".directResponse.status", "the status cannot be sent", "write 200 to 599");
        };
        let body: Arc<[u8]> = match &response.body {
            None => Arc::default(),
            Some(Body::String(text)) => text.as_bytes().into(),
            Some(Body::Bytes(bytes)) => bytes.as_slice().into(),
        };
        if body.len() > LONGEST_BODY {
            return self.refuse(
                ".directResponse.body",
                "the body is longer than 1 MiB",
                "send it from a backend",
            );
        }
        ActionDraft::Reply(Reply { status, body, details: "direct_response".to_owned() })
    }

    fn forward(&mut self, route: &HttpRoute) -> ActionDraft {
        let rewrite = route.rewrite.as_ref();
        let path_rewrite = match rewrite.and_then(|rewrite| rewrite.uri_regex_rewrite.as_ref()) {
            None => rewrite.and_then(|rewrite| non_empty(&rewrite.uri)).map(PathRewrite::Matched),
            Some(regex) => match self.found(regex) {
                Ok(rewrite) => rewrite,
                Err(refused) => return *refused,
            },
        };
        let several = route.route.len() > 1;
        if several && route.route.iter().all(|destination| destination.weight == 0) {
            return self.refuse(".route", "all weights are 0", "give at least one destination a weight");
        }
        let destinations = (0..).zip(&route.route).filter(|(_, to)| !several || to.weight > 0);
        let destinations = destinations.map(|(index, to)| self.destination(index, to, several)).collect();
        ActionDraft::Forward(ForwardDraft {
            destinations,
            path_rewrite,
            host_rewrite: rewrite.and_then(|rewrite| non_empty(&rewrite.authority)),
            timeout: route.timeout.and_then(|timeout| Millis::new(timeout.millis())),
            retry: self.retry(route),
            mirrors: self.mirrors(route),
        })
    }

    /// A rewrite by expression. One that names what the expression has not leaves paths as they are, as in Istio.
    fn found(&mut self, regex: &RegexRewrite) -> Result<Option<PathRewrite>, Box<ActionDraft>> {
        let part = ".rewrite.uriRegexRewrite";
        let (pattern, groups) = match matching::pattern_with_groups(&regex.pattern) {
            Ok(found) => found,
            Err(error) => {
                let message = format!("the regular expression is not valid: {error}");
                let refused = self.refuse(&format!("{part}.match"), &message, "write it in RE2's syntax");
                return Err(Box::new(refused));
            }
        };
        match substitution::parse(&regex.rewrite, groups) {
            Ok(with) => Ok(Some(PathRewrite::Found { pattern, with })),
            Err(error) => {
                let field = format!("{}{part}.rewrite", self.field);
                let message = format!("{error}; paths are not rewritten");
                let mend = "write \\1 for what the first group found, \\\\ for a backslash";
                self.problems.push(messages::invalid(self.context.at.field(&field), message, mend));
                Ok(None)
            }
        }
    }

    fn retry(&mut self, route: &HttpRoute) -> Retry {
        let field = format!("{}.retries", self.field);
        match &route.retries {
            Some(retries) => retry::written(retries, self.context.at, &field, self.problems),
            None => retry::unwritten(self.context.default_retry, self.context.istio_default_retries),
        }
    }

    fn destination(&mut self, index: usize, to: &RouteDestination, several: bool) -> DestinationDraft {
        let field = format!("{}.route[{index}]", self.field);
        let (request, response) = (format!("{field}.headers.request"), format!("{field}.headers.response"));
        let headers = to.headers.as_ref();
        let ops = headers.and_then(|headers| headers.request.as_ref());
        let request_headers = headers::request(ops, self.context.at, &request, self.problems);
        let ops = headers.and_then(|headers| headers.response.as_ref());
        let response_headers = headers::response(ops, self.context.at, &response, self.problems);
        DestinationDraft {
            weight: if several { to.weight } else { 1 },
            request_headers,
            response_headers,
            ..self.target(&to.destination, format!("{field}.destination"))
        }
    }

    /// A destination without weight and operations of its own.
    fn target(&self, to: &Destination, field: String) -> DestinationDraft {
        DestinationDraft {
            host: host(to, self.context.namespace, self.context.cluster_domain),
            port: port(to),
            subset: to.subset.clone(),
            weight: 1,
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
            field,
        }
    }

    /// `mirror` with the share that stands beside it, then `mirrors`, each with its own; no share is every request.
    fn mirrors(&self, route: &HttpRoute) -> Vec<MirrorDraft> {
        let beside = match (&route.mirror_percentage, route.mirror_percent) {
            (Some(percentage), _) => Share::percent(percentage.value),
            (None, Some(percent)) => Share::percent(percent.into()),
            (None, None) => Some(Share::ALL),
        };
        let one = route
            .mirror
            .as_ref()
            .zip(beside)
            .map(|(to, share)| MirrorDraft { to: self.target(to, format!("{}.mirror", self.field)), share });
        let several = (0..).zip(&route.mirrors).filter_map(|(index, mirror): (usize, &Mirror)| {
            let share = match &mirror.percentage {
                Some(percentage) => Share::percent(percentage.value)?,
                None => Share::ALL,
            };
            let field = format!("{}.mirrors[{index}].destination", self.field);
            Some(MirrorDraft { to: self.target(&mirror.destination, field), share })
        });
        one.into_iter().chain(several).collect()
    }
}

/// The host of a destination that is written in `namespace`: lower case, a short name written out.
pub(super) fn host(destination: &Destination, namespace: &str, cluster_domain: &str) -> String {
    names::full_name(&destination.host, namespace, cluster_domain).to_ascii_lowercase()
}

/// How a destination names its port.
pub(super) fn port(destination: &Destination) -> PortChoice {
    match &destination.port {
        Some(port) if port.number > 0 => PortChoice::Number(port.number),
        Some(port) if !port.name.is_empty() => PortChoice::Name(port.name.clone()),
        _ => PortChoice::Implied,
    }
}

/// The answer where a route cannot be done as written.
pub(crate) fn refusal() -> ActionDraft {
    ActionDraft::Reply(Reply { status: 500, body: Arc::default(), details: "route_not_servable".to_owned() })
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
