use super::*;

#[test]
fn the_whole_text_must_match() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("/a", &["/a"], &["/a/", "/ab", "x/a", ""]),
        ("/a|/b", &["/a", "/b"], &["/ac", "x/b"]),
        ("/a.*", &["/a", "/abc"], &["/b"]),
        ("a|ab", &["a", "ab"], &["abb"]),
        ("", &[""], &["a"]),
        ("(?m)^a$", &["a"], &["a\nb", "b\na"]),
        ("(?x) a b # )", &["ab"], &["a b"]),
        (r"/\d+", &["/12"], &["/\u{0661}", "/"]),
        (r"\w+", &["aZ_9"], &["\u{e9}", "a-b"]),
        ("(?i)/ab", &["/AB", "/aB"], &["/a"]),
        ("/caf\u{e9}", &["/caf\u{e9}"], &["/cafe"]),
        (r"\p{Greek}+", &["\u{3b1}"], &["a"]),
        (r"[\d-]+", &["1-2"], &["\u{661}"]),
        (r"[^\d]", &["\u{661}", "\u{e9}", "a"], &["1"]),
        (r"\W\S", &["\u{e9}-", "-\u{a0}"], &["a-", "- "]),
        (r"\bx\b.", &["x\u{e9}", "x-"], &["xx"]),
        (r"/a\b.*", &["/a", "/a/b"], &["/ab"]),
        ("/a^b|/a$", &["/a"], &["/ab"]),
        ("/lit", &["/lit"], &["/li", "/litt"]),
        ("/a(b|c)*", &["/a", "/abc"], &["/ad", "/"]),
        ("caf.", &["caf\u{e9}", "cafe"], &["caf"]),
        ("[^/]+", &["ab", "\u{e9}"], &["a/b"]),
    ];
    let mut caches = PatternCaches::default();
    for (source, yes, no) in table {
        let pattern = Engines::default().pattern(source, &"a".into()).unwrap();
        yes.iter().for_each(|text| assert!(pattern.matches(text.as_bytes(), &mut caches), "{source} {text}"));
        no.iter().for_each(|text| assert!(!pattern.matches(text.as_bytes(), &mut caches), "{source} {text}"));
    }
}

#[test]
fn bytes_that_are_no_text_hide_nothing() {
    let mut caches = PatternCaches::default();
    for (source, text, matches) in [
        (".*evil.*", &b"evil\xff"[..], true),
        (".*evil.*", b"\xffevil", true),
        (".*evil.*", b"\xc3evil\xe2\x82", true),
        ("evil.*", b"evil\xff", true),
        ("[^/]*", b"\xff\xfe", true),
        ("evil", b"evil\xff", false),
        ("[a-z]*", b"evil\xff", false),
        ("evil.*", b"\xffevil", false),
    ] {
        let pattern = Engines::default().pattern(source, &"a".into()).unwrap();
        assert_eq!(pattern.matches(text, &mut caches), matches, "{source} {}", text.escape_ascii());
    }
}

#[test]
fn the_literal_start_is_known() {
    let table = [
        ("/api/v[12]/.*", "/api/v"),
        ("/api/.*", "/api/"),
        ("/a|/b", "/"),
        (".*", ""),
        ("(?i)/ab", "/"),
        ("/ab?", "/a"),
        ("", ""),
        ("^/a", "/a"),
    ];
    for (source, prefix) in table {
        assert_eq!(
            Engines::default().pattern(source, &"a".into()).unwrap().prefix(),
            prefix.as_bytes(),
            "{source}"
        );
    }
}

#[test]
fn what_is_no_expression_is_refused() {
    for source in ["(", "a{2,1}", r"(\w{1000}){1000}"] {
        assert!(Engines::default().pattern(source, &"a".into()).is_err(), "{source}");
    }
}

#[test]
fn more_patterns_than_caches_take_turns() {
    let mut engines = Engines::default();
    let patterns: Vec<_> =
        (0..SLOTS + 9).map(|n| engines.pattern(&format!("[a-z]+/{n}.*"), &"a".into()).unwrap()).collect();
    let slots: std::collections::HashSet<_> =
        patterns.iter().map(|pattern| pattern.rest.id % SLOTS).collect();
    assert!(slots.len() < patterns.len());
    let mut caches = PatternCaches::default();
    for _ in 0..2 {
        for (n, pattern) in patterns.iter().enumerate() {
            assert!(pattern.matches(format!("abc/{n}/x").as_bytes(), &mut caches));
            assert!(!pattern.matches(format!("abc/x{n}").as_bytes(), &mut caches));
        }
    }
}

#[test]
fn equal_rests_share_an_engine_until_no_pattern_uses_it() {
    let mut engines = Engines::default();
    let a = engines.pattern("/a/[0-9]+", &"a".into()).unwrap();
    let b = engines.pattern(r"/b/\d+", &"b".into()).unwrap();
    let c = engines.pattern("/c/[a-z]+", &"c".into()).unwrap();
    assert!(Arc::ptr_eq(&a.rest, &b.rest) && !Arc::ptr_eq(&a.rest, &c.rest));
    drop((a, c, engines.bill()));
    engines.sweep();
    assert_eq!(engines.known.len(), 1);
    assert!(b.matches(b"/b/12", &mut PatternCaches::default()));
}

/// One namespace's expressions cannot take the memory of all; what another has is its own, and what is gone is free.
#[test]
fn the_expressions_of_an_owner_are_bounded_together() {
    let (mut engines, greedy, other) = (Engines::default(), "greedy".into(), "other".into());
    engines.begin();
    let large = |n: usize| format!(r"(\pL|x{n}){{60}}.{{100}}");
    let mut held = Vec::new();
    let refused = (0..1_000).find_map(|n| match engines.pattern(&large(n), &greedy) {
        Ok(pattern) => {
            held.push(pattern);
            None
        }
        Err(why) => Some(why),
    });
    assert_eq!(refused.unwrap(), "all expressions of namespace greedy together take more than 128 MiB");
    assert!(held.len() > 10, "{}", held.len());
    engines.pattern(&large(0), &greedy).expect("what is there is shared");
    engines.pattern("[a-z]+", &other).expect("another has its own");
    engines.sweep();
    engines.begin();
    engines
        .pattern(&large(2_000), &greedy)
        .expect("what is used no more is free, although workers still have it");
    drop(held);
    engines.sweep();
    assert!(engines.known.len() <= 1, "what nobody asked for is forgotten");
}

#[test]
fn what_a_match_begins_with_is_known_of_what_is_refused_too() {
    for (source, prefix) in
        [("/admin/.*", "/admin/"), ("/a|/b", "/"), (".*", ""), ("(", ""), ("/x(a{1000}){1000}", "/x")]
    {
        assert!(literal_prefix(source).starts_with(prefix), "{source}");
    }
}
