//! Route tables. Virtual hosts that are the same object as before are shared with the last generation.

mod aside;
mod header_ops;
mod policy;
mod shared;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use limen_ir::ClusterKey;
use limen_ir::matcher::{HeaderMatch, Match, PathMatch, QueryMatch, TextMatch};
use limen_ir::policy::cors::Cors as IrCors;
use limen_ir::policy::rewrite::{PathRewrite as IrPathRewrite, SubstitutionPart};
use limen_ir::route as ir;

use super::clusters::{Allotted, Slots};
use super::listeners::host_map;
use super::problem;
use crate::applied::{AppliedProblem, RULE_NOT_COMPILED};
use crate::faults::{self, Point};
use crate::filter::field::RequestField;
use crate::filter::headers::HeaderOps;
use crate::filter::redirect::{Redirect, RedirectPath, RedirectPort};
use crate::filter::rewrite::PathRewrite;
use crate::table::cors::Cors;
use crate::table::hosts::HostMap;
use crate::table::matcher::{HeaderTest, Matcher, PathTest, QueryTest, TextTest};
use crate::table::pattern::{self, Engines, Pattern};
use crate::table::routes::{
    Action, ClusterSlot, Destination, Forward, Instead, Reply, Rewrite, RouteTable, Rule, Rules, VirtualHost,
};
use crate::table::substitution::{Piece, Substitution};
use shared::{CompiledRules, Named, Shared};

/// What was compiled in the last generation.
#[derive(Default)]
pub(crate) struct RouteMemo {
    /// By name.
    tables: HashMap<String, Remembered>,
    /// Those of this generation.
    next: HashMap<String, Remembered>,
    patterns: HashMap<String, Arc<Pattern>>,
    engines: Engines,
    texts: HashSet<Arc<str>>,
    /// Rules that several hosts have, by the address of their source.
    lists: HashMap<usize, Shared>,
    /// How many texts were left when those were dropped last that nobody has.
    texts_left: usize,
}

/// A compiled table.
#[derive(Default)]
struct Remembered {
    hosts: Vec<Host>,
    names: Arc<HostMap<u32>>,
}

/// A compiled host.
struct Host {
    /// Held so that no other object can come to stand at its address.
    source: Arc<ir::VirtualHost>,
    compiled: Arc<VirtualHost>,
    rules: Arc<CompiledRules>,
}

/// Compiles a route table, with what could not be compiled: a rule whose regular expression is refused answers 500 to
/// every request that it might have matched, as it could have denied it; a header operation that could break the framing of messages is left out.
pub(crate) fn route_table(
    table: &ir::RouteTable,
    clusters: &mut dyn Slots,
    memo: &mut RouteMemo,
) -> (Arc<RouteTable>, Vec<AppliedProblem>) {
    let ir::RouteTable { name, filter_order: ir::FilterOrder::Istio, hosts: sources } = table;
    let Remembered { hosts, names } = memo.tables.remove(&name.0).unwrap_or_default();
    let mut former = Former::new(hosts, sources);
    let names = if former.has_same_names(sources) { names } else { Arc::new(names_of(sources)) };
    let mut hosts = Vec::with_capacity(sources.len());
    for (place, source) in sources.iter().enumerate() {
        let host = former.take(place, source).filter(|host| memo.stays(&host.rules, clusters));
        hosts.push(host.unwrap_or_else(|| memo.host(source, clusters)));
    }
    // Once for all hosts that have the same rules.
    let mut told = HashSet::new();
    let speaking = hosts.iter().map(|host| &host.rules).filter(|rules| !rules.problems.is_empty());
    let speaking = speaking.filter(|rules| told.insert(Arc::as_ptr(rules)));
    let problems = speaking.flat_map(|rules| &rules.problems).cloned().collect();
    let list = hosts.iter().map(|host| host.compiled.clone()).collect();
    let compiled = RouteTable { name: memo.text(&name.0), list, hosts: names.clone() };
    memo.next.insert(name.0.clone(), Remembered { hosts, names });
    (Arc::new(compiled), problems)
}

