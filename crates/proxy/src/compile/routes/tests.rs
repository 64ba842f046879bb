use std::collections::BTreeMap;

use limen_ir::policy::headers::{HeaderOps as IrOps, HeaderValue, ValuePart};
use limen_ir::policy::retry as ir_retry;
use limen_ir::rare::Rare;
use limen_ir::{HostPattern, Millis, Port};
use limen_wire::head::RequestHead;

use super::*;
use crate::table::matcher::MatchScratch;
use crate::table::retry::Retry;

/// Slots as the clusters' own memo gives them: one for each key, in the order of asking, for the first time.
#[derive(Default)]
struct Given {
    by_key: BTreeMap<ClusterKey, u32>,
    asked: usize,
    /// Those of before are others' now.
    moved: bool,
}

impl Slots for Given {
    fn allot(&mut self, key: &ClusterKey) -> Allotted {
        let next = self.by_key.len() as u32;
        self.asked += 1;
        Allotted::first(ClusterSlot(*self.by_key.entry(key.clone()).or_insert(next)))
    }

    fn keep(&mut self, _: Allotted) -> bool {
        self.asked += 1;
        !self.moved
    }
}

impl Given {
    fn compile(
        &mut self,
        hosts: &[&Arc<ir::VirtualHost>],
        memo: &mut RouteMemo,
    ) -> (Arc<RouteTable>, Vec<AppliedProblem>) {
        let table = ir::RouteTable {
            name: ir::RouteTableName("http.80".to_owned()),
            filter_order: ir::FilterOrder::Istio,
            hosts: hosts.iter().copied().cloned().collect(),
        };
        memo.begin();
        route_table(&table, self, memo)
    }
}

fn key(host: &str) -> ClusterKey {
    ClusterKey::new(80, "", host)
}

fn destination(host: &str, set: &[(&str, &str)]) -> ir::Destination {
    ir::Destination {
        cluster: key(host),
        weight: 1,
        request_headers: ops(set).into(),
        response_headers: Rare::default(),
        session: None,
        external_auth: None,
        instead: None,
    }
}

fn ops(set: &[(&str, &str)]) -> IrOps {
    let value = |(name, value): &(&str, &str)| HeaderValue {
        name: (*name).to_owned(),
        value: vec![ValuePart::Literal((*value).to_owned())],
    };
    IrOps { set: set.iter().map(value).collect(), ..IrOps::default() }
}

fn forward(destinations: Vec<ir::Destination>) -> ir::Forward {
    ir::Forward {
        no_cluster_status: 503,
        destinations,
        path_rewrite: None,
        host_rewrite: None,
        timeout: None,
        retry: ir_retry::Retry::Safe,
        mirrors: Vec::new(),
        hash: Vec::new(),
        session: None,
    }
}

fn rule(path: PathMatch, action: ir::Action, request_headers: IrOps) -> Arc<ir::Rule> {
    Arc::new(ir::Rule {
        name: "r".to_owned(),
        matches: Match { path, ..Match::any() },
        fault: None,
        external_auth: None,
        cors: None,
        action,
        request_headers: request_headers.into(),
        response_headers: Rare::default(),
        origin: limen_ir::Origin {
            kind: "VirtualService",
            namespace: "ns".into(),
            name: "vs".into(),
            field: "spec.http[0]".into(),
        },
    })
}

fn prefix(prefix: &str) -> PathMatch {
    PathMatch::Prefix { prefix: prefix.to_owned(), ignore_case: false }
}

fn to(host: &str) -> ir::Action {
    ir::Action::Forward(forward(vec![destination(host, &[])]))
}

fn host(name: &str, rules: Vec<Arc<ir::Rule>>) -> Arc<ir::VirtualHost> {
    Arc::new(ir::VirtualHost {
        name: format!("{name}:80"),
        domains: vec![HostPattern::istio(name)],
        declared: Port::new(80).unwrap(),
        https_redirect: false,
        rules: rules.into(),
    })
}

/// The only rule of a host that has one, compiled.
fn compiled(rule: Arc<ir::Rule>) -> (Arc<Rule>, Vec<AppliedProblem>) {
    let (table, problems) = Given::default().compile(&[&host("a", vec![rule])], &mut RouteMemo::default());
    (table.host(b"a").unwrap().rules[0].clone(), problems)
}

fn forwarding(rule: &Rule) -> &Forward {
    let Action::Forward(forward) = &rule.action else { panic!("{rule:?}") };
    forward
}

