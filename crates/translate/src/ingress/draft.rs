//! What one Ingress says, before Services and other Ingresses are looked at.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use limen_ir::atoms::HostPattern;
use limen_ir::matcher::{Match, PathMatch};
use limen_ir::policy::headers::HeaderOps;
use limen_resources::networking::{Ingress, IngressBackend, IngressPath, PathType};
use limen_resources::{AnyObject, Object, Problem};

use super::Behaviour;
use crate::draft::{ActionDraft, DestinationDraft, ForwardDraft, Gate, PortChoice, RouteDraft, RuleDraft};
use crate::istio::action::refusal;
use crate::istio::retry;
use crate::messages::{At, ingress as messages};
use crate::settings::Settings;

/// The host of rules that name none.
pub(super) const ANY: &str = "*";

/// What an Ingress says.
#[derive(Debug)]
pub(crate) struct IngressDraft {
    pub(crate) object: Arc<Object<Ingress>>,
    pub(crate) behaviour: Behaviour,
    /// Those of its rules, in lower case, `*` for any.
    pub(super) hosts: BTreeMap<String, RuledHost>,
    pub(super) paths: Vec<PathDraft>,
    /// Where requests go that no path takes.
    pub(super) default: Option<RouteDraft>,
    pub(super) tls: Vec<TlsDraft>,
    /// About the object whatever becomes of its parts.
    pub(super) problems: Vec<Problem>,
    /// Hosts of rules and names of certificates, each once.
    pub(super) claimed: Vec<Arc<str>>,
}

/// A host of rules.
#[derive(Debug)]
pub(super) struct RuledHost {
    /// The place of the first that has it.
    pub(super) rule: usize,
    /// The places of its paths among all.
    pub(super) paths: Vec<usize>,
}

/// A path under a host.
#[derive(Debug)]
pub(super) struct PathDraft {
    /// Where it stands among paths: the longest first, of two equal ones the exact one.
    pub(super) rank: (Reverse<usize>, bool),
    pub(super) matches: PathMatch,
    pub(super) route: RouteDraft,
}

/// A certificate for names.
#[derive(Debug)]
pub(super) struct TlsDraft {
    /// Lower case; `*` where none is written.
    pub(super) hosts: Vec<String>,
    pub(super) secret: String,
    /// Its place among those of the Ingress.
    pub(super) number: usize,
}

impl IngressDraft {
    /// What a host means: in Kubernetes a wildcard is one label, in Istio any number.
    pub(super) fn pattern(&self, host: &str) -> HostPattern {
        match (self.behaviour, host.strip_prefix("*.")) {
            (Behaviour::Standard, Some(suffix)) => HostPattern::OneLabel(suffix.to_owned()),
            _ => HostPattern::istio(host),
        }
    }
}

/// What `object` says by the rules of `behaviour`.
pub(super) fn draft(
    object: &Arc<Object<Ingress>>,
    behaviour: Behaviour,
    settings: &Settings,
) -> IngressDraft {
    let mut reader = Reader { object, behaviour, settings, problems: Vec::new() };
    let spec = &object.spec;
    let (mut hosts, mut paths) = (BTreeMap::new(), Vec::new());
    for (number, rule) in spec.rules.iter().enumerate() {
        let host = if rule.host.is_empty() { ANY.to_owned() } else { rule.host.to_ascii_lowercase() };
        let written = rule.http.iter().flat_map(|http| &http.paths).enumerate();
        let before = paths.len();
        paths.extend(
            written.map(|(at, path)| reader.path(path, &format!("spec.rules[{number}].http.paths[{at}]"))),
        );
        let known = hosts.entry(host).or_insert_with(|| RuledHost { rule: number, paths: Vec::new() });
        known.paths.extend(before..paths.len());
    }
    let default = spec.default_backend.as_ref().and_then(|backend| {
        let field = "spec.defaultBackend";
        if behaviour == Behaviour::Istio {
            reader.problems.push(messages::no_default_backend(At::new(object, field)));
            return None;
        }
        Some(reader.route(PathMatch::Prefix { prefix: "/".to_owned(), ignore_case: false }, backend, field))
    });
    let tls = (0..).zip(&spec.tls).map(|(number, tls)| TlsDraft {
        hosts: match &*tls.hosts {
            [] => vec![ANY.to_owned()],
            hosts => hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        },
        secret: tls.secret_name.clone(),
        number,
    });
    let tls: Vec<TlsDraft> = tls.collect();
    let Reader { problems, .. } = reader;
    let claimed = claimed(hosts.keys(), default.is_some(), &tls);
    IngressDraft { object: Arc::clone(object), behaviour, hosts, paths, default, tls, problems, claimed }
}