/// Places of hosts by their names.
fn names_of(hosts: &[Arc<ir::VirtualHost>]) -> HostMap<u32> {
    let domains = (0..)
        .zip(hosts)
        .flat_map(|(place, host)| host.domains.iter().map(move |domain| (domain.clone(), place)));
    host_map(domains.collect())
}

/// The hosts of the generation before, to be taken over. Where one of thousands is another, those before and behind it
/// stand where they stood, and nothing has to be looked up.
struct Former {
    hosts: Vec<Option<Host>>,
    /// How many at the beginning are the same.
    head: usize,
    /// How many of the new ones come before those at the end that are the same.
    rest: usize,
    /// How far those at the end have moved down.
    moved: isize,
    /// The places of others, by the address of their source.
    others: HashMap<usize, usize>,
}

impl Former {
    fn new(hosts: Vec<Host>, sources: &[Arc<ir::VirtualHost>]) -> Former {
        let same = |(host, source): &(&Host, &Arc<ir::VirtualHost>)| Arc::ptr_eq(&host.source, source);
        let head = hosts.iter().zip(sources).take_while(same).count();
        let most = hosts.len().min(sources.len()) - head;
        let tail = hosts.iter().rev().zip(sources.iter().rev()).take(most).take_while(same).count();
        let others = (head..hosts.len() - tail)
            .filter_map(|place| Some((Arc::as_ptr(&hosts.get(place)?.source).addr(), place)))
            .collect();
        Former {
            head,
            rest: sources.len() - tail,
            moved: sources.len() as isize - hosts.len() as isize,
            others,
            hosts: hosts.into_iter().map(Some).collect(),
        }
    }

    /// Does each place have the names that it had?
    fn has_same_names(&self, sources: &[Arc<ir::VirtualHost>]) -> bool {
        let of = |place: usize| {
            Some((&self.hosts.get(place)?.as_ref()?.source.domains, &sources.get(place)?.domains))
        };
        self.moved == 0 && (self.head..self.rest).all(|place| of(place).is_some_and(|(was, is)| was == is))
    }

    /// What was compiled of the source that stands in this place now.
    fn take(&mut self, place: usize, source: &Arc<ir::VirtualHost>) -> Option<Host> {
        let before = if place < self.head {
            place
        } else if place >= self.rest {
            place.checked_add_signed(-self.moved)?
        } else {
            *self.others.get(&Arc::as_ptr(source).addr())?
        };
        let host = self.hosts.get_mut(before)?.take()?;
        debug_assert!(Arc::ptr_eq(&host.source, source));
        Some(host)
    }
}

impl RouteMemo {
    /// A generation begins.
    pub(crate) fn begin(&mut self) {
        self.engines.begin();
    }

    /// Drops what the generation that ends here did not use.
    pub(crate) fn sweep(&mut self) {
        self.tables = std::mem::take(&mut self.next);
        self.patterns.retain(|_, pattern| Arc::strong_count(pattern) > 1);
        self.engines.sweep();
        self.lists.retain(|_, shared| shared.turn());
        // There are thousands, of which a change leaves a few to nobody.
        if self.texts.len() > 2 * self.texts_left + 64 {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.texts_left = self.texts.len();
        }
    }

    fn host(&mut self, source: &Arc<ir::VirtualHost>, clusters: &mut dyn Slots) -> Host {
        faults::strike(Point::Compile, || format!("{:?}", source.domains));
        let rules = self.rules(&source.rules, clusters);
        let ir::VirtualHost { name, domains: _, declared, https_redirect, rules: _ } = &**source;
        let compiled =
            VirtualHost::new(self.text(name), declared.get(), *https_redirect, rules.rules.clone());
        Host { source: source.clone(), compiled: Arc::new(compiled), rules }
    }

