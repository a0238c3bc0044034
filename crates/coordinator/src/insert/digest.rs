//! The digest of an insert's content: the same rows give the same digest, however they are cut
//! into batches and whichever of Arrow's layouts carries them.
//!
//! Each column is hashed by itself, so that batches can be of any size: the positions of its NULLs,
//! the lengths of its values where they vary, and the values. Then follow, in one last hash, the
//! columns' names with their logical types, the hashes and the number of rows. Columns of nested
//! types are hashed by their rows' texts.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, GenericByteArray, GenericByteViewArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{ByteArrayType, ByteViewType, DataType, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use blake3::Hasher;
use granary_common::{Error, Result};

/// Texts are hashed in large pieces: a call per value would cost more than the hash.
const PIECE_BYTES: usize = 64 << 10;

/// Changes whenever the digest of the same rows does.
const DIGEST_VERSION: &[u8] = b"granary insert digest v1";

/// The digest of rows as they pass.
#[derive(Debug)]
pub struct ContentDigest {
    columns: Vec<ColumnDigest>,
    rows: u64,
}

#[derive(Debug)]
struct ColumnDigest {
    name: String,
    logical_type: String,
    nulls: Hasher,
    lengths: Hasher,
    values: Hasher,
}

impl ContentDigest {
    /// The digest of no rows of `schema`.
    pub fn new(schema: &Schema) -> Self {
        let column = |field: &std::sync::Arc<arrow::datatypes::Field>| ColumnDigest {
            name: field.name().clone(),
            logical_type: logical_type(field.data_type()),
            nulls: Hasher::new(),
            lengths: Hasher::new(),
            values: Hasher::new(),
        };
        Self { columns: schema.fields().iter().map(column).collect(), rows: 0 }
    }

    /// Adds the rows of `batch`.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            column.add(array, self.rows)?;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// The digest as hexadecimal digits.
    pub fn finish(self) -> String {
        let mut all = Hasher::new();
        all.update(DIGEST_VERSION);
        all.update(&self.rows.to_le_bytes());
        for column in self.columns {
            for text in [&column.name, &column.logical_type] {
                all.update(&(text.len() as u64).to_le_bytes());
                all.update(text.as_bytes());
            }
            for hasher in [column.nulls, column.lengths, column.values] {
                all.update(hasher.finalize().as_bytes());
            }
        }
        all.finalize().to_hex().to_string()
    }
}

/// The digest of an insert that comes as SQL: of its text and its parameters.
pub fn statement_digest(sql: &str, parameters: &[u8]) -> String {
    let mut hasher = Hasher::new();
    hasher.update(b"granary statement digest v1");
    hasher.update(&(sql.len() as u64).to_le_bytes());
    hasher.update(sql.as_bytes());
    hasher.update(parameters);
    hasher.finalize().to_hex().to_string()
}

