use super::*;

fn map() -> HostMap<&'static str> {
    let mut map = HostMap::default();
    map.insert(Pattern::Exact("example.com"), "exact");
    map.insert(Pattern::Exact("a.example.com"), "exact a");
    map.insert(Pattern::AnyDepth("example.com"), "any depth");
    map.insert(Pattern::AnyDepth("b.example.com"), "any depth b");
    map.insert(Pattern::OneLabel("b.example.com"), "one label b");
    map.insert(Pattern::OneLabel("one.org"), "one label");
    map.insert(Pattern::Exact("2001:DB8::1"), "v6");
    map.insert(Pattern::Exact("192.0.2.1"), "v4");
    map
}

fn check(map: &HostMap<&'static str>, table: &[(&str, Option<&str>)]) {
    for (authority, expected) in table {
        assert_eq!(map.find(authority.as_bytes()).copied(), *expected, "{authority}");
    }
}

#[test]
fn the_most_specific_pattern_wins() {
    let table = [
        ("example.com", Some("exact")),
        ("a.example.com", Some("exact a")),
        ("x.example.com", Some("any depth")),
        ("x.a.example.com", Some("any depth")),
        ("x.b.example.com", Some("one label b")),
        ("y.x.b.example.com", Some("any depth b")),
        ("b.example.com", Some("any depth")),
        ("x.one.org", Some("one label")),
        ("y.x.one.org", None),
        ("one.org", None),
        ("xexample.com", None),
        (".example.com", None),
        ("com", None),
        ("", None),
    ];
    check(&map(), &table);
}

#[test]
fn case_port_brackets_and_trailing_dot_do_not_count() {
    let table = [
        ("EXAMPLE.Com:8080", Some("exact")),
        ("example.com.", Some("exact")),
        ("example.com.:80", Some("exact")),
        ("example.com..", None),
        ("X.Example.Com:443", Some("any depth")),
        ("[2001:db8::1]:443", Some("v6")),
        ("[2001:DB8::1]", Some("v6")),
        ("2001:db8::1", Some("v6")),
        ("192.0.2.1:80", Some("v4")),
        ("example.com:", Some("exact")),
        ("[example.com", None),
    ];
    check(&map(), &table);
}

#[test]
fn any_takes_the_rest() {
    let mut map = map();
    map.insert(Pattern::Any, "any");
    map.insert(Pattern::Any, "a second one");
    map.insert(Pattern::Exact("example.com"), "a second one");
    let long = format!("{}.example.com", "a".repeat(250));
    let table = [
        ("", Some("any")),
        ("one.org", Some("any")),
        ("example.com", Some("exact")),
        (long.as_str(), Some("any")),
        ("x.example.com", Some("any depth")),
    ];
    check(&map, &table);
}

#[test]
fn names_longer_than_the_dns_allows_match_no_suffix() {
    let fits = format!("{}.example.com", "a".repeat(255 - ".example.com".len()));
    let long = format!("a{fits}");
    check(&map(), &[(&fits, Some("any depth")), (&long, None)]);
}
