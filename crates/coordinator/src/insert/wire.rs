//! Arrow data from clients: framing and decoding that trust nothing.
//!
//! A message's lengths are checked against the bytes that are there and against the limits before
//! the Arrow library touches it, since it slices buffers and allocates by what a message claims.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow_ipc::{Message, MessageHeader, MetadataVersion, root_as_message};
use bytes::{Buf, Bytes, BytesMut};
use granary_common::units::display_bytes;
use granary_common::{Error, Result};

/// Bytes of a message's metadata; a schema of thousands of columns fits.
const METADATA_BYTES_MAX: usize = 16 << 20;
/// Rows of one batch.
const BATCH_ROWS_MAX: i64 = 1 << 26;
/// What a compressed batch may grow to, as a multiple of the limit of a message.
const DECOMPRESSED_FACTOR: u64 = 4;
/// Marks the beginning of a message.
const CONTINUATION: u32 = 0xFFFF_FFFF;

/// Cuts the bytes of an Arrow IPC stream into messages. Holds at most one message.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    message_bytes_max: usize,
    started: bool,
    ended: bool,
}

/// One message: its metadata and its body.
pub type Framed = (Bytes, Bytes);

impl Framer {
    /// A framer that refuses messages above `message_bytes_max`.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), message_bytes_max, started: false, ended: false }
    }

    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if self.ended && !bytes.is_empty() {
            return Err(Error::invalid("bytes follow the end of the Arrow stream"));
        }
        self.started |= !bytes.is_empty();
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole message, if it has arrived.
    pub fn next_message(&mut self) -> Result<Option<Framed>> {
        let Some((prefix, metadata_bytes)) = self.metadata_length()? else { return Ok(None) };
        if metadata_bytes == 0 {
            self.buffer.advance(prefix);
            self.ended = true;
            return match self.buffer.is_empty() {
                true => Ok(None),
                false => Err(Error::invalid("bytes follow the end of the Arrow stream")),
            };
        }
        let Some(metadata) = self.buffer.get(prefix..prefix + metadata_bytes) else {
            return Ok(None);
        };
        let body_bytes = body_length(&parse_message(metadata)?, self.message_bytes_max)?;
        let total = prefix + metadata_bytes + body_bytes;
        if self.buffer.len() < total {
            self.buffer.reserve(total - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(prefix);
        let metadata = self.buffer.split_to(metadata_bytes).freeze();
        let body = self.buffer.split_to(body_bytes).freeze();
        Ok(Some((metadata, body)))
    }

    /// Length of the prefix and of the metadata after it.
    fn metadata_length(&self) -> Result<Option<(usize, usize)>> {
        let word = |at: usize| {
            let bytes = self.buffer.get(at..at + 4)?;
            Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        // Streams of before format version 0.15 have no continuation mark.
        let (prefix, length) = match word(0) {
            None => return Ok(None),
            Some(CONTINUATION) => (8, word(4)),
            Some(length) => (4, Some(length)),
        };
        let Some(length) = length else { return Ok(None) };
        if length as usize > METADATA_BYTES_MAX {
            return Err(Error::invalid(format!(
                "this is not an Arrow IPC stream, or it is corrupt: a message says that its \
                 metadata has {length} bytes; send the stream format, not a file"
            )));
        }
        Ok(Some((prefix, length as usize)))
    }

    /// Checks that the stream ended with its mark. Transports report a client that gave up like one
    /// that is done, so the mark alone says that nothing is missing.
    pub fn finish(&self) -> Result<()> {
        match (self.started, self.ended, self.buffer.len()) {
            (false, ..) | (_, true, 0) => Ok(()),
            (_, _, 0) => {
                Err(Error::invalid("the Arrow stream is cut short: it has no end-of-stream mark"))
            }
            (.., rest) => Err(Error::invalid(format!(
                "the Arrow stream is cut short: it ended after {rest} bytes of a message"
            ))),
        }
    }
}

/// Decodes messages to batches.
#[derive(Debug)]
pub struct BatchDecoder {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    message_bytes_max: usize,
    /// Rows decoded so far, for errors.
    rows: u64,
}

impl BatchDecoder {
    /// A decoder that refuses messages above `message_bytes_max`.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { schema: None, dictionaries: HashMap::new(), message_bytes_max, rows: 0 }
    }

    /// The schema, once it has arrived.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// Decodes one message; schemas and dictionaries give no batch.
    pub fn decode(&mut self, metadata: &[u8], body: Bytes) -> Result<Option<RecordBatch>> {
        let after = self.rows;
        let place = |error: Error| error.context(format!("Arrow data after row {after}"));
        let message = parse_message(metadata).map_err(place)?;
        check_body(&message, &body, self.message_bytes_max).map_err(place)?;
        // Everything known is checked above; what the library still panics on is corrupt input.
        let decoded = catch_unwind(AssertUnwindSafe(|| self.decode_checked(&message, body)));
        match decoded {
            Ok(decoded) => decoded.map_err(place),
            Err(_) => Err(place(Error::invalid("the message is corrupt"))),
        }
    }

    fn decode_checked(
        &mut self,
        message: &Message<'_>,
        body: Bytes,
    ) -> Result<Option<RecordBatch>> {
        match message.header_type() {
            MessageHeader::Schema => {
                let schema = message.header_as_schema().ok_or_else(|| corrupt("no schema"))?;
                if self.schema.is_some() {
                    return Err(Error::invalid("a second schema; send one stream per insert"));
                }
                let schema = arrow_ipc::convert::fb_to_schema(schema);
                if schema.fields().is_empty() {
                    return Err(Error::invalid("the schema has no columns"));
                }
                self.schema = Some(Arc::new(schema));
                Ok(None)
            }
            MessageHeader::DictionaryBatch => {
                let batch =
                    message.header_as_dictionary_batch().ok_or_else(|| corrupt("no dictionary"))?;
                let schema = self.known_schema()?;
                let version = known_version(message)?;
                arrow_ipc::reader::read_dictionary(
                    &Buffer::from(body),
                    batch,
                    &schema,
                    &mut self.dictionaries,
                    &version,
                )
                .map_err(|error| corrupt(&error.to_string()))?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch().ok_or_else(|| corrupt("no batch"))?;
                if !(0..=BATCH_ROWS_MAX).contains(&batch.length()) {
                    return Err(Error::exhausted(format!(
                        "a batch of {} rows; send at most {BATCH_ROWS_MAX}",
                        batch.length()
                    )));
                }
                let version = known_version(message)?;
                let batch = arrow_ipc::reader::read_record_batch(
                    &Buffer::from(body),
                    batch,
                    self.known_schema()?,
                    &self.dictionaries,
                    None,
                    &version,
                )
                .map_err(|error| corrupt(&error.to_string()))?;
                self.rows += batch.num_rows() as u64;
                Ok(Some(batch))
            }
            other => Err(Error::invalid(format!("an Arrow message of kind {other:?}"))),
        }
    }

    fn known_schema(&self) -> Result<SchemaRef> {
        self.schema.clone().ok_or_else(|| Error::invalid("a batch comes before the schema"))
    }
}

fn known_version(message: &Message<'_>) -> Result<MetadataVersion> {
    match message.version() {
        version @ (MetadataVersion::V4 | MetadataVersion::V5) => Ok(version),
        other => Err(Error::unsupported(format!("Arrow metadata of version {other:?}"))),
    }
}

fn parse_message(metadata: &[u8]) -> Result<Message<'_>> {
    root_as_message(metadata)
        .map_err(|error| corrupt(&format!("its metadata cannot be read ({error})")))
}

