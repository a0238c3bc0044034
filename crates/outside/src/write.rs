//! Rows to one file. It appears when it is complete; nothing of it is seen when that fails before.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::datatypes::SchemaRef;
use arrow::json::writer::{LineDelimited, WriterBuilder as JsonBuilder};
use flate2::write::GzEncoder;
use futures::stream::{BoxStream, StreamExt};
use granary_common::{Error, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::file::store_error;
use crate::format::{Compression, Format, Header};
use crate::pattern::is_pattern;
use crate::place::Place;

/// Encoded bytes after which a row group ends.
const GROUP_BYTES: usize = 64 << 20;
/// Bytes of a piece that is sent.
const PIECE_BYTES: usize = 8 << 20;
/// Pieces that are under way at the same time.
const PIECES_MAX: usize = 2;

/// A file that is to be written.
#[derive(Debug)]
pub struct FileTarget {
    place: Place,
    store: Arc<dyn ObjectStore>,
    path: Path,
    shown: String,
    format: Format,
    compression: Compression,
}

impl FileTarget {
    /// The file at `path` of `place`.
    ///
    /// # Errors
    /// AlreadyExists when there is one; Unsupported for places and formats that are only read.
    pub async fn new(
        place: Place,
        path: &str,
        format: Option<Format>,
        compression: Option<Compression>,
    ) -> Result<FileTarget> {
        let shown = place.shown(path);
        if matches!(place, Place::Web { .. }) {
            return Err(Error::unsupported("web servers are only read; write to file() or s3()"));
        }
        if is_pattern(path) || path.contains(['{', '}']) {
            return Err(Error::invalid(format!(
                "{shown}: rows are written to one file, not a pattern"
            )));
        }
        let format = match format {
            Some(format) => format,
            None => Format::of_path(path)?,
        };
        if matches!(
            format,
            Format::Arrow | Format::ArrowStream | Format::Delimited { tabs: true, .. }
        ) {
            return Err(Error::unsupported(format!(
                "{} is only read; there are Parquet, CSV, CSVWithNames and JSONEachRow to write",
                format.name()
            )));
        }
        let compression = compression.unwrap_or_else(|| Compression::of_path(path));
        let (store, location) = (place.open()?, place.path(path)?);
        stays_inside(&place, path)?;
        match store.head(&location).await {
            Err(object_store::Error::NotFound { .. }) => {}
            Ok(_) => {
                return Err(Error::already_exists(format!(
                    "{shown} is there already, and files are not overwritten"
                )));
            }
            Err(error) => return Err(store_error(&place, &shown, &error)),
        }
        Ok(FileTarget { place, store, path: location, shown, format, compression })
    }

    /// Writes the rows and gives how many they were. In a folder the file is durable then.
    pub async fn write(
        self,
        schema: &SchemaRef,
        mut rows: BoxStream<'_, Result<RecordBatch>>,
    ) -> Result<u64> {
        let mut encoder = Encoder::new(self.format, schema).map_err(|error| self.named(error))?;
        let mut packer = Packer::new(self.format, self.compression)?;
        let upload = self.store.put_multipart(&self.path).await.map_err(|e| self.failed(&e))?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PIECE_BYTES);
        let mut written = 0;
        while let Some(batch) = rows.next().await {
            let packed = batch.and_then(|batch| {
                written += batch.num_rows() as u64;
                packer.pack(encoder.encode(&batch)?)
            });
            let sent = match packed {
                Ok(packed) => self.send(&mut upload, &packed).await,
                Err(error) => Err(self.named(error)),
            };
            if let Err(error) = sent {
                // What was sent is taken away again; the error that comes first counts.
                let _ = upload.abort().await;
                return Err(error);
            }
        }
        let ended = encoder.finish().and_then(|bytes| packer.finish(bytes));
        match ended {
            Ok(packed) => upload.write(&packed),
            Err(error) => {
                let _ = upload.abort().await;
                return Err(self.named(error));
            }
        }
        upload.finish().await.map_err(|error| self.failed(&error))?;
        self.sync().await?;
        Ok(written)
    }

    async fn send(&self, upload: &mut WriteMultipart, bytes: &[u8]) -> Result<()> {
        let room = upload.wait_for_capacity(PIECES_MAX).await;
        room.map_err(|error| self.failed(&error))?;
        upload.write(bytes);
        Ok(())
    }

    /// The store of local files does not sync.
    async fn sync(&self) -> Result<()> {
        let Place::Folder(folder) = &self.place else { return Ok(()) };
        let path = folder.join(self.path.as_ref());
        let synced = async {
            tokio::fs::File::open(&path).await?.sync_all().await?;
            for folder in path.ancestors().skip(1).take_while(|above| above.starts_with(folder)) {
                tokio::fs::File::open(folder).await?.sync_all().await?;
            }
            Ok::<(), std::io::Error>(())
        };
        synced.await.map_err(|error| self.named(Error::unavailable(error.to_string())))
    }

    fn named(&self, error: Error) -> Error {
        error.context(&self.shown)
    }

    fn failed(&self, error: &object_store::Error) -> Error {
        store_error(&self.place, &self.shown, error)
    }
}