impl ColumnDigest {
    fn add(&mut self, array: &ArrayRef, first_row: u64) -> Result<()> {
        let array = plain(array)?;
        if let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
            for row in (0..array.len()).filter(|row| nulls.is_null(*row)) {
                self.nulls.update(&(first_row + row as u64).to_le_bytes());
            }
        }
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        match array.data_type() {
            DataType::Null => {}
            DataType::Boolean => self.add_booleans(array.as_boolean()),
            DataType::Utf8 if nulls.is_none() => self.add_run(array.as_string::<i32>())?,
            DataType::Utf8 => self.add_texts(array.as_string::<i32>().iter().map(text_bytes)),
            DataType::LargeUtf8 => self.add_texts(array.as_string::<i64>().iter().map(text_bytes)),
            DataType::Utf8View if nulls.is_none() => self.add_views(array.as_string_view())?,
            DataType::Utf8View => self.add_texts(array.as_string_view().iter().map(text_bytes)),
            DataType::Binary if nulls.is_none() => self.add_run(array.as_binary::<i32>())?,
            DataType::Binary => self.add_texts(array.as_binary::<i32>().iter()),
            DataType::LargeBinary => self.add_texts(array.as_binary::<i64>().iter()),
            DataType::BinaryView if nulls.is_none() => self.add_views(array.as_binary_view())?,
            DataType::BinaryView => self.add_texts(array.as_binary_view().iter()),
            fixed => match fixed.primitive_width() {
                Some(width) => self.add_fixed(&array, width, nulls)?,
                None => self.add_formatted(&array)?,
            },
        }
        Ok(())
    }

    fn add_booleans(&mut self, array: &BooleanArray) {
        let bytes: Vec<u8> = array.iter().map(|value| u8::from(value.unwrap_or(false))).collect();
        self.values.update(&bytes);
    }

    /// The same as [`ColumnDigest::add_texts`] of views without NULLs: short values stand in them.
    fn add_views<T: ByteViewType>(&mut self, values: &GenericByteViewArray<T>) -> Result<()> {
        const SHORT: usize = 12;
        let outside = || Error::internal("a view points outside of its column");
        let mut lengths: Vec<u8> = Vec::with_capacity(values.len() * 4);
        let mut piece: Vec<u8> = Vec::with_capacity(PIECE_BYTES + SHORT);
        for view in values.views() {
            let view = view.to_le_bytes();
            let [word, _, buffer, from] =
                [0, 4, 8, 12].map(|at| [view[at], view[at + 1], view[at + 2], view[at + 3]]);
            let [length, buffer, from] =
                [word, buffer, from].map(|word| u32::from_le_bytes(word) as usize);
            lengths.extend_from_slice(&word);
            if length <= SHORT {
                // A copy of one size and a cut are faster than a copy of many sizes.
                piece.extend_from_slice(&view[4..]);
                piece.truncate(piece.len() - SHORT + length);
            } else {
                let bytes = values.data_buffers().get(buffer);
                let value = bytes.and_then(|bytes| bytes.get(from..from + length));
                piece.extend_from_slice(value.ok_or_else(outside)?);
            }
            if piece.len() >= PIECE_BYTES {
                self.values.update(&piece);
                piece.clear();
            }
        }
        self.values.update(&piece);
        self.lengths.update(&lengths);
        Ok(())
    }

    /// The same as [`ColumnDigest::add_texts`] of values without NULLs that stand side by side.
    fn add_run<T>(&mut self, array: &GenericByteArray<T>) -> Result<()>
    where
        T: ByteArrayType<Offset = i32>,
    {
        let offsets = array.value_offsets();
        let lengths: Vec<u8> =
            offsets.windows(2).flat_map(|pair| (pair[1] - pair[0]).to_le_bytes()).collect();
        let (from, to) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        let outside = || Error::internal("an offset points outside of its column");
        self.values.update(array.value_data().get(from..to).ok_or_else(outside)?);
        self.lengths.update(&lengths);
        Ok(())
    }

    fn add_texts<'a>(&mut self, values: impl Iterator<Item = Option<&'a [u8]>>) {
        let mut lengths: Vec<u8> = Vec::new();
        let mut piece: Vec<u8> = Vec::with_capacity(PIECE_BYTES);
        for value in values {
            let value = value.unwrap_or_default();
            lengths.extend_from_slice(&(value.len() as u32).to_le_bytes());
            if piece.len() + value.len() > PIECE_BYTES {
                self.values.update(&piece);
                piece.clear();
            }
            match value.len() > PIECE_BYTES {
                true => drop(self.values.update(value)),
                false => piece.extend_from_slice(value),
            }
        }
        self.values.update(&piece);
        self.lengths.update(&lengths);
    }

    fn add_fixed(
        &mut self,
        array: &ArrayRef,
        width: usize,
        nulls: Option<&NullBuffer>,
    ) -> Result<()> {
        let data = array.to_data();
        let bytes = data.buffers()[0]
            .as_slice()
            .get(data.offset() * width..(data.offset() + data.len()) * width)
            .ok_or_else(|| Error::internal("a column's buffer is shorter than its rows"))?;
        match nulls {
            None => drop(self.values.update(bytes)),
            // What lies under a NULL is not content.
            Some(nulls) => {
                let mut clean = bytes.to_vec();
                for row in (0..array.len()).filter(|row| nulls.is_null(*row)) {
                    clean[row * width..(row + 1) * width].fill(0);
                }
                self.values.update(&clean);
            }
        }
        Ok(())
    }

    fn add_formatted(&mut self, array: &ArrayRef) -> Result<()> {
        let options = FormatOptions::default().with_null("\u{0}NULL");
        let formatter = ArrayFormatter::try_new(array, &options)
            .map_err(|error| Error::unsupported(format!("column '{}': {error}", self.name)))?;
        for row in 0..array.len() {
            let text = formatter.value(row).try_to_string().map_err(|error| {
                Error::invalid(format!("column '{}', row {}: {error}", self.name, row + 1))
            })?;
            self.lengths.update(&(text.len() as u32).to_le_bytes());
            self.values.update(text.as_bytes());
        }
        Ok(())
    }
}

