//! Every check is shown something that it must find, and something like it that is allowed.

use std::collections::BTreeSet;

use serde_json::json;

use crate::checks;
use crate::edges::edges;
use crate::licences::satisfied;
use crate::source::{Source, mask};

type Check = fn(&Source) -> Vec<checks::Finding>;

#[track_caller]
fn finds(check: Check, path: &str, text: &str, expected: &str) {
    let found = check(&Source::new(path, text));
    assert!(found.iter().any(|f| f.text.contains(expected)), "wanted {expected:?} in {found:?} of {text}");
}

#[track_caller]
fn passes(check: Check, path: &str, text: &str) {
    let found = check(&Source::new(path, text));
    assert!(found.is_empty(), "{found:?} in {text}");
}

#[test]
fn masking_keeps_code_and_lines() {
    let text = "a /* b /* c */ \n d */ 'e' \"f\\\"g\" r#\"h\"i\"# &'j str b'\\'' // k\nl";
    let masked = mask(text);
    assert_eq!(masked.len(), text.len());
    assert_eq!(masked.lines().count(), text.lines().count());
    assert_eq!(masked.split_whitespace().collect::<Vec<_>>(), ["a", "&'j", "str", "b", "l"]);
}

#[test]
fn sizes_can_fail() {
    let long = "let x = 1;\n".repeat(101);
    finds(checks::sizes, "crates/ir/src/a.rs", &format!("fn f() {{\n{long}}}\n"), "function f has 103 lines");
    finds(checks::sizes, "crates/ir/src/a.rs", &"const A: u8 = 1;\n".repeat(601), "601 production lines");
    let module = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "const A: u8 = 1;\n".repeat(60));
    finds(checks::sizes, "crates/ir/src/a.rs", &module, "test module of 63 lines");
    passes(checks::sizes, "crates/ir/src/tests.rs", &"const A: u8 = 1;\n".repeat(700));
    passes(checks::sizes, "crates/ir/src/a.rs", "trait T { fn f(&self); fn g(&self) {} }\n");
}

#[test]
fn codes_can_fail() {
    let table = |path: &str, text: &str| Source::new(path, text);
    let one = table("crates/ir/src/a.rs", "A = \"LIM0001\" \"A\";\n");
    let two = table("crates/ir/src/b.rs", "B = \"LIM0002\" \"B\";\nC = \"LIM0001\" \"C\";\n");
    let found = checks::codes(&[one, two]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].text, "line 2: LIM0001 stands in crates/ir/src/a.rs already");
    let elsewhere = "crates/ir/src/b_tests.rs";
    let apart = [table("crates/ir/src/a.rs", "\"LIM0001\""), table(elsewhere, "\"LIM0001\" \"LIM1\"")];
    assert_eq!(checks::codes(&apart), []);
}

#[test]
fn unsafe_code_can_fail() {
    finds(checks::unsafe_code, "crates/ir/src/lib.rs", "pub mod a;\n", "forbid");
    finds(checks::unsafe_code, "crates/ir/src/lib.rs", "#![deny(unsafe_code)]\n", "forbid");
    finds(checks::unsafe_code, "crates/proxy/src/serve/a.rs", "fn f() { unsafe { g() } }", "sys only");
    finds(checks::unsafe_code, "crates/proxy/src/serve/a.rs", "#[allow(unsafe_code)]\nmod a {}", "sys only");
    passes(checks::unsafe_code, "crates/proxy/src/sys/a.rs", "fn f() { unsafe { g() } }");
    passes(
        checks::unsafe_code,
        "crates/proxy/src/lib.rs",
        "#![deny(unsafe_code)]\n#[allow(unsafe_code)]\nmod sys;\n",
    );
    passes(checks::unsafe_code, "crates/ir/src/a.rs", "// unsafe\nconst A: &str = \"unsafe\";\n");
}

