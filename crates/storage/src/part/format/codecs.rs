//! The encodings of a column whose CODEC says which ones.

use std::sync::Arc;

use granary_catalog::ColumnCodec;
use vortex::array::{ArrayRef, Canonical, ExecutionCtx, IntoArray};
use vortex::compressor::{BtrBlocksCompressor, BtrBlocksCompressorBuilder};
use vortex::encodings::zstd::Zstd;
use vortex::error::VortexResult;
use vortex::file::WriteStrategyBuilder;
use vortex::layout::LayoutStrategy;
use vortex_btrblocks::{CompressionSessionExt, SchemeExt};

use super::SESSION;
use super::write::LIGHT_SCHEMES;

/// What makes parts of a value of a type that is no number of the machine.
const DECOMPOSING: [&str; 2] = ["vortex.decimal.byte_parts", "vortex.ext.temporal"];
const DIFFERENCES: [&str; 5] = [
    "vortex.int.delta",
    "vortex.int.for",
    "vortex.int.bitpacking",
    "vortex.int.zigzag",
    "vortex.int.sequence",
];
const BITS: [&str; 3] = ["vortex.int.for", "vortex.int.bitpacking", "vortex.int.zigzag"];
const FLOATS: [&str; 5] = [
    "vortex.float.alp",
    "vortex.float.alprd",
    "vortex.int.for",
    "vortex.int.bitpacking",
    "vortex.int.zigzag",
];
const DICTIONARIES: [&str; 6] = [
    "vortex.int.dict",
    "vortex.float.dict",
    "vortex.string.dict",
    "vortex.binary.dict",
    "vortex.int.for",
    "vortex.int.bitpacking",
];
/// Values of one frame of general compression: a granule.
const FRAME_VALUES: usize = 8192;

/// How a column with these codecs is written; `None` when they leave it to the writer.
pub(super) fn strategy(
    codecs: &[ColumnCodec],
    granularity: usize,
) -> Option<Arc<dyn LayoutStrategy>> {
    if codecs.is_empty() {
        return None;
    }
    let builder = WriteStrategyBuilder::from_session(&SESSION).with_row_block_size(granularity);
    let level = codecs.iter().find_map(|codec| match codec {
        ColumnCodec::Zstd { level } => Some(i32::from(*level)),
        _ => None,
    });
    Some(match level {
        Some(level) => builder.with_compressor(general(level, encodings(codecs).build())).build(),
        None => builder.with_btrblocks_builder(encodings(codecs)).build(),
    })
}

/// The encodings that the codecs name. Alone, general compression may follow any of them.
fn encodings(codecs: &[ColumnCodec]) -> BtrBlocksCompressorBuilder {
    let is_general = |codec: &ColumnCodec| matches!(codec, ColumnCodec::Zstd { .. });
    if codecs.iter().all(is_general) {
        return BtrBlocksCompressorBuilder::from_session(&SESSION);
    }
    let mut named: Vec<&str> = Vec::new();
    for codec in codecs {
        match codec {
            ColumnCodec::Plain | ColumnCodec::Zstd { .. } => {}
            ColumnCodec::Lz4 => named.extend(LIGHT_SCHEMES),
            ColumnCodec::Delta => named.extend(DIFFERENCES.into_iter().chain(DECOMPOSING)),
            ColumnCodec::T64 => named.extend(BITS.into_iter().chain(DECOMPOSING)),
            ColumnCodec::Gorilla => named.extend(FLOATS),
            ColumnCodec::Dictionary => named.extend(DICTIONARIES.into_iter().chain(DECOMPOSING)),
        }
    }
    let others: Vec<_> = SESSION
        .compression()
        .schemes()
        .iter()
        .filter(|scheme| !named.contains(&scheme.scheme_name()))
        .map(|scheme| scheme.id())
        .collect();
    BtrBlocksCompressorBuilder::from_session(&SESSION).exclude_schemes(others)
}

/// Text, bytes and numbers in frames of this level, where that is smaller than `encodings` are.
fn general(
    level: i32,
    encodings: BtrBlocksCompressor,
) -> impl Fn(&ArrayRef, &mut ExecutionCtx) -> VortexResult<ArrayRef> + Send + Sync + 'static {
    move |chunk, context| {
        let encoded = encodings.compress(chunk, context)?;
        let compressed = match chunk.clone().execute::<Canonical>(context)? {
            Canonical::VarBinView(texts) => {
                let texts = texts.compact_buffers(context)?;
                Zstd::from_var_bin_view_without_dict(&texts, level, FRAME_VALUES, context)?
            }
            Canonical::Primitive(numbers) => {
                Zstd::from_primitive(&numbers, level, FRAME_VALUES, context)?
            }
            _ => return Ok(encoded),
        };
        let compressed = compressed.into_array();
        Ok(if compressed.nbytes() < encoded.nbytes() { compressed } else { encoded })
    }
}
