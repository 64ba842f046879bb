//! `coverage.toml` says which case covers which rule of Istio's; here it is kept true.
// Test code: a failed expectation is a panic with a reason.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Coverage {
    /// Rows of which something is missing.
    unserved: usize,
    /// Rows of sections that speak of traffic which no running gateway shows.
    unrun: usize,
    row: Vec<Row>,
    other: Vec<Other>,
}

/// One rule.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    section: String,
    rule: String,
    #[serde(default)]
    by: Vec<String>,
    missing: Option<String>,
}

/// Cases of something that is no rule of Istio's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    chapter: String,
    cases: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn coverage() -> Coverage {
    toml::from_str(&fs::read_to_string(root().join("tests/coverage.toml")).unwrap()).unwrap()
}

impl Coverage {
    /// Every name of a case, with who names it.
    fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        let rows = self.row.iter().flat_map(|row| row.by.iter().map(|case| (case.as_str(), row.id.as_str())));
        let others = self.other.iter();
        rows.chain(others.flat_map(|other| other.cases.iter().map(|case| (case.as_str(), &*other.chapter))))
    }
}

impl Row {
    /// Does a running gateway show it?
    fn runs(&self) -> bool {
        // The last is the binary as a process of its own.
        const OF_GATEWAYS: [&str; 3] = ["scenario/", "tests/", "crates/limen/tests/process.rs"];
        self.by.iter().any(|case| OF_GATEWAYS.iter().any(|place| case.starts_with(place)))
    }

    /// Is it about traffic?
    fn wants_a_run(&self) -> bool {
        matches!(self.section.split('.').next(), Some("2" | "3" | "6"))
    }
}

/// A folder of goldens: the prefix of their names, the folder, the end of an expectation's name.
const GOLDENS: [(&str, &str, &str); 4] = [
    ("resources/", "crates/resources/tests/golden", ".out.txt"),
    ("translate/istio/", "crates/translate/tests/golden/istio", ".out.yaml"),
    ("translate/gateway-api/", "crates/translate/tests/golden/gateway-api", ".out.yaml"),
    ("translate/ingress/", "crates/translate/tests/golden/ingress", ".out.yaml"),
];

/// Names of the files in a folder that end so, without that end.
fn names(folder: &str, end: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join(folder))
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(end)?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Every golden and every scenario by name.
fn cases() -> BTreeSet<String> {
    let mut cases = BTreeSet::new();
    for (prefix, folder, _) in GOLDENS {
        cases.extend(names(folder, ".in.yaml").iter().map(|name| format!("{prefix}{name}")));
    }
    let scenarios = names("tests/scenarios", ".yaml");
    // The Gateway that scenarios share is no scenario.
    cases.extend(scenarios.iter().filter(|name| *name != "edge").map(|name| format!("scenario/{name}")));
    cases
}

/// Is there a test function of that name, as `path.rs#name`?
fn test_exists(case: &str) -> bool {
    let Some((path, name)) = case.split_once('#') else { return false };
    let Ok(text) = fs::read_to_string(root().join(path)) else { return false };
    let declared = [format!("fn {name}("), format!("fn {name}<")];
    let at = declared.iter().find_map(|declared| text.find(declared));
    // The attribute stands on the lines before, none of which is empty.
    at.and_then(|at| text.get(..at)).is_some_and(|before| {
        before.trim_end().lines().rev().take_while(|line| !line.trim().is_empty()).any(|line| {
            let line = line.trim();
            line.starts_with("#[") && line.contains("test")
        })
    })
}

fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn every_row_has_a_case_or_says_what_is_missing() {
    let coverage = coverage();
    let bare = |row: &&Row| row.by.is_empty() && row.missing.is_none();
    let found = coverage.row.iter().filter(bare).map(|row| format!("{} ({})", row.id, row.rule));
    none("rows without a case", found.collect());
    let mut ids = BTreeSet::new();
    let twice = coverage.row.iter().filter(|row| !ids.insert(&row.id)).map(|row| row.id.clone());
    none("ids that stand there twice", twice.collect());
    let mut rules = BTreeSet::new();
    let twice = coverage.row.iter().filter(|row| !rules.insert((&row.section, &row.rule)));
    none("rules that stand there twice", twice.map(|row| row.id.clone()).collect());
    assert!(!coverage.row.is_empty());
}