#[test]
fn forbidden_can_fail() {
    finds(checks::forbidden, "crates/translate/src/a.rs", "use std::collections::HashMap;", "HashMap");
    finds(checks::forbidden, "crates/ir/src/a.rs", "use std::fs::File;", "std::fs");
    finds(checks::forbidden, "crates/wire/src/h1/a.rs", "use tokio::net::TcpStream;", "tokio::net");
    passes(checks::forbidden, "crates/wire/src/h1/a.rs", "use tokio::io::AsyncRead;");
    passes(checks::forbidden, "crates/translate/src/a.rs", "#[cfg(test)]\nmod tests { use std::fs; }");
    passes(checks::forbidden, "crates/sources/src/a.rs", "use std::fs;");
}

#[test]
fn the_ir_rule_can_fail() {
    finds(checks::ir_in_compile_only, "crates/proxy/src/table/a.rs", "use limen_ir::Port;", "compile");
    passes(checks::ir_in_compile_only, "crates/proxy/src/compile/a.rs", "use limen_ir::Port;");
    passes(checks::ir_in_compile_only, "crates/proxy/src/compile/tests.rs", "use limen_ir::Port;");
}

#[test]
fn the_rule_of_tables_can_fail() {
    for moving in ["std::cell::RefCell<u8>", "std::sync::Mutex<u8>", "AtomicU64"] {
        finds(
            checks::tables_are_still,
            "crates/proxy/src/table/a.rs",
            &format!("struct A({moving});"),
            "holds no",
        );
    }
    passes(checks::tables_are_still, "crates/proxy/src/table/a.rs", "/// No Cell.\nstruct A(u8);");
    passes(checks::tables_are_still, "crates/proxy/src/upstream/a.rs", "use std::cell::Cell;");
}

#[test]
fn the_order_of_modules_can_fail() {
    let order: Check = checks::module_order;
    finds(
        order,
        "crates/proxy/src/filter/mod.rs",
        "use crate::upstream::Pool;",
        "filter does not use upstream",
    );
    finds(
        order,
        "crates/proxy/src/table/mod.rs",
        "use crate::{clock, exchange::X};",
        "table does not use exchange",
    );
    finds(order, "crates/proxy/src/table/a.rs", "use super::super::serve;", "table does not use serve");
    finds(order, "crates/proxy/src/table.rs", "fn f() { super::serve::g() }", "table does not use serve");
    finds(order, "crates/proxy/src/exchange/a.rs", "use crate::compile::x;", "exchange does not use compile");
    finds(order, "crates/proxy/src/compile/a.rs", "use crate::upstream::x;", "compile does not use upstream");
    passes(order, "crates/proxy/src/serve/a.rs", "use crate::{exchange, observe::{Log, Count}, clock};");
    passes(order, "crates/proxy/src/table/a.rs", "use super::hosts; use super::super::filter;");
    passes(order, "crates/proxy/src/compile/a.rs", "use crate::table::Table;");
    passes(order, "crates/translate/src/filter/a.rs", "use crate::upstream::x;");
}

#[test]
fn the_rule_of_the_systems_clock_can_fail() {
    finds(checks::wall_clock, "crates/proxy/src/a.rs", "use std::time::SystemTime;", "may be set");
    passes(checks::wall_clock, "crates/proxy/src/clock.rs", "use std::time::SystemTime;");
    passes(checks::wall_clock, "crates/proxy/src/a.rs", "use std::time::Instant;");
}