    fn compile(&mut self, source: &Arc<[Arc<ir::Rule>]>, clusters: &mut dyn Slots) -> CompiledRules {
        let owner = Arc::default();
        let mut room = Room { memo: self, clusters, slots: HashMap::new(), problems: Vec::new(), owner };
        let rules = (0..).zip(&**source).map(|(ordinal, rule)| Arc::new(room.rule(ordinal, rule)));
        let rules = Rules::new(rules.collect());
        let Room { slots, problems, .. } = room;
        let mut slots = slots.into_values();
        let slots = match (slots.next(), slots.len()) {
            (Some(only), 0) => Named::One(only),
            (first, _) => Named::Several(first.into_iter().chain(slots).collect()),
        };
        let bill = self.engines.bill();
        CompiledRules { source: source.clone(), rules, slots, problems: problems.into(), bill }
    }

    /// Equal expressions are compiled once.
    fn pattern(&mut self, pattern: &limen_ir::Pattern, owner: &Arc<str>) -> Result<Arc<Pattern>, String> {
        let source = pattern.source();
        if let Some(known) = self.patterns.get(source) {
            self.engines.again(known, owner)?;
            return Ok(known.clone());
        }
        // A refusal may be its owner's alone.
        let compiled = Arc::new(self.engines.pattern(source, owner)?);
        self.patterns.insert(source.to_owned(), compiled.clone());
        Ok(compiled)
    }

    /// Equal names are stored once.
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.texts.insert(new.clone());
        new
    }
}

/// Where the rules of one virtual host are compiled.
struct Room<'a, 'i> {
    memo: &'a mut RouteMemo,
    clusters: &'a mut dyn Slots,
    slots: HashMap<&'i ClusterKey, Allotted>,
    problems: Vec<AppliedProblem>,
    /// The namespace of the rule that is being compiled.
    owner: Arc<str>,
}