#[test]
fn hosts_lead_to_rules_and_slots() {
    let a = host("a", vec![rule(prefix("/x"), to("one"), ops(&[])), rule(prefix("/"), to("two"), ops(&[]))]);
    let any = host("*", vec![rule(prefix("/"), to("one"), ops(&[]))]);
    let (table, problems) = Given::default().compile(&[&a, &any], &mut RouteMemo::default());
    assert!(problems.is_empty());
    let find = |authority: &str, path: &str| {
        let mut head = RequestHead::default();
        head.set_path(path.as_bytes());
        let host = table.host(authority.as_bytes())?;
        let rule = host.find(&head, false, &mut MatchScratch::default())?;
        let only = &forwarding(rule).destinations[0];
        Some((rule.ordinal, only.cluster.0, only.cluster_name.to_string()))
    };
    assert_eq!(find("A:80", "/xy"), Some((0, 0, "outbound|80||one".to_owned())));
    assert_eq!(find("a", "/y"), Some((1, 1, "outbound|80||two".to_owned())));
    assert_eq!(find("b", "/y"), Some((0, 0, "outbound|80||one".to_owned())));
    assert_eq!(table.list[0].rules[0].origin.to_string(), "VirtualService ns/vs spec.http[0]");
}

#[test]
fn a_host_that_is_the_same_object_is_shared_as_long_as_it_is_used() {
    let same = host("a", vec![rule(prefix("/"), to("one"), ops(&[]))]);
    let other = host("b", vec![rule(prefix("/"), to("two"), ops(&[]))]);
    let equal_other = Arc::new((*other).clone());
    let (mut slots, mut memo) = (Given::default(), RouteMemo::default());
    let (first, _) = slots.compile(&[&same, &other], &mut memo);
    memo.sweep();
    slots.asked = 0;
    let (second, _) = slots.compile(&[&same, &equal_other], &mut memo);
    assert_eq!(slots.asked, 2, "clusters of shared hosts are asked for, too");
    memo.sweep();
    assert!(Arc::ptr_eq(&first.list[0], &second.list[0]));
    assert!(!Arc::ptr_eq(&first.list[1], &second.list[1]));
    assert_eq!(Arc::strong_count(&other), 1, "what is not used is not held");
    slots.compile(&[&equal_other], &mut memo);
    memo.sweep();
    assert_eq!((Arc::strong_count(&same), Arc::strong_count(&equal_other)), (1, 2));
}

/// Whatever changes in a list of hosts, each name leads to what is written now, and what stayed is not compiled again.
#[test]
fn hosts_are_found_and_shared_wherever_they_move() {
    let mut dice = 11_u64;
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    let new = |number: usize| host(&format!("h{number}"), vec![rule(prefix("/"), to("one"), ops(&[]))]);
    let (mut slots, mut memo) = (Given::default(), RouteMemo::default());
    let mut hosts: Vec<_> = (0..5).map(new).collect();
    let (mut before, _) = slots.compile(&hosts.iter().collect::<Vec<_>>(), &mut memo);
    memo.sweep();
    let mut sources = hosts.clone();
    for round in 5..400 {
        for _ in 0..=roll(2) {
            match (roll(5), hosts.len()) {
                (0, many @ 2..) => drop(hosts.remove(roll(many))),
                (1, many @ 2..) => hosts.swap(0, roll(many)),
                (2, 1..) => {
                    let at = roll(hosts.len());
                    hosts[at] = Arc::new((*hosts[at]).clone());
                }
                _ => hosts.insert(roll(hosts.len() + 1), new(1000 + 2 * round + roll(2))),
            }
        }
        let (table, _) = slots.compile(&hosts.iter().collect::<Vec<_>>(), &mut memo);
        memo.sweep();
        assert_eq!(table.list.len(), hosts.len());
        for (source, compiled) in hosts.iter().zip(&table.list) {
            let HostPattern::Exact(name) = &source.domains[0] else { panic!("{source:?}") };
            // Of two of one name the first counts.
            let first = hosts.iter().position(|other| other.domains == source.domains).unwrap();
            assert!(Arc::ptr_eq(table.host(name.as_bytes()).unwrap(), &table.list[first]), "round {round}");
            assert_eq!(*compiled.name, *source.name);
            if let Some(at) = sources.iter().position(|old| Arc::ptr_eq(old, source)) {
                assert!(Arc::ptr_eq(&before.list[at], compiled), "round {round}: {name} was compiled again");
            }
        }
        (before, sources) = (table, hosts.clone());
    }
}

