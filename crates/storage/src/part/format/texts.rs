//! Symbol tables for the texts of an insert, without trying them first.
//!
//! The library finds out what a symbol table would gain by making one of a sample, for each block of a
//! column and once more for each file. Making a table takes as long as encoding some ten thousand
//! texts with it, so an insert takes the gain for granted, as texts without one are rare: then they
//! stay as they are.

use vortex::array::{ArrayId, ArrayRef, Canonical, ExecutionCtx};
use vortex::error::VortexResult;
use vortex_btrblocks::schemes::string::FSSTScheme;
use vortex_btrblocks::{ArrayAndStats, CascadingCompressor, CompressorContext, Scheme};
use vortex_compressor::scheme::{CompressionEstimate, EstimateVerdict};

/// How many times smaller a dictionary has to make a sample of texts, before its own texts are written
/// by symbol tables: then less than three quarters of the sample differ, and less than a fifth of all.
const DICTIONARY_RATIO: f64 = 1.3;

/// Writes texts by symbol tables.
pub(super) static QUICK_TEXTS: QuickTexts = QuickTexts { is_trial: false };
/// Only tells whether texts would be written so.
pub(super) static QUICK_TEXTS_TRIAL: QuickTexts = QuickTexts { is_trial: true };

/// The scheme.
#[derive(Debug)]
pub(super) struct QuickTexts {
    is_trial: bool,
}

impl Scheme for QuickTexts {
    fn scheme_name(&self) -> &'static str {
        "granary.texts"
    }

    fn matches(&self, canonical: &Canonical) -> bool {
        FSSTScheme.matches(canonical)
    }

    fn produced_encodings(&self) -> Vec<ArrayId> {
        FSSTScheme.produced_encodings()
    }

    fn num_children(&self) -> usize {
        FSSTScheme.num_children()
    }

    fn expected_compression_ratio(
        &self,
        _: &ArrayAndStats,
        _: CompressorContext,
        _: &mut ExecutionCtx,
    ) -> CompressionEstimate {
        CompressionEstimate::Verdict(EstimateVerdict::Ratio(DICTIONARY_RATIO))
    }

    fn compress(
        &self,
        compressor: &CascadingCompressor,
        data: &ArrayAndStats,
        context: CompressorContext,
        execution: &mut ExecutionCtx,
    ) -> VortexResult<ArrayRef> {
        match self.is_trial {
            true => Ok(data.array().clone()),
            false => FSSTScheme.compress(compressor, data, context, execution),
        }
    }
}
