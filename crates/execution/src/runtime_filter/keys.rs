//! The keys of a built side, summarised: bounds, and a set that may say yes too often.

use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use prost::Message;

/// Keys that are summarised; with more, a filter would cost more than it saves.
const KEYS_MAX: usize = 4 << 20;
/// Bits of a bitmap at most, and for each key.
const BITMAP_BITS_MAX: u64 = 1 << 26;
const BITMAP_BITS_PER_KEY: u64 = 128;
/// A bitmap of this size is always worth it.
const BITMAP_BITS_SMALL: u64 = 1 << 16;
/// Distinct keys that are listed for the scan's index, which may rule out what lies between them.
const LISTED_MAX: usize = 64;
/// Keys for each word of the set that is made of hashes: one in about a hundred strangers passes.
const KEYS_PER_WORD: usize = 5;
/// The same on every node: a summary is made on one and used on others.
const HASH_SEED: u64 = 0x6772_616e_6172_7901;

/// Gathers keys batch by batch.
#[derive(Debug)]
pub struct KeyCollector {
    parts: usize,
    /// Whether the keys are one column of whole numbers, which are kept as they are.
    numbers: bool,
    keys: Keys,
    bounds: Vec<Option<Bounds>>,
    full: bool,
}

#[derive(Debug)]
enum Keys {
    Numbers(Vec<i64>),
    Hashes(Vec<u64>),
}

impl Keys {
    fn len(&self) -> usize {
        match self {
            Keys::Numbers(keys) => keys.len(),
            Keys::Hashes(keys) => keys.len(),
        }
    }
}

/// The least and the greatest of a column of whole numbers.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Bounds {
    #[prost(bool, tag = "1")]
    pub(super) known: bool,
    #[prost(sint64, tag = "2")]
    pub(super) min: i64,
    #[prost(sint64, tag = "3")]
    pub(super) max: i64,
}

/// Whether values of the type are whole numbers that fit in 64 bits with a sign.
fn is_number(data_type: &DataType) -> bool {
    use DataType::{Date32, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32};
    matches!(data_type, Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | Date32)
}

fn numbers(column: &ArrayRef) -> Result<PrimitiveArray<Int64Type>> {
    let column = match column.data_type() {
        DataType::Int64 => Arc::clone(column),
        // Dates are days.
        DataType::Date32 => cast(&cast(column, &DataType::Int32)?, &DataType::Int64)?,
        _ => cast(column, &DataType::Int64)?,
    };
    Ok(column.as_primitive::<Int64Type>().clone())
}

fn hashes(columns: &[ArrayRef]) -> Result<Vec<u64>> {
    let rows = columns.first().map_or(0, |column| column.len());
    let mut hashes = vec![0; rows];
    create_hashes(columns, &RandomState::with_seed(HASH_SEED), &mut hashes)?;
    Ok(hashes)
}

/// Rows in which every column has a value: NULL has no partner.
fn valid(columns: &[ArrayRef]) -> Option<NullBuffer> {
    columns.iter().fold(None, |both, column| NullBuffer::union(both.as_ref(), column.nulls()))
}

impl KeyCollector {
    /// A collector of keys of these types, of a side that is built in `parts` of about one size.
    pub fn new(types: &[DataType], parts: usize) -> Self {
        let numbers = matches!(types, [only] if is_number(only));
        let keys = if numbers { Keys::Numbers(Vec::new()) } else { Keys::Hashes(Vec::new()) };
        let bounds = types.iter().map(|of| is_number(of).then(Bounds::default));
        Self { parts, numbers, keys, bounds: bounds.collect(), full: false }
    }

