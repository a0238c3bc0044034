//! The reference: one entry for each function that a statement may call, from which
//! `system.functions`, `docs/functions.md` and a test of every example come.
//!
//! Entries are written by family in the texts of the folder `reference`, separated by empty lines:
//!
//! ```text
//! name(argument, ...) = other name, other name
//! What it returns, in which unit, and when it is an error.
//! > an expression or a SELECT
//! its result, rows separated by "; " and columns by " | "
//! ```
//!
//! `{A,B}` in the first line makes an entry for each; `{}` stands for it in the other lines.

use std::sync::LazyLock;

/// What kind of a function an entry describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    Scalar,
    Aggregate,
    Window,
    Table,
}

impl FunctionKind {
    /// For `system.functions`.
    pub fn name(self) -> &'static str {
        match self {
            FunctionKind::Scalar => "scalar",
            FunctionKind::Aggregate => "aggregate",
            FunctionKind::Window => "window",
            FunctionKind::Table => "table",
        }
    }
}

/// One documented function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionEntry {
    pub name: String,
    /// Other names of the same function.
    pub aliases: Vec<String>,
    pub family: &'static str,
    pub kind: FunctionKind,
    /// How it is called.
    pub syntax: String,
    /// What it returns, its units and its errors.
    pub description: String,
    /// An expression, or a query that begins with SELECT.
    pub example: String,
    /// What the example gives.
    pub result: String,
}

/// Family, kind and text.
type Family = (&'static str, FunctionKind, &'static str);

const FAMILIES: [Family; 15] = [
    ("Dates and times", FunctionKind::Scalar, include_str!("reference/dates.txt")),
    ("Texts", FunctionKind::Scalar, include_str!("reference/texts.txt")),
    ("Searching and splitting", FunctionKind::Scalar, include_str!("reference/searching.txt")),
    ("Encodings, URLs, addresses", FunctionKind::Scalar, include_str!("reference/encodings.txt")),
    ("Numbers and bits", FunctionKind::Scalar, include_str!("reference/numbers.txt")),
    ("Conditions and conversions", FunctionKind::Scalar, include_str!("reference/conditions.txt")),
    ("Arrays", FunctionKind::Scalar, include_str!("reference/arrays.txt")),
    ("Maps, tuples, vectors", FunctionKind::Scalar, include_str!("reference/maps.txt")),
    ("JSON", FunctionKind::Scalar, include_str!("reference/json.txt")),
    ("Hashes", FunctionKind::Scalar, include_str!("reference/hashes.txt")),
    ("Geography", FunctionKind::Scalar, include_str!("reference/geo.txt")),
    ("Words of other dialects", FunctionKind::Scalar, include_str!("reference/others.txt")),
    ("Aggregates", FunctionKind::Aggregate, include_str!("reference/aggregates.txt")),
    ("Windows and neighbours", FunctionKind::Window, include_str!("reference/windows.txt")),
    ("Tables", FunctionKind::Table, include_str!("reference/tables.txt")),
];

static ENTRIES: LazyLock<Vec<FunctionEntry>> = LazyLock::new(|| {
    let families = FAMILIES.iter();
    families.flat_map(|(family, kind, text)| entries_of(family, *kind, text)).collect()
});

/// All entries, by family.
pub fn function_reference() -> &'static [FunctionEntry] {
    &ENTRIES
}

fn entries_of(family: &'static str, kind: FunctionKind, text: &str) -> Vec<FunctionEntry> {
    let mut entries = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(head) = lines.next() {
        if head.trim().is_empty() {
            continue;
        }
        let mut description = Vec::new();
        let mut example = String::new();
        for line in lines.by_ref() {
            match line.strip_prefix("> ") {
                Some(query) => {
                    example = query.to_owned();
                    break;
                }
                None => description.push(line.trim()),
            }
        }
        // The result may be an empty line.
        let result = lines.next().unwrap_or_default();
        let description = description.join(" ");
        for choice in choices(head) {
            let fill = |text: &str| choice.fill(text);
            let head = choice.head(head);
            let (syntax, aliases) = match head.rsplit_once(") = ") {
                Some((syntax, aliases)) => (format!("{syntax})"), aliases.to_owned()),
                None => (head.clone(), String::new()),
            };
            let name = syntax.split('(').next().unwrap_or_default().to_owned();
            let aliases = aliases.split(',').map(str::trim).filter(|alias| !alias.is_empty());
            entries.push(FunctionEntry {
                name,
                aliases: aliases.map(str::to_owned).collect(),
                family,
                kind,
                syntax: syntax.trim().to_owned(),
                description: fill(&description),
                example: fill(&example),
                result: fill(result),
            });
        }
    }
    entries
}

/// One of the words in the braces of a first line; none when there are no braces.
struct Choice<'a>(Option<&'a str>);

impl Choice<'_> {
    fn fill(&self, text: &str) -> String {
        self.0.map_or_else(|| text.to_owned(), |word| text.replace("{}", word))
    }

    fn head(&self, head: &str) -> String {
        match (braces(head), self.0) {
            (Some(range), Some(word)) => {
                let filled = format!("{}{word}{}", &head[..range.start], &head[range.end..]);
                filled.replace("{}", word)
            }
            _ => head.to_owned(),
        }
    }
}

/// Where the braces of the name are.
fn braces(head: &str) -> Option<std::ops::Range<usize>> {
    let opens = head.find('{')?;
    let closes = head[opens..].find('}')? + opens;
    // Only in the name: a signature may have braces too.
    (opens < head.find('(')?).then_some(opens..closes + 1)
}

fn choices(head: &str) -> Vec<Choice<'_>> {
    match braces(head) {
        Some(range) => {
            let words = head[range.start + 1..range.end - 1].split(',');
            words.map(|word| Choice(Some(word.trim()))).collect()
        }
        None => vec![Choice(None)],
    }
}

/// The page of all functions.
pub fn function_reference_markdown() -> String {
    let entries = function_reference();
    let names: usize = entries.iter().map(|entry| 1 + entry.aliases.len()).sum();
    let mut page = format!(
        "# Functions\n\nMade from the entries in `crates/functions/src/reference`; \
         `GRANARY_BLESS=1 scripts/test -p granary-sql reference` writes it again. {names} names of \
         {} functions, also in `system.functions`. Names are found whatever their case. Aggregates \
         take the combinators `-If`, `-Distinct`, `-OrNull`, `-OrDefault`, `-Array`, `-ForEach`, \
         `-Resample`, `-Map`, `-State`, `-Merge`, `-MergeState` and `-SimpleState`.\n",
        entries.len()
    );
    for (family, ..) in &FAMILIES {
        page.push_str(&format!("\n## {family}\n\n"));
        for entry in entries.iter().filter(|entry| entry.family == *family) {
            let aliases = match entry.aliases.as_slice() {
                [] => String::new(),
                names => format!(" (`{}`)", names.join("`, `")),
            };
            page.push_str(&format!(
                "- **`{}`**{aliases}: {} `{}` gives `{}`\n",
                entry.syntax, entry.description, entry.example, entry.result
            ));
        }
    }
    page
}
