//! Full-text indexes: which runs of a part have which words.
//!
//! ```text
//!   words of rows ─► [`DictionaryBuilder`] ─► segments: words ─► runs that have them
//!   words that a row must have ─► runs that have them all
//! ```
//!
//! A segment is of consecutive runs: what could be gathered of them within a bound of memory. Its
//! words are a finite-state transducer, which takes the place of the words of a run where it is the
//! only one, and of a bitmap behind the transducer else. Equal bitmaps stand there once.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fst::Map;
use granary_catalog::codec;
use granary_common::{Error, Result};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::term::SkipTerm;
use super::words::words;
use crate::part::envelope::{self, FileKind};

const KIND: FileKind = FileKind { magic: *b"GRNWORDS", version: 1 };

/// Bytes of a word that are kept: longer ones are told apart by their first bytes only.
const WORD_BYTES_MAX: usize = 128;
/// What a word takes while it is gathered, besides its own bytes.
const WORD_OVERHEAD_BYTES: usize = 96;

/// How much is gathered and kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of words that are gathered before they become a segment.
    pub segment_bytes_max: usize,
    /// Bytes of all segments of a part. Runs after them are read whatever words are asked for.
    pub file_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { segment_bytes_max: 32 << 20, file_bytes_max: 48 << 20 }
    }
}

/// What stands before the segments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Header {
    /// Rows of the part.
    rows: u64,
    /// Rows of a run; the last one may have fewer.
    run_rows: u64,
    segments: Vec<SegmentHeader>,
    /// Ranges of runs of which the words are not known, by their first and last one.
    unknown: Vec<(u32, u32)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SegmentHeader {
    words_bytes: u64,
    runs_bytes: u64,
}

/// Makes the index of a part.
#[derive(Debug)]
pub(super) struct DictionaryBuilder {
    bounds: Bounds,
    /// The runs that have each word, ascending.
    words: HashMap<Box<str>, Vec<u32>>,
    gathered_bytes: usize,
    run: u32,
    run_bytes: usize,
    segments: Vec<(Bytes, Bytes)>,
    segments_bytes: usize,
    unknown: RoaringBitmap,
}

impl DictionaryBuilder {
    pub fn new(bounds: Bounds) -> DictionaryBuilder {
        DictionaryBuilder {
            bounds,
            words: HashMap::new(),
            gathered_bytes: 0,
            run: 0,
            run_bytes: 0,
            segments: Vec::new(),
            segments_bytes: 0,
            unknown: RoaringBitmap::new(),
        }
    }

    /// A text of the run.
    pub fn add(&mut self, text: &str) {
        let is_full = self.segments_bytes >= self.bounds.file_bytes_max;
        if is_full || self.run_bytes > self.bounds.segment_bytes_max {
            self.unknown.insert(self.run);
            return;
        }
        for word in words(text).map(kept) {
            let bytes = match self.words.get_mut(word) {
                Some(runs) if runs.last() == Some(&self.run) => 0,
                Some(runs) => {
                    runs.push(self.run);
                    size_of::<u32>()
                }
                None => {
                    self.words.insert(word.into(), vec![self.run]);
                    word.len() + WORD_OVERHEAD_BYTES
                }
            };
            self.run_bytes += bytes;
            self.gathered_bytes += bytes;
        }
    }

    /// The run has all of its rows.
    pub fn close_run(&mut self) -> Result<()> {
        self.run += 1;
        self.run_bytes = 0;
        match self.gathered_bytes > self.bounds.segment_bytes_max {
            true => self.close_segment(),
            false => Ok(()),
        }
    }

    fn close_segment(&mut self) -> Result<()> {
        self.gathered_bytes = 0;
        let mut gathered: Vec<(Box<str>, Vec<u32>)> =
            std::mem::take(&mut self.words).into_iter().collect();
        gathered.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let segment = segment_of(&gathered).map_err(|error| {
            Error::internal(format!("a full-text index cannot be made: {error}"))
        })?;
        self.segments_bytes += segment.0.len() + segment.1.len();
        self.segments.push(segment);
        Ok(())
    }

    /// The file's bytes, for a part of `rows` in runs of `run_rows`.
    pub fn finish(mut self, rows: u64, run_rows: u64) -> Result<Bytes> {
        if !self.words.is_empty() {
            self.close_segment()?;
        }
        let segments = self.segments.iter().map(|(words, runs)| SegmentHeader {
            words_bytes: words.len() as u64,
            runs_bytes: runs.len() as u64,
        });
        let unknown = ranges_of(&self.unknown);
        let header = Header { rows, run_rows, segments: segments.collect(), unknown };
        let header = codec::encode(&header)?;
        let mut payload = BytesMut::with_capacity(4 + header.len() + self.segments_bytes);
        payload.put_u32_le(header.len() as u32);
        payload.put_slice(&header);
        for (words, runs) in self.segments {
            payload.put_slice(&words);
            payload.put_slice(&runs);
        }
        Ok(envelope::seal(KIND, &payload))
    }
}