    /// Takes the keys of a batch; rows with NULL in them have no partner and are left out.
    pub fn add(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let rows = columns.first().map_or(0, |column| column.len());
        if self.full || rows == 0 {
            return Ok(());
        }
        if (self.keys.len() + rows).saturating_mul(self.parts) > KEYS_MAX {
            self.full = true;
            self.keys = Keys::Hashes(Vec::new());
            return Ok(());
        }
        let valid = valid(columns);
        let is_valid = |row: usize| valid.as_ref().is_none_or(|valid| valid.is_valid(row));
        for (bounds, column) in self.bounds.iter_mut().zip(columns) {
            let Some(bounds) = bounds else { continue };
            let values = numbers(column)?;
            for (row, value) in values.values().iter().enumerate() {
                if is_valid(row) {
                    bounds.widen(*value);
                }
            }
            if let (true, Keys::Numbers(keys)) = (self.numbers, &mut self.keys) {
                let kept = values.values().iter().enumerate().filter(|(row, _)| is_valid(*row));
                keys.extend(kept.map(|(_, value)| *value));
            }
        }
        if let Keys::Hashes(keys) = &mut self.keys {
            let kept = hashes(columns)?.into_iter().enumerate().filter(|(row, _)| is_valid(*row));
            keys.extend(kept.map(|(_, hash)| hash));
        }
        Ok(())
    }

    /// The summary of everything that came; `None` when it would not be worth its cost.
    pub fn finish(self) -> Option<KeySummary> {
        if self.full {
            return None;
        }
        let bounds = self.bounds.iter().map(|bounds| bounds.unwrap_or_default()).collect();
        let keys = self.keys.len() as u64;
        let expected = keys * self.parts as u64;
        let mut summary = KeySummary { keys, bounds, bitmap: false, words: Vec::new() };
        match summary.bitmap_range(expected).filter(|_| self.numbers) {
            Some(range) => {
                summary.make_bitmap(&range);
                let Keys::Numbers(keys) = &self.keys else { return None };
                keys.iter().for_each(|key| summary.set_number(*range.start(), *key));
            }
            None => {
                summary.words = vec![0; words_for(expected)];
                match self.keys {
                    Keys::Hashes(keys) => keys.iter().for_each(|hash| summary.set_hash(*hash)),
                    Keys::Numbers(keys) => summary.set_hashes_of(keys).ok()?,
                }
            }
        }
        Some(summary)
    }
}

/// Words of a set of hashes. A power of two, so that a smaller set can be widened to a larger one.
pub(super) fn words_for(keys: u64) -> usize {
    (keys as usize).div_ceil(KEYS_PER_WORD).max(1).next_power_of_two()
}

impl Bounds {
    pub(super) fn widen(&mut self, value: i64) {
        if self.known {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        } else {
            *self = Bounds { known: true, min: value, max: value };
        }
    }
}

/// What is known of a join's built keys. As a message it travels to the workers that scan.
#[derive(Clone, PartialEq, Message)]
pub struct KeySummary {
    /// Keys that it was made of, each as often as it came.
    #[prost(uint64, tag = "1")]
    pub(super) keys: u64,
    /// Of each key column; unknown where values are no whole numbers.
    #[prost(message, repeated, tag = "2")]
    pub(super) bounds: Vec<Bounds>,
    /// Whether `words` has a bit for each value from the least to the greatest; else it is a set of
    /// hashes, of which each has four bits in one word.
    #[prost(bool, tag = "3")]
    pub(super) bitmap: bool,
    #[prost(fixed64, repeated, packed = "true", tag = "4")]
    pub(super) words: Vec<u64>,
}