fn claimed<'h>(hosts: impl Iterator<Item = &'h String>, default: bool, tls: &'h [TlsDraft]) -> Vec<Arc<str>> {
    let tls = tls.iter().flat_map(|tls| &tls.hosts).map(String::as_str).filter(|host| *host != ANY);
    let all: BTreeSet<&str> = hosts.map(String::as_str).chain(default.then_some(ANY)).chain(tls).collect();
    all.into_iter().map(Arc::from).collect()
}

struct Reader<'a> {
    object: &'a Arc<Object<Ingress>>,
    behaviour: Behaviour,
    settings: &'a Settings,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn path(&mut self, path: &IngressPath, field: &str) -> PathDraft {
        let text = &*path.path;
        let kind = path.path_type.unwrap_or_default();
        let matches = match (kind, self.behaviour) {
            (PathType::Exact, _) => PathMatch::Exact { path: text.to_owned(), ignore_case: false },
            (PathType::ImplementationSpecific, Behaviour::Istio) => as_istio(text),
            (PathType::Prefix | PathType::ImplementationSpecific, _) => {
                PathMatch::Segments(text.trim_end_matches('/').to_owned())
            }
        };
        let length = match (&matches, self.behaviour) {
            (PathMatch::Segments(segments), Behaviour::Standard) => segments.len(),
            _ => text.len(),
        };
        let exact = matches!(matches, PathMatch::Exact { .. });
        let route = self.route(matches.clone(), &path.backend, field);
        PathDraft { rank: (Reverse(length), !exact), matches, route }
    }

    /// `field`: of the path, or of the default backend, which is the backend itself.
    fn route(&mut self, path: PathMatch, backend: &IngressBackend, field: &str) -> RouteDraft {
        let part = if field.ends_with("defaultBackend") { "" } else { ".backend" };
        let mut problems = Vec::new();
        let action = match &backend.service {
            Some(service) => {
                let port = match (&*service.port.name, service.port.number) {
                    ("", number) => PortChoice::Number(u32::from(number)),
                    (name, _) => PortChoice::Name(name.to_owned()),
                };
                let (namespace, domain) = (&self.object.key.namespace, &self.settings.cluster_domain);
                ActionDraft::Forward(ForwardDraft {
                    destinations: vec![DestinationDraft {
                        host: format!("{}.{namespace}.svc.{domain}", service.name).to_ascii_lowercase(),
                        port,
                        subset: String::new(),
                        weight: 1,
                        request_headers: HeaderOps::default(),
                        response_headers: HeaderOps::default(),
                        field: format!("{field}{part}.service"),
                    }],
                    path_rewrite: None,
                    host_rewrite: None,
                    timeout: None,
                    retry: retry::unwritten(
                        self.settings.mesh.retry.as_ref(),
                        self.settings.istio_default_retries,
                    ),
                    mirrors: Vec::new(),
                })
            }
            None => {
                let place = format!("{field}{part}.resource");
                problems.push(messages::resource_backend(At::new(self.object, &place)));
                refusal()
            }
        };
        let rule = RuleDraft {
            name: String::new(),
            gate: Gate::default(),
            matches: Some(Match { path, ..Match::any() }),
            catch_all: false,
            field: field.to_owned(),
            problems: Vec::new(),
        };
        RouteDraft {
            object: AnyObject::Ingress(Arc::clone(self.object)),
            field: field.to_owned(),
            fault: None,
            cors: None,
            action,
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
            rules: vec![rule],
            problems,
        }
    }
}

/// A path of type ImplementationSpecific in Istio: stars at its end make it a prefix, by characters.
fn as_istio(text: &str) -> PathMatch {
    let prefix = |prefix: &str| PathMatch::Prefix { prefix: prefix.to_owned(), ignore_case: false };
    match text {
        "" | "*" | "/*" | ".*" => prefix("/"),
        _ => match text.strip_suffix(".*").or_else(|| text.strip_suffix("/*")) {
            Some(start) => prefix(start),
            None => PathMatch::Exact { path: text.to_owned(), ignore_case: false },
        },
    }
}
