//! The checks. Each takes sources and returns what it found, so that a self-test can feed it a violation.

use crate::source::{Source, close_brace, words};

/// What a check found: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The check, as exceptions name it.
    pub(crate) check: &'static str,
    /// The file.
    pub(crate) path: String,
    /// What stands there, and the rule.
    pub(crate) text: String,
}

fn finding(check: &'static str, source: &Source, at: usize, text: &str) -> Finding {
    Finding { check, path: source.path.clone(), text: format!("line {}: {text}", source.line(at)) }
}

/// Most lines of production code in a file.
const FILE_LINES: usize = 600;
/// Most lines of a function.
const FUNCTION_LINES: usize = 100;
/// Most lines of a test module inside a file of production code.
const TEST_MODULE_LINES: usize = 60;

/// Files, functions and inline test modules keep their size.
pub(crate) fn sizes(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let lines = |(start, end): (usize, usize)| source.code[start..end].lines().count();
    let tests: usize = source.test_modules.iter().map(|m| lines(*m)).sum();
    let production = source.raw.lines().count() - tests;
    if !source.is_test_file() && production > FILE_LINES {
        found.push(finding(
            "sizes",
            source,
            0,
            &format!("{production} production lines, at most {FILE_LINES}"),
        ));
    }
    for module in source.test_modules.iter().filter(|_| !source.is_test_file()) {
        let n = lines(*module);
        if n > TEST_MODULE_LINES {
            let text =
                format!("test module of {n} lines, at most {TEST_MODULE_LINES}: move it to tests.rs beside");
            found.push(finding("sizes", source, module.0, &text));
        }
    }
    // `fn(…)` is the type of a pointer.
    for at in words(&source.code, "fn").filter(|at| !source.code[at + 2..].starts_with('(')) {
        let Some(stop) = source.code[at..].find(['{', ';']).map(|n| at + n) else { continue };
        if source.code.as_bytes()[stop] == b';' {
            continue;
        }
        let n = source.code[at..close_brace(&source.code, stop)].lines().count();
        if n > FUNCTION_LINES {
            let name = source.code[at + 2..].trim_start().split(['(', '<']).next().unwrap_or("").to_owned();
            let text = format!("function {name} has {n} lines, at most {FUNCTION_LINES}");
            found.push(finding("sizes", source, at, &text));
        }
    }
    found
}

/// The one module that may hold unsafe code.
const UNSAFE_MODULE: &str = "crates/proxy/src/sys";

/// Unsafe code is forbidden in every crate root, and stands in one module only.
pub(crate) fn unsafe_code(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    let root = source.path.ends_with("/src/lib.rs") || source.path.ends_with("/src/main.rs");
    if root || source.path == "tests/harness/lib.rs" {
        let denies = source.code.contains("#![deny(unsafe_code)]") && source.krate() == "proxy";
        if !source.code.contains("#![forbid(unsafe_code)]") && !denies {
            found.push(finding("unsafe_code", source, 0, "a crate root says #![forbid(unsafe_code)]"));
        }
    }
    if !source.path.starts_with(UNSAFE_MODULE) {
        let switch = words(&source.code, "unsafe_code").filter(|at| {
            let before = source.code[..*at].trim_end();
            before.ends_with("allow(") || before.ends_with("expect(")
        });
        let opens_sys = source.path == "crates/proxy/src/lib.rs";
        for at in words(&source.code, "unsafe").chain(switch.filter(|_| !opens_sys)) {
            found.push(finding("unsafe_code", source, at, "unsafe code stands in proxy/src/sys only"));
        }
    }
    found
}

