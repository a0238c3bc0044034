//! How the columns of a file are cut and laid out.
//!
//! ```text
//! column ─ granules ─┬─ few values: dictionary ─┬─ joined to blocks of 1 MiB ─ encoded ─ segments
//!                    └─ else ───────────────────┘                              └ texts: packed
//! ```
//!
//! It is the library's own layout without what Granary has elsewhere or never asks for: statistics of
//! zones, since the index of the part has those of its granules and scans choose their rows by it, and
//! statistics of blocks. They took a tenth of the time of an insert.

use std::sync::Arc;

use vortex::compressor::BtrBlocksCompressorBuilder;
use vortex::dtype::FieldPath;
use vortex::layout::LayoutStrategy;
use vortex::layout::layouts::buffered::BufferedStrategy;
use vortex::layout::layouts::chunked::writer::ChunkedLayoutStrategy;
use vortex::layout::layouts::collect::CollectStrategy;
use vortex::layout::layouts::compressed::{CompressingStrategy, CompressorPlugin};
use vortex::layout::layouts::dict::writer::DictStrategy;
use vortex::layout::layouts::flat::writer::FlatLayoutStrategy;
use vortex::layout::layouts::repartition::{RepartitionStrategy, RepartitionWriterOptions};
use vortex::layout::layouts::table::TableStrategy;
use vortex_btrblocks::SchemeExt;
use vortex_btrblocks::schemes::integer::IntDictScheme;

use super::packed::packed;

/// Bytes of values that are encoded together: what one read of a column gets at least.
const BLOCK_BYTES: u64 = 1 << 20;
/// Segments of a column up to this many bytes are kept together in the file.
const NEIGHBOURS_BYTES: u64 = 2 << 20;

/// The encodings that columns may get.
pub(super) struct Encodings {
    pub data: BtrBlocksCompressorBuilder,
    /// Encodes the first granule of a column, to see whether it is one for a dictionary.
    pub trial: BtrBlocksCompressorBuilder,
    /// Whether blocks of text may get general compression instead: see [`packed`].
    pub packs_texts: bool,
}

impl Encodings {
    /// Those of `builder`, which are also tried in full.
    pub fn of(builder: BtrBlocksCompressorBuilder) -> Encodings {
        Encodings { data: builder.clone(), trial: builder, packs_texts: false }
    }
}

/// The layout of a file with granules of `granularity` rows. Columns in `own` are written as it says.
pub(super) fn strategy(
    encodings: Encodings,
    granularity: usize,
    own: impl IntoIterator<Item = (FieldPath, Arc<dyn LayoutStrategy>)>,
) -> Arc<dyn LayoutStrategy> {
    let flat: Arc<dyn LayoutStrategy> = Arc::new(FlatLayoutStrategy::default());
    // Dictionaries are made for whole columns; their codes need no other.
    let blocks = encodings.data.clone().exclude_schemes([IntDictScheme.id()]).build();
    let blocks: Arc<dyn CompressorPlugin> = match encodings.packs_texts {
        true => Arc::new(packed(blocks, granularity)),
        false => Arc::new(blocks),
    };
    let small: Arc<dyn CompressorPlugin> = Arc::new(encodings.data.build());
    let small = CompressingStrategy::new(Arc::clone(&flat), small).with_stats(&[]);
    let segments = BufferedStrategy::new(ChunkedLayoutStrategy::new(flat), NEIGHBOURS_BYTES);
    let blocks = RepartitionStrategy::new(
        CompressingStrategy::new(segments, blocks).with_stats(&[]),
        RepartitionWriterOptions {
            block_size_minimum: BLOCK_BYTES,
            block_len_multiple: granularity,
            block_size_target: Some(BLOCK_BYTES),
            canonicalize: true,
        },
    );
    let trial: Arc<dyn CompressorPlugin> = Arc::new(encodings.trial.build());
    let columns =
        DictStrategy::new(blocks.clone(), small.clone(), blocks, Default::default(), trial);
    let granules = RepartitionStrategy::new(
        columns,
        RepartitionWriterOptions {
            block_size_minimum: 0,
            block_len_multiple: granularity,
            block_size_target: None,
            canonicalize: false,
        },
    );
    let validity = CollectStrategy::new(small);
    let table = TableStrategy::new(Arc::new(validity), Arc::new(granules));
    Arc::new(table.with_field_writers(own))
}
