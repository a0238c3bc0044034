//! The scan of files: what columns they have, and the rows of their slices.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use futures::stream::{BoxStream, StreamExt};
use granary_common::{Error, Result};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::columns::seen_schema;
use crate::file::FileReader;
use crate::find::find;
use crate::format::{Compression, Format, file_name};
use crate::place::Place;
use crate::slices::{OutsideFile, Slice, deal};
use crate::{arrow_file, columns, delimited, json_lines, parquet_file, unpack};

/// Bytes at the beginning of a file from which columns are told.
pub(crate) const SAMPLE_BYTES: usize = 1 << 20;

/// Columns that tell where a row comes from.
const VIRTUAL_COLUMNS: [&str; 2] = ["_path", "_file"];

pub(crate) type Batches = BoxStream<'static, Result<RecordBatch>>;

/// Files with the same columns, in one place. It travels to the nodes that read it, with the keys of
/// its place; nothing shows those.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileScan {
    pub place: Place,
    /// The pattern that named the files, for people.
    pub name: String,
    pub format: Format,
    /// `None`: as the name of each file ends.
    pub compression: Option<Compression>,
    /// All columns, the virtual ones last.
    pub schema: SchemaRef,
    /// Whether there are virtual ones.
    pub virtual_columns: bool,
    pub files: Vec<OutsideFile>,
}

/// What a reader wants of a file.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The columns, in this order.
    pub schema: SchemaRef,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Over the columns of the scan; what cannot match may be left out.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// What the filter is over.
    pub filter_schema: SchemaRef,
}

impl FileScan {
    /// The files that `pattern` names in `place`. Without `structure` the columns are those of the
    /// first file that tells any.
    ///
    /// # Errors
    /// NotFound when no file has the name; InvalidInput when the format is unknown or the file damaged.
    pub async fn find(
        place: Place,
        pattern: &str,
        format: Option<Format>,
        compression: Option<Compression>,
        structure: Option<Schema>,
    ) -> Result<FileScan> {
        // A name that says nothing is a mistake whether the file is there or not.
        let format = match format {
            Some(format) => format,
            None => Format::of_path(pattern)?,
        };
        let store = place.open()?;
        let files = find(&place, &store, pattern).await?;
        let name = place.shown(pattern);
        let schema = Arc::new(Schema::empty());
        let mut scan =
            FileScan { place, name, format, compression, schema, virtual_columns: false, files };
        scan.schema = Arc::new(match structure {
            Some(structure) => structure,
            None => scan.first_schema(&store).await?,
        });
        Ok(scan)
    }

    /// The same with the columns that tell where a row comes from, unless the files have such.
    pub fn with_virtual_columns(mut self) -> FileScan {
        let has = |name: &&str| self.schema.field_with_name(name).is_ok();
        if !VIRTUAL_COLUMNS.iter().any(has) {
            let place = |name: &str| Arc::new(Field::new(name, DataType::Utf8View, false));
            let own = self.schema.fields().iter().cloned();
            let fields: Vec<FieldRef> = own.chain(VIRTUAL_COLUMNS.map(place)).collect();
            self.schema = Arc::new(Schema::new(fields));
            self.virtual_columns = true;
        }
        self
    }

    fn is_virtual(&self, field: &Field) -> bool {
        self.virtual_columns && VIRTUAL_COLUMNS.contains(&field.name().as_str())
    }

    /// The columns of the files themselves, of those of `schema`.
    fn own(&self, schema: &Schema) -> SchemaRef {
        let own = schema.fields().iter().filter(|field| !self.is_virtual(field));
        Arc::new(Schema::new(own.cloned().collect::<Vec<_>>()))
    }

    async fn first_schema(&self, store: &Arc<dyn ObjectStore>) -> Result<Schema> {
        for file in &self.files {
            let reader = FileReader::new(store, &self.place, file)?;
            let schema = match self.format {
                Format::Parquet => Some(parquet_file::schema(&reader).await?),
                Format::Arrow => Some(arrow_file::schema(&reader).await?),
                Format::ArrowStream => Some(
                    arrow_file::stream_schema(self.bytes(&reader, file).await?, &reader).await?,
                ),
                Format::JsonLines => {
                    json_lines::schema(self.bytes(&reader, file).await?, &reader).await?
                }
                Format::Delimited { tabs, header } => {
                    delimited::schema(self.bytes(&reader, file).await?, &reader, tabs, header)
                        .await?
                }
            };
            match schema {
                Some(schema) if schema.fields().is_empty() => {}
                Some(schema) => return Ok(seen_schema(&schema)),
                None => {}
            }
        }
        Err(Error::invalid(format!(
            "{}: the columns cannot be told from files without rows; write them as the structure, \
             'a Int64, b String'",
            self.name
        )))
    }