/// The first bytes of a word, at most [`WORD_BYTES_MAX`].
fn kept(word: &str) -> &str {
    &word[..word.floor_char_boundary(WORD_BYTES_MAX)]
}

/// The transducer and the bitmaps of words in ascending order.
fn segment_of(gathered: &[(Box<str>, Vec<u32>)]) -> fst::Result<(Bytes, Bytes)> {
    let mut words = fst::MapBuilder::memory();
    let mut bitmaps: Vec<u8> = Vec::new();
    let mut known: HashMap<&[u32], u64> = HashMap::new();
    for (word, runs) in gathered {
        let place = match runs.as_slice() {
            [only] => u64::from(*only) << 1 | 1,
            runs => match known.get(runs) {
                Some(place) => *place,
                None => {
                    let place = (bitmaps.len() as u64) << 1;
                    let mut bitmap: RoaringBitmap = runs.iter().copied().collect();
                    bitmap.optimize();
                    bitmap.serialize_into(&mut bitmaps).map_err(fst::Error::Io)?;
                    known.insert(runs, place);
                    place
                }
            },
        };
        words.insert(word.as_bytes(), place)?;
    }
    Ok((words.into_inner()?.into(), bitmaps.into()))
}

fn ranges_of(runs: &RoaringBitmap) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for run in runs {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == run => *last = run,
            _ => ranges.push((run, run)),
        }
    }
    ranges
}

/// Which runs of a part have which words.
#[derive(Clone, Debug)]
pub(super) struct Dictionary {
    pub rows: u64,
    pub run_rows: u64,
    segments: Vec<Segment>,
    unknown: RoaringBitmap,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Segment {
    words: Map<Bytes>,
    runs: Bytes,
}

impl Dictionary {
    /// Whether the bytes of a file are one of these.
    pub fn is_in(bytes: &[u8]) -> bool {
        bytes.starts_with(&KIND.magic)
    }

    /// Reads the file's bytes. Kinds `Corruption` and `Unsupported`.
    pub fn decode(bytes: Bytes) -> Result<Dictionary> {
        let size = bytes.len();
        let mut payload = envelope::open(KIND, bytes)?;
        let header: Header = codec::decode(&taken_with_length(&mut payload)?)?;
        let Header { rows, run_rows, segments, unknown } = header;
        if run_rows == 0 || rows.div_ceil(run_rows) > u64::from(u32::MAX) {
            return Err(Error::corruption("the index does not fit its own number of rows"));
        }
        let segments = segments.into_iter().map(|segment| {
            let words = taken(&mut payload, segment.words_bytes)?;
            let words = Map::new(words).map_err(|error| {
                Error::corruption(format!("the words of the index cannot be read: {error}"))
            })?;
            Ok(Segment { words, runs: taken(&mut payload, segment.runs_bytes)? })
        });
        let segments = segments.collect::<Result<_>>()?;
        let unknown = unknown.into_iter().fold(RoaringBitmap::new(), |mut all, (first, last)| {
            all.insert_range(first..=last);
            all
        });
        Ok(Dictionary { rows, run_rows, segments, unknown, bytes: size })
    }

    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// The runs that may hold a row that satisfies `term`.
    pub fn runs(&self, term: &SkipTerm) -> RoaringBitmap {
        // At most as many as a part has rows, which is checked where the file is read.
        let count = u32::try_from(self.rows.div_ceil(self.run_rows)).unwrap_or(u32::MAX);
        let mut found = RoaringBitmap::new();
        for needed in term.words_needed() {
            let mut with_all = RoaringBitmap::new();
            with_all.insert_range(0..count);
            for word in needed {
                with_all &= match self.runs_with(kept(&word)) {
                    Some(runs) => runs,
                    // A bitmap that cannot be read keeps nothing out.
                    None => continue,
                };
            }
            found |= with_all;
        }
        found
    }

