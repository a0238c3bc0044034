//! What files contain: by name, or as the name of the file ends.

use granary_common::{Error, Result, did_you_mean};
use serde::{Deserialize, Serialize};

/// What a file contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    Parquet,
    /// Values between commas, or between tabs.
    Delimited {
        tabs: bool,
        header: Header,
    },
    /// A JSON object for each row.
    JsonLines,
    /// An Arrow file, with a footer.
    Arrow,
    /// Arrow batches one after another.
    ArrowStream,
}

/// Whether the first line has the names of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Header {
    Always,
    /// When the line has just these names.
    IfItNamesColumns,
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

const CSV: Format = Format::Delimited { tabs: false, header: Header::IfItNamesColumns };
const CSV_WITH_NAMES: Format = Format::Delimited { tabs: false, header: Header::Always };
const TSV: Format = Format::Delimited { tabs: true, header: Header::IfItNamesColumns };
const TSV_WITH_NAMES: Format = Format::Delimited { tabs: true, header: Header::Always };

/// The formats by their names, in lower case.
const NAMES: [(&str, Format); 16] = [
    ("parquet", Format::Parquet),
    ("csv", CSV),
    ("csvwithnames", CSV_WITH_NAMES),
    ("tsv", TSV),
    ("tabseparated", TSV),
    ("tsvwithnames", TSV_WITH_NAMES),
    ("tabseparatedwithnames", TSV_WITH_NAMES),
    ("jsoneachrow", Format::JsonLines),
    ("jsonlines", Format::JsonLines),
    ("jsonl", Format::JsonLines),
    ("ndjson", Format::JsonLines),
    ("json", Format::JsonLines),
    ("arrow", Format::Arrow),
    ("feather", Format::Arrow),
    ("ipc", Format::Arrow),
    ("arrowstream", Format::ArrowStream),
];

/// What messages offer.
const OFFERED: &str =
    "Parquet, CSV, CSVWithNames, TSV, TSVWithNames, JSONEachRow, Arrow and ArrowStream";

impl Format {
    /// The format called `name`.
    ///
    /// # Errors
    /// InvalidInput with the names that there are.
    pub fn named(name: &str) -> Result<Format> {
        let lower = name.to_ascii_lowercase();
        let found = NAMES.iter().find(|(known, _)| *known == lower);
        found.map(|(_, format)| *format).ok_or_else(|| {
            let hint = did_you_mean(&lower, NAMES.iter().map(|(known, _)| *known));
            Error::invalid(format!("unknown format '{name}'{hint}; there are {OFFERED}"))
        })
    }

    /// Whether `name` is the name of a format.
    pub fn is_name(name: &str) -> bool {
        name.eq_ignore_ascii_case("auto") || Format::named(name).is_ok()
    }

    /// The format that the ending of `path` says, compression aside.
    ///
    /// # Errors
    /// InvalidInput when it says none.
    pub fn of_path(path: &str) -> Result<Format> {
        let name = file_name(path);
        let plain = match Compression::of_path(path) {
            Compression::None => name,
            _ => name.rsplit_once('.').map_or(name, |(plain, _)| plain),
        };
        let ending = plain.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        let known = match ending.as_str() {
            "pq" => Some(Format::Parquet),
            "arrows" => Some(Format::ArrowStream),
            "" => None,
            ending => Format::named(ending).ok(),
        };
        known.ok_or_else(|| {
            Error::invalid(format!(
                "the name '{name}' does not tell the format; write it behind the path: {OFFERED}"
            ))
        })
    }

    /// Whether one file can be read from several places at once.
    pub fn is_split(self) -> bool {
        self == Format::Parquet
    }

    /// Whether it has lines of text, which may be packed as a whole.
    pub(crate) fn is_packed_whole(self) -> bool {
        !matches!(self, Format::Parquet | Format::Arrow)
    }

    /// The name that plans show.
    pub fn name(self) -> &'static str {
        match self {
            Format::Parquet => "Parquet",
            Format::Delimited { tabs: false, header: Header::Always } => "CSVWithNames",
            Format::Delimited { tabs: false, .. } => "CSV",
            Format::Delimited { tabs: true, header: Header::Always } => "TSVWithNames",
            Format::Delimited { tabs: true, .. } => "TSV",
            Format::JsonLines => "JSONEachRow",
            Format::Arrow => "Arrow",
            Format::ArrowStream => "ArrowStream",
        }
    }
}

impl Compression {
    /// The compression called `name`; `None` for `auto`.
    ///
    /// # Errors
    /// InvalidInput for unknown names, Unsupported for those that are not built in.
    pub fn named(name: &str) -> Result<Option<Compression>> {
        match name.to_ascii_lowercase().as_str() {
            "auto" | "" => Ok(None),
            "none" => Ok(Some(Compression::None)),
            "gzip" | "gz" => Ok(Some(Compression::Gzip)),
            "zstd" | "zst" => Ok(Some(Compression::Zstd)),
            "br" | "brotli" | "xz" | "lzma" | "lz4" | "bz2" | "snappy" | "deflate" => {
                Err(Error::unsupported(format!(
                    "files packed with '{name}' cannot be read; there are gzip and zstd"
                )))
            }
            _ => Err(Error::invalid(format!(
                "unknown compression '{name}'; there are auto, none, gzip and zstd"
            ))),
        }
    }

    /// The compression that the ending of `path` says.
    pub fn of_path(path: &str) -> Compression {
        let lower = path.to_ascii_lowercase();
        if lower.ends_with(".gz") || lower.ends_with(".gzip") {
            Compression::Gzip
        } else if lower.ends_with(".zst") || lower.ends_with(".zstd") {
            Compression::Zstd
        } else {
            Compression::None
        }
    }
}

/// The last part of a path.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_endings_tell_the_format() {
        for (path, expected, packed) in [
            ("a/b.parquet", "Parquet", Compression::None),
            ("b.CSV", "CSV", Compression::None),
            ("b.tsv.gz", "TSV", Compression::Gzip),
            ("b.ndjson.zst", "JSONEachRow", Compression::Zstd),
            ("b.jsonl", "JSONEachRow", Compression::None),
            ("b.arrow", "Arrow", Compression::None),
        ] {
            assert_eq!(Format::of_path(path).unwrap().name(), expected, "{path}");
            assert_eq!(Compression::of_path(path), packed, "{path}");
        }
        for name in ["Parquet", "CSV", "CSVWithNames", "TSV", "TSVWithNames", "JSONEachRow"] {
            assert_eq!(Format::named(name).unwrap().name(), name);
        }
        for (wrong, complaint) in [("b.xlsx", "does not tell"), ("b", "does not tell")] {
            let error = Format::of_path(wrong).unwrap_err();
            assert!(error.message().contains(complaint), "{error}");
        }
        let error = Format::named("Parket").unwrap_err();
        assert!(error.message().contains("did you mean"), "{error}");
        assert!(Compression::named("xz").unwrap_err().message().contains("gzip"));
    }
}