fn body_length(message: &Message<'_>, message_bytes_max: usize) -> Result<usize> {
    let length = usize::try_from(message.bodyLength()).map_err(|_| corrupt("negative length"))?;
    if length > message_bytes_max {
        return Err(Error::exhausted(format!(
            "an Arrow batch of {} is above the limit of {}; send smaller batches",
            display_bytes(length as u64),
            display_bytes(message_bytes_max as u64)
        )));
    }
    Ok(length)
}

/// Checks every length that the message claims.
fn check_body(message: &Message<'_>, body: &[u8], message_bytes_max: usize) -> Result<()> {
    let claimed = body_length(message, message_bytes_max)?;
    if claimed > body.len() {
        return Err(corrupt(&format!("it claims {claimed} bytes and has {}", body.len())));
    }
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => {
            message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data())
        }
        _ => return Ok(()),
    };
    let batch = batch.ok_or_else(|| corrupt("it has no batch"))?;
    if batch.nodes().into_iter().flatten().any(|n| n.length() < 0 || n.null_count() < 0) {
        return Err(corrupt("a column has a negative length"));
    }
    let is_compressed = batch.compression().is_some();
    let mut decompressed = 0u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let start = usize::try_from(buffer.offset()).map_err(|_| corrupt("negative offset"))?;
        let length = usize::try_from(buffer.length()).map_err(|_| corrupt("negative length"))?;
        let end = start.checked_add(length).filter(|end| *end <= body.len());
        let Some(end) = end else { return Err(corrupt("a buffer lies outside of its message")) };
        if is_compressed && length >= 8 {
            let claimed: [u8; 8] = body[start..end][..8].try_into().unwrap_or_default();
            // -1 marks a buffer that is not compressed.
            decompressed += u64::try_from(i64::from_le_bytes(claimed)).unwrap_or(0);
        }
    }
    if decompressed > DECOMPRESSED_FACTOR * message_bytes_max as u64 {
        return Err(Error::exhausted(format!(
            "a compressed Arrow batch would grow to {}; send smaller batches",
            display_bytes(decompressed)
        )));
    }
    Ok(())
}

fn corrupt(why: &str) -> Error {
    Error::invalid(format!("the Arrow message is corrupt: {why}"))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
