//! The files of the checkout, and Rust source with what is not code blanked out.

use std::path::{Path, PathBuf};

use crate::TestResult;

/// A Rust file of a crate.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Relative to the checkout, with slashes.
    pub path: String,
    /// The text as it is.
    pub text: String,
    /// The lines before the tests, with the contents of strings and comments blanked out, so that
    /// braces and words in them count for nothing.
    pub code: Vec<String>,
}

impl SourceFile {
    /// Reads a file's text.
    pub fn new(path: String, text: String) -> Self {
        let is_test = holds_tests(&path);
        let production = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
        let production = if is_test { text.as_str() } else { &text[..production] };
        let code = blank(production).lines().map(str::to_owned).collect();
        Self { path, text, code }
    }

    /// Whether it holds tests only.
    pub fn is_test(&self) -> bool {
        holds_tests(&self.path)
    }

    /// The crate's folder name.
    pub fn crate_name(&self) -> &str {
        self.path.split('/').nth(1).unwrap_or_default()
    }
}

fn holds_tests(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

/// Every Rust file under `crates/`.
pub fn rust_sources(repository: &Path) -> TestResult<Vec<SourceFile>> {
    let files = walk(repository, Path::new("crates"), &|path| ends_with(path, "rs"))?;
    files.into_iter().map(|(path, text)| Ok(SourceFile::new(path, text))).collect()
}

/// Every text file of the project, as (path relative to the checkout, text).
pub fn text_files(repository: &Path) -> TestResult<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(repository)? {
        let path = entry?.path();
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        // The repository's own store and build output are not the project.
        if name.starts_with(".git") || name == Path::new("target") {
            continue;
        }
        files.extend(walk(repository, &name, &|_| true)?);
    }
    Ok(files)
}

fn ends_with(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

fn walk(
    root: &Path,
    relative: &Path,
    wanted: &dyn Fn(&Path) -> bool,
) -> TestResult<Vec<(String, String)>> {
    let full = root.join(relative);
    let mut files = Vec::new();
    if full.is_dir() {
        let mut entries: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(&full)? {
            entries.push(relative.join(entry?.file_name()));
        }
        entries.sort();
        for entry in entries {
            if !entry.ends_with("__pycache__") {
                files.extend(walk(root, &entry, wanted)?);
            }
        }
    } else if full.is_file() && wanted(&full) {
        // Files that are not text have no words to look for.
        if let Ok(text) = String::from_utf8(std::fs::read(&full)?) {
            files.push((relative.to_string_lossy().into_owned(), text));
        }
    }
    Ok(files)
}

/// The text with the contents of comments, strings and character literals replaced by blanks;
/// line breaks stay.
pub fn blank(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let length = skipped(&letters[at..], at.checked_sub(1).map(|before| letters[before]));
        if length == 0 {
            out.push(letters[at]);
            at += 1;
            continue;
        }
        let end = (at + length).min(letters.len());
        out.extend(letters[at..end].iter().map(|letter| if *letter == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// How many letters a comment or literal at the start of `rest` has; 0 when there is none.
fn skipped(rest: &[char], before: Option<char>) -> usize {
    let in_word = before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    match rest {
        ['/', '/', ..] => rest.iter().position(|letter| *letter == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => find(rest, 2, &['*', '/']),
        ['"', ..] => quoted(rest, 1, '"'),
        ['r', '"', ..] if !in_word => find(rest, 2, &['"']),
        ['r', '#', ..] if !in_word => raw(rest),
        ['b', 'r', '#', ..] if !in_word => 1 + raw(&rest[1..]),
        ['\'', '\\', ..] => quoted(rest, 1, '\''),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

fn find(rest: &[char], from: usize, end: &[char]) -> usize {
    let found = rest[from..].windows(end.len()).position(|window| window == end);
    found.map_or(rest.len(), |place| from + place + end.len())
}

fn quoted(rest: &[char], from: usize, end: char) -> usize {
    let mut at = from;
    while at < rest.len() && rest[at] != end {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|letter| **letter == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0; // A raw identifier.
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    find(rest, 2 + hashes, &end)
}

#[cfg(test)]
mod tests {
    use super::blank;

    #[test]
    fn only_code_is_left() {
        for (text, expected) in [
            ("a // {\nb", "a     \nb"),
            ("a(\"{\\\"{\")", "a(      )"),
            ("a /* { */ b", "a         b"),
            ("match c { '{' => 1 }", "match c {     => 1 }"),
            ("r#\"{\"# x", "       x"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("r#type {", "r#type {"),
        ] {
            assert_eq!(blank(text), expected, "{text}");
        }
    }
}
