//! The document states what the code does.

use std::collections::BTreeSet;

use limen::selftest::classes;

pub(super) const TEXT: &str = include_str!("../../../docs/security.md");

/// The row of each class says what is sent and the bounds that hold.
#[test]
fn every_class_of_the_command_stands_in_the_document_with_its_bounds() {
    let mut names = BTreeSet::new();
    for class in classes() {
        assert!(names.insert(class.name), "{} stands twice", class.name);
        let (cpu, memory) = (class.cpu.as_secs(), class.memory >> 20);
        let row = format!("| `{}` | {} | {cpu} s, {memory} MiB | `", class.name, class.sends);
        assert!(TEXT.lines().any(|line| line.starts_with(&row)), "docs/security.md lacks the row\n{row}…");
    }
    let told = TEXT.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    for told in told {
        assert!(
            names.contains(told),
            "docs/security.md has a row for {told}, which `limen selftest attack` lacks"
        );
    }
}
