//! What a store makes of the events that reach it.

use std::sync::Arc;

use limen_resources::core::SecretBytes;
use limen_resources::{AnyObject, Event, Kind, ObjectKey, Snapshot, Store, parse};

fn namespace(file: &str, label: &str) -> AnyObject {
    let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: a, labels: {{from: {label}}}}}\n");
    parse(file, &text, "default").objects.remove(0)
}

fn key() -> ObjectKey {
    ObjectKey::new(Kind::Namespace, "", "a")
}

fn delete(store: &mut Store, file: &str) -> bool {
    store.apply(Event::Delete { key: key(), file: file.into() })
}

fn from(snapshot: &Snapshot) -> Option<String> {
    snapshot.namespaces().get("", "a").and_then(|object| object.meta.labels.get("from").cloned())
}

#[test]
fn only_a_difference_matters() {
    let mut store = Store::new();
    assert!(store.apply(Event::Apply(namespace("m", "one"))));
    assert!(!store.apply(Event::Apply(namespace("m", "one"))));
    let before = store.snapshot();
    assert!(store.apply(Event::Apply(namespace("m", "two"))));
    assert_eq!(from(&before).as_deref(), Some("one"), "a snapshot does not change");
    assert_eq!(from(&store.snapshot()).as_deref(), Some("two"));
    assert!(before.services().same(store.snapshot().services()), "other kinds are shared");
    assert!(!before.namespaces().same(store.snapshot().namespaces()));
    assert!(!delete(&mut store, "another"));
    assert!(delete(&mut store, "m"));
    assert!(!delete(&mut store, "m"));
    assert!(store.snapshot().namespaces().is_empty());
}

#[test]
fn what_others_note_on_a_pod_does_not_matter() {
    let pod = |annotations: &str| {
        let text =
            format!("{{apiVersion: v1, kind: Pod, metadata: {{name: a, annotations: {{{annotations}}}}}}}");
        Event::Apply(parse("m", &text, "default").objects.remove(0))
    };
    let mut store = Store::new();
    assert!(store.apply(pod("seen: '1', proxy.istio.io/config: '{}'")));
    assert!(!store.apply(pod("seen: '2', proxy.istio.io/config: '{}'")));
    assert!(store.apply(pod("seen: '2', proxy.istio.io/config: '{concurrency: 2}'")));
}

#[test]
fn of_two_files_the_first_by_name_counts_and_the_other_takes_over() {
    for order in [["a", "m", "z"], ["z", "m", "a"], ["m", "z", "a"], ["a", "z", "m"]] {
        let mut store = Store::new();
        for file in order {
            assert!(store.apply(Event::Apply(namespace(file, file))));
        }
        assert_eq!(from(&store.snapshot()).as_deref(), Some("a"));
        let said: Vec<String> = store.snapshot().problems().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2);
        assert!(said[0].contains("m:1:1") && said[0].contains("a:1:1 counts"), "{said:?}");
        assert!(!store.apply(Event::Apply(namespace("z", "z"))), "nothing new");
        assert!(delete(&mut store, "a"));
        assert_eq!(from(&store.snapshot()).as_deref(), Some("m"));
        assert!(delete(&mut store, "z"));
        assert_eq!(store.snapshot().problems().count(), 0);
        assert!(delete(&mut store, "m"));
        assert_eq!(from(&store.snapshot()), None);
    }
}

#[test]
fn what_an_invalid_object_said_before_stays() {
    let text = |port: &str| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{ports: [{{port: {port}}}]}}\n")
    };
    let mut store = Store::new();
    store.apply(Event::Apply(parse("f", &text("80"), "default").objects.remove(0)));
    let parsed = parse("f", &text("eighty"), "default");
    assert_eq!(parsed.invalid, [ObjectKey::new(Kind::Service, "default", "a")]);
    assert!(parsed.objects.is_empty());
    let file: Arc<str> = "f".into();
    let problems = |problems| Event::Problems { file: Arc::clone(&file), problems };
    assert!(store.apply(problems(parsed.problems.clone())));
    assert!(!store.apply(problems(parsed.problems)));
    assert_eq!(store.snapshot().services().get("default", "a").expect("it").spec.ports[0].port, 80);
    assert_eq!(store.snapshot().problems().count(), 1);
    assert!(store.apply(problems(Vec::new())));
    assert_eq!(store.snapshot().problems().count(), 0);
}