/// Thousands of hosts may have thousands of rules, which are made once, looked after once and found in the next generation.
#[test]
fn rules_that_hosts_share_are_compiled_once() {
    let a = host("a", vec![rule(prefix("/"), to("one"), ops(&[]))]);
    let of_the_same = |name: &str| {
        let domains = vec![HostPattern::istio(name)];
        Arc::new(ir::VirtualHost { name: name.to_owned(), domains, ..(*a).clone() })
    };
    let (b, c) = (of_the_same("b"), of_the_same("c"));
    let (mut slots, mut memo) = (Given::default(), RouteMemo::default());
    let (first, _) = slots.compile(&[&a, &b], &mut memo);
    memo.sweep();
    let (second, _) = slots.compile(&[&c, &a, &b], &mut memo);
    memo.sweep();
    assert_eq!(slots.asked, 2, "each time once");
    for host in first.list.iter().chain(&second.list) {
        assert!(Arc::ptr_eq(&host.rules, &first.list[0].rules));
    }
    let mut moved = Given { moved: true, ..Given::default() };
    let (third, _) = moved.compile(&[&a, &b, &c], &mut memo);
    for host in &third.list {
        assert!(Arc::ptr_eq(&host.rules, &third.list[0].rules));
        assert!(!Arc::ptr_eq(&host.rules, &first.list[0].rules));
    }
}

/// A host with an expression that takes room; each number makes another one of the same size.
fn costly(name: &str, number: usize) -> Arc<ir::VirtualHost> {
    let expression = limen_ir::Pattern::checked(format!(r"(\pL|x{number}){{8}}"));
    host(name, vec![rule(PathMatch::Regex(expression), to("one"), ops(&[]))])
}

/// A memo that has room for the expression of one such host and a half.
fn narrow() -> RouteMemo {
    let mut memo = RouteMemo::default();
    Given::default().compile(&[&costly("a", 0)], &mut memo);
    let room = memo.engines.spent_by("ns") * 3 / 2;
    RouteMemo { engines: Engines::with_room(room), ..RouteMemo::default() }
}

#[test]
fn who_replaces_an_expression_pays_for_the_new_one_only() {
    let (mut slots, mut memo) = (Given::default(), narrow());
    // Workers hold the former generation while the next is compiled.
    let mut held = Vec::new();
    for number in 0..4 {
        let (table, problems) = slots.compile(&[&costly("a", number)], &mut memo);
        assert!(problems.is_empty(), "{number}: {problems:?}");
        memo.sweep();
        held.push(table);
    }
}

#[test]
fn what_is_refused_for_room_does_not_depend_on_what_was_before() {
    let (mut slots, mut memo) = (Given::default(), narrow());
    let (a, b) = (costly("a", 1), costly("b", 2));
    let small = host("a", vec![rule(prefix("/"), to("one"), ops(&[]))]);
    for (hosts, refused) in
        [([&a, &b], 1), ([&a, &b], 1), ([&small, &b], 0), ([&small, &b], 0), ([&a, &b], 1), ([&b, &a], 1)]
    {
        let (table, problems) = slots.compile(&hosts, &mut memo);
        memo.sweep();
        assert_eq!(problems.len(), refused, "{problems:?}");
        let serves = |host: &Arc<VirtualHost>| matches!(host.rules[0].action, Action::Forward(_));
        let served: Vec<_> = table.list.iter().map(serves).collect();
        assert_eq!(served, [true, refused == 0], "the first that asks has the room");
    }
}

#[test]
fn a_cluster_that_moved_recompiles_the_hosts_that_name_it() {
    let a = host("a", vec![rule(prefix("/"), to("one"), ops(&[]))]);
    let mut memo = RouteMemo::default();
    let (first, _) = Given::default().compile(&[&a], &mut memo);
    memo.sweep();
    let mut moved = Given { moved: true, ..Given::default() };
    moved.allot(&key("other"));
    let (second, _) = moved.compile(&[&a], &mut memo);
    let slot = |table: &RouteTable| forwarding(&table.list[0].rules[0]).destinations[0].cluster.0;
    assert_eq!((slot(&first), slot(&second)), (0, 1));
}

