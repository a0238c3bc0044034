//! One file of a place as bytes, whole or in ranges.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use granary_common::{Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::place::Place;
use crate::slices::OutsideFile;

/// Bytes that are read of a local file at a time.
const LOCAL_CHUNK_BYTES: u64 = 1 << 20;
/// A server that sends nothing for longer is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub(crate) type Chunks = BoxStream<'static, Result<Bytes>>;

/// A file that can be read.
#[derive(Clone, Debug)]
pub(crate) struct FileReader {
    store: Arc<dyn ObjectStore>,
    place: Place,
    path: Path,
    /// For people.
    shown: String,
    bytes: Option<u64>,
}

impl FileReader {
    pub(crate) fn new(
        store: &Arc<dyn ObjectStore>,
        place: &Place,
        file: &OutsideFile,
    ) -> Result<FileReader> {
        Ok(FileReader {
            store: Arc::clone(store),
            path: place.path(&file.path)?,
            shown: place.shown(&file.path),
            place: place.clone(),
            bytes: file.bytes,
        })
    }

    /// How messages call it.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// An error about what is in the file.
    pub(crate) fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::invalid(format!("{}: {what}", self.shown))
    }

    /// Its length.
    ///
    /// # Errors
    /// Unsupported when the server does not tell.
    pub(crate) fn length(&self) -> Result<u64> {
        self.bytes.ok_or_else(|| {
            Error::unsupported(format!(
                "{}: the server does not tell how long the file is, which this format needs",
                self.shown
            ))
        })
    }

    /// All of its bytes.
    pub(crate) async fn chunks(&self) -> Result<Chunks> {
        if let (Place::Folder(_), Some(length)) = (&self.place, self.bytes) {
            return Ok(self.local_chunks(length));
        }
        let opened =
            in_time(self.store.get(&self.path)).await.map_err(|error| self.named(error))?;
        let stream = opened.map_err(|error| self.failed(&error))?.into_stream();
        let file = self.clone();
        let timed = futures::stream::unfold(
            (stream, file, false),
            |(mut stream, file, ended)| async move {
                if ended {
                    return None;
                }
                let next = match in_time(stream.next()).await {
                    Ok(None) => return None,
                    Ok(Some(Ok(chunk))) => Ok(chunk),
                    Ok(Some(Err(error))) => Err(file.failed(&error)),
                    Err(error) => Err(file.named(error)),
                };
                let ended = next.is_err();
                Some((next, (stream, file, ended)))
            },
        );
        Ok(timed.boxed())
    }

    fn local_chunks(&self, length: u64) -> Chunks {
        let file = self.clone();
        let read = futures::stream::unfold((file, 0), move |(file, at)| async move {
            if at >= length {
                return None;
            }
            let end = length.min(at + LOCAL_CHUNK_BYTES);
            let chunk = file.range(at..end).await;
            // After an error there is nothing more to read.
            let next = if chunk.is_ok() { end } else { length };
            Some((chunk, (file, next)))
        });
        read.boxed()
    }

    /// The bytes of `range`.
    pub(crate) async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let read = in_time(self.store.get_range(&self.path, range)).await;
        read.map_err(|error| self.named(error))?.map_err(|error| self.failed(&error))
    }

    /// The bytes of each range.
    pub(crate) async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let read = in_time(self.store.get_ranges(&self.path, ranges)).await;
        read.map_err(|error| self.named(error))?.map_err(|error| self.failed(&error))
    }

    fn named(&self, error: Error) -> Error {
        error.context(&self.shown)
    }

    fn failed(&self, error: &object_store::Error) -> Error {
        store_error(&self.place, &self.shown, error)
    }
}

/// At most `bytes_max` bytes of the beginning, and whether that is all.
pub(crate) async fn beginning(mut chunks: Chunks, bytes_max: usize) -> Result<(Vec<u8>, bool)> {
    let mut beginning = Vec::new();
    while let Some(chunk) = chunks.next().await {
        beginning.extend_from_slice(&chunk?);
        if beginning.len() > bytes_max {
            beginning.truncate(bytes_max);
            return Ok((beginning, false));
        }
    }
    Ok((beginning, true))
}

/// What a store's error means, without what is secret about the place.
pub(crate) fn store_error(place: &Place, shown: &str, error: &object_store::Error) -> Error {
    use object_store::Error as Store;
    let (kind, what) = match error {
        Store::NotFound { .. } => (ErrorKind::NotFound, "there is no such file".to_owned()),
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
            (ErrorKind::PermissionDenied, "access is denied".to_owned())
        }
        Store::NotSupported { .. } => (
            ErrorKind::Unsupported,
            "the server gives whole files only, and this format is read in ranges".to_owned(),
        ),
        Store::NotImplemented { .. } => (ErrorKind::Unsupported, error.to_string()),
        // Trying again as a whole would not help either: the store has done that already.
        _ => (ErrorKind::InvalidInput, format!("it cannot be read: {}", innermost(error))),
    };
    Error::new(kind, format!("{shown}: {}", place.without_secrets(&what)))
}

/// The text of the error that caused the others; the outer ones repeat it.
fn innermost(error: &object_store::Error) -> String {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// What `work` gives, if that does not take too long.
pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(SILENCE_MAX, work).await.map_err(|_| {
        Error::deadline(format!("the server was silent for {} s", SILENCE_MAX.as_secs()))
    })
}