    /// The bytes of a file, unpacked.
    async fn bytes(&self, reader: &FileReader, file: &OutsideFile) -> Result<crate::file::Chunks> {
        let compression = self.compression.unwrap_or_else(|| Compression::of_path(&file.path));
        if !self.format.is_packed_whole() {
            return Err(Error::internal("a file with a footer is not read from its beginning"));
        }
        unpack::unpacked(reader.chunks().await?, compression, reader.shown())
    }

    /// The files dealt out to `groups` that read at the same time.
    pub fn deal(&self, groups: usize) -> Vec<Vec<Slice>> {
        deal(&self.files, self.format.is_split(), groups)
    }

    /// Bytes of all files, as far as they are known.
    pub fn bytes_known(&self) -> u64 {
        self.files.iter().filter_map(|file| file.bytes).sum()
    }

    /// The store that its readers share.
    ///
    /// # Errors
    /// InvalidInput when the place cannot be opened.
    pub fn open(&self) -> Result<Arc<dyn ObjectStore>> {
        self.place.open()
    }

    /// The rows of the slices, one slice after the other.
    pub fn read(
        self: &Arc<Self>,
        store: &Arc<dyn ObjectStore>,
        slices: Vec<Slice>,
        wanted: &Arc<Wanted>,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let (scan, store, wanted) = (Arc::clone(self), Arc::clone(store), Arc::clone(wanted));
        let opened = futures::stream::iter(slices).then(move |slice| {
            let (scan, store) = (Arc::clone(&scan), Arc::clone(&store));
            let wanted = Arc::clone(&wanted);
            async move { scan.read_slice(&store, slice, wanted).await }
        });
        futures::TryStreamExt::try_flatten(opened).boxed()
    }

    async fn read_slice(
        &self,
        store: &Arc<dyn ObjectStore>,
        slice: Slice,
        wanted: Arc<Wanted>,
    ) -> Result<Batches> {
        let Some(file) = self.files.get(slice.file) else {
            return Err(Error::internal("a slice names no file"));
        };
        let own = self.own(&wanted.schema);
        if own.fields().len() == wanted.schema.fields().len() {
            return self.read_file(store, file, slice.range, wanted).await;
        }
        let of_file = Arc::new(Wanted { schema: own, ..(*wanted).clone() });
        let batches = self.read_file(store, file, slice.range, of_file).await?;
        let path = self.place.shown(&file.path);
        Ok(batches.map(move |batch| with_place(&batch?, &wanted.schema, &path)).boxed())
    }

    async fn read_file(
        &self,
        store: &Arc<dyn ObjectStore>,
        file: &OutsideFile,
        range: Option<(u64, u64)>,
        wanted: Arc<Wanted>,
    ) -> Result<Batches> {
        let reader = FileReader::new(store, &self.place, file)?;
        match self.format {
            Format::Parquet => parquet_file::read(reader, range, wanted).await,
            Format::Arrow => arrow_file::read(reader, wanted).await,
            Format::ArrowStream => {
                let bytes = self.bytes(&reader, file).await?;
                Ok(arrow_file::read_stream(bytes, reader, wanted))
            }
            Format::JsonLines => {
                let bytes = self.bytes(&reader, file).await?;
                json_lines::read(bytes, reader, wanted)
            }
            Format::Delimited { tabs, header } => {
                let bytes = self.bytes(&reader, file).await?;
                let of_all = self.own(&self.schema);
                delimited::read(bytes, reader, delimited::Shape { tabs, header, of_all }, wanted)
                    .await
            }
        }
    }
}

/// `batch` with where it comes from as columns, in the order of `schema`.
fn with_place(batch: &RecordBatch, schema: &SchemaRef, path: &str) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let all = |text: &str| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(text, rows)))
    };
    let mut own = batch.columns().iter();
    let column = |field: &FieldRef| match field.name().as_str() {
        "_path" => Ok(all(path)),
        "_file" => Ok(all(file_name(path))),
        _ => own.next().cloned().ok_or_else(|| Error::internal("a column was not read")),
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|error| Error::internal(error.to_string()))
}

