use super::*;

fn hosts(listener: &str, route: &[&str]) -> Vec<String> {
    let listener = HostPattern::istio(if listener.is_empty() { "*" } else { listener });
    let route: Vec<String> = route.iter().map(|name| (*name).to_owned()).collect();
    shared_hosts(&listener, &route).iter().map(ToString::to_string).collect()
}

#[test]
fn the_narrower_of_two_names_is_served() {
    assert_eq!(hosts("", &["a.org", "*.b.org"]), ["a.org", "*.b.org"]);
    assert_eq!(hosts("*.example.com", &[]), ["*.example.com"]);
    assert_eq!(hosts("very.specific.com", &["non.matching.com", "*.specific.com"]), ["very.specific.com"]);
    assert_eq!(
        hosts("*.wildcard.io", &["foo.wildcard.io", "foo.bar.wildcard.io", "wildcard.io"]),
        ["foo.wildcard.io", "foo.bar.wildcard.io"]
    );
    assert_eq!(hosts("*.com", &["*.example.com"]), ["*.example.com"]);
    assert_eq!(hosts("*.example.com", &["*.com", "*.example.com"]), ["*.example.com"]);
    assert_eq!(hosts("*.example.com", &["*.badexample.com", "example.com"]), Vec::<String>::new());
    assert_eq!(hosts("a.example.com", &["b.example.com"]), Vec::<String>::new());
}

/// Attaches an HTTPRoute of namespace `apps` that has `a.example.com` to the listeners of a Gateway `infra/edge`.
fn reason(parent: &ParentReference, from: RoutesFrom, kinds: Vec<RouteKind>, host: &str) -> &'static str {
    let (owner, namespaces) =
        (ObjectKey::new(Kind::ApiGateway, "infra", "edge"), RouteNamespaces { from, selector: None });
    let opening = Opening {
        owner: &owner,
        name: "web",
        port: 80,
        host: HostPattern::istio(host),
        kinds,
        namespaces: &namespaces,
    };
    let hostnames = ["a.example.com".to_owned()];
    let route = Asking { kind: RouteKind::Http, namespace: "apps", hostnames: &hostnames };
    match attach((parent, &owner), route, &[opening], &Snapshot::default()) {
        Ok(attached) if attached.len() == 1 => "Accepted",
        Ok(_) => "several",
        Err(refusal) => refusal.reason(),
    }
}

#[test]
fn what_stands_in_the_way_is_said_in_order() {
    let parent = |section: &str, port| ParentReference {
        section_name: section.to_owned(),
        port,
        ..ParentReference::default()
    };
    let http = || vec![RouteKind::Http];
    let all = RoutesFrom::All;
    assert_eq!(reason(&parent("", None), all, http(), "*"), "Accepted");
    assert_eq!(reason(&parent("web", Some(80)), all, http(), "*.example.com"), "Accepted");
    assert_eq!(reason(&parent("web", Some(81)), all, http(), "*"), "NoMatchingParent");
    assert_eq!(reason(&parent("other", None), RoutesFrom::Same, http(), "*"), "NoMatchingParent");
    assert_eq!(reason(&parent("", None), RoutesFrom::Same, http(), "b.org"), "NotAllowedByListeners");
    assert_eq!(reason(&parent("", None), all, vec![RouteKind::Grpc], "*"), "NotAllowedByListeners");
    assert_eq!(reason(&parent("", None), all, http(), "b.org"), "NoMatchingListenerHostname");
}

#[test]
fn a_namespace_that_is_not_written_has_its_name_for_a_label() {
    let selector = |key: &str, value: &str| LabelSelector {
        match_labels: [(key.to_owned(), value.to_owned())].into(),
        match_expressions: Vec::new(),
    };
    assert!(selects(&selector(NAME_LABEL, "apps"), "apps", &Snapshot::default()));
    assert!(!selects(&selector(NAME_LABEL, "apps"), "shop", &Snapshot::default()));
    assert!(!selects(&selector("team", "apps"), "apps", &Snapshot::default()));
}