/// It might have denied what the next rule lets in.
#[test]
fn a_rule_with_a_refused_expression_lets_nothing_pass_that_it_might_have_matched() {
    let refused = PathMatch::Regex(limen_ir::Pattern::checked("/admin/.*(a{1000}){1000}{1000}".to_owned()));
    let mut strict = rule(refused, to("one"), ops(&[]));
    Arc::make_mut(&mut strict).matches.method = Some(Box::new(TextMatch::Exact("GET".to_owned())));
    let a = host("a", vec![strict, rule(prefix("/"), to("two"), ops(&[]))]);
    let (mut slots, mut memo) = (Given::default(), RouteMemo::default());
    for _ in 0..2 {
        let (table, problems) = slots.compile(&[&a], &mut memo);
        memo.sweep();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!((problem.code, &*problem.field), (RULE_NOT_COMPILED, "spec.http[0]"));
        for (method, path, ordinal) in
            [("GET", "/admin/x", 0), ("POST", "/admin/x", 1), ("GET", "/other", 1), ("GET", "/admin", 1)]
        {
            let mut head = RequestHead::default();
            head.set_method(method.as_bytes());
            head.set_path(path.as_bytes());
            let found = table.list[0].find(&head, false, &mut MatchScratch::default()).unwrap();
            assert_eq!(found.ordinal, ordinal, "{method} {path}");
            let denied = matches!(&found.action, Action::Reply(reply) if reply.status == 500);
            assert_eq!(denied, ordinal == 0);
        }
    }
}

/// Names and values that operations set.
fn set(ops: &HeaderOps) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let value = |header: &crate::filter::headers::Header| match &header.value[..] {
        [crate::filter::headers::Piece::Literal(value)] => text(value),
        other => panic!("{other:?}"),
    };
    let set = ops.lists().map(|lists| &lists.set[..]).unwrap_or_default();
    set.iter().map(|header| (text(&header.name), value(header))).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn operations_of_a_single_destination_come_after_the_rules() {
    let action = ir::Action::Forward(forward(vec![destination("one", &[("X", "destination")])]));
    let (rule, _) = compiled(rule(prefix("/"), action, ops(&[("x", "route")])));
    assert_eq!(set(&rule.request_headers), owned(&[("x", "route"), ("x", "destination")]));
    assert!(forwarding(&rule).destinations[0].request_headers.is_empty());
}

#[test]
fn operations_of_several_destinations_stay_with_them() {
    let destinations = vec![destination("one", &[("x", "1")]), destination("two", &[("x", "2")])];
    let (rule, _) =
        compiled(rule(prefix("/"), ir::Action::Forward(forward(destinations)), ops(&[("x", "route")])));
    let forward = forwarding(&rule);
    assert_eq!(set(&rule.request_headers), owned(&[("x", "route")]));
    assert_eq!(set(&forward.destinations[1].request_headers), owned(&[("x", "2")]));
    assert_eq!(forward.total_weight, 2);
}

#[test]
fn the_authority_of_the_rule_wins() {
    type Set<'a> = &'a [(&'a str, &'a str)];
    let table: [(Set<'_>, Option<&str>, Set<'_>, Option<&str>); 4] = [
        (&[], None, &[("host", "d")], None),
        (&[("host", "r")], None, &[("host", "r")], None),
        (&[(":authority", "r")], Some("literal"), &[(":authority", "r")], None),
        (&[], Some("literal"), &[], Some("literal")),
    ];
    for (route, literal, expected, host_rewrite) in table {
        let mut forward = forward(vec![destination("one", &[("host", "d")])]);
        forward.host_rewrite = literal.map(str::to_owned);
        let (rule, problems) = compiled(rule(prefix("/"), ir::Action::Forward(forward), ops(route)));
        assert!(problems.is_empty());
        assert_eq!(set(&rule.request_headers), owned(expected));
        assert_eq!(forwarding(&rule).host_rewrite.as_deref(), host_rewrite.map(str::as_bytes));
    }
}

#[test]
fn operations_that_could_break_messages_apart_are_left_out() {
    for name in ["Content-Length", "transfer-encoding", "connection", ":path", "a b", "", "x\r\ny"] {
        let (rule, problems) = compiled(rule(prefix("/"), to("one"), ops(&[(name, "1"), ("ok", "2")])));
        assert_eq!(set(&rule.request_headers), owned(&[("ok", "2")]), "{name}");
        assert_eq!(problems.len(), 1, "{name}");
    }
    let (rule, problems) = compiled(rule(prefix("/"), to("one"), ops(&[("x", "1\r\ny: 2")])));
    assert_eq!((set(&rule.request_headers), problems.len()), (vec![], 1));
    let response = ir::Rule {
        request_headers: Rare::default(),
        response_headers: ops(&[("host", "x"), ("ok", "2")]).into(),
        ..(*self::rule(prefix("/"), to("one"), ops(&[]))).clone()
    };
    let (rule, problems) = compiled(Arc::new(response));
    assert_eq!((set(&rule.response_headers), problems.len()), (owned(&[("ok", "2")]), 1));
}