impl KeySummary {
    /// Whether nothing can pass.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Bytes that it takes.
    pub fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.words.len() * size_of::<u64>()
    }

    /// The bounds of a key column, if it is of whole numbers and has any.
    pub fn range(&self, column: usize) -> Option<RangeInclusive<i64>> {
        let bounds = self.bounds.get(column).filter(|bounds| bounds.known)?;
        Some(bounds.min..=bounds.max)
    }

    /// The keys themselves, where they are few whole numbers.
    pub fn values(&self) -> Option<Vec<i64>> {
        let distinct: usize = self.words.iter().map(|word| word.count_ones() as usize).sum();
        (self.bitmap && distinct <= LISTED_MAX).then(|| self.numbers().collect())
    }

    /// The numbers of a bitmap.
    pub(super) fn numbers(&self) -> impl Iterator<Item = i64> + '_ {
        let min = self.range(0).map_or(0, |range| *range.start());
        let words = self.words.iter().enumerate().filter(|(_, word)| self.bitmap && **word != 0);
        let bits = words.flat_map(|(at, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at as u64 * 64 + bit)
        });
        // The distance to the greatest may be more than a number with a sign can say.
        bits.map(move |bit| min.wrapping_add_unsigned(bit))
    }

    /// What a bitmap of `keys` keys would cover, if it is worth its size.
    pub(super) fn bitmap_range(&self, keys: u64) -> Option<RangeInclusive<i64>> {
        let range = self.range(0)?;
        let span = range.end().abs_diff(*range.start());
        let worth = (keys * BITMAP_BITS_PER_KEY).clamp(BITMAP_BITS_SMALL, BITMAP_BITS_MAX);
        (span < worth).then_some(range)
    }

    pub(super) fn make_bitmap(&mut self, range: &RangeInclusive<i64>) {
        let span = range.end().abs_diff(*range.start());
        self.bitmap = true;
        self.words = vec![0; (span / 64 + 1) as usize];
    }

    pub(super) fn set_number(&mut self, min: i64, key: i64) {
        let bit = key.abs_diff(min);
        self.words[(bit / 64) as usize] |= 1 << (bit % 64);
    }

    fn set_hash(&mut self, hash: u64) {
        let word = word_of(hash, self.words.len());
        self.words[word] |= mask(hash);
    }

    pub(super) fn set_hashes_of(&mut self, keys: impl IntoIterator<Item = i64>) -> Result<()> {
        let column = PrimitiveArray::<Int64Type>::from_iter_values(keys);
        hashes(&[Arc::new(column)])?.into_iter().for_each(|hash| self.set_hash(hash));
        Ok(())
    }

    /// For each row whether its keys may be among those that were built.
    pub fn test(&self, columns: &[ArrayRef]) -> Result<BooleanArray> {
        let rows = columns.first().map_or(0, |column| column.len());
        if self.is_empty() {
            return Ok(BooleanArray::new(BooleanBuffer::new_unset(rows), None));
        }
        let passing = match (self.bitmap, self.range(0)) {
            (true, Some(range)) => self.test_numbers(&range, &numbers(&columns[0])?),
            _ => self.test_hashes(columns)?,
        };
        Ok(match valid(columns) {
            Some(valid) => BooleanArray::new(&passing & valid.inner(), None),
            None => BooleanArray::new(passing, None),
        })
    }

    fn test_numbers(
        &self,
        range: &RangeInclusive<i64>,
        column: &PrimitiveArray<Int64Type>,
    ) -> BooleanBuffer {
        let (min, values) = (*range.start(), column.values());
        let bits = self.words.len() as u64 * 64;
        BooleanBuffer::collect_bool(values.len(), |row| {
            // What lies below the least wraps round to far above the greatest.
            let bit = values[row].wrapping_sub(min) as u64;
            bit < bits && self.words[(bit / 64) as usize] >> (bit % 64) & 1 == 1
        })
    }

    fn test_hashes(&self, columns: &[ArrayRef]) -> Result<BooleanBuffer> {
        // Single columns of whole numbers were hashed as 64 bits wide.
        let widened = match columns {
            [only] if is_number(only.data_type()) => Some([Arc::new(numbers(only)?) as ArrayRef]),
            _ => None,
        };
        let hashes = hashes(widened.as_ref().map_or(columns, |column| column.as_slice()))?;
        let words = self.words.len();
        Ok(BooleanBuffer::collect_bool(hashes.len(), |row| {
            let mask = mask(hashes[row]);
            self.words[word_of(hashes[row], words)] & mask == mask
        }))
    }
}

fn word_of(hash: u64, words: usize) -> usize {
    (((hash >> 32) * words as u64) >> 32) as usize
}

