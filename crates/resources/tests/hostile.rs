//! No text makes the reader panic, lose a neighbour or point outside of the text.

use std::fs;
use std::path::Path;

use limen_resources::{Kind, ObjectKey, parse};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The inputs of the goldens, as material.
fn material() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .expect("the goldens")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".in.yaml"))
        .collect();
    cases.sort();
    cases.iter().map(|path| fs::read_to_string(path).expect("a golden")).collect()
}

const PIECES: [&str; 34] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "\t",
    "'",
    "\"",
    "#",
    "&a ",
    "*a",
    "<<: ",
    "|\n",
    ">-\n",
    "!",
    "!!str ",
    "%",
    "%YAML 1.2\n",
    "---",
    "\n---\n",
    "...",
    "\n...\n",
    "\u{feff}",
    "\u{0}",
    "\r\n",
    "é",
    "😀",
    "? ",
    "\\",
    ",",
];

/// A text with pieces cut out and put in.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<Index>(), 0_usize..40, select(PIECES.to_vec()));
    (select(material()), vec(edit, 1..12)).prop_map(|(text, edits)| {
        let mut letters: Vec<char> = text.chars().collect();
        for (at, cut, piece) in edits {
            let start = at.index(letters.len() + 1);
            let end = (start + cut).min(letters.len());
            letters.splice(start..end, piece.chars());
        }
        letters.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn mutated_text_is_read_or_reported(text in mutated()) {
        let parsed = parse("m.yaml", &text, "default");
        let lines = u32::try_from(text.split('\n').count()).expect("a small text");
        for problem in &parsed.problems {
            let at = problem.at.as_ref().expect("a place");
            prop_assert!((1..=lines + 1).contains(&at.line), "{problem}");
        }
        prop_assert!(!parsed.broken || !parsed.problems.is_empty());
        for key in &parsed.invalid {
            prop_assert!(parsed.objects.iter().all(|object| object.key() != key));
        }
    }

    #[test]
    fn neighbours_survive(text in mutated()) {
        let good = |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
        let parsed = parse("m.yaml", &format!("{}---\n{text}\n---\n{}", good("before"), good("after")), "default");
        for name in ["before", "after"] {
            let key = ObjectKey::new(Kind::Namespace, "", name);
            prop_assert!(parsed.objects.iter().any(|object| *object.key() == key), "{name}: {:?}", parsed.problems);
        }
    }

    #[test]
    fn any_text_at_all(text in "\\PC{0,200}") {
        parse("m.yaml", &text, "default");
    }
}
