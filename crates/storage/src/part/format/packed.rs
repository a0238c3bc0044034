//! General compression of texts that do not repeat, in merges.
//!
//! Symbol tables find pieces of words, but neither what is said again some lines before nor that hexadecimal
//! digits are half a byte each; entropy coding does. What is given up for it: a row among others, and a
//! comparison, cannot be had without decoding the whole granule. So it has to save much.

use vortex::array::{ArrayId, ArrayRef, Canonical, ExecutionCtx, IntoArray};
use vortex::compressor::BtrBlocksCompressor;
use vortex::encodings::zstd::Zstd;
use vortex::error::VortexResult;
use vortex_btrblocks::Scheme;
use vortex_btrblocks::schemes::string::{FSSTScheme, OnPairScheme};

/// The least that it must save of what the encodings leave, in percent: about what it saves of
/// hexadecimal ids (19 %); of lines of logs it saves 23 %, of TPC-H's comments 30 %. Measured on 5 million
/// lines of 59 bytes, reading all of them takes 1.7 times the CPU time (66 ns a line, at 1.2 GB/s a core
/// whichever the level), LIKE 1.6 times, and lines of one row in a hundred 2.1 times. Equality, for which
/// symbol tables decode nothing, took 3.6 times as long. What saves less is not worth that.
const SAVED_PERCENT_MIN: u64 = 15;
/// Zstandard's levels, of which the smaller result is taken. Hexadecimal ids are smaller by the first,
/// which finds no repetitions in them (8.8 bytes of 16, at 390 MB/s; 9.5 by the sixth); lines of
/// logs and prose by the other one (12.8 bytes of 59 and not 14.8, at 100 MB/s). Higher ones take
/// longer for little.
const LEVELS: [i32; 2] = [1, 6];
/// Texts of one granule that are decoded together at most: some milliseconds. Longer ones stay as the
/// encodings have them, where one row can be had alone.
const GRANULE_BYTES_MAX: u64 = 4 << 20;
/// Values of a frame. Reads take granules, so that larger frames would be decoded in vain; of smaller
/// granules several are taken together, as frames are not known to each other.
const FRAME_VALUES: std::ops::RangeInclusive<usize> = 1024..=8192;

/// Blocks as `encodings` have them, or those of text in frames of general compression.
pub(super) fn packed(
    encodings: BtrBlocksCompressor,
    granularity: usize,
) -> impl Fn(&ArrayRef, &mut ExecutionCtx) -> VortexResult<ArrayRef> + Send + Sync + 'static {
    let frame = granularity.clamp(*FRAME_VALUES.start(), *FRAME_VALUES.end());
    move |block, context| {
        let encoded = encodings.compress(block, context)?;
        if !is_in_pieces(encoded.encoding_id()) {
            return Ok(encoded);
        }
        let Canonical::VarBinView(texts) = block.clone().execute::<Canonical>(context)? else {
            return Ok(encoded);
        };
        let texts = texts.compact_buffers(context)?;
        let granules = texts.as_ref().len().div_ceil(frame).max(1) as u64;
        if texts.as_ref().nbytes() / granules > GRANULE_BYTES_MAX {
            return Ok(encoded);
        }
        let enough = encoded.nbytes() * (100 - SAVED_PERCENT_MIN) / 100;
        let mut best = encoded;
        for level in LEVELS {
            let packed = Zstd::from_var_bin_view_without_dict(&texts, level, frame, context)?;
            let packed = packed.into_array();
            if packed.nbytes() < enough.min(best.nbytes()) {
                best = packed;
            }
        }
        Ok(best)
    }
}