fn mask(hash: u64) -> u64 {
    let bit = |at: u64| 1_u64 << ((hash >> (6 * at)) & 63);
    bit(0) | bit(1) | bit(2) | bit(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Date32Array, Int32Array, Int64Array, StringViewArray};

    fn summary(batches: &[Vec<ArrayRef>]) -> KeySummary {
        let types: Vec<DataType> =
            batches[0].iter().map(|column| column.data_type().clone()).collect();
        let mut collector = KeyCollector::new(&types, 1);
        for batch in batches {
            collector.add(batch).unwrap();
        }
        let made = collector.finish().expect("a summary");
        // It is used as it arrives on another node.
        KeySummary::decode(made.encode_to_vec().as_slice()).unwrap()
    }

    fn passing(summary: &KeySummary, columns: &[ArrayRef]) -> Vec<bool> {
        summary.test(columns).unwrap().iter().map(|passes| passes == Some(true)).collect()
    }

    fn numbers(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn dense_numbers_pass_exactly() {
        let built = summary(&[
            vec![numbers(&[Some(-7), None, Some(100)])],
            vec![numbers(&[Some(3), Some(100)])],
        ]);
        assert_eq!(built.range(0), Some(-7..=100));
        assert_eq!(built.values(), Some(vec![-7, 3, 100]));
        let probed =
            [Some(-8), Some(-7), Some(0), Some(3), Some(100), Some(101), None, Some(i64::MIN)];
        let expected = [false, true, false, true, true, false, false, false];
        assert_eq!(passing(&built, &[numbers(&probed)]), expected);
    }

    #[test]
    fn no_key_is_ever_lost() {
        let sparse: Vec<Option<i64>> = (0..5000)
            .map(|key: i64| Some(key.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)))
            .collect();
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(
            (0..5000).map(|key| format!("key number {key}")),
        ));
        let small: ArrayRef = Arc::new(Int32Array::from_iter_values(0..5000));
        for columns in [
            vec![numbers(&sparse)],
            vec![Arc::clone(&texts)],
            vec![texts, Arc::clone(&small)],
            vec![small, numbers(&sparse)],
        ] {
            let built = summary(std::slice::from_ref(&columns));
            assert!(passing(&built, &columns).into_iter().all(|passes| passes));
        }
    }

    #[test]
    fn few_strangers_pass() {
        let key = |seed: i64| (seed * 2 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
        let of = |seeds: std::ops::Range<i64>| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(seeds.map(key)))
        };
        let built = summary(&[vec![of(0..10_000)]]);
        let strangers = passing(&built, &[of(10_000..20_000)]);
        let wrong = strangers.into_iter().filter(|passes| *passes).count();
        assert!(wrong < 500, "{wrong} of 10000");
    }

    #[test]
    fn dates_are_numbers_and_nothing_built_passes_nothing() {
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![10_000, 10_020]));
        let built = summary(&[vec![Arc::clone(&dates)]]);
        assert_eq!(built.range(0), Some(10_000..=10_020));
        assert_eq!(passing(&built, &[dates]), [true, true]);
        let nothing = summary(&[vec![numbers(&[None])]]);
        assert!(nothing.is_empty());
        assert_eq!(passing(&nothing, &[numbers(&[Some(1), None])]), [false, false]);
    }

    #[test]
    fn few_keys_are_listed_wherever_they_lie() {
        for (keys, expected) in [
            (vec![i64::MAX], true),
            (vec![i64::MAX - 1, i64::MAX], true),
            (vec![i64::MIN, i64::MIN + 64], true),
            ((0..64).collect(), true),
            ((0..65).collect(), false),
            (vec![0, i64::MAX], false),
        ] {
            let built = summary(&[vec![Arc::new(Int64Array::from(keys.clone())) as ArrayRef]]);
            assert_eq!(built.values(), expected.then_some(keys));
        }
    }

    #[test]
    fn too_many_keys_make_no_summary() {
        let mut collector = KeyCollector::new(&[DataType::Int64], 1);
        let block: ArrayRef = Arc::new(Int64Array::from_iter_values(0..(1 << 20)));
        for _ in 0..5 {
            collector.add(&[Arc::clone(&block)]).unwrap();
        }
        assert_eq!(collector.finish(), None);
    }
}
