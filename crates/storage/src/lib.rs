//! Parts on volumes: how rows become immutable sorted files, and how those files answer scans.
//!
//! ```text
//!   RecordBatch ─ write::write_block ─► sort ─► split by partition ─► part files on a Volume
//!                                                                        │
//!   batches ◄─ OpenPart::scan ◄─ OpenPart::prune ◄─ PartStore::open ◄────┘
//! ```
//!
//! This crate sees columns by id and canonical values; it never sees SQL text. `vortex` is named
//! only in [`part::format`].

pub mod backup;
pub mod bucket_hash;
#[cfg(test)]
mod counted_store;
pub mod deletions;
pub mod documents;
pub mod filter;
pub mod merge;
pub mod merge_pick;
pub mod part;
pub mod projection;
pub mod read;
pub mod relocate;
pub mod scalar;
pub mod schema;
pub mod skip;
pub mod sort_order;
pub mod sweep;
#[cfg(test)]
mod test_support;
pub mod transfer;
pub mod ttl;
pub mod volume;
pub mod write;

pub use bucket_hash::{bucket_of, hash_columns};
pub use deletions::{Deletions, write_deletions};
pub use documents::{DocumentPath, DocumentReader};
pub use filter::{CompareOp, Filter};
pub use part::format::Effort;
pub use part::statistics::ColumnStatistics;
pub use projection::Projections;
pub use read::{
    DamageWatch, MetPart, OpenPart, PartRef, PartScan, PartStore, PartStoreOptions, Pruned,
};
pub use relocate::relocate_part;
pub use scalar::{has_scalars, scalar_at, to_arrow_scalar};
pub use schema::{PART_COLUMN, PART_OFFSET_COLUMN, PartColumn, PartSchema, virtual_columns};
pub use skip::{SkipHint, SkipIndexes, SkipTerm};
pub use sweep::{PartsOnVolume, SweptParts, delete_part};
pub use transfer::{FileSource, PartCopy, copy_part, deletion_file, file_bytes};
pub use volume::{
    DiskStep, DiskWatch, LocalStore, Owner, ReadCache, ReadCacheFigures, Reserve, Room, TierVolume,
    Tiers, Volume, VolumeKind, Volumes,
};
pub use write::{PartIds, WriteOptions, write_block};
