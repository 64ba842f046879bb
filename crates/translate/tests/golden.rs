//! Each `golden/<api>/<case>.in.yaml` is translated and shown as `<case>.out.yaml`: IR, endpoints, verdicts, problems and
//! wants. `UPDATE=1` writes the expectations anew. Lines that begin with `#!` are settings, see `support`.
#![allow(clippy::disallowed_methods, reason = "the driver reads the cases; translation itself does no IO")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use limen_resources::Facts;
use limen_translate::{Translation, Translator};
use serde_json::{Value, json};
use support::{Case, yaml};

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases = Vec::new();
    for api in fs::read_dir(root).expect("the goldens") {
        let api = api.expect("a folder").path();
        cases.extend(fs::read_dir(api).expect("an API").map(|entry| entry.expect("an entry").path()));
    }
    cases.retain(|path| path.to_string_lossy().ends_with(".in.yaml"));
    cases.sort();
    cases
}

fn expectation(case: &Path) -> PathBuf {
    PathBuf::from(case.to_string_lossy().replace(".in.yaml", ".out.yaml"))
}

fn show(translation: &Translation, Case { settings, features, .. }: &Case) -> String {
    let Translation { ir, endpoints, verdicts, problems, wants, made, elsewhere } = translation;
    let mut verdicts: Vec<_> = verdicts.iter().cloned().collect();
    if !*features {
        for verdict in &mut verdicts {
            let facts = Facts { supported_features: Vec::new(), ..verdict.facts().clone() };
            *verdict = verdict.clone().with_facts(facts);
        }
    }
    // Files have all objects anyway.
    let objects = wants.objects.iter().filter(|_| !settings.files).map(ToString::to_string);
    let mut all = json!({
        "ir": to_value(&**ir),
        "endpoints": to_value(&endpoints.clusters),
        "verdicts": to_value(&verdicts),
        "problems": problems.iter().map(|problem| problem.to_string()).collect::<Vec<_>>(),
        "wants": {
            "files": wants.files, "names": wants.names, "name_retry": wants.name_retry,
            "objects": objects.collect::<Vec<_>>(),
        },
    });
    if !made.is_empty() {
        let shown =
            made.iter().map(|made| json!({
                "key": made.key, "owner": made.owner, "content": made.content, "now": format!("{:?}", made.now),
            }));
        all["made"] = shown.collect();
    }
    if !elsewhere.is_empty() {
        all["elsewhere"] = elsewhere.iter().map(|(key, group)| (key.to_string(), json!(group))).collect();
    }
    yaml(&all)
}

fn to_value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("plain data")
}

#[test]
fn cases_mean_what_stands_beside_them() {
    let update = std::env::var_os("UPDATE").is_some();
    let cases = cases();
    assert!(!cases.is_empty(), "there are no cases");
    let mut wrong = Vec::new();
    for path in cases {
        let case = Case::read(&fs::read_to_string(&path).expect("the case"));
        let translation = limen_translate::translate(&case.snapshot, &case.settings);
        let shown = show(&translation, &case);
        let expectation = expectation(&path);
        if update {
            fs::write(&expectation, &shown).expect("write the expectation");
        }
        // A case without expectation is a failure, as nothing equals it.
        if fs::read_to_string(&expectation).ok().as_deref() != Some(&*shown) {
            wrong.push(format!("{}\n{}", expectation.display(), shown));
        }
    }
    assert!(wrong.is_empty(), "read, and bless with UPDATE=1 if it is right:\n{}", wrong.join("\n"));
}

#[test]
fn every_case_shows_something_of_its_own() {
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in cases() {
        let shown = fs::read_to_string(expectation(&path)).expect("an expectation");
        if let Some(other) = seen.insert(shown, path.clone()) {
            panic!("{} and {} have the same output", other.display(), path.display());
        }
    }
}

#[test]
fn no_expectation_is_left_without_its_case() {
    let known: Vec<_> = cases().iter().map(|case| expectation(case)).collect();
    for case in cases() {
        let folder = case.parent().expect("a folder");
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_output = path.to_string_lossy().ends_with(".out.yaml");
            assert!(!is_output || known.contains(&path), "{} has no case", path.display());
        }
    }
}

#[test]
fn translating_again_gives_the_same_objects() {
    for path in cases() {
        let case = Case::read(&fs::read_to_string(&path).expect("the case"));
        let mut translator = Translator::new();
        let first = translator.translate(&case.snapshot, &case.settings);
        let second = translator.translate(&case.snapshot, &case.settings);
        assert!(Arc::ptr_eq(&first.ir, &second.ir), "{}", path.display());
        assert!(Arc::ptr_eq(&first.endpoints, &second.endpoints), "{}", path.display());
        assert_eq!(first.problems, second.problems, "{}", path.display());
    }
}

#[test]
fn no_expectation_shows_key_material() {
    let mut keys = 0;
    for path in cases() {
        let input = fs::read_to_string(&path).expect("the case");
        let shown = fs::read_to_string(expectation(&path)).expect("an expectation");
        assert!(!shown.contains("PRIVATE KEY"), "{}", path.display());
        for secret in support::KEY_MATERIAL {
            keys += usize::from(input.contains(secret));
            assert!(!shown.contains(secret), "{}", path.display());
        }
    }
    assert!(keys > 0, "no case holds a key, so the test says nothing");
}