/// Links above the file do not lead out of a folder.
fn stays_inside(place: &Place, path: &str) -> Result<()> {
    let Place::Folder(folder) = place else { return Ok(()) };
    let file = folder.join(path);
    let real = file.ancestors().skip(1).find_map(|above| above.canonicalize().ok());
    match real {
        Some(real) if real.starts_with(folder) => Ok(()),
        _ => Err(Error::denied(format!("'{path}' leads out of the folder of user_files_path"))),
    }
}

/// Batches to bytes.
enum Encoder {
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Csv { names: bool },
    JsonLines,
}

impl Encoder {
    fn new(format: Format, schema: &SchemaRef) -> Result<Encoder> {
        match format {
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(ParquetCompression::ZSTD(ZstdLevel::default()))
                    .build();
                let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties));
                Ok(Encoder::Parquet(Box::new(writer.map_err(|error| cannot(&error))?)))
            }
            Format::Delimited { header, .. } => {
                Ok(Encoder::Csv { names: header == Header::Always })
            }
            _ => Ok(Encoder::JsonLines),
        }
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        match self {
            Encoder::Parquet(writer) => {
                writer.write(batch).map_err(|error| cannot(&error))?;
                if writer.in_progress_size() > GROUP_BYTES {
                    writer.flush().map_err(|error| cannot(&error))?;
                }
                Ok(std::mem::take(writer.inner_mut()))
            }
            Encoder::Csv { names } => {
                let mut bytes = Vec::new();
                let builder = CsvBuilder::new().with_header(std::mem::take(names));
                let mut writer = builder.with_null("\\N".to_owned()).build(&mut bytes);
                writer.write(batch).map_err(|error| cannot(&error))?;
                drop(writer);
                Ok(bytes)
            }
            Encoder::JsonLines => {
                let builder = JsonBuilder::new().with_explicit_nulls(true);
                let mut writer = builder.build::<_, LineDelimited>(Vec::new());
                writer.write(batch).map_err(|error| cannot(&error))?;
                writer.finish().map_err(|error| cannot(&error))?;
                Ok(writer.into_inner())
            }
        }
    }

    fn finish(&mut self) -> Result<Vec<u8>> {
        match self {
            Encoder::Parquet(writer) => {
                writer.finish().map_err(|error| cannot(&error))?;
                Ok(std::mem::take(writer.inner_mut()))
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn cannot(error: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("the rows cannot be written: {error}"))
}

/// Bytes to packed bytes.
enum Packer {
    None,
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Packer {
    fn new(format: Format, compression: Compression) -> Result<Packer> {
        // Parquet packs its own pages.
        if format == Format::Parquet {
            return Ok(Packer::None);
        }
        Ok(match compression {
            Compression::None => Packer::None,
            Compression::Gzip => {
                Packer::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default()))
            }
            Compression::Zstd => {
                let encoder = zstd::stream::write::Encoder::new(Vec::new(), 0);
                Packer::Zstd(encoder.map_err(|error| cannot(&error))?)
            }
        })
    }

    fn pack(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        match self {
            Packer::None => Ok(bytes),
            Packer::Gzip(encoder) => {
                encoder.write_all(&bytes).map_err(|error| cannot(&error))?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Packer::Zstd(encoder) => {
                encoder.write_all(&bytes).map_err(|error| cannot(&error))?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    fn finish(mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mut packed = self.pack(bytes)?;
        match self {
            Packer::None => {}
            Packer::Gzip(encoder) => {
                packed.extend(encoder.finish().map_err(|error| cannot(&error))?);
            }
            Packer::Zstd(encoder) => {
                packed.extend(encoder.finish().map_err(|error| cannot(&error))?);
            }
        }
        Ok(packed)
    }
}