    /// The runs that may have the word; `None` when that cannot be read.
    fn runs_with(&self, word: &str) -> Option<RoaringBitmap> {
        let mut runs = self.unknown.clone();
        for segment in &self.segments {
            match segment.words.get(word) {
                None => {}
                Some(place) if place & 1 == 1 => {
                    runs.insert(u32::try_from(place >> 1).ok()?);
                }
                Some(place) => {
                    let bitmap = segment.runs.get(usize::try_from(place >> 1).ok()?..)?;
                    runs |= RoaringBitmap::deserialize_from(bitmap).ok()?;
                }
            }
        }
        Some(runs)
    }
}

/// The first bytes of the payload, behind their number.
fn taken_with_length(payload: &mut Bytes) -> Result<Bytes> {
    if payload.len() < 4 {
        return Err(cut());
    }
    let length = payload.get_u32_le();
    taken(payload, u64::from(length))
}

fn taken(payload: &mut Bytes, length: u64) -> Result<Bytes> {
    match usize::try_from(length) {
        Ok(length) if length <= payload.len() => Ok(payload.split_to(length)),
        _ => Err(cut()),
    }
}

fn cut() -> Error {
    Error::corruption("the index is shorter than it says")
}

#[cfg(test)]
mod tests {
    use super::*;
    use granary_catalog::Scalar;
    use granary_common::ErrorKind;

    /// Of rows that are runs of their own.
    fn dictionary(bounds: Bounds, texts: &[&str]) -> Dictionary {
        let mut builder = DictionaryBuilder::new(bounds);
        for text in texts {
            builder.add(text);
            builder.close_run().unwrap();
        }
        Dictionary::decode(builder.finish(texts.len() as u64, 1).unwrap()).unwrap()
    }

    fn runs(dictionary: &Dictionary, term: SkipTerm) -> Vec<u32> {
        dictionary.runs(&term).into_iter().collect()
    }

    fn word(word: &str) -> SkipTerm {
        SkipTerm::Word(word.into())
    }

    const TEXTS: [&str; 5] = ["GET /a", "POST /b", "GET /b?get", "", "żółw GET"];

    #[test]
    fn words_find_their_runs() {
        let small = Bounds { segment_bytes_max: 200, ..Bounds::default() };
        for bounds in [Bounds::default(), small] {
            let known = dictionary(bounds, &TEXTS);
            assert_eq!(known.segments.len() > 1, bounds.segment_bytes_max == 200);
            assert_eq!(runs(&known, word("GET")), [0, 2, 4]);
            assert_eq!(runs(&known, word("get")), [2]);
            assert_eq!(runs(&known, word("żółw")), [4]);
            assert_eq!(runs(&known, word("G")), [] as [u32; 0]);
            assert_eq!(runs(&known, SkipTerm::Like("% GET /b%".into())), [0, 2, 4]);
            assert_eq!(runs(&known, SkipTerm::Like("%ET /b?%".into())), [1, 2]);
            assert_eq!(runs(&known, SkipTerm::Like("%e%".into())), [0, 1, 2, 3, 4]);
            let both = ["POST b", "żółw", "POST a"].map(|text| Scalar::Text(text.into())).to_vec();
            assert_eq!(runs(&known, SkipTerm::In(both)), [1, 4]);
        }
    }

    #[test]
    fn what_is_too_much_is_read() {
        let long = "x".repeat(1000);
        let tiny = Bounds { segment_bytes_max: 150, file_bytes_max: 1 };
        let known = dictionary(tiny, &["one two three", "four", &long]);
        // The second row comes when the file is full.
        assert_eq!(runs(&known, word("three")), [0, 1, 2]);
        assert_eq!(runs(&known, word("nowhere")), [1, 2]);
        let mut builder =
            DictionaryBuilder::new(Bounds { segment_bytes_max: 150, ..Bounds::default() });
        ["one two", "three", "four"].iter().for_each(|text| builder.add(text));
        builder.close_run().unwrap();
        builder.add("five");
        builder.close_run().unwrap();
        let known = Dictionary::decode(builder.finish(4, 3).unwrap()).unwrap();
        assert_eq!(runs(&known, word("four")), [0]);
        assert_eq!(runs(&known, word("five")), [0, 1]);

        // Words that begin alike for long are taken for each other.
        let known = dictionary(Bounds::default(), &["a", &long]);
        assert_eq!(runs(&known, word(&format!("{}y", &long[..500]))), [1]);
        assert_eq!(runs(&known, word(&long[..100])), [] as [u32; 0]);
    }

    #[test]
    fn damage_is_told() {
        let mut builder = DictionaryBuilder::new(Bounds::default());
        TEXTS.iter().for_each(|text| builder.add(text));
        builder.close_run().unwrap();
        let bytes = builder.finish(5, 5).unwrap();
        for at in 8..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 4;
            let error = Dictionary::decode(damaged.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "byte {at}");
            let error = Dictionary::decode(bytes.slice(..at)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "cut at {at}");
        }
    }
}