#[test]
fn rewrites_depend_on_what_the_rule_matches() {
    let whole = |path: &str| PathRewrite::Whole(path.as_bytes().into());
    let exact = PathMatch::Exact { path: "/foo".to_owned(), ignore_case: true };
    let regex = PathMatch::Regex(limen_ir::Pattern::checked("/f.*".to_owned()));
    let table = [
        (prefix("/foo"), PathRewrite::Prefix { matched: 4, with: b"/new"[..].into() }),
        (exact, whole("/new")),
        (regex, whole("/new")),
    ];
    for (path, expected) in table {
        let mut forward = forward(vec![destination("one", &[])]);
        forward.path_rewrite = Some(Box::new(IrPathRewrite::Matched("/new".to_owned())));
        let (rule, _) = compiled(rule(path, ir::Action::Forward(forward), ops(&[])));
        let Some(Rewrite::Matched(rewrite)) = forwarding(&rule).path_rewrite.as_deref() else {
            panic!("{rule:?}")
        };
        assert_eq!(*rewrite, expected);
    }
}

#[test]
fn redirects() {
    let redirect = |path| ir::Redirect {
        code: 308,
        scheme: Some("https".to_owned()),
        authority: Some("other".to_owned()),
        port: Some(ir::RedirectPort::Declared),
        path: Some(path),
    };
    let table = [
        (ir::RedirectPath::Full("/n".to_owned()), RedirectPath::Full(b"/n"[..].into())),
        (ir::RedirectPath::Full("/n?q".to_owned()), RedirectPath::FullWithQuery(b"/n?q"[..].into())),
        (
            ir::RedirectPath::Prefix("/n".to_owned()),
            RedirectPath::Matched(PathRewrite::Prefix { matched: 2, with: b"/n"[..].into() }),
        ),
    ];
    for (path, expected) in table {
        let (rule, _) = compiled(rule(prefix("/o"), ir::Action::Redirect(redirect(path)), ops(&[])));
        let Action::Redirect(compiled) = &rule.action else { panic!("{rule:?}") };
        let expected = Redirect {
            code: 308,
            https: Some(true),
            authority: Some(b"other"[..].into()),
            port: Some(RedirectPort::Declared),
            path: Some(expected),
        };
        assert_eq!(*compiled, expected);
    }
}

#[test]
fn retries() {
    let policy = ir_retry::RetryPolicy {
        attempts: 3,
        per_try_timeout: Millis::new(250),
        on: ir_retry::RetryOn {
            gateway_error: true,
            retriable_4xx: true,
            status_codes: vec![599, 418],
            grpc: vec!["unavailable".to_owned(), "cancelled".to_owned()],
            ..ir_retry::RetryOn::default()
        },
        backoff: Millis::new(25).unwrap(),
        backoff_at_least: false,
        avoid_previous: true,
        other_localities: false,
    };
    let mut forward = forward(vec![destination("one", &[])]);
    forward.retry = ir_retry::Retry::Policy(Box::new(policy));
    forward.timeout = Millis::new(1000);
    let (rule, _) = compiled(rule(prefix("/"), ir::Action::Forward(forward), ops(&[])));
    let compiled = forwarding(&rule);
    let Retry::Policy(policy) = &compiled.retry else { panic!("{rule:?}") };
    assert_eq!((policy.attempts, policy.per_try_timeout_ms, policy.backoff_ms), (3, Some(250), 25));
    assert_eq!((compiled.timeout_ms, policy.avoid_previous), (Some(1000), true));
    let retried = |status| policy.on.status(status);
    let statuses: Vec<u16> = (100..600).filter(|status| retried(*status)).collect();
    assert_eq!(statuses, [409, 418, 502, 503, 504, 599]);
    let grpc: Vec<u32> = (0..40).filter(|status| policy.on.grpc_status(*status)).collect();
    assert_eq!(grpc, [1, 14]);
}
