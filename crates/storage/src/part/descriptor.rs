//! What a part is, in a small file beside its data.

use bytes::Bytes;
use granary_catalog::{KeyRange, PartProjection, PartitionValue, codec};
use granary_common::{Error, PartId, Result};
use serde::{Deserialize, Serialize};

use super::blocks::BlockChecksums;
use super::envelope::{self, FileKind};
use crate::projection::{ProjectionDescriptor, data_file, index_file};
use crate::schema::PartSchema;
use crate::ttl::TtlMark;

const KIND: FileKind = FileKind { magic: *b"GRNPART\0", version: 2 };

/// Length and checksum of a file as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub name: String,
    pub bytes: u64,
    pub crc32c: u32,
    /// Of a file that is read in pieces; parts of format 1 have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<BlockChecksums>,
}

impl FileEntry {
    /// The entry of a file with this content, which is always read whole.
    pub fn of(name: &str, content: &[u8]) -> FileEntry {
        FileEntry {
            name: name.to_owned(),
            bytes: content.len() as u64,
            crc32c: crc32c::crc32c(content),
            blocks: None,
        }
    }

    /// The entry of a file with this content, which is read in pieces.
    pub fn in_blocks(name: &str, content: &[u8]) -> FileEntry {
        FileEntry { blocks: Some(BlockChecksums::of(content)), ..FileEntry::of(name, content) }
    }

    /// Compares content with what was written. Kind `Corruption`.
    pub fn check(&self, content: &[u8]) -> Result<()> {
        if content.len() as u64 != self.bytes {
            return Err(Error::corruption(format!(
                "file {} has {} bytes and not {} as written",
                self.name,
                content.len(),
                self.bytes
            )));
        }
        let actual = crc32c::crc32c(content);
        if actual != self.crc32c {
            return Err(Error::corruption(format!(
                "file {} has the checksum {actual:08x} and not {:08x} as written",
                self.name, self.crc32c
            )));
        }
        Ok(())
    }
}

/// A part as its writer knew it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    pub part: PartId,
    /// The columns that the part has, and its sort key.
    pub schema: PartSchema,
    pub partition: PartitionValue,
    pub rows: u64,
    pub key_range: Option<KeyRange>,
    /// Every file but this one.
    pub files: Vec<FileEntry>,
    /// When its rows are due, by the rules that its merge knew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ttl: Vec<TtlMark>,
    /// Projections of its rows, whose files are among the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projections: Vec<ProjectionDescriptor>,
}

impl Descriptor {
    /// The rows of a projection as a part of their own. Kind `Corruption` when there is none.
    pub fn of_projection(&self, fingerprint: u64) -> Result<Descriptor> {
        let found = self.projections.iter().find(|found| found.fingerprint == fingerprint);
        let found = found.ok_or_else(|| {
            Error::corruption(format!("the descriptor names no projection {fingerprint:016x}"))
        })?;
        let files = [data_file(fingerprint), index_file(fingerprint)];
        Ok(Descriptor {
            part: self.part,
            schema: PartSchema { table: self.schema.table, ..found.schema.clone() },
            partition: self.partition.clone(),
            rows: found.rows,
            key_range: None,
            files: files.iter().map(|name| self.file(name).cloned()).collect::<Result<_>>()?,
            ttl: Vec::new(),
            projections: Vec::new(),
        })
    }

    /// The projections as the catalog lists them.
    pub fn listed_projections(&self) -> Result<Vec<PartProjection>> {
        let listed = |found: &ProjectionDescriptor| {
            let fingerprint = found.fingerprint;
            let bytes = [data_file(fingerprint), index_file(fingerprint)];
            let bytes = bytes.iter().map(|name| self.file(name).map(|file| file.bytes));
            let bytes = bytes.sum::<Result<u64>>()?;
            Ok(PartProjection { fingerprint, rows: found.rows, bytes })
        };
        self.projections.iter().map(listed).collect()
    }

    /// The entry of the file `name`. Kind `Corruption` when there is none.
    pub fn file(&self, name: &str) -> Result<&FileEntry> {
        self.files.iter().find(|file| file.name == name).ok_or_else(|| {
            Error::corruption(format!("the descriptor does not name the file {name}"))
        })
    }

    /// The file's bytes.
    pub fn encode(&self) -> Result<Bytes> {
        Ok(envelope::seal(KIND, &codec::encode(self)?))
    }

    /// Reads the file's bytes. Kinds `Corruption` and `Unsupported`.
    pub fn decode(bytes: Bytes) -> Result<Descriptor> {
        let descriptor: Descriptor = codec::decode(&envelope::open(KIND, bytes)?)?;
        let fits =
            |file: &FileEntry| file.blocks.as_ref().is_none_or(|blocks| blocks.covers(file.bytes));
        match descriptor.files.iter().find(|file| !fits(file)) {
            None => Ok(descriptor),
            Some(file) => Err(Error::corruption(format!(
                "the checksums of file {} are not those of a file of {} bytes",
                file.name, file.bytes
            ))),
        }
    }
}
