//! Cases: resources and settings from one text, and values as YAML.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use limen_ir::Address;
use limen_resources::core::SecretBytes;
use limen_resources::{Event, Kind, Level, ObjectKey, Snapshot, Store, parse, parse_object};
use limen_translate::{BackendOverride, Deployer, GatewayInstance, IdentityFiles, Settings};
use serde_json::Value;

/// What the private keys of the cases are made of, in plain and in base64, as they stand in inputs.
pub(crate) const KEY_MATERIAL: &[&str] =
    &["bm90IGEga2V5IGJ1dCBzZWNyZXQ=", "Ym05MElHRWdhMlY1SUdKMWRDQnpaV055WlhRPQ", "not a key but secret"];

/// One case.
pub(crate) struct Case {
    pub(crate) snapshot: Snapshot,
    pub(crate) settings: Settings,
    /// Is what classes can do shown? It is long, and the same in all cases.
    pub(crate) features: bool,
}

impl Case {
    /// Reads a case. Settings are lines such as `#! map-port 80:8080`. An input that is wrong in itself must say
    /// `#! invalid-input`, so that a slip in a case is seen.
    pub(crate) fn read(text: &str) -> Case {
        let mut settings = Settings::default();
        let mut store = Store::new();
        let mut invalid = false;
        let mut features = false;
        let mut instances = Vec::new();
        for directive in text.lines().filter_map(|line| line.strip_prefix("#! ")) {
            let (name, value) = directive.split_once(' ').unwrap_or((directive, ""));
            match name {
                "map-port" => {
                    let (from, to) = value.split_once(':').expect("FROM:TO");
                    settings.port_map.insert(from.parse().expect("a port"), to.parse().expect("a port"));
                }
                "backend" => settings.backends.push(backend(value)),
                "gateway" => instances.push(instance(value)),
                "ignore-policy" => {
                    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == value).expect("a kind");
                    settings.ignored_policies.insert(kind);
                }
                "deploy" => {
                    settings.gateway_api.deployer = Some(Deployer {
                        controller: "limen.dev/gateway-deployer".to_owned(),
                        image: value.to_owned(),
                        service_account: "limen".to_owned(),
                        arguments: vec!["--drain".to_owned(), "30000ms".to_owned()],
                        grace_seconds: 45,
                    });
                }
                // Files have none.
                "kept" => {
                    let object: Value = serde_json::from_str(value).expect("JSON");
                    let mut kinds = Kind::ALL.into_iter().filter(|kind| kind.is_kept());
                    let kind =
                        kinds.find(|kind| kind.as_str() == object["kind"]).expect("a kind that is kept");
                    let parsed = parse_object(&"the cluster".into(), kind, &object);
                    for object in parsed.objects {
                        store.apply(Event::Apply(object));
                    }
                }
                "only-gateway" => {
                    let (namespace, name) = value.split_once('/').expect("NS/NAME");
                    settings.gateway_api.only = Some(ObjectKey::new(Kind::ApiGateway, namespace, name));
                }
                "namespace" => settings.namespace = value.to_owned(),
                "node" => settings.node = Some(value.to_owned()),
                "locality" => settings.locality = Some(value.to_owned()),
                "workload-namespace" => settings.workload_namespace = value.to_owned(),
                "root-namespace" => settings.root_namespace = value.to_owned(),
                "shared-hosts" => settings.shared_hosts = true,
                "istio-default-retries" => settings.istio_default_retries = true,
                "identity" => {
                    let file = |name: &str| format!("/identity/{name}");
                    let (certificate, key, authorities) =
                        (file("cert.pem"), file("key.pem"), file("root.pem"));
                    settings.identity = Some(IdentityFiles { certificate, key, authorities });
                }
                "cluster" => settings.files = false,
                "bundle" => {
                    store.apply(Event::Bundle { version: Some(value.into()) });
                }
                "file" => {
                    let (path, content) = value.split_once(' ').expect("PATH CONTENT");
                    store.apply(Event::File { path: path.into(), content: file(content) });
                }
                "name" => {
                    let (name, answer) = value.split_once(' ').expect("NAME ANSWER");
                    let answers = answer.split(" then ").map(addresses);
                    for answer in answers {
                        store.apply(Event::Name { name: name.into(), answer });
                    }
                }
                "features" => features = true,
                "invalid-input" => invalid = true,
                other => panic!("no such setting: {other}"),
            }
        }
        if !instances.is_empty() {
            settings.gateways = instances;
        }
        let parsed = parse("case.yaml", text, &settings.namespace);
        let wrong = parsed.problems.iter().any(|problem| problem.level == Level::Error);
        assert_eq!(wrong, invalid, "problems of the input: {:#?}", parsed.problems);
        for object in parsed.objects {
            store.apply(Event::Apply(object));
        }
        store.apply(Event::Problems { file: "case.yaml".into(), problems: parsed.problems });
        Case { snapshot: store.snapshot(), settings, features }
    }
}

