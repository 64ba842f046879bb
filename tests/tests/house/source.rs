//! Source files as the checks see them: raw text, and the same text with comments and literals blanked out.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust source file.
pub(crate) struct Source {
    /// Path from the root of the repository, with forward slashes.
    pub(crate) path: String,
    /// The text as it is.
    pub(crate) raw: String,
    /// The text with the inside of comments, strings and characters replaced by spaces; same length and lines.
    pub(crate) code: String,
    /// Byte ranges of modules behind `#[cfg(test)]`.
    pub(crate) test_modules: Vec<(usize, usize)>,
}

impl Source {
    /// Reads a text as if it stood at `path`.
    pub(crate) fn new(path: &str, raw: &str) -> Source {
        let code = mask(raw);
        let test_modules = find_test_modules(&code);
        Source { path: path.to_owned(), raw: raw.to_owned(), code, test_modules }
    }

    /// The crate's folder name (`ir`, `proxy`, …), or `tests` for the end-to-end package.
    pub(crate) fn krate(&self) -> &str {
        let mut parts = self.path.split('/');
        match parts.next() {
            Some("crates") => parts.next().unwrap_or(""),
            Some(first) => first,
            None => "",
        }
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test_file(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or("");
        self.krate() == "tests"
            || name == "tests.rs"
            || name.ends_with("_tests.rs")
            || self.path.split('/').any(|part| matches!(part, "tests" | "benches" | "fuzz"))
    }

    /// The masked text without test modules (they become blank lines); empty for a file of tests.
    pub(crate) fn production(&self) -> String {
        if self.is_test_file() {
            return String::new();
        }
        let mut bytes = self.code.clone().into_bytes();
        for &(start, end) in &self.test_modules {
            bytes[start..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The raw text of test code only (everything else is blank); the whole file for a file of tests.
    pub(crate) fn test_raw(&self) -> String {
        if self.is_test_file() {
            return self.raw.clone();
        }
        let keep = |at: usize| self.test_modules.iter().any(|&(start, end)| (start..end).contains(&at));
        let bytes = self.raw.bytes().enumerate();
        let kept = bytes.map(|(at, b)| if b == b'\n' || keep(at) { b } else { b' ' }).collect::<Vec<u8>>();
        String::from_utf8_lossy(&kept).into_owned()
    }

    /// Line number (from 1) of a byte offset.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.raw.as_bytes()[..at.min(self.raw.len())].iter().filter(|b| **b == b'\n').count() + 1
    }

    /// The path of modules from the crate's root that this file is, such as `["serve", "http"]`.
    pub(crate) fn module_path(&self) -> Vec<String> {
        let inside = self.path.split_once("/src/").map_or("", |(_, rest)| rest).trim_end_matches(".rs");
        let mut parts: Vec<String> = inside.split('/').map(str::to_owned).collect();
        if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            parts.pop();
        }
        parts
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package stands in the workspace").to_path_buf()
}

/// Every Rust file of the workspace.
pub(crate) fn all() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for folder in ["crates", "tests", "bench"] {
        walk(&root.join(folder), &mut |path| {
            if path.extension().is_some_and(|e| e == "rs") {
                let name =
                    path.strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/");
                found.push(Source::new(&name, &fs::read_to_string(path).expect("a source file is UTF-8")));
            }
        });
    }
    assert!(found.len() > 20, "the walk over the workspace found only {} files", found.len());
    found
}

/// Calls `visit` for every file below a folder, in a stable order; build output and hidden folders are left out.
pub(crate) fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && name != ".git" {
                walk(&path, visit);
            }
        } else {
            visit(&path);
        }
    }
}

/// Blanks the inside of comments and literals, keeping lines and offsets.
pub(crate) fn mask(text: &str) -> String {
    let src = text.as_bytes();
    let mut out = src.to_vec();
    let mut at = 0;
    while at < src.len() {
        let end = match src[at] {
            b'/' if src.get(at + 1) == Some(&b'/') => line_end(src, at),
            b'/' if src.get(at + 1) == Some(&b'*') => block_end(src, at),
            b'"' => string_end(src, at),
            b'r' if starts_raw(src, at) => raw_end(src, at),
            b'\'' => char_end(src, at),
            _ => at + 1,
        };
        if end > at + 1 {
            out[at..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters were replaced")
}

fn line_end(src: &[u8], at: usize) -> usize {
    src[at..].iter().position(|b| *b == b'\n').map_or(src.len(), |n| at + n)
}

fn block_end(src: &[u8], at: usize) -> usize {
    let (mut depth, mut i) = (0usize, at);
    while i + 1 < src.len() {
        match &src[i..i + 2] {
            b"/*" => (depth, i) = (depth + 1, i + 2),
            b"*/" => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    src.len()
}

fn string_end(src: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while i < src.len() {
        match src[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    src.len()
}

fn starts_raw(src: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map_or(b' ', |i| src[i]);
    let before2 = at.checked_sub(2).map_or(b' ', |i| src[i]);
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let fresh = !word(before) || (before == b'b' && !word(before2));
    let hashes = src[at + 1..].iter().take_while(|b| **b == b'#').count();
    fresh && src.get(at + 1 + hashes) == Some(&b'"')
}

fn raw_end(src: &[u8], at: usize) -> usize {
    let hashes = src[at + 1..].iter().take_while(|b| **b == b'#').count();
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = at + 2 + hashes;
    src[body..].windows(close.len()).position(|w| w == close).map_or(src.len(), |n| body + n + close.len())
}

/// A character literal, or one byte where the quote begins a lifetime.
fn char_end(src: &[u8], at: usize) -> usize {
    if src.get(at + 1) == Some(&b'\\') {
        return src[at + 3..].iter().position(|b| *b == b'\'').map_or(src.len(), |n| at + 3 + n + 1);
    }
    let width = match src.get(at + 1) {
        Some(b) if *b < 0x80 => 1,
        Some(b) if *b < 0xe0 => 2,
        Some(b) if *b < 0xf0 => 3,
        Some(_) => 4,
        None => return src.len(),
    };
    if src.get(at + 1 + width) == Some(&b'\'') { at + 2 + width } else { at + 1 }
}

/// The offset just after the brace that closes the one at `open`.
pub(crate) fn close_brace(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (at, b) in code.bytes().enumerate().skip(open) {
        match b {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// Offsets at which `word` stands as a whole word.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = code.as_bytes();
        let before = at.checked_sub(1).and_then(|i| bytes.get(i));
        !part(before) && !part(bytes.get(at + word.len()))
    })
}

fn find_test_modules(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, mark) in code.match_indices("#[cfg(test)]") {
        let rest = code[at + mark.len()..].trim_start();
        let Some(open) = code[at..].find('{').map(|n| at + n) else { continue };
        let is_module = rest.starts_with("mod ") && !code[at..open].contains(';');
        if is_module {
            found.push((at, close_brace(code, open)));
        }
    }
    found
}
