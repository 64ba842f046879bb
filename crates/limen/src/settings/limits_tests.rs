//! The list of limits, the flags, the metrics and docs/limits.md are in step.

use std::path::Path;

use clap::{Args, Command};
use limen_proxy::observe::limits::Limit;
use limen_proxy::observe::{Registry, SourceLabels};

use super::{LIMITS, Settings};

/// Flags of the section of limits, with their defaults.
fn flags() -> Vec<(String, Option<String>)> {
    let command = Settings::augment_args(Command::new("limen"));
    let own = command.get_arguments().filter(|flag| flag.get_help_heading() == Some(LIMITS));
    own.map(|flag| {
        let default = flag.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        (flag.get_long().unwrap_or_default().to_owned(), default)
    })
    .collect()
}

/// Limit, flag and default of each line of the table.
fn documented() -> Vec<[String; 3]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
    let text = std::fs::read_to_string(path).unwrap();
    let list = text.split("## The list").nth(1).unwrap().split("\n**").next().unwrap();
    let lines = list.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [limit, flag, default, _from, beyond, used] = cells[..] else { panic!("six cells: {line}") };
            assert!(!beyond.is_empty() && !used.is_empty(), "{line}");
            [limit.trim_matches('`'), flag.trim_matches('`'), default].map(str::to_owned)
        })
        .collect()
}

#[test]
fn every_limit_has_its_line_with_its_flag_and_default() {
    let flags = flags();
    let documented = documented();
    let listed: Vec<[String; 2]> = Limit::ALL
        .iter()
        .map(|limit| [limit.row().name.to_owned(), format!("--{}", limit.row().flag)])
        .collect();
    let lines: Vec<[String; 2]> =
        documented.iter().map(|[limit, flag, _]| [limit.clone(), flag.clone()]).collect();
    assert_eq!(lines, listed, "docs/limits.md, and the list in observe/limits.rs");
    for [limit, flag, default] in &documented {
        let known = flags.iter().find(|(name, _)| format!("--{name}") == *flag);
        let (_, own) = known.unwrap_or_else(|| panic!("{limit}: there is no {flag}"));
        if let Some(own) = own {
            assert_eq!(own, default, "{limit}");
        }
    }
    for (flag, _) in &flags {
        assert!(
            Limit::ALL.iter().any(|limit| limit.row().flag == flag),
            "--{flag} sets no limit of the list"
        );
    }
}

#[test]
fn every_limit_has_its_metrics() {
    let registry = Registry::default();
    for limit in Limit::ALL {
        registry.set_limit(*limit, 7);
    }
    let mut page = String::new();
    registry.render(&SourceLabels::default(), &mut page);
    for limit in Limit::ALL {
        for metric in ["limen_limit", "limen_limit_used", "limen_limit_refused_total"] {
            let series = format!("\n{metric}{{limit=\"{}\"}} ", limit.row().name);
            assert_eq!(page.matches(&series).count(), 1, "{series}");
        }
    }
}
