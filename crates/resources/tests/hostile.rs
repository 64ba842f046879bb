//! No text makes the reader panic, lose a neighbour or point outside of the text.

use std::fs;
use std::path::Path;

use base64::Engine;
use limen_resources::parse;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

mod check;

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
        check::check_text(&text);
    }

    #[test]
    fn neighbours_survive(text in mutated()) {
        check::check_neighbours(&text);
    }

    #[test]
    fn mutated_objects_are_told_as_they_are_written(text in mutated(), choice in any::<u8>()) {
        for document in text.split("\n---\n") {
            check::check_object(document, choice);
        }
    }

    #[test]
    fn mutated_keys_are_read_or_refused(
        lines in vec(select(vec![
            "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----", "-----BEGIN", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "AAEC", "AAE=", "AA==", "A", "", " ",
        ]), 0..10),
    ) {
        check::check_keys(lines.join("\n").as_bytes(), |bytes| base64::engine::general_purpose::STANDARD.encode(bytes));
    }

    #[test]
    fn any_text_at_all(text in "\\PC{0,200}") {
        parse("m.yaml", &text, "default");
    }
}