/// `SVC.NS[:PORT][/LABEL=VALUE]=HOST:PORT`.
fn backend(text: &str) -> BackendOverride {
    let (left, address) = text.rsplit_once('=').expect("=HOST:PORT");
    let (left, labels) = left.split_once('/').unwrap_or((left, ""));
    let (name, port) = left.split_once(':').map_or((left, None), |(name, port)| (name, Some(port)));
    let (service, namespace) = name.split_once('.').expect("SVC.NS");
    BackendOverride {
        service: service.to_owned(),
        namespace: namespace.to_owned(),
        port: port.map(|port| port.parse().expect("a port")),
        labels: pairs(labels),
        address: Address::unix(address).or_else(|_| address.parse().map(Address::Inet)).expect("an address"),
    }
}

/// `NAME LABEL=VALUE,… IP`.
fn instance(text: &str) -> GatewayInstance {
    let mut words = text.split(' ');
    let mut word = || words.next().expect("NAME LABELS IP");
    GatewayInstance {
        name: word().to_owned(),
        labels: pairs(word()),
        bind: word().parse::<IpAddr>().expect("an IP address"),
    }
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// `certificate`, `key`, or `error: why`.
fn file(content: &str) -> Result<SecretBytes, String> {
    let pem = |label: &str, body: &str| {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes()
    };
    match content {
        "certificate" => Ok(SecretBytes::new(pem("CERTIFICATE", "bm90IHJlYWxseSBhIGNlcnRpZmljYXRl"))),
        "key" => Ok(SecretBytes::new(pem("PRIVATE KEY", "bm90IGEga2V5IGJ1dCBzZWNyZXQ="))),
        other => Err(other.strip_prefix("error: ").expect("certificate, key or error").to_owned()),
    }
}

/// `none`, `error: why`, or addresses.
fn addresses(answer: &str) -> Result<Vec<IpAddr>, String> {
    match (answer, answer.strip_prefix("error: ")) {
        ("none", _) => Ok(Vec::new()),
        (_, Some(error)) => Err(error.to_owned()),
        _ => Ok(answer.split(' ').map(|ip| ip.parse().expect("an IP address")).collect()),
    }
}

/// As YAML with sorted keys; what is null or empty is left out, and names of objects are put into one line.
pub(crate) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
        _ => false,
    }
}

/// An origin or the name of an object, in one line: `Kind namespace/name field`.
fn named(value: &Value) -> Option<String> {
    let fields = value.as_object()?;
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let (kind, namespace, name) = (text("kind")?, text("namespace")?, text("name")?);
    let known = ["kind", "namespace", "name", "field"];
    if fields.keys().any(|key| !known.contains(&&**key)) {
        return None;
    }
    Some(format!("{kind} {namespace}/{name} {}", text("field").unwrap_or("")).trim_end().to_owned())
}

fn block(value: &Value, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().filter(|(_, value)| !is_nothing(value)).collect();
            for (key, value) in sorted {
                write!(out, "{pad}{}:", scalar(&Value::String(key.clone()))).expect("a string");
                entry(value, indent, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                if item.is_object() || item.is_array() {
                    let mut inner = String::new();
                    block(item, indent + 1, &mut inner);
                    // The first line stands behind the dash.
                    let inner = inner.strip_prefix(&*"  ".repeat(indent + 1)).unwrap_or("{}\n");
                    write!(out, "{pad}- {inner}").expect("a string");
                } else {
                    writeln!(out, "{pad}- {}", text(item, indent + 1)).expect("a string");
                }
            }
        }
        other => writeln!(out, "{pad}{}", scalar(other)).expect("a string"),
    }
}

fn entry(value: &Value, indent: usize, out: &mut String) {
    if let Some(named) = named(value) {
        writeln!(out, " {named}").expect("a string");
    } else if value.is_object() || value.is_array() {
        out.push('\n');
        block(value, indent + 1, out);
    } else {
        writeln!(out, " {}", text(value, indent + 1)).expect("a string");
    }
}

/// Texts of several lines as they are, others quoted where they must be.
fn text(value: &Value, indent: usize) -> String {
    match value {
        Value::String(text) if text.contains('\n') => {
            let pad = "  ".repeat(indent);
            let lines: Vec<_> = text.trim_end().lines().map(|line| format!("{pad}{line}")).collect();
            format!("|\n{}", lines.join("\n"))
        }
        other => scalar(other),
    }
}

fn scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-()[]| *".contains(&byte);
    let begins = text.as_bytes().first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'/');
    let word = matches!(&**text, "null" | "true" | "false" | "yes" | "no" | "on" | "off");
    if begins && !word && text.bytes().all(plain) { text.clone() } else { value.to_string() }
}