#[test]
fn bans_can_fail() {
    let bans: Check = checks::bans;
    finds(bans, "crates/ir/src/a.rs", concat!("fn f() { to", "do!() }"), "is not left");
    finds(bans, "crates/ir/src/a.rs", concat!("fn f() { d", "bg!(1); }"), "is not left");
    finds(bans, "crates/ir/src/a.rs", concat!("#[ig", "nore]\nfn f() {}"), "ignored");
    finds(bans, "crates/ir/tests/a.rs", concat!("fn f() { std::thread::sl", "eep(x) }"), "does not sleep");
    finds(
        bans,
        "crates/ir/src/a.rs",
        concat!("#[cfg(test)]\nmod tests { fn f() { time::sl", "eep(x) } }"),
        "sleep",
    );
    passes(bans, "crates/proxy/src/clock.rs", concat!("fn f() { tokio::time::sl", "eep(x) }"));
    for address in ["\"127.0.0.1:8080\"", "(\"127.0.0.1\", 8080)", "\"[::1]:80\""] {
        finds(bans, "tests/a.rs", &format!("fn f() {{ TcpListener::bi{}({address}); }}", "nd"), "kernel");
    }
    passes(
        bans,
        "tests/a.rs",
        "fn f() { TcpListener::bind(\"127.0.0.1:0\"); x.bind((ip, 0)); y.bind(address); }",
    );
}

#[test]
fn home_paths_can_fail() {
    assert_eq!(checks::home_paths("docs/a.md", concat!("see /ho", "me/me/limen\n")).len(), 1);
    assert_eq!(checks::home_paths("docs/a.md", "see ~/limen\n").len(), 0);
}

#[test]
fn named_files_can_fail() {
    let files = ["/crates/proxy/src/exchange/mod.rs".to_owned()];
    let missing = |text: &str| checks::named_files("a.md", text, &files).len();
    assert_eq!(missing("see `exchange/mod.rs`, `proxy/exchange/`, `mod.rs` and `a b.rs`"), 0);
    assert_eq!(missing("see `exchange/retry.rs` and `compile/`"), 2);
}

#[test]
fn rows_without_tests_can_fail() {
    let tests = [Source::new("tests/tests/abuse/a.rs", "// fn c() {}\nfn b() {}\n")];
    let absent = |text: &str| checks::named_tests("a.md", text, &tests).len();
    assert_eq!((absent("| `x` | `abuse/a.rs::b` |"), absent("| `x` | `abuse/a.rs::c` `b.rs::b` |")), (0, 2));
    let untested = |text: &str| checks::untested_rows("a.md", text).len();
    let table = |row: &str| untested(&format!("| a |\n\n| Class | Test |\n|---|---|\n{row}\n\n| b |"));
    assert_eq!((table("| `x` | `a.rs::b` |"), table("| x | `a.yaml` |"), table("| x | `a.rs` |")), (0, 0, 1));
}

#[test]
fn edges_can_fail() {
    let package = |name: &str, target: &str| json!({ "packages": [{ "name": name, "dependencies": [{ "name": target }] }] });
    let texts = |name: &str, target: &str| {
        edges(&package(name, target)).into_iter().map(|f| f.text).collect::<Vec<_>>()
    };
    assert_eq!(texts("limen-ir", "limen-wire"), ["may not import limen-wire"]);
    assert_eq!(texts("limen-proxy", "limen-e2e"), ["may not import limen-e2e"]);
    assert!(texts("limen-new", "serde")[0].contains("no row"));
    assert!(texts("limen-translate", "tokio")[0].contains("keeps out tokio"));
    assert_eq!(texts("limen-proxy", "limen-ir"), Vec::<String>::new());
    let many: Vec<_> = (0..61).map(|n| json!({ "name": format!("x{n}") })).collect();
    let found = edges(&json!({ "packages": [{ "name": "limen", "dependencies": many }] }));
    assert!(found[0].text.contains("61 direct dependencies"));
}

#[test]
fn licence_expressions_are_understood() {
    let allowed: BTreeSet<String> =
        ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"].map(str::to_owned).into();
    for good in
        ["MIT", "GPL-3.0 OR MIT", "MIT/Unknown", "(GPL-3.0 OR MIT) AND ISC", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(satisfied(good, &allowed), "{good}");
    }
    for bad in
        ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT WITH GCC-exception", "GPL-2.0 OR (MIT AND BSD)"]
    {
        assert!(!satisfied(bad, &allowed), "{bad}");
    }
}
