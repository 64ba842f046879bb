//! The edges between crates, as Cargo sees them.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::checks::Finding;
use crate::source::root;

/// Who may import whom. A crate that is not listed is an error, so that a new one gets its row.
const ALLOWED: &[(&str, &[&str])] = &[
    ("limen-ir", &[]),
    ("limen-resources", &[]),
    ("limen-translate", &["limen-resources", "limen-ir"]),
    ("limen-sources", &["limen-resources"]),
    ("limen-wire", &[]),
    ("limen-proxy", &["limen-ir", "limen-wire"]),
    ("limen", &["limen-ir", "limen-resources", "limen-translate", "limen-sources", "limen-proxy"]),
];

/// The tests may see every crate, and nobody sees them.
const TESTS: &str = "limen-e2e";

/// Makes load for a gateway that is a process of its own: it sees no crate, and nobody sees it.
const LOAD: &str = "limen-load";

/// Outside crates that a crate may not depend on, not even in tests of its own.
const KEPT_OUT: &[(&str, &[&str], &str)] = &[
    ("limen-ir", &["tokio", "rustls", "kube", "prost", "http-body"], "a noun has no hands"),
    ("limen-resources", &["tokio", "kube", "notify"], "what was written is not yet what is meant"),
    ("limen-translate", &["tokio", "notify", "rand", "kube"], "same input, same bytes out"),
    ("limen-wire", &["rustls", "tokio-rustls", "socket2"], "bytes in, frames out"),
    (
        "limen-proxy",
        &["kube", "prost", "notify", "saphyr-parser"],
        "the data plane does not know where things come from",
    ),
];

/// Most outside crates that the workspace may name directly.
const DIRECT_DEPENDENCIES: usize = 60;

/// What Cargo says about the workspace itself.
pub(crate) fn metadata() -> Value {
    let run = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs, since it runs this test");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).expect("cargo prints JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// Checks the edges among our crates, what they keep out, and the number of direct dependencies.
pub(crate) fn edges(metadata: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut outside = BTreeSet::new();
    let mut add =
        |path: &str, text: String| found.push(Finding { check: "edges", path: path.to_owned(), text });
    for package in list(metadata, "packages") {
        let name = text(package, "name");
        let row = ALLOWED.iter().find(|(krate, _)| *krate == name).map(|(_, allowed)| *allowed);
        if row.is_none() && name != TESTS && name != LOAD {
            add(name, "has no row in the table of allowed edges".to_owned());
        }
        for dependency in list(package, "dependencies") {
            let target = text(dependency, "name");
            let ours = target == "limen" || target.starts_with("limen-");
            if !ours {
                outside.insert(target.to_owned());
            } else if [TESTS, LOAD].contains(&target)
                || name == LOAD
                || row.is_some_and(|allowed| !allowed.contains(&target))
            {
                add(name, format!("may not import {target}"));
            }
            for (_, names, why) in
                KEPT_OUT.iter().filter(|(krate, names, _)| *krate == name && names.contains(&target))
            {
                add(name, format!("keeps out {target} ({}): {why}", names.join(", ")));
            }
        }
    }
    if outside.len() > DIRECT_DEPENDENCIES {
        add("Cargo.toml", format!("{} direct dependencies, at most {DIRECT_DEPENDENCIES}", outside.len()));
    }
    found
}
