//! Finding the name that was probably meant.

/// The candidate that is nearest to `word` by edits, if it is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['_', '-'], "");
    let word = plain(word);
    if word.chars().count() > 64 {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let ranked = candidates.iter().map(|name| (distance(&word, &plain(name)), *name));
    ranked.filter(|(edits, _)| *edits <= allowed).min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

/// Edits, but names that differ in their ending only are near: `retry` and `retries`.
fn distance(a: &str, b: &str) -> usize {
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    if common >= 4 && common + 1 >= a.chars().count() { 1 } else { edits(a, b) }
}

/// How many insertions, deletions, replacements and swaps of neighbours make `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { best.min(rows[i - 2][j - 2] + 1) } else { best }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let names = ["timeout", "retries", "rewrite", "route", "redirect", "headers"];
        assert_eq!(nearest("tiemout", &names), Some("timeout"));
        assert_eq!(nearest("routes", &names), Some("route"));
        assert_eq!(nearest("retry", &names), Some("retries"));
        assert_eq!(nearest("Headers", &names), Some("headers"));
        assert_eq!(nearest("replicas", &names), None);
    }
}
