//! What is told becomes events, and nothing else is taken for gone.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use limen_resources::{Store, parse_object};
use serde_json::json;

use super::*;

struct Cluster {
    ledger: Ledger,
    store: Store,
}

fn source() -> Arc<str> {
    "the cluster".into()
}

fn scope(kind: Kind) -> Scope {
    Scope { kind, namespace: None, name: None }
}

fn route(name: &str, host: &str) -> Told {
    let object = json!({
        "metadata": {"namespace": "shop", "name": name, "resourceVersion": "7", "managedFields": [{"a": 1}]},
        "spec": {"hosts": [host], "http": [{"directResponse": {"status": 200}}]},
    });
    Told::read(parse_object, (&source(), Kind::VirtualService), &object, None).unwrap()
}

impl Cluster {
    fn new() -> Cluster {
        Cluster { ledger: Ledger::new(source()), store: Store::new() }
    }

    fn hears(&mut self, hear: impl FnOnce(&mut Ledger, &mut Vec<Event>)) {
        let mut events = Vec::new();
        hear(&mut self.ledger, &mut events);
        events.into_iter().for_each(|event| {
            self.store.apply(event);
        });
    }

    /// `name=host` of every VirtualService, then the problems.
    fn holds(&self) -> Vec<String> {
        let snapshot = self.store.snapshot();
        let routes = snapshot.virtual_services().iter();
        let routes = routes.map(|route| format!("{}={}", route.key.name, route.spec.hosts.join(",")));
        routes.chain(snapshot.problems().map(|problem| problem.to_string())).collect()
    }
}

#[test]
fn a_complete_list_takes_away_what_it_does_not_hold() {
    let (mut cluster, all) = (Cluster::new(), scope(Kind::VirtualService));
    cluster.hears(|l, e| l.all(&all, vec![route("a", "a.example"), route("b", "b.example")], e));
    assert_eq!(cluster.holds(), ["a=a.example", "b=b.example"]);
    cluster.hears(|l, e| l.all(&all, vec![route("b", "new.example")], e));
    assert_eq!(cluster.holds(), ["b=new.example"]);
    cluster.hears(|l, e| l.gone(&all, &route("b", "").key, e));
    assert_eq!(cluster.holds(), [""; 0]);
}

#[test]
fn a_wrong_object_keeps_its_last_good_version_until_it_is_gone() {
    let (mut cluster, all) = (Cluster::new(), scope(Kind::VirtualService));
    let wrong = || {
        let object = json!({"metadata": {"namespace": "shop", "name": "a"}, "spec": {"hosts": 5}});
        Told::read(parse_object, (&source(), Kind::VirtualService), &object, None).unwrap()
    };
    cluster.hears(|l, e| l.one(&all, route("a", "a.example"), e));
    for _ in 0..2 {
        cluster.hears(|l, e| l.all(&all, vec![wrong()], e));
        let [kept, problem] = &cluster.holds()[..] else { panic!("{:?}", cluster.holds()) };
        assert_eq!(kept, "a=a.example");
        assert!(problem.contains("VirtualService shop/a  spec.hosts: expected"), "{problem}");
    }
    cluster.hears(|l, e| l.gone(&all, &wrong().key, e));
    assert_eq!(cluster.holds(), [""; 0], "neither the object nor its problem");
}

/// Parses as everybody does, but for objects of one name.
fn poisoned(source: &Arc<str>, kind: Kind, object: &Value) -> Parsed {
    assert!(object.pointer("/metadata/name") != Some(&json!("poison")), "too much");
    parse_object(source, kind, object)
}

#[test]
fn reading_that_panics_harms_the_object_only() {
    let (mut cluster, all) = (Cluster::new(), scope(Kind::VirtualService));
    let told = |name: &str, host: &str| {
        let object = json!({"metadata": {"namespace": "shop", "name": name, "generation": 2}, "spec": {"hosts": [host]}});
        Told::read(poisoned, (&source(), Kind::VirtualService), &object, None).unwrap()
    };
    cluster.hears(|l, e| l.all(&all, vec![told("poison", "new.example"), route("sound", "a.example")], e));
    let [sound, problem] = &cluster.holds()[..] else { panic!("{:?}", cluster.holds()) };
    assert_eq!(sound, "sound=a.example", "none was known before");
    assert!(problem.contains("error[LIM0012] VirtualService shop/poison"), "{problem}");
    assert!(problem.contains("(too much), which is a fault of Limen"), "{problem}");

    let mut cluster = Cluster::new();
    cluster.hears(|l, e| l.all(&all, vec![route("poison", "good.example")], e));
    cluster.hears(|l, e| l.one(&all, told("poison", "new.example"), e));
    cluster.hears(|l, e| l.one(&all, route("sound", "a.example"), e));
    let [poison, sound, _] = &cluster.holds()[..] else { panic!("{:?}", cluster.holds()) };
    assert_eq!((&**poison, &**sound), ("poison=good.example", "sound=a.example"));
    cluster.hears(|l, e| l.one(&all, route("poison", "mended.example"), e));
    assert_eq!(cluster.holds(), ["poison=mended.example", "sound=a.example"]);
}

#[test]
fn a_policy_of_which_reading_panics_denies() {
    let (mut cluster, all) = (Cluster::new(), scope(Kind::AuthorizationPolicy));
    let object = json!({"metadata": {"namespace": "shop", "name": "poison"}, "spec": {"action": "ALLOW"}});
    let told = Told::read(poisoned, (&source(), Kind::AuthorizationPolicy), &object, None).unwrap();
    cluster.hears(|l, e| l.one(&all, told, e));
    assert!(cluster.store.snapshot().get(&ObjectKey::new(all.kind, "shop", "poison")).is_some());
}

#[test]
fn a_mesh_configuration_lives_and_ends_with_its_config_map() {
    let (mut cluster, maps) = (Cluster::new(), scope(Kind::ConfigMap));
    let map = |data: Value| {
        let object = json!({"metadata": {"namespace": "istio-system", "name": "istio"}, "data": data});
        Told::read(parse_object, (&source(), Kind::ConfigMap), &object, None).unwrap()
    };
    cluster.hears(|l, e| l.one(&maps, map(json!({"mesh": "rootNamespace: root"})), e));
    let found = |cluster: &Cluster| cluster.store.snapshot().mesh_configs().len();
    assert_eq!(found(&cluster), 1);
    cluster.hears(|l, e| l.one(&maps, map(json!({"other": ""})), e));
    assert_eq!((found(&cluster), cluster.store.snapshot().config_maps().len()), (0, 1));
    cluster.hears(|l, e| l.one(&maps, map(json!({"mesh": "rootNamespace: root"})), e));
    cluster.hears(|l, e| l.forget(&maps, e));
    assert_eq!((found(&cluster), cluster.store.snapshot().config_maps().len()), (0, 0));
}

#[test]
fn who_lists_and_who_watches_come_to_the_same_digest() {
    let listed = json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"ports": [{"port": 80}]}});
    let mut watched = listed.clone();
    (watched["apiVersion"], watched["kind"]) = ("v1".into(), "Service".into());
    let digest = |object: &Value| {
        let mut ledger = Ledger::new(source());
        let told = Told::read(parse_object, (&source(), Kind::Service), object, None).unwrap();
        ledger.one(&scope(Kind::Service), told, &mut Vec::new());
        ledger.digest()
    };
    assert_eq!(digest(&listed), digest(&watched));
    watched["spec"]["ports"][0]["port"] = 81.into();
    assert_ne!(digest(&listed), digest(&watched));
}