#[test]
fn every_case_covers_a_row() {
    let coverage = coverage();
    let named: BTreeSet<&str> = coverage.named().map(|(case, _)| case).collect();
    let found = cases().into_iter().filter(|case| !named.contains(case.as_str()));
    none("cases that no row of coverage.toml names", found.collect());
}

#[test]
fn every_name_is_that_of_a_case() {
    let coverage = coverage();
    let cases = cases();
    let unknown = |(case, _): &(&str, &str)| !cases.contains(*case) && !test_exists(case);
    let found = coverage.named().filter(unknown).map(|(case, of)| format!("{case}, named by {of}"));
    none("names of cases that do not exist", found.collect());
    let mut seen = BTreeSet::new();
    let twice = coverage.named().filter(|pair| !seen.insert(*pair));
    none("names that stand there twice", twice.map(|(case, of)| format!("{case} in {of}")).collect());
}

/// Two cases that show the same show one thing.
#[test]
fn no_two_goldens_show_the_same() {
    for (prefix, folder, end) in GOLDENS {
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for name in names(folder, ".in.yaml") {
            let shown = fs::read_to_string(root().join(folder).join(format!("{name}{end}"))).unwrap();
            // A golden of `resources` names its own file.
            let shown = shown.replace(&format!("{name}.yaml"), "");
            if let Some(other) = seen.insert(shown, name.clone()) {
                panic!("{prefix}{other} and {prefix}{name} have the same output");
            }
        }
    }
}

/// Two scenarios that ask and expect the same show one thing.
#[test]
fn no_two_scenarios_are_the_same() {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for name in names("tests/scenarios", ".yaml") {
        let text = fs::read_to_string(root().join(format!("tests/scenarios/{name}.yaml"))).unwrap();
        let rest: String = text.lines().filter(|line| !line.starts_with("about:")).collect();
        if let Some(other) = seen.insert(rest, name.clone()) {
            panic!("scenarios {other} and {name} are the same");
        }
    }
}

/// What is missing may only become less: whoever serves or shows more lowers the number.
#[test]
fn what_is_missing_only_becomes_less() {
    let coverage = coverage();
    let missing: Vec<&Row> = coverage.row.iter().filter(|row| row.missing.is_some()).collect();
    let unrun: Vec<&Row> = coverage.row.iter().filter(|row| row.wants_a_run() && !row.runs()).collect();
    let list = |rows: &[&Row]| {
        let line = |row: &&Row| {
            let why = row.missing.as_deref().unwrap_or("a golden shows it, but no running gateway");
            format!("  {} {}: {why}\n", row.section, row.id)
        };
        rows.iter().map(line).collect::<String>()
    };
    let said = format!(
        "{} of {} rows miss something:\n{}{} rows about traffic are not run:\n{}",
        missing.len(),
        coverage.row.len(),
        list(&missing),
        unrun.len(),
        list(&unrun)
    );
    eprint!("{said}");
    assert!(missing.len() <= coverage.unserved, "more is missing than before\n{said}");
    assert!(missing.len() == coverage.unserved, "write unserved = {} in coverage.toml", missing.len());
    assert!(unrun.len() <= coverage.unrun, "less is run than before\n{said}");
    assert!(unrun.len() == coverage.unrun, "write unrun = {} in coverage.toml", unrun.len());
}

#[test]
fn a_name_without_a_test_is_noticed() {
    assert!(test_exists("tests/tests/coverage.rs#a_name_without_a_test_is_noticed"));
    assert!(!test_exists("tests/tests/coverage.rs#no_such_test"));
    assert!(!test_exists("tests/tests/coverage.rs#test_exists"), "it is there, but no test");
    assert!(!test_exists("tests/tests/nothing.rs#run"));
    assert!(!test_exists("tests/tests/coverage.rs"));
}
