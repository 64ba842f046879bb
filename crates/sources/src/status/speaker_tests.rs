// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::json;

use super::*;

fn key(kind: Kind, name: &str) -> ObjectKey {
    ObjectKey::new(kind, "shop", name)
}

fn policy() -> Value {
    let of = |namespace: &str, name: &str, controller: &str| {
        json!({
            "ancestorRef": {"group": GROUP, "kind": "Gateway", "namespace": namespace, "name": name},
            "controllerName": controller, "conditions": [],
        })
    };
    let all = [
        of("shop", "edge", "limen.dev/own"),
        of("shop", "gone", "limen.dev/own"),
        of("blog", "edge", "limen.dev/own"),
        of("shop", "edge", "example.com/other"),
    ];
    json!({"metadata": {"namespace": "infra"}, "status": {"ancestors": all}})
}

#[test]
fn who_serves_one_gateway_owns_what_is_about_that_and_the_sets_that_hang_on_it() {
    let speaker = |only| Speaker::new("limen.dev/own".to_owned(), "edge".to_owned(), only);
    let owned = |by: &Speaker, layout, object: &Value| -> Vec<bool> {
        let (field, _) = entries_of(layout);
        list(object["status"].get(field)).map(|entry| by.owns(layout, object, entry)).collect()
    };
    let alone = speaker(Some(key(Kind::ApiGateway, "edge")));
    assert_eq!(owned(&speaker(None), Layout::Ancestors, &policy()), [true, true, true, false]);
    assert_eq!(owned(&alone, Layout::Ancestors, &policy()), [true, false, false, false]);
    let entry = |reference: Value| json!({"parentRef": reference, "controllerName": "limen.dev/own"});
    let parents = [
        entry(json!({"name": "edge"})),
        entry(json!({"name": "more", "kind": "ListenerSet"})),
        entry(json!({"name": "edge", "kind": "Service", "group": ""})),
    ];
    let route = json!({"metadata": {"namespace": "shop"}, "status": {"parents": parents}});
    assert_eq!(owned(&alone, Layout::Parents, &route), [true, false, false]);
    let set =
        limen_resources::Verdict::new(key(Kind::ListenerSet, "more"), "Accepted", true, ("Accepted", ""));
    alone.speaks_of(&Verdicts::new(vec![set], Vec::new()));
    assert_eq!(owned(&alone, Layout::Parents, &route), [true, true, false]);
}

#[test]
fn an_heir_clears_away_what_is_about_gateways_that_are_gone_where_it_can_see_that() {
    let living = BTreeMap::from([(key(Kind::ApiGateway, "edge"), "edge".to_owned())]);
    let left = |namespaces: &[&str]| {
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        let heir = Heir { controller: "limen.dev/own".to_owned(), namespaces };
        let status = heir.cleared(Layout::Ancestors, &policy(), &living)?;
        Some(status["ancestors"].as_array().unwrap().len())
    };
    assert_eq!(left(&[]), Some(2), "the living one's, and that of others");
    assert_eq!(left(&["shop"]), Some(3), "nobody knows of those in blog");
    assert_eq!(left(&["infra"]), None);
}
