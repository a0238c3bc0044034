//! Column data of a part as one Vortex file. The only module that names `vortex`.
//!
//! Columns are stored under their ids, so a rename touches no file. Vortex carries every logical
//! Arrow type of [`granary_catalog::ColumnType`]: strings and bytes as they are, enums, UUIDs and
//! IPv6 addresses as text, dates and times as extension types with their unit and zone; intervals are
//! taken apart. Dictionaries are chosen by the writer for each column from its values and never reach Arrow.

mod checked;
mod codecs;
mod expression;
mod groups;
mod intervals;
mod layout;
mod literal;
mod packed;
mod read;
#[cfg(test)]
mod tests;
mod texts;
mod write;

use std::sync::LazyLock;

use granary_common::{ColumnId, Error, ErrorKind, Result};
use vortex::VortexSessionDefault;
use vortex::error::VortexError;
use vortex::io::session::RuntimeSessionExt;
use vortex::session::VortexSession;

pub(crate) use literal::fit;
pub use read::{DataFile, DataScan};
#[cfg(test)]
pub use write::encode_stream;
pub use write::{ByteSink, ColumnGroup, Effort, encode, encode_groups};

/// Encodings, layouts and functions that files are read and written with. Work runs on the tokio
/// runtime of whoever asks for it.
static SESSION: LazyLock<VortexSession> =
    LazyLock::new(|| <VortexSession as VortexSessionDefault>::default().with_tokio());

/// The name of a column inside the file.
fn stored_name(column: ColumnId) -> String {
    format!("c{column}")
}

/// An error while reading stored bytes: damage, unless the volume is what failed.
fn read_error(error: VortexError) -> Error {
    if let Some(damage) = damage_of(&error) {
        return damage;
    }
    let kind = match io_kind(&error) {
        None => ErrorKind::Corruption,
        Some(std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData) => {
            ErrorKind::Corruption
        }
        Some(_) => ErrorKind::Unavailable,
    };
    Error::new(kind, first_line(&error))
}

/// An error while encoding rows.
fn write_error(error: VortexError) -> Error {
    Error::internal(format!("cannot encode the rows: {}", first_line(&error)))
}

/// The message without the backtrace that may follow it.
fn first_line(error: &VortexError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// What a check of the bytes found, out of the library's error.
fn damage_of(error: &VortexError) -> Option<Error> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        let inner = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(damage) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
            return Some(damage.clone());
        }
        source = current.source();
    }
    None
}

fn io_kind(error: &VortexError) -> Option<std::io::ErrorKind> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        if let Some(store) = current.downcast_ref::<object_store::Error>() {
            return Some(match store {
                object_store::Error::NotFound { .. } => std::io::ErrorKind::UnexpectedEof,
                _ => std::io::ErrorKind::Other,
            });
        }
        source = current.source();
    }
    None
}

/// Runs `work` on a thread of the current tokio runtime, so that callers who wait for several such
/// works get several threads. Dropping the future abandons it. Kind `Internal` when it panics.
pub async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let work = std::panic::AssertUnwindSafe(work);
    let outcome = SESSION.handle().spawn_cpu(move || std::panic::catch_unwind(work)).await;
    outcome.map_err(|_| Error::internal("a computation over a block of rows panicked"))
}
