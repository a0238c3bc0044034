//! What `CODEC(...)` asks of a column.

use granary_common::{Error, Result};
use serde::{Deserialize, Serialize};

/// One codec of a column. Parts have encodings of their own, which these choose among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ColumnCodec {
    /// Nothing is compressed.
    Plain,
    /// Encodings that are fast to write and to read.
    Lz4,
    /// General compression of this level, 1 to 22.
    Zstd { level: u8 },
    /// Differences of whole numbers.
    Delta,
    /// Whole numbers in as many bits as they need.
    T64,
    /// Encodings of floats.
    Gorilla,
    /// Each value once, and references to it.
    Dictionary,
}

/// Level of ZSTD without brackets, as in ClickHouse.
const ZSTD_LEVEL_DEFAULT: u8 = 1;
const ZSTD_LEVEL_MAX: u8 = 22;

impl ColumnCodec {
    /// Takes the text of `CODEC(...)`. Empty for `CODEC(Default)`: the writer chooses.
    ///
    /// Kind `InvalidInput` for an unknown codec or a level that there is not.
    pub fn parse(text: &str) -> Result<Vec<ColumnCodec>> {
        let inner = text.trim().split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        let inner = inner.ok_or_else(|| Error::invalid(format!("'{text}' is no CODEC(...)")))?;
        let mut codecs = Vec::new();
        let mut rest = inner.trim();
        while !rest.is_empty() {
            let end = end_of_codec(rest);
            let (one, behind) = rest.split_at(end);
            codecs.extend(codec(one.trim())?);
            rest = behind.strip_prefix(',').unwrap_or(behind).trim();
        }
        Ok(codecs)
    }
}

/// The place of the comma behind the first codec, or the end.
fn end_of_codec(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

fn codec(text: &str) -> Result<Option<ColumnCodec>> {
    let (name, argument) = match text.split_once('(') {
        Some((name, argument)) => (name.trim(), Some(argument.trim_end_matches(')').trim())),
        None => (text, None),
    };
    Ok(Some(match name.to_ascii_uppercase().as_str() {
        "DEFAULT" => return Ok(None),
        "NONE" => ColumnCodec::Plain,
        "LZ4" | "LZ4HC" => ColumnCodec::Lz4,
        "ZSTD" | "ZSTD_QAT" | "DEFLATE_QPL" => {
            let level = argument.filter(|_| name.eq_ignore_ascii_case("ZSTD"));
            let level = match level.map(str::parse) {
                None => ZSTD_LEVEL_DEFAULT,
                Some(Ok(level)) if (1..=ZSTD_LEVEL_MAX).contains(&level) => level,
                Some(_) => {
                    let message = format!("{text}: levels are 1 to {ZSTD_LEVEL_MAX}");
                    return Err(Error::invalid(message));
                }
            };
            ColumnCodec::Zstd { level }
        }
        "DELTA" | "DOUBLEDELTA" => ColumnCodec::Delta,
        "T64" | "GCD" => ColumnCodec::T64,
        "GORILLA" | "FPC" => ColumnCodec::Gorilla,
        "DICTIONARY" => ColumnCodec::Dictionary,
        _ => {
            return Err(Error::invalid(format!(
                "unknown codec '{text}'; there are NONE, LZ4, ZSTD(level), Delta, DoubleDelta, T64, \
                 GCD, Gorilla, FPC, Dictionary and Default"
            )));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_read_as_written() {
        use ColumnCodec::{Delta, Gorilla, Lz4, Plain, T64, Zstd};
        for (text, expected) in [
            ("CODEC(NONE)", vec![Plain]),
            ("CODEC(ZSTD)", vec![Zstd { level: 1 }]),
            ("CODEC(DoubleDelta,ZSTD(9))", vec![Delta, Zstd { level: 9 }]),
            ("codec( delta(4) , lz4 )", vec![Delta, Lz4]),
            ("CODEC(T64('bit'), Gorilla)", vec![T64, Gorilla]),
            ("CODEC(Default)", vec![]),
        ] {
            assert_eq!(ColumnCodec::parse(text).expect("a codec"), expected, "{text}");
        }
        for text in ["CODEC(ZSTD(0))", "CODEC(ZSTD(23))", "CODEC(Zip)", "CODEC"] {
            assert!(ColumnCodec::parse(text).is_err(), "{text}");
        }
    }
}