/// Names that a crate's production code may not speak, with the reason.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[
    (
        "ir",
        &["tokio", "rustls", "std::fs", "std::net::TcpStream", "Instant", "SystemTime"],
        "a noun has no hands",
    ),
    (
        "ir",
        &["Deserialize", "Mutex", "RefCell", "HashMap", "HashSet"],
        "the IR is plain, ordered data for dumping",
    ),
    (
        "resources",
        &["tokio", "std::fs", "kube", "Instant", "SystemTime"],
        "what was written is text and types, no IO",
    ),
    (
        "translate",
        &["tokio", "std::fs", "std::env", "Instant", "SystemTime", "rand"],
        "same input, same bytes out",
    ),
    ("translate", &["HashMap", "HashSet"], "their order is random: BTreeMap keeps the bytes the same"),
    ("sources", &["limen_ir", "limen_translate", "limen_proxy"], "it carries letters, it does not read them"),
    ("wire", &["tokio::net", "tokio::time", "tokio::spawn", "std::fs", "rustls"], "bytes in, frames out"),
    ("wire", &["TcpStream", "TcpListener", "UdpSocket"], "a codec is generic over the stream it is given"),
    ("wire", &["Instant", "SystemTime"], "a codec is told the time"),
    (
        "proxy",
        &["kube", "prost", "saphyr_parser", "notify"],
        "the data plane must not know where configuration lives",
    ),
];

/// Crates do not speak the names that their walls keep out.
pub(crate) fn forbidden(source: &Source) -> Vec<Finding> {
    let production = source.production();
    let mut found = Vec::new();
    for (_, names, why) in FORBIDDEN.iter().filter(|(krate, _, _)| *krate == source.krate()) {
        for name in *names {
            for at in words(&production, name) {
                found.push(finding(
                    "forbidden",
                    source,
                    at,
                    &format!("{name} is kept out of this crate: {why}"),
                ));
            }
        }
    }
    found
}

/// Only `compile` reads the IR; the crate's root hands it over.
pub(crate) fn ir_in_compile_only(source: &Source) -> Vec<Finding> {
    let hands_over =
        matches!(source.path.as_str(), "crates/proxy/src/lib.rs" | "crates/proxy/src/control.rs");
    let inside = hands_over
        || source.path == "crates/proxy/src/compile.rs"
        || source.path.starts_with("crates/proxy/src/compile/");
    if source.krate() != "proxy" || inside {
        return Vec::new();
    }
    let production = source.production();
    let found = words(&production, "limen_ir");
    found.map(|at| finding("ir_in_compile_only", source, at, "only proxy/src/compile reads the IR")).collect()
}

/// Tables are read by many and written by none.
pub(crate) fn tables_are_still(source: &Source) -> Vec<Finding> {
    let module = source.module_path();
    if source.krate() != "proxy" || module.first().map(String::as_str) != Some("table") {
        return Vec::new();
    }
    let production = source.production();
    let moving = |word: &str| {
        matches!(word, "Cell" | "RefCell" | "UnsafeCell" | "OnceCell" | "Mutex" | "RwLock")
            || word.starts_with("Atomic")
    };
    identifiers(&production)
        .filter(|(_, word)| moving(word))
        .map(|(at, word)| finding("tables_are_still", source, at, &format!("a table holds no {word}")))
        .collect()
}

/// Who may ask the system what time it is: its clock may be set, so that nothing may wait by it.
const WALL_CLOCK: [&str; 4] = [
    "crates/limen/src/admin/expiry.rs",
    "crates/proxy/src/clock.rs",
    "crates/proxy/src/run.rs",
    "crates/sources/src/disk.rs",
];

/// Timeouts are measured by a clock that nobody sets.
pub(crate) fn wall_clock(source: &Source) -> Vec<Finding> {
    let ours = source.path.starts_with("crates/") && source.path.contains("/src/");
    if !ours || source.is_test_file() || WALL_CLOCK.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let production = source.production();
    let names = ["SystemTime", "UNIX_EPOCH"];
    let found = names.iter().flat_map(|name| words(&production, name));
    found
        .map(|at| finding("wall_clock", source, at, "the system's clock may be set: ask for an Instant"))
        .collect()
}

fn identifiers(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter_map(move |word| {
        let here = at;
        at += word.len() + 1;
        (!word.is_empty()).then_some((here, word))
    })
}

