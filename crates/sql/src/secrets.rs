//! Keys and tokens that are written into a statement: what shows statements to people hides them.
//!
//! Works on the text and not on its tree, since texts that cannot be parsed are shown too.

use std::borrow::Cow;
use std::ops::Range;

/// Functions whose arguments may be secret, in lower case.
const FUNCTIONS: [&str; 5] = ["s3", "s3cluster", "gcs", "url", "urlcluster"];

/// Words in the place of keys that are none: formats and what stands for no keys.
const PLAIN: [&str; 18] = [
    "nosign",
    "auto",
    "parquet",
    "csv",
    "csvwithnames",
    "tsv",
    "tabseparated",
    "tsvwithnames",
    "tabseparatedwithnames",
    "jsoneachrow",
    "jsonlines",
    "jsonl",
    "ndjson",
    "json",
    "arrow",
    "feather",
    "ipc",
    "arrowstream",
];

/// `text` with stars in the place of secrets, as long as before.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let ranges = secrets(text);
    if ranges.is_empty() {
        return Cow::Borrowed(text);
    }
    let is_secret = |at: usize| ranges.iter().any(|range| range.contains(&at));
    let shown = |(at, letter): (usize, char)| match letter {
        '\n' => letter,
        _ if is_secret(at) => '*',
        _ => letter,
    };
    Cow::Owned(text.char_indices().map(shown).collect())
}

/// `message` without the secrets of `text` that it may repeat.
pub(crate) fn hidden_in(message: &str, text: &str) -> String {
    secrets(text).into_iter().fold(message.to_owned(), |message, range| {
        message.replace(&format!("'{}'", &text[range]), "'[HIDDEN]'")
    })
}

/// The parts of `text` that are secret; none is empty.
fn secrets(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for function in FUNCTIONS {
        for (at, _) in lower.match_indices(function) {
            let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
            let rest = &text[at + function.len()..];
            let open = rest.trim_start();
            if text[..at].ends_with(is_part) || !open.starts_with('(') {
                continue;
            }
            let first = text.len() - open.len() + 1;
            let mut arguments = arguments(text, first);
            if function.ends_with("cluster") && !arguments.is_empty() {
                arguments.remove(0);
            }
            of_call(text, function, &arguments, &mut found);
        }
    }
    found.retain(|range: &Range<usize>| !range.is_empty());
    found
}

/// The texts among the arguments that begin at `first`, by their place; `None` for others.
fn arguments(text: &str, first: usize) -> Vec<Option<Range<usize>>> {
    let bytes = text.as_bytes();
    let mut arguments = vec![None];
    let (mut at, mut depth) = (first, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'\'' => {
                let begin = at + 1;
                at = begin;
                while at < bytes.len() && (bytes[at] != b'\'' || bytes.get(at + 1) == Some(&b'\''))
                {
                    at += if matches!(bytes[at], b'\\' | b'\'') { 2 } else { 1 };
                }
                let mut end = at.min(bytes.len());
                // A backslash may stand before a letter of several bytes.
                while !text.is_char_boundary(end) {
                    end += 1;
                }
                match arguments.last_mut() {
                    Some(last @ None) => *last = Some(begin..end),
                    // A comma is missing; the statement will be refused.
                    _ => arguments.push(Some(begin..end)),
                }
            }
            b'(' | b'[' => depth += 1,
            b')' | b']' if depth == 0 => break,
            b')' | b']' => depth -= 1,
            b',' if depth == 0 => arguments.push(None),
            _ => {}
        }
        at += 1;
    }
    arguments
}

fn of_call(
    text: &str,
    function: &str,
    arguments: &[Option<Range<usize>>],
    found: &mut Vec<Range<usize>>,
) {
    let Some((location, others)) = arguments.split_first() else { return };
    if let Some(location) = location {
        of_location(text, location, found);
    }
    if function.starts_with("url") {
        return;
    }
    let is_plain = |range: &Range<usize>| {
        PLAIN.iter().any(|word| text[range.clone()].eq_ignore_ascii_case(word))
    };
    found.extend(others.iter().flatten().take_while(|range| !is_plain(range)).cloned());
}

/// The user of a URL and its query.
fn of_location(text: &str, location: &Range<usize>, found: &mut Vec<Range<usize>>) {
    let url = &text[location.clone()];
    let Some(host) = url.find("://").map(|at| at + 3) else { return };
    let host_end = url[host..].find('/').map_or(url.len(), |at| host + at);
    if let Some(user_end) = url[host..host_end].rfind('@') {
        found.push(location.start + host..location.start + host + user_end);
    }
    if let Some(query) = url[host_end..].find('?').map(|at| host_end + at + 1)
        && url[query..].contains('=')
    {
        found.push(location.start + query..location.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hidden_and_nothing_else() {
        for (text, expected) in [
            ("SELECT 1", "SELECT 1"),
            (
                "SELECT * FROM s3('s3://b/k', 'KEY', 'S''K')",
                "SELECT * FROM s3('s3://b/k', '***', '****')",
            ),
            ("s3('s3://b/k','CSV','a Int8')", "s3('s3://b/k','CSV','a Int8')"),
            (
                "S3 ('s3://b/k', NOSIGN, 'CSV', 'a Int8')",
                "S3 ('s3://b/k', NOSIGN, 'CSV', 'a Int8')",
            ),
            ("s3('s3://b/k', 'K', 'S', 'CSV', 'a A')", "s3('s3://b/k', '*', '*', 'CSV', 'a A')"),
            ("s3('s3://b/k', 'K', 'S", "s3('s3://b/k', '*', '*"),
            ("s3('s3://b/k', 'K\\'ä', 'Sö')", "s3('s3://b/k', '****', '**')"),
            ("s3Cluster('c', 's3://b/k', 'K', 'S')", "s3Cluster('c', 's3://b/k', '*', '*')"),
            ("url('http://u:p@h/f?a=b', 'CSV')", "url('http://***@h/f?***', 'CSV')"),
            ("s3('s3://b/a?.csv')", "s3('s3://b/a?.csv')"),
            ("my_s3('a', 'b', 'c')", "my_s3('a', 'b', 'c')"),
        ] {
            assert_eq!(without_secrets(text), expected, "{text}");
        }
        let message = hidden_in("found: 'SECRET'", "s3('u', 'K' 'SECRET'");
        assert_eq!(message, "found: '[HIDDEN]'");
    }
}
