//! Each `golden/<case>.in.yaml` is read, put into a store and shown as `golden/<case>.out.txt`. `UPDATE=1` writes the
//! expectations anew. A line `#### FILE name` begins another file; the first file is named after the case.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use limen_resources::{AnyObject, Event, Kind, ObjectKey, Parsed, Snapshot, Store, parse};

#[test]
fn goldens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE").is_some();
    let mut cases: Vec<PathBuf> =
        fs::read_dir(&folder).expect("the goldens").map(|entry| entry.expect("an entry").path()).collect();
    cases.retain(|path| path.to_string_lossy().ends_with(".in.yaml"));
    cases.sort();
    assert!(!cases.is_empty(), "there are no goldens");
    let mut wrong = Vec::new();
    for case in cases {
        let shown = show(&case);
        let expectation = PathBuf::from(case.to_string_lossy().replace(".in.yaml", ".out.txt"));
        if update {
            fs::write(&expectation, &shown).expect("write the expectation");
        }
        let expected = fs::read_to_string(&expectation).unwrap_or_default();
        if expected != shown {
            wrong.push(format!("{}\n--- expected\n{expected}\n--- found\n{shown}", expectation.display()));
        }
    }
    assert!(wrong.is_empty(), "bless with UPDATE=1 if this is right:\n{}", wrong.join("\n"));
}

/// The rules of Istio's webhook, which have Istio's codes.
#[test]
fn every_broken_rule_says_how_to_mend_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut rules = 0;
    for entry in fs::read_dir(&folder).expect("the goldens") {
        let path = entry.expect("an entry").path();
        let Some(name) = path.to_str().filter(|name| name.ends_with(".in.yaml")) else { continue };
        let parsed = parse(name, &fs::read_to_string(&path).expect("the case"), "default");
        for problem in parsed.problems.iter().filter(|problem| problem.code.starts_with("IST")) {
            assert!(!problem.mend.is_empty() && !problem.field.is_empty(), "{problem}");
            rules += 1;
        }
    }
    assert!(rules > 150, "{rules}");
}

fn show(case: &Path) -> String {
    let name = case.file_name().expect("a name").to_string_lossy().replace(".in.yaml", ".yaml");
    let text = fs::read_to_string(case).expect("the case");
    let mut store = Store::new();
    let mut shown = String::new();
    let mut rest = text.as_str();
    let mut file = name;
    loop {
        let (body, next) = match rest.split_once("#### FILE ") {
            Some((body, next)) => (body, next.split_once('\n')),
            None => (rest, None),
        };
        take(&mut store, &mut shown, &file, parse(&file, body, "default"));
        let Some((next_name, next_body)) = next else { break };
        (file, rest) = (next_name.to_owned(), next_body);
    }
    show_snapshot(&mut shown, &store.snapshot());
    shown
}

fn take(store: &mut Store, shown: &mut String, file: &str, parsed: Parsed) {
    for key in parsed.invalid {
        writeln!(shown, "invalid {key}").expect("a string");
    }
    if parsed.broken {
        writeln!(shown, "broken {file}").expect("a string");
    }
    for (kind, count) in parsed.ignored {
        writeln!(shown, "ignored {count} {kind}").expect("a string");
    }
    for object in parsed.objects {
        store.apply(Event::Apply(object));
    }
    store.apply(Event::Problems { file: file.into(), problems: parsed.problems });
}

fn show_snapshot(shown: &mut String, snapshot: &Snapshot) {
    for object in every(snapshot) {
        let json = serde_json::to_string_pretty(&object).expect("an object as JSON");
        writeln!(shown, "{}  {}\n{json}", object.key(), object.source().locate("")).expect("a string");
    }
    for problem in snapshot.problems() {
        writeln!(shown, "{problem}").expect("a string");
    }
}

fn every(snapshot: &Snapshot) -> Vec<AnyObject> {
    let mut keys: Vec<ObjectKey> = Vec::new();
    macro_rules! gather {
        ($($table:ident),*) => { $(keys.extend(snapshot.$table().iter().map(|object| object.key.clone()));)* };
    }
    gather!(gateways, virtual_services, destination_rules, service_entries, workload_entries, services);
    gather!(
        proxy_configs,
        telemetries,
        mesh_configs,
        endpoint_slices,
        pods,
        secrets,
        config_maps,
        namespaces
    );
    keys.extend(snapshot.policies().map(|object| object.key.clone()));
    keys.into_iter().map(|key| snapshot.get(&key).expect("an object that was listed")).collect()
}

#[test]
fn every_field_is_found_where_it_was_written() {
    let text = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: web
  labels: {app.kubernetes.io/name: web}
spec:
  hosts: [a.example.com, b.example.com]
  gateways:
  - gw
  http:
  - match:
    - uri:
        exact: /a
    - uri: {prefix: /b}
    route:
    - destination:
        host: web
        port: {number: 80}
      weight: 1
";
    let parsed = parse("web.yaml", text, "default");
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    let source = parsed.objects[0].source();
    for (path, line, column) in [
        ("", 1, 1),
        ("metadata.name", 4, 3),
        ("metadata.labels.app.kubernetes.io/name", 5, 12),
        ("spec.hosts", 7, 3),
        ("spec.hosts[1]", 7, 26),
        ("spec.gateways[0]", 9, 5),
        ("spec.http[0]", 11, 5),
        ("spec.http[0].match[1]", 14, 7),
        ("spec.http[0].match[1].uri.prefix", 14, 13),
        ("spec.http[0].route[0].destination.port.number", 18, 16),
        ("spec.http[0].route[0].weight", 19, 7),
        // What was not written is where the nearest thing around it is.
        ("spec.http[0].route[0].destination.subset", 16, 7),
        ("spec.http[0].timeout", 11, 5),
        ("spec.tls[3].match", 6, 1),
    ] {
        let at = source.locate(path);
        assert_eq!((at.line, at.column), (line, column), "{path}");
    }
    let key = ObjectKey::new(Kind::VirtualService, "default", "web");
    let mut store = Store::new();
    assert!(store.apply(Event::Apply(parsed.objects[0].clone())));
    assert_eq!(store.snapshot().locate(&key, "spec.hosts").expect("a place").line, 7);
}

#[test]
fn a_secret_is_never_shown() {
    let key = "c2VjcmV0LWtleS1tYXRlcmlhbA==";
    let clear = "secret-key-material";
    for text in [
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: {{a: {key}}}\n"),
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{a: {clear}}}\n"),
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: {{a: \"{clear}!\"}}\n"),
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: [{key}]\n"),
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: {key}\n"),
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{cert: {clear}, key: {clear}}}\n"
        ),
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ntype: [{clear}]\nstringData: {{a: {{b: {clear}}}}}\n"
        ),
    ] {
        let parsed = parse("s.yaml", &text, "default");
        let mut store = Store::new();
        for object in &parsed.objects {
            store.apply(Event::Apply(object.clone()));
        }
        let path: Arc<str> = "/k".into();
        store.apply(Event::File { path, content: Ok(clear.as_bytes().to_vec().into()) });
        let mut shown = format!("{parsed:?} {:#?} {store:?}", parsed.objects);
        shown += &serde_json::to_string(&parsed.objects).expect("JSON");
        shown += &serde_json::to_string(&parsed.problems).expect("JSON");
        parsed.problems.iter().for_each(|problem| shown += &problem.to_string());
        assert!(!shown.contains(clear) && !shown.contains(key), "{shown}");
    }
}
