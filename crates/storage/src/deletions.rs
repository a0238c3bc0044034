//! Which rows of a part are deleted.
//!
//! ```text
//! parts/<table>/<part>/deletions-<id>   a roaring bitmap in its portable format
//! ```
//!
//! Small vectors live in the catalog, larger ones in a file beside the part's. Such files never
//! change; one that no version refers to any more is swept like a part, by the lease of its id.

use bytes::Bytes;
use granary_catalog::{DELETIONS_FILE_PREFIX, DeletionContent};
use granary_common::{Error, Result};
use object_store::ObjectStoreExt;
use roaring::{RoaringBitmap, RoaringTreemap};

use crate::part::file_path;
use crate::read::PartRef;
use crate::volume::{Volume, store_error};
use crate::write::PartIds;

/// Bytes of a vector that the catalog holds itself, at most.
pub const INLINE_BYTES_MAX: usize = 16 << 10;

/// Positions of the deleted rows of one part, below 2^32.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deletions(RoaringBitmap);

impl Deletions {
    /// No row.
    pub fn new() -> Deletions {
        Deletions::default()
    }

    /// Adds a row; whether it was not there yet.
    pub fn insert(&mut self, row: u32) -> bool {
        self.0.insert(row)
    }

    /// Adds all rows of `other`.
    pub fn union(&mut self, other: &Deletions) {
        self.0 |= &other.0;
    }

    /// Of so many rows those that `other` lacks.
    pub fn all_but(rows: u64, other: &Deletions) -> Deletions {
        let mut all = RoaringBitmap::new();
        // Positions in parts are below 2^32.
        all.insert_range(0..rows as u32);
        Deletions(all - &other.0)
    }

    /// The rows that `other` lacks.
    pub fn difference(&self, other: &Deletions) -> Deletions {
        Deletions(&self.0 - &other.0)
    }

    /// How many rows.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `row` is deleted.
    pub fn contains(&self, row: u32) -> bool {
        self.0.contains(row)
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter()
    }

    /// The last row.
    pub fn max(&self) -> Option<u32> {
        self.0.max()
    }

    /// Reads what the catalog holds itself. Kinds: `Corruption` for bytes that are no bitmap,
    /// `Internal` for a vector in a file, which [`crate::PartStore::deletions`] reads.
    pub fn from_content(content: &DeletionContent) -> Result<Deletions> {
        match content {
            DeletionContent::Inline(bytes) => Self::decode(bytes),
            DeletionContent::File { name, .. } => {
                Err(Error::internal(format!("the deletions are in the file {name}")))
            }
        }
    }

    /// The vector for the catalog to hold, whatever its size.
    pub fn to_inline(&self) -> DeletionContent {
        DeletionContent::Inline(self.encode())
    }

    /// The portable bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut optimized = self.0.clone();
        optimized.optimize();
        let mut bytes = Vec::with_capacity(optimized.serialized_size());
        // A vector of bytes takes whatever is written to it.
        let _ = optimized.serialize_into(&mut bytes);
        bytes
    }

    /// Reads portable bytes. Kind `Corruption`.
    pub fn decode(bytes: &[u8]) -> Result<Deletions> {
        let decoded = RoaringBitmap::deserialize_from(bytes);
        decoded
            .map(Deletions)
            .map_err(|error| Error::corruption(format!("not a deletion vector: {error}")))
    }

    /// About how many bytes it takes in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.0.serialized_size() as u64 + 256
    }

    /// As positions of 64 bits.
    pub(crate) fn to_treemap(&self) -> RoaringTreemap {
        RoaringTreemap::from_bitmaps([(0, self.0.clone())])
    }
}

impl FromIterator<u32> for Deletions {
    fn from_iter<I: IntoIterator<Item = u32>>(rows: I) -> Self {
        Deletions(rows.into_iter().collect())
    }
}

/// Makes `deletions` of `part` ready for a commit: as they are when they are small, else as a synced
/// file on `volume`, under a name from `ids`. Nothing refers to the file until it is committed.
///
/// Kinds: `InvalidInput` for a row that the part does not have, `ResourceExhausted` for a full disk,
/// `Unavailable`.
pub async fn write_deletions(
    volume: &Volume,
    part: &PartRef,
    ids: &dyn PartIds,
    deletions: &Deletions,
) -> Result<DeletionContent> {
    if deletions.max().is_some_and(|row| u64::from(row) >= part.rows) {
        return Err(Error::invalid(format!(
            "part {} has {} rows and no row to delete beyond them",
            part.id, part.rows
        )));
    }
    let bytes = deletions.encode();
    if bytes.len() <= INLINE_BYTES_MAX {
        return Ok(DeletionContent::Inline(bytes));
    }
    let name = format!("{DELETIONS_FILE_PREFIX}{}", ids.next().await?);
    volume.check_room(bytes.len() as u64)?;
    let (table, owner) = part.files;
    let path = volume.path(&file_path(table, owner, &name));
    let content =
        DeletionContent::File { name, bytes: bytes.len() as u64, crc32c: crc32c::crc32c(&bytes) };
    match volume.store.put(&path, Bytes::from(bytes).into()).await {
        Ok(_) => Ok(content),
        Err(error) => {
            Err(store_error(&error).context(format!("deletions of part {}: {path}", part.id)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frozen: the bytes of vectors in the catalog and in files.
    #[test]
    fn the_bytes_of_vectors_stay() {
        let few: (Vec<u32>, &[u8]) = (
            vec![1, 5, 70_000],
            &[
                0x3a, 0x30, 0, 0, 2, 0, 0, 0, // arrays of two containers
                0, 0, 1, 0, 1, 0, 0, 0, // their numbers and how many rows they have, less one
                24, 0, 0, 0, 28, 0, 0, 0, // where they begin
                1, 0, 5, 0, 0x70, 0x11,
            ],
        );
        let run: (Vec<u32>, &[u8]) = (
            (0..1_000).collect(),
            // One container, which has runs: one from 0, of 999 rows behind it.
            &[0x3b, 0x30, 0, 0, 1, 0, 0, 0xe7, 3, 1, 0, 0, 0, 0xe7, 3],
        );
        for (rows, bytes) in [few, run] {
            let deletions: Deletions = rows.iter().copied().collect();
            assert_eq!(deletions.encode(), bytes);
            assert_eq!(Deletions::decode(bytes).unwrap(), deletions);
        }
    }

    #[test]
    fn all_but_some_rows() {
        let some: Deletions = [0, 3, 9].into_iter().collect();
        let others = Deletions::all_but(5, &some);
        assert_eq!(others.iter().collect::<Vec<_>>(), [1, 2, 4]);
        assert!(Deletions::all_but(0, &some).is_empty());
    }
}