impl Wanted {
    /// The columns of `batch` that are wanted, found by name.
    pub(crate) fn of_batch(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = batch.schema();
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let column = |name: &String| {
            let at = columns::position(names.clone(), name)?;
            Ok(Arc::clone(batch.column(at)))
        };
        let fields = self.schema.fields().iter();
        let read = fields.map(|field| column(field.name())).collect::<Result<Vec<_>>>()?;
        columns::fitted(&read, &self.schema, batch.num_rows(), None)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{BinaryExpr, col, lit};
    use futures::TryStreamExt;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;

    const ROWS: i64 = 10_000;

    /// A file with a row group for each thousand of its rows.
    async fn thousands(folder: &std::path::Path) -> FileScan {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let properties =
            WriterProperties::builder().set_max_row_group_row_count(Some(1_000)).build();
        let file = std::fs::File::create(folder.join("a.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).unwrap();
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS));
        writer.write(&RecordBatch::try_new(schema, vec![ids]).unwrap()).unwrap();
        writer.close().unwrap();
        let (place, pattern) = Place::folder(folder, "a.parquet").unwrap();
        FileScan::find(place, &pattern, None, None, None).await.unwrap()
    }

    /// How many rows the slices have, and their sum.
    async fn read(
        scan: &Arc<FileScan>,
        slices: Vec<Slice>,
        filter: Option<Arc<dyn PhysicalExpr>>,
    ) -> (usize, i64) {
        let schema = Arc::clone(&scan.schema);
        let wanted = Wanted { filter_schema: Arc::clone(&schema), schema, batch_rows: 700, filter };
        let batches = scan.read(&scan.open().unwrap(), slices, &Arc::new(wanted));
        let batches: Vec<RecordBatch> = batches.try_collect().await.unwrap();
        let ids =
            batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
        (batches.iter().map(RecordBatch::num_rows).sum(), ids.sum())
    }

    #[tokio::test]
    async fn pieces_of_a_file_have_every_row_once() {
        let folder = tempfile::tempdir().unwrap();
        let scan = Arc::new(thousands(folder.path()).await);
        let length = scan.files[0].bytes.unwrap();
        for pieces in [1, 2, 3, 7, 50] {
            let edge = |piece: u64| length * piece / pieces;
            let slices = (0..pieces)
                .map(|piece| Slice { file: 0, range: Some((edge(piece), edge(piece + 1))) });
            let read = read(&scan, slices.collect(), None).await;
            assert_eq!(read, (ROWS as usize, (0..ROWS).sum()), "{pieces} pieces");
        }
    }

    #[tokio::test]
    async fn row_groups_that_cannot_match_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let scan = Arc::new(thousands(folder.path()).await);
        let whole = vec![Slice { file: 0, range: None }];
        for (op, value, rows) in [
            (Operator::Eq, 2_500, 1_000),
            (Operator::Lt, 1_500, 2_000),
            (Operator::GtEq, 9_999, 1_000),
            (Operator::Gt, ROWS, 0),
            (Operator::NotEq, 5, ROWS as usize),
        ] {
            let id = col("id", &scan.schema).unwrap();
            let filter = BinaryExpr::new(id, op, lit(value));
            let (read, _) = read(&scan, whole.clone(), Some(Arc::new(filter))).await;
            assert_eq!(read, rows, "id {op} {value}");
        }
    }

    #[tokio::test]
    async fn rows_know_their_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("x")).unwrap();
        std::fs::write(folder.path().join("x/a.csv"), "n,t\n1,a\n2,b\n").unwrap();
        let (place, pattern) = Place::folder(folder.path(), "x/*.csv").unwrap();
        let scan = FileScan::find(place, &pattern, None, None, None).await.unwrap();
        let scan = Arc::new(scan.with_virtual_columns());
        for (columns, expected) in [
            (&[2, 0, 3][..], "x/a.csv 1 a.csv, x/a.csv 2 a.csv"),
            (&[3], "a.csv, a.csv"),
            (&[0], "1, 2"),
        ] {
            let schema = Arc::new(scan.schema.project(columns).unwrap());
            let wanted = Wanted {
                schema,
                batch_rows: 10,
                filter: None,
                filter_schema: Arc::clone(&scan.schema),
            };
            let slices = vec![Slice { file: 0, range: None }];
            let batches = scan.read(&scan.open().unwrap(), slices, &Arc::new(wanted));
            let batches: Vec<RecordBatch> = batches.try_collect().await.unwrap();
            let text = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
            let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
            let rows: Vec<String> = rows
                .map(|line| line.replace('|', " ").split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            assert_eq!(rows.join(", "), expected);
        }
    }
}