/// Modules of `proxy` from the socket down to the leaves; a module uses those of a later row only. Modules that no row
/// names are free: they are small and the list of them is short.
const ORDER: &[&[&str]] = &[
    &["run"],
    &["serve"],
    &["exchange"],
    &["worker"],
    &["upstream"],
    &["explain"],
    &["table"],
    &["filter"],
    &["clock", "observe", "limits", "stream", "sys"],
];

/// Inside `proxy`, arrows point one way.
pub(crate) fn module_order(source: &Source) -> Vec<Finding> {
    let module = source.module_path();
    let Some(own) = module.first().filter(|_| source.krate() == "proxy") else { return Vec::new() };
    let row = |name: &str| ORDER.iter().position(|names| names.contains(&name));
    let mut found = Vec::new();
    for (at, target) in uses(source) {
        let wrong = match (row(own), row(&target)) {
            _ if *own == target => false,
            (Some(from), Some(to)) => to < from,
            // Building tables: nothing of the request path is known there, and nobody there knows of building.
            (None, Some(to)) if own == "compile" => to < row("table").unwrap_or(0),
            (Some(_), None) => target == "compile",
            _ => false,
        };
        if wrong {
            found.push(finding("module_order", source, at, &format!("{own} does not use {target}")));
        }
    }
    found
}

/// Top-level modules of the own crate that the production code names, by `crate::` or `super::`.
pub(crate) fn uses(source: &Source) -> Vec<(usize, String)> {
    let production = source.production();
    let depth = source.module_path().len();
    let mut found = Vec::new();
    for at in words(&production, "crate") {
        found.extend(targets(&production, at + "crate".len()));
    }
    for at in words(&production, "super") {
        let mut end = at;
        let mut ups = 0;
        while production[end..].starts_with("super") {
            ups += 1;
            end += "super".len();
            if production[end..].starts_with("::super") {
                end += 2;
            }
        }
        let first = !production[..at].ends_with("::");
        if first && ups == depth {
            found.extend(targets(&production, end));
        }
    }
    found
}

/// The names right after `::` at `at`, one or a braced group.
fn targets(code: &str, at: usize) -> Vec<(usize, String)> {
    let Some(rest) = code[at..].strip_prefix("::") else { return Vec::new() };
    let start = at + 2;
    let name = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![(start, name(rest))] };
    let end = close_brace(code, start) - start - 2;
    let mut depth = 0;
    let parts = group[..end].split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    parts.map(|part| (start, name(part.trim()))).filter(|(_, n)| !n.is_empty()).collect()
}

/// Things that no code may leave behind, and things that tests may not do.
pub(crate) fn bans(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in ["todo", "unimplemented", "dbg"] {
        for at in words(&source.code, name).filter(|at| source.code[at + name.len()..].starts_with('!')) {
            found.push(finding("bans", source, at, &format!("{name}! is not left in the code")));
        }
    }
    for (at, _) in source.code.match_indices("#[ignore") {
        found.push(finding("bans", source, at, "a test runs or is deleted, it is not ignored"));
    }
    let tests = Source::new(&source.path, &source.test_raw());
    for name in ["thread::sleep", "time::sleep", "sleep_ms"] {
        for at in words(&tests.code, name) {
            found.push(finding("bans", source, at, "a test waits for an event, it does not sleep"));
        }
    }
    for (at, _) in tests.code.match_indices("bind(") {
        let end = at + tests.raw[at..].find(')').unwrap_or(0);
        if names_a_port(&tests.raw[at..end]) {
            found.push(finding("bans", source, at, "a test asks the kernel for its port: bind port 0"));
        }
    }
    found
}

/// Whether an address in the arguments of a bind has a port other than 0, after `:` or as the second of a pair.
fn names_a_port(arguments: &str) -> bool {
    let after = arguments.rsplit([':', ',']).next().unwrap_or("").trim();
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    let separated = arguments.contains([':', ',']);
    separated && digits.chars().any(|c| c != '0')
}

/// Files do not name anyone's home folder.
pub(crate) fn home_paths(path: &str, text: &str) -> Vec<Finding> {
    let homes = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let hits = text.lines().enumerate().filter(|(_, line)| homes.iter().any(|home| line.contains(home)));
    hits.map(|(n, _)| Finding {
        check: "home_paths",
        path: path.to_owned(),
        text: format!("line {}: an absolute path into someone's home folder", n + 1),
    })
    .collect()
}