impl<'i> Room<'_, 'i> {
    fn rule(&mut self, ordinal: u32, rule: &'i ir::Rule) -> Rule {
        let ir::Rule {
            name,
            matches,
            fault,
            cors,
            external_auth,
            action,
            request_headers,
            response_headers,
            origin,
        } = rule;
        self.owner = origin.namespace.clone();
        let (matcher, refusal) = match self.matcher(matches) {
            Ok(matcher) => (matcher, None),
            Err(error) => (self.without_expressions(matches, origin, &error), Some(self.refusal())),
        };
        let mut refused = Vec::new();
        let mut request_headers = header_ops::request(request_headers, &mut refused);
        let mut response_headers = header_ops::response(response_headers, &mut refused);
        let headers = (&mut request_headers, &mut response_headers);
        let action = self.action(rule, action, headers, &mut refused);
        let action = refusal.unwrap_or(action);
        for message in refused {
            let mend = "leave the framing of messages and hop-by-hop fields to the gateway";
            self.problems.push(problem(RULE_NOT_COMPILED, origin, message, mend));
        }
        let fault = fault.as_ref().map(|fault| Box::new(policy::fault(fault)));
        let cors = cors.as_ref().map(|cors| Box::new(self.cors(cors, origin)));
        let external_auth = external_auth.as_ref().map(|own| Box::new(self.external_auth(own)));
        let name = self.memo.text(name);
        let origin = super::listeners::origin(origin);
        Rule {
            ordinal,
            name,
            matcher,
            fault,
            cors,
            external_auth,
            action,
            request_headers,
            response_headers,
            origin,
        }
    }

    /// The answer to what cannot be served as it is written.
    fn refusal(&mut self) -> Action {
        let details = self.memo.text("route_not_servable");
        Action::Reply(Reply { status: 500, body: Arc::default(), details })
    }

    /// What of a match can be asked without its expressions, of which one is refused: it holds for each request that the
    /// whole could hold for.
    fn without_expressions(&mut self, matches: &Match, origin: &limen_ir::Origin, error: &str) -> Matcher {
        let message = format!(
            "requests that might match answer 500, as a regular expression of the rule is refused: {error}"
        );
        let mend = "write the expression in RE2's syntax, or a smaller one";
        self.problems.push(problem(RULE_NOT_COMPILED, origin, message, mend));
        let is_expression = |test: &TextMatch| matches!(test, TextMatch::Regex(_));
        let mut rest = matches.clone();
        if let PathMatch::Regex(pattern) = &rest.path {
            let prefix = pattern::literal_prefix(pattern.source());
            rest.path = PathMatch::Prefix { prefix, ignore_case: false };
        }
        for test in [&mut rest.method, &mut rest.scheme, &mut rest.authority] {
            test.take_if(|test| is_expression(test));
        }
        rest.headers.retain(|header| !header.value.as_ref().is_some_and(is_expression));
        rest.query.retain(|parameter| !parameter.value.as_ref().is_some_and(is_expression));
        // Without expressions nothing is refused.
        self.matcher(&rest).unwrap_or_else(|_| on_path(PathTest::Prefix(Box::default())))
    }

    /// What a rule does. The operations of a destination that stands alone join the rule's.
    fn action(
        &mut self,
        rule: &ir::Rule,
        action: &'i ir::Action,
        (request_headers, response_headers): (&mut HeaderOps, &mut HeaderOps),
        refused: &mut Vec<String>,
    ) -> Action {
        let forward = match action {
            ir::Action::Redirect(redirect) => {
                return Action::Redirect(compile_redirect(redirect, &rule.matches.path));
            }
            ir::Action::Reply(ir::Reply { status, body, details }) => {
                let details = self.memo.text(details);
                return Action::Reply(Reply { status: *status, body: body.clone(), details });
            }
            ir::Action::Forward(forward) => self.forward(forward, &rule.matches.path, refused),
        };
        let mut forward = match forward {
            Ok(forward) => forward,
            Err(error) => {
                let message = format!("requests that match answer 500, as the rewrite is refused: {error}");
                let mend = "write the expression in RE2's syntax, or a smaller one";
                self.problems.push(problem(RULE_NOT_COMPILED, &rule.origin, message, mend));
                return self.refusal();
            }
        };
        if let [only] = &mut forward.destinations[..] {
            let (pinned, own) = (forward.host_rewrite.is_some(), std::mem::take(&mut only.request_headers));
            *request_headers = header_ops::join_request(std::mem::take(request_headers), own, pinned);
            let own = std::mem::take(&mut only.response_headers);
            *response_headers = header_ops::join(std::mem::take(response_headers), own);
        }
        if header_ops::sets_authority(request_headers) {
            forward.host_rewrite = None;
        }
        Action::Forward(forward)
    }

    /// An origin whose expression is refused lets nobody in.
    fn cors(&mut self, cors: &IrCors, origin: &limen_ir::Origin) -> Cors {
        let mut tests = Vec::with_capacity(cors.origins.len());
        for test in &cors.origins {
            match self.text_test(test) {
                Ok(test) => tests.push(test),
                Err(error) => {
                    let message =
                        format!("an origin is left out, its regular expression is refused: {error}");
                    let mend = "write the expression in RE2's syntax, or a smaller one";
                    self.problems.push(problem(RULE_NOT_COMPILED, origin, message, mend));
                }
            }
        }
        policy::cors(cors, tests)
    }

    fn forward(
        &mut self,
        forward: &'i ir::Forward,
        path: &PathMatch,
        refused: &mut Vec<String>,
    ) -> Result<Forward, String> {
        let ir::Forward {
            destinations,
            no_cluster_status,
            path_rewrite,
            host_rewrite,
            timeout,
            retry,
            hash,
            session,
            mirrors,
        } = forward;
        let mirrors = mirrors.iter().map(|mirror| self.mirror(mirror, *timeout)).collect();
        let destinations = destinations.iter().map(|one| self.destination(one, path, refused));
        let mut destinations = destinations.collect::<Result<Vec<_>, _>>()?;
        // How many there are is not known beforehand, and most rules have one.
        destinations.shrink_to_fit();
        Ok(Forward {
            total_weight: destinations.iter().map(|destination| u64::from(destination.weight)).sum(),
            destinations,
            no_cluster_status: *no_cluster_status,
            path_rewrite: path_rewrite
                .as_ref()
                .map(|with| self.path_rewrite(with, path).map(Box::new))
                .transpose()?,
            host_rewrite: host_rewrite.as_ref().map(|host| host.as_bytes().into()),
            timeout_ms: timeout.map(limen_ir::Millis::get),
            retry: policy::retry(retry),
            mirrors,
            hash: hash.iter().map(policy::hash).collect(),
            resumes: session.is_some() || forward.destinations.iter().any(|to| to.session.is_some()),
            session: session.as_ref().map(|session| Box::new(policy::session(session))),
        })
    }

    fn cluster(&mut self, cluster: &'i ClusterKey) -> (ClusterSlot, Arc<str>) {
        let Room { memo, clusters, slots, .. } = self;
        let allotted = slots.entry(cluster).or_insert_with(|| clusters.allot(cluster));
        (allotted.slot, memo.text(&cluster.to_string()))
    }

    fn destination(
        &mut self,
        destination: &'i ir::Destination,
        matched: &PathMatch,
        refused: &mut Vec<String>,
    ) -> Result<Destination, String> {
        let ir::Destination {
            cluster,
            weight,
            request_headers,
            response_headers,
            session,
            external_auth,
            instead,
        } = destination;
        let (cluster, cluster_name) = self.cluster(cluster);
        let instead = match instead.as_deref() {
            None => None,
            Some(ir::Instead::Redirect(redirect)) => {
                Some(Instead::Redirect(compile_redirect(redirect, matched)))
            }
            Some(ir::Instead::Rewrite { host, path }) => Some(Instead::Rewrite {
                host: host.as_ref().map(|host| host.as_bytes().into()),
                path: path.as_ref().map(|with| self.path_rewrite(with, matched)).transpose()?,
            }),
        };
        Ok(Destination {
            cluster,
            cluster_name,
            weight: *weight,
            request_headers: header_ops::request(request_headers, refused),
            response_headers: header_ops::response(response_headers, refused),
            session: session.as_ref().map(|session| Box::new(policy::session(session))),
            external_auth: external_auth.as_ref().map(|own| Box::new(self.external_auth(own))),
            instead: instead.map(Box::new),
        })
    }

    fn matcher(&mut self, matches: &Match) -> Result<Matcher, String> {
        let Match { path, method, scheme, authority, headers, query } = matches;
        let bytes = |text: &str| text.as_bytes().into();
        let path = match path {
            PathMatch::Exact { path, ignore_case: false } => PathTest::Exact(bytes(path)),
            PathMatch::Exact { path, ignore_case: true } => PathTest::ExactIgnoreCase(bytes(path)),
            PathMatch::Prefix { prefix, ignore_case: false } => PathTest::Prefix(bytes(prefix)),
            PathMatch::Prefix { prefix, ignore_case: true } => PathTest::PrefixIgnoreCase(bytes(prefix)),
            PathMatch::Segments(segments) => PathTest::Segments(bytes(segments)),
            PathMatch::Regex(pattern) => PathTest::Regex(self.memo.pattern(pattern, &self.owner)?),
        };
        let header = |HeaderMatch { name, value, invert }: &HeaderMatch, room: &mut Self| {
            let value = value.as_ref().map(|test| room.text_test(test)).transpose()?;
            Ok::<_, String>(HeaderTest { field: RequestField::named(name), value, invert: *invert })
        };
        let parameter = |QueryMatch { name, value }: &QueryMatch, room: &mut Self| {
            let value = value.as_ref().map(|test| room.text_test(test)).transpose()?;
            Ok::<_, String>(QueryTest { name: name.as_bytes().into(), value })
        };
        let mut text = |test: &Option<Box<TextMatch>>| {
            let test = test.as_ref().map(|test| self.text_test(test).map(Box::new));
            test.transpose()
        };
        Ok(Matcher {
            path,
            method: text(method)?,
            scheme: text(scheme)?,
            authority: text(authority)?,
            headers: headers.iter().map(|test| header(test, self)).collect::<Result<_, _>>()?,
            query: query.iter().map(|test| parameter(test, self)).collect::<Result<_, _>>()?,
        })
    }

    fn path_rewrite(&mut self, rewrite: &IrPathRewrite, path: &PathMatch) -> Result<Rewrite, String> {
        Ok(match rewrite {
            IrPathRewrite::Matched(with) => Rewrite::Matched(self::rewrite(path, with)),
            IrPathRewrite::Whole(with) => Rewrite::Matched(PathRewrite::Whole(with.as_bytes().into())),
            IrPathRewrite::Found { pattern, with } => {
                let piece = |part: &SubstitutionPart| match part {
                    SubstitutionPart::Literal(text) => Piece::Literal(text.as_bytes().into()),
                    SubstitutionPart::Group(group) => Piece::Group(*group),
                };
                let engine = self.memo.engines.finding(pattern.source(), &self.owner)?;
                Rewrite::Found(Substitution::new(engine, with.iter().map(piece).collect()))
            }
        })
    }

    fn text_test(&mut self, test: &TextMatch) -> Result<TextTest, String> {
        Ok(match test {
            TextMatch::Exact(text) => TextTest::Exact(text.as_bytes().into()),
            TextMatch::Prefix(text) => TextTest::Prefix(text.as_bytes().into()),
            TextMatch::Regex(pattern) => TextTest::Regex(self.memo.pattern(pattern, &self.owner)?),
        })
    }
}

