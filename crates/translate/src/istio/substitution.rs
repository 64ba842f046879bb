//! What is written for each match of a rewrite by expression.

use limen_ir::policy::rewrite::SubstitutionPart;

/// Takes RE2's notation apart: `\\0` to `\\9` stand for groups, `\\\\` for a backslash. `groups`: how many the
/// expression has.
pub(crate) fn parse(text: &str, groups: usize) -> Result<Vec<SubstitutionPart>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        if char != '\\' {
            literal.push(char);
            continue;
        }
        match rest.next() {
            Some('\\') => literal.push('\\'),
            Some(digit) if digit.is_ascii_digit() => {
                let group = digit as u8 - b'0';
                if usize::from(group) > groups {
                    return Err(format!("\\{group} is named, but the expression has {groups} groups"));
                }
                if !literal.is_empty() {
                    parts.push(SubstitutionPart::Literal(std::mem::take(&mut literal)));
                }
                parts.push(SubstitutionPart::Group(group));
            }
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!("`\\{other}` means nothing"));
            }
        }
    }
    if !literal.is_empty() {
        parts.push(SubstitutionPart::Literal(literal));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::SubstitutionPart::{Group, Literal};
    use super::parse;

    #[test]
    fn groups_and_backslashes() {
        let literal = |text: &str| Literal(text.to_owned());
        assert_eq!(parse(r"/\1/x\\\0", 1), Ok(vec![literal("/"), Group(1), literal(r"/x\"), Group(0)]));
        assert_eq!(parse(r"\10", 1), Ok(vec![Group(1), literal("0")]));
        assert_eq!(parse("", 0), Ok(vec![]));
        assert!(parse(r"\2", 1).is_err() && parse(r"\n", 1).is_err() && parse(r"x\", 1).is_err());
    }
}
