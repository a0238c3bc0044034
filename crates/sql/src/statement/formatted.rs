//! `INSERT INTO t FORMAT CSV` with the rows behind it, which are no SQL.

use granary_common::{Error, Result};

/// Rows as a statement carries them in another format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormattedRows {
    pub format: RowFormat,
    pub text: String,
}

/// Formats of rows inside of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// An object a row.
    Json,
    /// An array a row.
    JsonArrays,
    /// Fields between separators, the first row with their names or not.
    Csv { named: bool },
    /// Fields between tabs, with backslashes before what would be misread.
    Tabs { named: bool },
}

impl RowFormat {
    fn of(name: &str) -> Option<RowFormat> {
        Some(match name.to_ascii_lowercase().as_str() {
            "jsoneachrow" | "jsonlines" | "ndjson" => RowFormat::Json,
            "jsoncompacteachrow" => RowFormat::JsonArrays,
            "csv" => RowFormat::Csv { named: false },
            "csvwithnames" => RowFormat::Csv { named: true },
            "tsv" | "tabseparated" => RowFormat::Tabs { named: false },
            "tsvwithnames" | "tabseparatedwithnames" => RowFormat::Tabs { named: true },
            _ => return None,
        })
    }
}

/// `text` without its rows, as SQL, and the rows; `None` when it is SQL to its end.
///
/// # Errors
/// Unsupported for a format that cannot stand in a statement.
pub(super) fn taken_apart(text: &str) -> Result<Option<(String, FormattedRows)>> {
    let Some(Place { before, name, rows }) = place_of_format(text) else { return Ok(None) };
    if name.eq_ignore_ascii_case("values") {
        return Ok(None);
    }
    let format = RowFormat::of(name).ok_or_else(|| {
        Error::unsupported(format!(
            "INSERT ... FORMAT {name} is not offered; rows in a statement are JSONEachRow, \
             JSONCompactEachRow, CSV, CSVWithNames, TSV, TSVWithNames or Values, and files of other \
             formats come by granary load"
        ))
    })?;
    let rows = FormattedRows { format, text: rows.to_owned() };
    // The parser wants rows, which are replaced once the table is known.
    Ok(Some((format!("{before} VALUES (NULL)"), rows)))
}

/// Whether the text is an INSERT with rows that are no SQL, which go on to its end.
pub fn carries_rows(text: &str) -> bool {
    place_of_format(text).is_some_and(|place| !place.name.eq_ignore_ascii_case("values"))
}

struct Place<'a> {
    before: &'a str,
    name: &'a str,
    rows: &'a str,
}

/// Where an INSERT says FORMAT before anything gives its rows.
fn place_of_format(text: &str) -> Option<Place<'_>> {
    let mut words = Words { text, at: 0, depth: 0 };
    if !words.next()?.1.eq_ignore_ascii_case("insert") {
        return None;
    }
    while let Some((start, word)) = words.next() {
        if ["select", "values", "with", "from"].iter().any(|end| word.eq_ignore_ascii_case(end)) {
            return None;
        }
        if word.eq_ignore_ascii_case("format") {
            let (_, name) = words.next()?;
            let rows = text[words.at..].trim_start_matches([' ', '\t', '\r']);
            return Some(Place {
                before: &text[..start],
                name,
                rows: rows.strip_prefix('\n').unwrap_or(rows),
            });
        }
    }
    None
}

/// The words of a text outside of quotes, brackets and comments.
struct Words<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        loop {
            let rest = &self.text[self.at..];
            let first = rest.chars().next()?;
            let end_of = |what: &str, from: usize| {
                rest[from..].find(what).map_or(rest.len(), |end| from + end + what.len())
            };
            let length = match first {
                '\'' | '"' | '`' => end_of(&first.to_string(), 1),
                '-' if rest.starts_with("--") => end_of("\n", 2),
                '/' if rest.starts_with("/*") => end_of("*/", 2),
                _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                _ => first.len_utf8(),
            };
            match first {
                '(' => self.depth += 1,
                ')' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            let start = self.at;
            self.at += length;
            if is_word(first) && self.depth == 0 {
                return Some((start, &self.text[start..self.at]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_from_sql() {
        let cases = [
            ("INSERT INTO t FORMAT CSV 1,2\n", Some(("INSERT INTO t  VALUES (NULL)", "1,2\n"))),
            (
                "insert into `format`.t (a, \"format\") -- FORMAT\n settings x = 1 format JSONEachRow\n{}",
                Some((
                    "insert into `format`.t (a, \"format\") -- FORMAT\n settings x = 1  VALUES (NULL)",
                    "{}",
                )),
            ),
            ("INSERT INTO t FORMAT Values (1)", None),
            ("INSERT INTO t VALUES (1) FORMAT CSV", None),
            ("INSERT INTO t SELECT 1 FORMAT CSV", None),
            ("SELECT 1 FORMAT CSV", None),
            ("INSERT INTO t", None),
        ];
        for (text, expected) in cases {
            let found = taken_apart(text).expect("a format that is known");
            let found = found.as_ref().map(|(sql, rows)| (sql.as_str(), rows.text.as_str()));
            assert_eq!(found, expected, "{text}");
        }
        assert!(taken_apart("INSERT INTO t FORMAT Native x").is_err());
    }
}
