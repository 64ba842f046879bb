use proptest::prelude::*;

use super::*;
use crate::filter::field::RequestField;
use crate::table::matcher::{HeaderTest, PathTest, QueryTest, TextTest};
use crate::table::pattern::{Engines, Pattern};

fn bytes(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

fn regex(source: &str) -> Arc<Pattern> {
    Arc::new(Engines::default().pattern(source, &"a".into()).unwrap())
}

fn matcher(path: PathTest) -> Matcher {
    Matcher {
        path,
        method: None,
        scheme: None,
        authority: None,
        headers: Box::default(),
        query: Box::default(),
    }
}

fn rule(ordinal: u32, matcher: Matcher) -> Arc<Rule> {
    let origin = Origin { kind: "", namespace: "".into(), name: "".into(), field: "".into() };
    Arc::new(Rule {
        ordinal,
        name: "".into(),
        matcher,
        fault: None,
        external_auth: None,
        cors: None,
        action: Action::Reply(Reply { status: 200, body: [].into(), details: "".into() }),
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        origin,
    })
}

fn host(matchers: Vec<Matcher>) -> VirtualHost {
    let rules = (0..).zip(matchers).map(|(ordinal, matcher)| rule(ordinal, matcher)).collect();
    VirtualHost::new("h:80".into(), 80, false, Rules::new(rules))
}

fn request(path: &str) -> RequestHead {
    let mut head = RequestHead::default();
    head.set_method(b"GET");
    head.set_path(path.as_bytes());
    head.set_authority(b"Example.com:8080");
    head
}

fn why(matcher: Matcher, head: &RequestHead) -> Result<(), Why> {
    rule(0, matcher).check(head, false, &mut MatchScratch::default())
}

#[test]
fn paths() {
    let table = [
        (PathTest::Exact(bytes("/a")), "/a?b", true),
        (PathTest::Exact(bytes("/a")), "/A", false),
        (PathTest::Exact(bytes("/a")), "/a/", false),
        (PathTest::ExactIgnoreCase(bytes("/Ab")), "/aB", true),
        (PathTest::ExactIgnoreCase(bytes("/Ab")), "/abc", false),
        (PathTest::Prefix(bytes("/foo")), "/foobar", true),
        (PathTest::Prefix(bytes("/foo")), "/fo", false),
        (PathTest::Prefix(bytes("/foo?")), "/foo?", false),
        (PathTest::Prefix(bytes("")), "*", true),
        (PathTest::PrefixIgnoreCase(bytes("/Foo")), "/fOObar", true),
        (PathTest::Segments(bytes("/foo")), "/foo", true),
        (PathTest::Segments(bytes("/foo")), "/foo?a", true),
        (PathTest::Segments(bytes("/foo")), "/foo/", true),
        (PathTest::Segments(bytes("/foo")), "/foo/bar", true),
        (PathTest::Segments(bytes("/foo")), "/foobar", false),
        (PathTest::Segments(bytes("/foo")), "/Foo", false),
        (PathTest::Segments(bytes("")), "/foo", true),
        (PathTest::Segments(bytes("")), "*", false),
        (PathTest::Regex(regex("/[a-z]+")), "/abc?1", true),
        (PathTest::Regex(regex("/[a-z]+")), "/abc1", false),
        (PathTest::Never, "/", false),
    ];
    for (test, path, expected) in table {
        let text = format!("{test:?} {path}");
        assert_eq!(why(matcher(test), &request(path)), expected.then_some(()).ok_or(Why::Path), "{text}");
    }
}

#[test]
fn every_part_must_hold_and_the_first_that_does_not_is_named() {
    let exact = |text: &str| Some(Box::new(TextTest::Exact(bytes(text))));
    let any = || matcher(PathTest::Prefix(bytes("/")));
    let head = request("/x");
    let table = [
        (Matcher { method: exact("GET"), ..any() }, Ok(())),
        (Matcher { method: exact("get"), ..any() }, Err(Why::Method)),
        (Matcher { scheme: exact("http"), ..any() }, Ok(())),
        (Matcher { scheme: exact("https"), ..any() }, Err(Why::Scheme)),
        (Matcher { authority: Some(Box::new(TextTest::Prefix(bytes("Example.com")))), ..any() }, Ok(())),
        (Matcher { authority: exact("example.com"), ..any() }, Err(Why::Authority)),
        (Matcher { method: exact("PUT"), scheme: exact("https"), ..any() }, Err(Why::Method)),
    ];
    for (matcher, expected) in table {
        assert_eq!(why(matcher, &head), expected);
    }
}

#[test]
fn headers() {
    let mut head = request("/p?q");
    for (name, value) in [("x", "1"), ("x", "2"), ("empty", ""), ("one", "abc")] {
        head.fields.add(name.as_bytes(), value.as_bytes());
    }
    let exact = |text: &str| Some(TextTest::Exact(bytes(text)));
    let pattern = |source: &str| Some(TextTest::Regex(regex(source)));
    let table = [
        ("x", exact("1,2"), false, true),
        ("x", exact("1"), false, false),
        ("X", pattern("1,.*"), false, true),
        ("x", exact("1"), true, true),
        ("x", exact("1,2"), true, false),
        ("one", Some(TextTest::Prefix(bytes("ab"))), false, true),
        ("one", None, false, true),
        ("one", None, true, false),
        ("empty", None, false, true),
        ("absent", None, false, false),
        ("absent", None, true, true),
        ("absent", exact(""), false, false),
        ("absent", exact(""), true, false),
        ("absent", exact("a"), true, true),
        ("absent", pattern(".*"), true, false),
        (":method", exact("GET"), false, true),
        (":path", exact("/p?q"), false, true),
        (":scheme", exact("http"), false, true),
        (":authority", exact("Example.com:8080"), false, true),
        ("host", exact("Example.com:8080"), false, true),
    ];
    for (name, value, invert, expected) in table {
        let test = HeaderTest { field: RequestField::named(name), value, invert };
        let text = format!("{test:?}");
        let good = HeaderTest { field: RequestField::Method, value: None, invert: false };
        let matcher = Matcher { headers: [good, test].into(), ..matcher(PathTest::Prefix(bytes(""))) };
        assert_eq!(why(matcher, &head), expected.then_some(()).ok_or(Why::Header(1)), "{text}");
    }
}

#[test]
fn query_parameters() {
    let exact = |text: &str| Some(TextTest::Exact(bytes(text)));
    let table = [
        ("/?a=1&a=2", "a", exact("1"), true),
        ("/?a=1&a=2", "a", exact("2"), false),
        ("/?ab=1&a=2", "a", exact("2"), true),
        ("/?a", "a", exact(""), true),
        ("/?a=", "a", exact(""), true),
        ("/?a=%31", "a", exact("1"), false),
        ("/?a=b=c", "a", exact("b=c"), true),
        ("/?b&a", "a", None, true),
        ("/?A", "a", None, false),
        ("/", "a", None, false),
        ("/", "a", exact(""), false),
        ("/?x=12", "x", Some(TextTest::Regex(regex("[0-9]+"))), true),
        ("/?x=12a", "x", Some(TextTest::Regex(regex("[0-9]+"))), false),
    ];
    for (path, name, value, expected) in table {
        let query = [QueryTest { name: bytes(name), value }].into();
        let matcher = Matcher { query, ..matcher(PathTest::Prefix(bytes(""))) };
        let result = why(matcher, &request(path));
        assert_eq!(result, expected.then_some(()).ok_or(Why::Query(0)), "{path} {name}");
    }
}

#[test]
fn destinations_are_picked_in_proportion() {
    let destination = |weight| Destination {
        cluster: ClusterSlot(0),
        cluster_name: "".into(),
        weight,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        session: None,
        external_auth: None,
        instead: None,
    };
    let forward = |weights: &[u32]| Forward {
        destinations: weights.iter().map(|weight| destination(*weight)).collect(),
        no_cluster_status: 503,
        total_weight: weights.iter().map(|weight| u64::from(*weight)).sum(),
        path_rewrite: None,
        host_rewrite: None,
        timeout_ms: None,
        retry: Retry::Off,
        mirrors: Box::default(),
        hash: Box::default(),
        session: None,
        resumes: false,
    };
    let table: [&[u32]; 5] = [&[1], &[1, 3], &[10, 1, 5], &[100; 16], &[u32::MAX, u32::MAX]];
    for weights in table {
        let forward = forward(weights);
        let mut counts = vec![0_u64; weights.len()];
        // Evenly spread numbers, as many as make every share a whole one.
        let total = forward.total_weight.min(1600);
        (0..total).for_each(|n| counts[forward.pick(((n << 32) / total) as u32 + 1)] += 1);
        let shares: Vec<_> =
            weights.iter().map(|weight| u64::from(*weight) * total / forward.total_weight).collect();
        assert_eq!(counts, shares, "{weights:?}");
        assert_eq!(forward.pick(u32::MAX), weights.len() - 1);
    }
}

/// Texts that are often equal to or a prefix of one another.
fn path() -> impl Strategy<Value = String> {
    "(/[abAB]{0,2}){1,3}"
}

fn path_test() -> impl Strategy<Value = (u8, String)> {
    const REGEXES: &[&str] = &["/a.*", ".*b", "/(a|b)/.*", "(?i)/a", "/a[ab]*", "", ".*", "/aa?/", "(/a)+"];
    let regex = proptest::sample::select(REGEXES).prop_map(|source| (5, source.to_owned()));
    prop_oneof![4 => (0..5_u8, path()), 1 => regex, 1 => Just((1, String::new()))]
}

/// Kind of test, name, value, invert.
fn header_test() -> impl Strategy<Value = (bool, &'static str, &'static str, bool)> {
    let name = proptest::sample::select(&["x", "y", ":method"][..]);
    let value = proptest::sample::select(&["1", "2", "1,2", "", "GET"][..]);
    (any::<bool>(), name, value, proptest::bool::weighted(0.2))
}

fn build((kind, text): &(u8, String), headers: &[(bool, &str, &str, bool)]) -> Matcher {
    let path = match kind {
        0 => PathTest::Exact(bytes(text)),
        1 => PathTest::Prefix(bytes(text)),
        2 => PathTest::ExactIgnoreCase(bytes(text)),
        3 => PathTest::PrefixIgnoreCase(bytes(text)),
        4 => PathTest::Segments(bytes(text.trim_end_matches('/'))),
        _ => PathTest::Regex(regex(text)),
    };
    let test = |(present, name, value, invert): &(bool, &str, &str, bool)| HeaderTest {
        field: RequestField::named(name),
        value: (!present).then(|| TextTest::Exact(bytes(value))),
        invert: *invert,
    };
    Matcher { headers: headers.iter().map(test).collect(), ..matcher(path) }
}

proptest! {
    /// The index finds what checking the rules one after the other finds.
    #[test]
    fn find_is_the_first_match(
        rules in proptest::collection::vec(
            (path_test(), proptest::collection::vec(header_test(), 0..3)), 0..60),
        requests in proptest::collection::vec(
            (path(), proptest::collection::vec(("[xy]", "[12]"), 0..3)), 1..20),
    ) {
        let host = host(rules.iter().map(|(path, headers)| build(path, headers)).collect());
        let mut scratch = MatchScratch::default();
        for (path, headers) in &requests {
            let mut head = request(path);
            headers.iter().for_each(|(name, value)| head.fields.add(name.as_bytes(), value.as_bytes()));
            let found = host.find(&head, false, &mut scratch).map(|rule| rule.ordinal);
            let first = host.rules.iter().find(|rule| rule.check(&head, false, &mut scratch).is_ok());
            prop_assert_eq!(found, first.map(|rule| rule.ordinal));
        }
    }
}

#[test]
fn many_rules_of_one_path_are_told_apart_by_a_header() {
    let tenant = |n: u32, invert| HeaderTest {
        field: RequestField::named("x-tenant"),
        value: Some(TextTest::Exact(bytes(&n.to_string()))),
        invert,
    };
    let with = |test| Matcher { headers: [test].into(), ..matcher(PathTest::Prefix(bytes("/"))) };
    let mut matchers: Vec<_> = (0..50).map(|n| with(tenant(n, false))).collect();
    matchers.push(with(tenant(7, true)));
    matchers.extend((0..60).map(|n| with(tenant(n, false))));
    let host = host(matchers);
    let mut scratch = MatchScratch::default();
    for (value, expected) in [(Some("0"), 0), (Some("49"), 49), (Some("55"), 50), (None, 50)] {
        let mut head = request("/a");
        value.iter().for_each(|value| head.fields.add(b"x-tenant", value.as_bytes()));
        let found = host.find(&head, false, &mut scratch).map(|rule| rule.ordinal);
        assert_eq!(found, Some(expected), "{value:?}");
    }
}