/// Whether such an array has each text by itself, in symbols or as it is.
fn is_in_pieces(encoding: ArrayId) -> bool {
    let symbols = [FSSTScheme.produced_encodings(), OnPairScheme.produced_encodings()];
    symbols.iter().flatten().any(|known| *known == encoding)
        || encoding.as_ref() == "vortex.varbinview"
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, RecordBatch, StringViewArray};
    use futures::{StreamExt, TryStreamExt, stream};
    use granary_catalog::Scalar;
    use granary_common::ColumnId;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::super::{DataFile, DataScan, Effort, encode_stream};
    use crate::filter::{CompareOp, Filter};
    use crate::part::descriptor::FileEntry;
    use crate::schema::PartSchema;
    use crate::test_support::table;

    const ROWS: u64 = 40_000;

    fn draw(of: u64) -> u64 {
        of.wrapping_add(7).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(31)
    }

    /// A line of a log, its id, and a word of few.
    fn texts() -> [StringViewArray; 3] {
        let line = |row| {
            let (verb, place) = (["GET", "POST", "PUT"][draw(row) as usize % 3], draw(row * 3) % 9);
            format!(
                "{verb} /shop/{place}/items answered 200 in 0.{:03} s, {} bytes to user {}",
                draw(row * 5) % 1000,
                draw(row * 7) % 50_000,
                draw(row * 11) % 100,
            )
        };
        let some = |row: u64| (row % 97 != 5).then(|| format!("{:016x}", draw(draw(row))));
        [
            StringViewArray::from_iter_values((0..ROWS).map(line)),
            StringViewArray::from_iter((0..ROWS).map(some)),
            StringViewArray::from_iter_values(
                (0..ROWS).map(|row| ["here", "there"][row as usize % 2]),
            ),
        ]
    }

    fn schema(place: usize) -> PartSchema {
        table(&[["String", "Nullable(String)", "String"][place]], &[], &[], 8192)
    }

    async fn encoded(place: usize, texts: &StringViewArray, effort: Effort) -> Vec<u8> {
        let schema = schema(place);
        let rows = RecordBatch::try_new(schema.arrow_schema(), vec![Arc::new(texts.clone())]);
        let mut bytes = Vec::new();
        let rows = stream::iter([Ok(rows.unwrap())]).boxed();
        encode_stream(&schema, rows, &mut bytes, effort).await.unwrap();
        bytes
    }

    /// The texts of rows that pass.
    async fn found(place: usize, bytes: Vec<u8>, filter: Option<Filter>) -> Vec<Option<String>> {
        let (store, path) = (Arc::new(InMemory::new()), Path::from("data"));
        let entry = FileEntry::of("data", &bytes);
        store.put(&path, bytes.into()).await.unwrap();
        let file = DataFile::open_object(store, path, &entry).await.unwrap();
        let schema = schema(place);
        let scan = DataScan {
            columns: vec![ColumnId(0)],
            filter,
            ordered: true,
            rows: None,
            deletions: None,
            lazy: false,
            is_once: false,
            output: schema.arrow_schema(),
        };
        let batches: Vec<RecordBatch> =
            file.scan(&schema, scan).unwrap().try_collect().await.unwrap();
        let texts = batches.iter().flat_map(|batch| {
            batch.column(0).as_string_view().iter().map(|text| text.map(str::to_owned))
        });
        texts.collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn texts_get_smaller_and_stay_what_they_are() {
        for (place, texts) in texts().iter().enumerate() {
            let light = encoded(place, texts, Effort::Light).await;
            let full = encoded(place, texts, Effort::Full).await;
            println!("{place}: {} to {} bytes", light.len(), full.len());
            if place < 2 {
                assert!(full.len() * 5 < light.len() * 4, "{} to {}", light.len(), full.len());
            }
            let all: Vec<Option<String>> = texts.iter().map(|t| t.map(str::to_owned)).collect();
            assert_eq!(found(place, full.clone(), None).await, all);
            let value = texts.value(777).to_owned();
            let equal = Filter::Compare {
                column: ColumnId(0),
                op: CompareOp::Eq,
                value: Scalar::Text(value.clone()),
            };
            let like = Filter::Like {
                column: ColumnId(0),
                pattern: "%e5%".to_owned(),
                negated: false,
                case_insensitive: false,
            };
            let passing = |passes: &dyn Fn(&str) -> bool| -> Vec<Option<String>> {
                let of = |text: &&Option<String>| text.as_deref().is_some_and(passes);
                all.iter().filter(of).cloned().collect()
            };
            let equals = found(place, full.clone(), Some(equal)).await;
            assert_eq!(equals, passing(&|text| text == value));
            assert_eq!(found(place, full, Some(like)).await, passing(&|text| text.contains("e5")));
        }
    }
}