/// Matches nothing.
fn never() -> Matcher {
    on_path(PathTest::Never)
}

/// Asks of the path only.
fn on_path(path: PathTest) -> Matcher {
    Matcher {
        path,
        method: None,
        scheme: None,
        authority: None,
        headers: Box::default(),
        query: Box::default(),
    }
}

/// What is replaced depends on how the rule matches the path.
fn rewrite(path: &PathMatch, with: &str) -> PathRewrite {
    let with = with.as_bytes().into();
    match path {
        PathMatch::Prefix { prefix, .. } | PathMatch::Segments(prefix) => {
            PathRewrite::Prefix { matched: prefix.len(), with }
        }
        PathMatch::Exact { .. } | PathMatch::Regex(_) => PathRewrite::Whole(with),
    }
}

fn compile_redirect(redirect: &ir::Redirect, matched: &PathMatch) -> Redirect {
    let ir::Redirect { code, scheme, authority, port, path } = redirect;
    Redirect {
        code: *code,
        https: scheme.as_ref().map(|scheme| scheme.eq_ignore_ascii_case("https")),
        authority: authority.as_ref().map(|authority| authority.as_bytes().into()),
        port: port.as_ref().map(|port| match port {
            ir::RedirectPort::Fixed(port) => RedirectPort::Fixed(port.get()),
            ir::RedirectPort::SchemeDefault => RedirectPort::SchemeDefault,
            ir::RedirectPort::Declared => RedirectPort::Declared,
        }),
        path: path.as_ref().map(|path| match path {
            ir::RedirectPath::Full(path) if path.contains('?') => {
                RedirectPath::FullWithQuery(path.as_bytes().into())
            }
            ir::RedirectPath::Full(path) => RedirectPath::Full(path.as_bytes().into()),
            ir::RedirectPath::Prefix(with) => RedirectPath::Matched(rewrite(matched, with)),
        }),
    }
}

#[cfg(test)]
mod tests;
