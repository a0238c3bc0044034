//! The file of an index.

use std::ops::Range;

use bytes::Bytes;
use granary_catalog::{IndexKind, Scalar, codec};
use granary_common::{Error, Result};
use serde::{Deserialize, Serialize};

use super::bloom::Bloom;
use super::dictionary::Dictionary;
use super::term::SkipTerm;
use crate::part::envelope::{self, FileKind};
use crate::part::statistics::GranuleStatistics;

const KIND: FileKind = FileKind { magic: *b"GRNSKIP\0", version: 1 };

/// What is known of a run of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Entry {
    Bounds(GranuleStatistics),
    /// The different values that are not NULL; `None` when they are too many.
    Values(Option<Vec<Scalar>>),
    Bloom(Bloom),
}

/// What an index knows of the runs of a part, run by run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entries {
    pub kind: IndexKind,
    /// Rows of the part.
    pub rows: u64,
    /// Rows of a run; the last one may have fewer.
    pub run_rows: u64,
    pub entries: Vec<Entry>,
}

/// What an index knows of the runs of a part.
#[derive(Clone, Debug)]
pub struct SkipFile(Known);

#[derive(Clone, Debug)]
enum Known {
    Entries(Entries),
    Words(Dictionary),
}

impl SkipFile {
    /// The rows that may satisfy `term`: ascending, not touching.
    pub fn ranges(&self, term: &SkipTerm) -> Vec<Range<u64>> {
        match &self.0 {
            Known::Entries(known) => {
                let runs = known.entries.iter().enumerate();
                let runs = runs.filter(|(_, entry)| term.may_hold(&known.kind, entry));
                ranges(runs.map(|(run, _)| run as u64), known.rows, known.run_rows)
            }
            Known::Words(known) => {
                let runs = known.runs(term).into_iter().map(u64::from);
                ranges(runs, known.rows, known.run_rows)
            }
        }
    }

    /// About how many bytes it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        match &self.0 {
            Known::Entries(known) => known.memory_bytes(),
            Known::Words(known) => known.memory_bytes(),
        }
    }

    /// Reads the file's bytes. Kinds `Corruption` and `Unsupported`.
    pub fn decode(bytes: Bytes) -> Result<SkipFile> {
        if Dictionary::is_in(&bytes) {
            return Dictionary::decode(bytes).map(|known| SkipFile(Known::Words(known)));
        }
        let file: Entries = codec::decode(&envelope::open(KIND, bytes)?)?;
        match file.run_rows > 0 && file.entries.len() as u64 == file.rows.div_ceil(file.run_rows) {
            true => Ok(SkipFile(Known::Entries(file))),
            false => Err(Error::corruption("the index does not fit its own number of rows")),
        }
    }
}

/// The rows of `runs`, which ascend.
fn ranges(runs: impl Iterator<Item = u64>, rows: u64, run_rows: u64) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for run in runs {
        let start = run.saturating_mul(run_rows).min(rows);
        let end = rows.min(start.saturating_add(run_rows));
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
}

impl Entries {
    fn memory_bytes(&self) -> usize {
        let of_value = |value: &Scalar| match value {
            Scalar::Text(text) => 40 + text.len(),
            Scalar::Bytes(bytes) => 40 + bytes.len(),
            _ => 40,
        };
        let of_entry = |entry: &Entry| match entry {
            Entry::Bounds(known) => {
                64 + known.min.iter().chain(&known.max).map(of_value).sum::<usize>()
            }
            Entry::Values(values) => 32 + values.iter().flatten().map(of_value).sum::<usize>(),
            Entry::Bloom(bloom) => 32 + bloom.memory_bytes(),
        };
        64 + self.entries.iter().map(of_entry).sum::<usize>()
    }

    /// The file's bytes.
    pub fn encode(&self) -> Result<Bytes> {
        Ok(envelope::seal(KIND, &codec::encode(self)?))
    }
}