/// Files and folders that a document names in backticks (`a/b.rs`, `a/`) exist; each may be named by the end of its path,
/// with the `src` in between left out. `files` begin with a slash.
pub(crate) fn named_files(document: &str, text: &str, files: &[String]) -> Vec<Finding> {
    let short: Vec<String> = files.iter().map(|file| file.replace("/src/", "/")).collect();
    let exists = |name: &str| {
        let wanted = format!("/{}", name.trim_start_matches('/'));
        let folder = wanted.ends_with('/');
        let holds = |file: &String| if folder { file.contains(&wanted) } else { file.ends_with(&wanted) };
        files.iter().any(holds) || short.iter().any(holds)
    };
    let names = text.split('`').skip(1).step_by(2).filter(|name| {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b));
        let ends = [".rs", ".md", ".toml", ".yaml", ".c"].iter().any(|end| name.ends_with(end))
            || name.ends_with('/');
        plain && ends && name.len() > 1
    });
    let outside = ["clippy.toml", "Cargo.toml", "STYLE.md", "ARCHITECTURE.md", "deny.toml"];
    names
        .filter(|name| !exists(name) && !outside.contains(name))
        .map(|name| Finding {
            check: "named_files",
            path: document.to_owned(),
            text: format!("it names `{name}`, which does not exist"),
        })
        .collect()
}

/// Tests that a document names in backticks (`file.rs::name`) exist: a file whose path ends so has a function of that name.
pub(crate) fn named_tests(document: &str, text: &str, sources: &[Source]) -> Vec<Finding> {
    let exists = |file: &str, name: &str| {
        let function = format!("fn {name}(");
        let tests = sources.iter().filter(|source| source.path.ends_with(&format!("/{file}")));
        tests.into_iter().any(|source| Source::new(&source.path, &source.test_raw()).code.contains(&function))
    };
    let named = text.split('`').skip(1).step_by(2).filter_map(|name| name.split_once("::"));
    let absent = named.filter(|(file, name)| file.ends_with(".rs") && !exists(file, name));
    let finding = |(file, name): (&str, &str)| Finding {
        check: "named_tests",
        path: document.to_owned(),
        text: format!("it names the test `{file}::{name}`, which does not exist"),
    };
    absent.map(finding).collect()
}

/// Rows of tables with a last column `Test` that name neither a test nor a scenario.
pub(crate) fn untested_rows(document: &str, text: &str) -> Vec<Finding> {
    let mut tested = false;
    let rows = text.lines().filter(|line| {
        tested = line.starts_with('|') && (tested || line.ends_with("| Test |"));
        let rule = line.starts_with("|---") || line.ends_with("| Test |");
        tested && !rule && !line.contains(".rs::") && !line.contains(".yaml`")
    });
    let finding = |row: &str| Finding {
        check: "untested_rows",
        path: document.to_owned(),
        text: format!("no test is named in {row}"),
    };
    rows.map(finding).collect()
}

/// A diagnostic's code means one thing: it is written once, where it is defined.
pub(crate) fn codes(sources: &[Source]) -> Vec<Finding> {
    let mut seen = std::collections::BTreeMap::<&str, &str>::new();
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.path.contains("/src/") && !source.is_test_file()) {
        for (at, _) in source.raw.match_indices('"') {
            let Some(code) = source.raw.get(at + 1..at + 8).filter(|code| is_code(code)) else { continue };
            let quoted = source.raw.as_bytes().get(at + 8) == Some(&b'"');
            if quoted && let Some(first) = seen.insert(code, &source.path) {
                found.push(finding("codes", source, at, &format!("{code} stands in {first} already")));
            }
        }
    }
    found
}

fn is_code(text: &str) -> bool {
    let Some((prefix, number)) = text.split_at_checked(3) else { return false };
    matches!(prefix, "LIM" | "IST") && number.bytes().all(|byte| byte.is_ascii_digit())
}