#[test]
fn an_object_that_is_told_again_stays_where_it_is_in_memory() {
    let text = |version: u8, port: u8| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: a, resourceVersion: '{version}'}}\nspec: {{ports: [{{port: {port}}}]}}\n"
        )
    };
    let mut store = Store::new();
    let mut put = |version, port| {
        let changed =
            store.apply(Event::Apply(parse("f", &text(version, port), "default").objects.remove(0)));
        (changed, store.snapshot().services().get("default", "a").cloned().expect("it"))
    };
    let (_, first) = put(1, 80);
    let (changed, again) = put(2, 80);
    assert!(!changed && Arc::ptr_eq(&first, &again));
    let (changed, other) = put(3, 81);
    assert!(changed && !Arc::ptr_eq(&first, &other));
}

#[test]
fn a_wanted_file_keeps_its_last_good_content() {
    let path: Arc<str> = "/certs/tls.crt".into();
    let pem = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let mut store = Store::new();
    let mut put = |content: Result<&str, &str>| {
        let content = content.map(|text| SecretBytes::new(text.as_bytes().to_vec())).map_err(str::to_owned);
        let changed = store.apply(Event::File { path: Arc::clone(&path), content });
        let state = store.snapshot().file("/certs/tls.crt").cloned().expect("a state");
        let text = state.content.map(|bytes| String::from_utf8_lossy(bytes.expose()).into_owned());
        (changed, text, state.error)
    };
    assert_eq!(put(Err("no such file")), (true, None, Some("no such file".to_owned())));
    assert_eq!(put(Ok(pem)), (true, Some(pem.to_owned()), None));
    assert_eq!(put(Ok(pem)), (false, Some(pem.to_owned()), None));
    let (changed, text, error) = put(Ok("-----BEGIN CERTIFICATE-----\naGVs"));
    assert_eq!((changed, text.as_deref()), (true, Some(pem)), "half-written");
    assert!(error.is_some_and(|error| error.contains("END")));
    assert_eq!(put(Err("vanished")), (true, Some(pem.to_owned()), Some("vanished".to_owned())));
    assert!(store.apply(Event::Forget { path: Arc::clone(&path) }));
    assert!(!store.apply(Event::Forget { path }));
}

#[test]
fn a_name_keeps_its_addresses_while_dns_is_silent() {
    let name: Arc<str> = "api.example.org".into();
    let mut store = Store::new();
    let mut told = |answer: Result<&[u8], &str>| {
        let answer = answer
            .map(|last| last.iter().map(|last| [192, 0, 2, *last].into()).collect())
            .map_err(str::to_owned);
        let changed = store.apply(Event::Name { name: Arc::clone(&name), answer });
        let state = store.snapshot().name("api.example.org").cloned().expect("a state");
        (changed, state.addresses.len(), state.known.len(), state.error.clone())
    };
    let silence = || Some("silence".to_owned());
    assert_eq!(told(Err("silence")), (true, 0, 0, silence()));
    assert_eq!(told(Ok(&[1, 2])), (true, 2, 2, None));
    assert_eq!(told(Ok(&[1, 2])), (false, 2, 2, None));
    assert_eq!(told(Err("silence")), (true, 2, 2, silence()), "silence is no answer");
    assert_eq!(told(Ok(&[])), (true, 0, 2, None), "no address is one");
    assert_eq!(told(Err("silence")), (true, 0, 2, silence()));
    assert!(store.apply(Event::ForgetName { name: Arc::clone(&name) }));
    assert!(!store.apply(Event::ForgetName { name }));
    assert!(store.snapshot().name("api.example.org").is_none());
}
