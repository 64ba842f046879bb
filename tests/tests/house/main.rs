//! The house checks itself: edges, sizes, unsafe code, bans, licences. A rule without a test is a wish, so every check
//! has a self-test that shows it a violation.

mod checks;
mod edges;
mod licences;
mod selftest;
mod source;

use std::fs;

use checks::Finding;
use source::Source;

/// Findings that are allowed, each with its reason. An exception that no longer finds anything is an error.
/// `(check, path, reason)`
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "tables_are_still",
    "crates/proxy/src/table/pattern.rs",
    "a static hands out ids while patterns are compiled; no table holds it",
)];

fn report(check: &str, found: &[Finding]) {
    let excepted = |f: &Finding| EXCEPTIONS.iter().any(|(c, path, _)| *c == f.check && *path == f.path);
    let open: Vec<String> =
        found.iter().filter(|f| !excepted(f)).map(|f| format!("  {}: {}", f.path, f.text)).collect();
    assert!(open.is_empty(), "{check}: {} findings\n{}", open.len(), open.join("\n"));
    for (c, path, reason) in EXCEPTIONS.iter().filter(|(c, _, _)| *c == check) {
        let used = found.iter().any(|f| f.path == *path);
        assert!(used, "the exception {c} for {path} ({reason}) is no longer needed: delete it");
    }
}

fn over_all(check: &str, run: fn(&Source) -> Vec<Finding>) {
    let found: Vec<Finding> = source::all().iter().flat_map(run).collect();
    report(check, &found);
}

#[test]
fn crates_import_only_what_the_table_allows() {
    report("edges", &edges::edges(&edges::metadata()));
}

#[test]
fn files_and_functions_keep_their_size() {
    over_all("sizes", checks::sizes);
}

#[test]
fn unsafe_code_stands_in_one_module() {
    over_all("unsafe_code", checks::unsafe_code);
}

#[test]
fn crates_do_not_speak_what_their_walls_keep_out() {
    over_all("forbidden", checks::forbidden);
}

#[test]
fn only_compile_reads_the_ir() {
    over_all("ir_in_compile_only", checks::ir_in_compile_only);
}

#[test]
fn tables_do_not_move() {
    over_all("tables_are_still", checks::tables_are_still);
}

#[test]
fn nothing_waits_by_the_systems_clock() {
    over_all("wall_clock", checks::wall_clock);
}

#[test]
fn modules_of_the_proxy_point_one_way() {
    over_all("module_order", checks::module_order);
}

#[test]
fn nothing_banned_is_left_behind() {
    over_all("bans", checks::bans);
}

#[test]
fn diagnostics_have_codes_of_their_own() {
    report("codes", &checks::codes(&source::all()));
}

/// Where what is written by hand stands.
const FOLDERS: [&str; 7] = ["crates", "tests", "docs", "examples", "bench", "conformance", ".ci"];

#[test]
fn no_file_names_a_home_folder() {
    let root = source::root();
    let mut found = Vec::new();
    for folder in FOLDERS {
        source::walk(&root.join(folder), &mut |path| {
            let name = path.strip_prefix(&root).unwrap_or(path).to_string_lossy().into_owned();
            // What is not text cannot be read by a user either.
            if let Ok(text) = fs::read_to_string(path) {
                found.extend(checks::home_paths(&name, &text));
            }
        });
    }
    report("home_paths", &found);
}

#[test]
fn documents_name_files_that_exist() {
    let root = source::root();
    let mut files = Vec::new();
    for folder in FOLDERS {
        source::walk(&root.join(folder), &mut |path| {
            files.push(format!("/{}", path.strip_prefix(&root).unwrap_or(path).to_string_lossy()));
        });
    }
    let mut found = Vec::new();
    let documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "STYLE.md", "bench/README.md"];
    let more = [
        "docs/security.md",
        "docs/faults.md",
        "docs/fuzzing.md",
        "docs/limits.md",
        "docs/live-change.md",
        "docs/parsing.md",
        "docs/http2.md",
        "docs/life-of-a-request.md",
        "docs/life-of-a-resource.md",
        "conformance/README.md",
    ];
    for document in documents.into_iter().chain(more) {
        let text = fs::read_to_string(root.join(document)).expect("the document stands there");
        found.extend(checks::named_files(document, &text, &files));
    }
    report("named_files", &found);
}

#[test]
fn every_class_of_attack_and_every_fault_has_a_test_that_exists() {
    for document in ["docs/security.md", "docs/faults.md"] {
        let text = fs::read_to_string(source::root().join(document)).expect("the document stands there");
        report("untested_rows", &checks::untested_rows(document, &text));
        report("named_tests", &checks::named_tests(document, &text, &source::all()));
    }
}

#[test]
fn licences_are_those_of_deny_toml() {
    let allowed = licences::allowed();
    assert!(allowed.contains("Apache-2.0") && allowed.len() > 5, "deny.toml lists {allowed:?}");
    let packages = licences::packages();
    assert!(
        packages["packages"].as_array().is_some_and(|p| p.len() > 50),
        "cargo metadata lists the whole graph"
    );
    report("licences", &licences::check(&packages, &allowed));
}

#[test]
fn a_crates_clippy_file_repeats_the_settings_of_the_root() {
    let root = source::root();
    let settings = fs::read_to_string(root.join("clippy.toml")).expect("the root has a clippy.toml");
    let mut seen = 0;
    source::walk(&root.join("crates"), &mut |path| {
        if path.file_name().is_some_and(|name| name == "clippy.toml" || name == ".clippy.toml") {
            let own = fs::read_to_string(path).expect("a clippy.toml is text");
            for line in settings.lines().filter(|line| line.contains(" = ")) {
                assert!(
                    own.contains(line),
                    "{} replaces the root's settings and lacks: {line}",
                    path.display()
                );
            }
            seen += 1;
        }
    });
    assert!(seen >= 2, "translate and wire have a clippy.toml of their own");
}