fn text_bytes(value: Option<&str>) -> Option<&[u8]> {
    value.map(str::as_bytes)
}

/// Dictionaries and runs with their values spelled out.
fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    let target = match array.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        DataType::RunEndEncoded(_, values) => values.data_type(),
        _ => return Ok(array.clone()),
    };
    arrow::compute::cast(array, target).map_err(|error| Error::invalid(error.to_string()))
}

/// The type without its layout.
fn logical_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".to_owned(),
        DataType::Dictionary(_, values) => logical_type(values),
        DataType::RunEndEncoded(_, values) => logical_type(values.data_type()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, ListArray, StringArray};
    use arrow::datatypes::{Field, Int32Type};
    use std::sync::Arc;

    fn columns(rows: std::ops::Range<i32>) -> Vec<(&'static str, ArrayRef)> {
        let numbers: Int32Array = rows.clone().map(|row| (row % 4 > 0).then_some(row)).collect();
        let texts: StringArray =
            rows.clone().map(|row| (row % 3 > 0).then(|| format!("text {row}"))).collect();
        let flags: BooleanArray = rows.clone().map(|row| Some(row % 2 == 0)).collect();
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(
            rows.map(|row| (row % 5 > 0).then(|| vec![Some(row), None])),
        );
        vec![
            ("n", Arc::new(numbers)),
            ("t", Arc::new(texts)),
            ("f", Arc::new(flags)),
            ("l", Arc::new(lists)),
        ]
    }

    fn batch(rows: std::ops::Range<i32>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(
            columns(rows).into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap()
    }

    fn digest(batches: &[RecordBatch]) -> String {
        let mut digest = ContentDigest::new(&batches[0].schema());
        batches.iter().for_each(|batch| digest.add(batch).unwrap());
        digest.finish()
    }

    #[test]
    fn cuts_do_not_matter() {
        let whole = digest(&[batch(0..100)]);
        assert_eq!(digest(&[batch(0..33), batch(33..34), batch(34..100)]), whole);
        let sliced = batch(0..100);
        assert_eq!(digest(&[sliced.slice(0, 61), sliced.slice(61, 39)]), whole);
    }

    #[test]
    fn layouts_do_not_matter() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a")]));
        let one = |array: ArrayRef| {
            let field = Field::new("t", array.data_type().clone(), true);
            let schema = Arc::new(Schema::new(vec![field]));
            digest(&[RecordBatch::try_new(schema, vec![array]).unwrap()])
        };
        let wanted = one(texts.clone());
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        for layout in [DataType::Utf8View, DataType::LargeUtf8, dictionary] {
            assert_eq!(one(arrow::compute::cast(&texts, &layout).unwrap()), wanted, "{layout}");
        }
    }

    #[test]
    fn views_of_any_length_are_as_texts() {
        let text = |n: usize| "0123456789abcdef".repeat(5)[..n % 40].to_owned() + &n.to_string();
        let texts: StringArray = (0..200).map(|n| Some(text(n))).collect();
        let one = |array: ArrayRef| digest(&[RecordBatch::try_from_iter([("t", array)]).unwrap()]);
        let texts: ArrayRef = Arc::new(texts);
        let views = arrow::compute::cast(&texts, &DataType::Utf8View).unwrap();
        assert_eq!(one(views), one(texts.clone()));
        let slice = texts.slice(31, 77);
        let views = arrow::compute::cast(&slice, &DataType::Utf8View).unwrap();
        assert_eq!(one(views), one(slice));
    }

    #[test]
    fn every_difference_matters() {
        let wanted = digest(&[batch(0..10)]);
        let whole = batch(0..10);
        let names = ["m", "t", "f", "l"];
        let columns = names.into_iter().zip(whole.columns().iter().cloned());
        let renamed = RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        let others = [batch(0..9), batch(1..11), renamed];
        for other in others {
            assert_ne!(digest(&[other]), wanted);
        }
        assert_ne!(statement_digest("a", b"b"), statement_digest("ab", b""));
    }

    #[test]
    fn what_lies_under_a_null_is_not_content() {
        let nulls = NullBuffer::from(vec![true, false]);
        let one = |hidden: i32| {
            let values = vec![1, hidden].into();
            let array: ArrayRef = Arc::new(Int32Array::new(values, Some(nulls.clone())));
            digest(&[RecordBatch::try_from_iter([("n", array)]).unwrap()])
        };
        assert_eq!(one(5), one(6));
    }
}
