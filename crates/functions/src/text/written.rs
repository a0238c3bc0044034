//! Arrays, tuples and maps that are written as a text: `[1, 2]`, `('a', 3)`, `{'k': 1}`, one in the
//! other, as `toString` shows them. PostgreSQL's `{1, 2}` is an array as well.

mod reader;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, StringArray, StringViewArray, StructArray,
    UInt32Array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast, cast_with_options, concat, take};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, exec_err};
use granary_catalog::ColumnType;

use self::reader::Reader;
use crate::arrow_types::column_type_from_arrow;
use crate::scalar::{Scalar, TWO, scalar};

/// `(text, zero value)`: the text as a value of the second argument's type.
pub const FROM_TEXT: &str = "__granaryContainerFromText";
/// The same, and NULL for what is none.
pub const FROM_TEXT_OR_NULL: &str = "__granaryContainerFromTextOrNull";
/// Most characters of a text in an error.
const SHOWN_CHARACTERS: usize = 60;

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar(FROM_TEXT, TWO, |types| Ok(types[1].clone()), from_text),
        scalar(FROM_TEXT_OR_NULL, TWO, |types| Ok(types[1].clone()), from_text_or_null),
    ]
}

/// A text that is no value of the type, or a value inside of it.
#[derive(Debug)]
pub struct NotWritten {
    /// Position among the texts.
    pub row: usize,
    /// Where in the text and why.
    pub message: String,
}

/// From texts that stand inside of others to values of their type, or the position of the first that
/// is none and why.
pub type Leaf<'a> =
    &'a dyn Fn(ArrayRef, &ColumnType) -> std::result::Result<ArrayRef, (Option<usize>, String)>;

/// The texts as values of an array, a tuple or a map.
///
/// # Errors
/// For the first text that is none.
pub fn from_texts(
    texts: &StringViewArray,
    column_type: &ColumnType,
    leaf: Leaf<'_>,
) -> std::result::Result<ArrayRef, NotWritten> {
    let mut column = Column::of(column_type);
    let mut places: Vec<Option<u32>> = Vec::with_capacity(texts.len());
    let mut read = 0;
    for (row, text) in texts.iter().enumerate() {
        places.push(text.map(|_| read));
        let Some(text) = text else { continue };
        read += 1;
        Reader::new(text, row)
            .whole(&mut column)
            .map_err(|(at, why)| failed(row, text, column_type, at, &why))?;
    }
    let values = column.finish(leaf).map_err(|(row, at, why)| {
        let row = row.unwrap_or_default();
        failed(row, texts.value(row), column_type, at, &why)
    })?;
    if texts.null_count() == 0 {
        return Ok(values);
    }
    let spread = take(&values, &UInt32Array::from(places), None);
    spread.map_err(|error| NotWritten { row: 0, message: error.to_string() })
}

fn failed(row: usize, text: &str, of: &ColumnType, at: usize, why: &str) -> NotWritten {
    let cut: String = text.chars().take(SHOWN_CHARACTERS).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    let message = format!("cannot parse '{cut}{dots}' as {of}: at character {at}: {why}");
    NotWritten { row, message }
}

fn from_text(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, wanted) = prepared(arguments)?;
    match from_texts(&texts, &wanted, &by_cast) {
        Ok(values) => Ok(values),
        Err(error) => exec_err!("{}", error.message),
    }
}

fn from_text_or_null(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (texts, wanted) = prepared(arguments)?;
    if let Ok(values) = from_texts(&texts, &wanted, &by_cast) {
        return Ok(values);
    }
    let one = |row| {
        from_texts(&texts.slice(row, 1), &wanted, &by_cast)
            .unwrap_or_else(|_| new_null_array(&wanted.arrow(), 1))
    };
    let rows: Vec<ArrayRef> = (0..texts.len()).map(one).collect();
    let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    Ok(concat(&rows)?)
}

fn prepared(arguments: &[ArrayRef]) -> Result<(StringViewArray, ColumnType)> {
    let texts = cast(&arguments[0], &DataType::Utf8View)?;
    match column_type_from_arrow(arguments[1].data_type(), false) {
        Ok(wanted) => Ok((texts.as_string_view().clone(), wanted)),
        Err(error) => exec_err!("{error}"),
    }
}

fn by_cast(
    texts: ArrayRef,
    wanted: &ColumnType,
) -> std::result::Result<ArrayRef, (Option<usize>, String)> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let into = |texts: &ArrayRef| cast_with_options(texts, &wanted.arrow(), &strict);
    into(&texts).map_err(|error| {
        let wrong = (0..texts.len()).find(|row| into(&texts.slice(*row, 1)).is_err());
        let why = wrong.map_or_else(
            || error.to_string(),
            |row| format!("cannot parse '{}' as {wanted}", texts.as_string::<i32>().value(row)),
        );
        (wrong, why)
    })
}

/// What is read of one type, row after row.
enum Column {
    /// Texts, and for each its row and where it stands there.
    Leaf {
        of: ColumnType,
        texts: Vec<Option<String>>,
        places: Vec<(usize, usize)>,
    },
    Array {
        of: ColumnType,
        item: Box<Column>,
        lengths: Vec<usize>,
    },
    Map {
        of: ColumnType,
        key: Box<Column>,
        value: Box<Column>,
        lengths: Vec<usize>,
    },
    Tuple {
        of: ColumnType,
        elements: Vec<Column>,
        rows: usize,
    },
}

/// Row, character and reason.
type Wrong = (Option<usize>, usize, String);

impl Column {
    fn of(column_type: &ColumnType) -> Column {
        let of = column_type.clone();
        let (texts, places, lengths) = (Vec::new(), Vec::new(), Vec::new());
        match column_type.base() {
            ColumnType::Array(item) => {
                Column::Array { of, item: Box::new(Column::of(item)), lengths }
            }
            ColumnType::Map(key, value) => {
                let (key, value) = (Box::new(Column::of(key)), Box::new(Column::of(value)));
                Column::Map { of, key, value, lengths }
            }
            ColumnType::Tuple(elements) => {
                let elements = elements.iter().map(|(_, element)| Column::of(element)).collect();
                Column::Tuple { of, elements, rows: 0 }
            }
            _ => Column::Leaf { of, texts, places },
        }
    }

    fn finish(self, leaf: Leaf<'_>) -> std::result::Result<ArrayRef, Wrong> {
        let unfit = |error: arrow::error::ArrowError| (None, 1, error.to_string());
        match self {
            Column::Leaf { of, texts, places } => {
                let texts: ArrayRef = Arc::new(StringArray::from(texts));
                leaf(texts, &of).map_err(|(at, why)| match at.and_then(|at| places.get(at)) {
                    Some((row, character)) => (Some(*row), *character, why),
                    None => (places.first().map(|(row, _)| *row), 1, why),
                })
            }
            Column::Array { of, item, lengths } => {
                let DataType::List(field) = of.arrow() else { return Err(no_type(&of)) };
                let offsets = OffsetBuffer::from_lengths(lengths);
                let array = ListArray::try_new(field, offsets, item.finish(leaf)?, None);
                Ok(Arc::new(array.map_err(unfit)?))
            }
            Column::Map { of, key, value, lengths } => {
                let DataType::Map(entries, ordered) = of.arrow() else { return Err(no_type(&of)) };
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(no_type(&of));
                };
                let pairs = vec![key.finish(leaf)?, value.finish(leaf)?];
                let pairs = StructArray::try_new(fields.clone(), pairs, None).map_err(unfit)?;
                let offsets = OffsetBuffer::from_lengths(lengths);
                let map = MapArray::try_new(entries, offsets, pairs, None, ordered);
                Ok(Arc::new(map.map_err(unfit)?))
            }
            Column::Tuple { of, elements, rows } => {
                let DataType::Struct(fields) = of.arrow() else { return Err(no_type(&of)) };
                let columns: Vec<ArrayRef> = elements
                    .into_iter()
                    .map(|element| element.finish(leaf))
                    .collect::<std::result::Result<_, _>>()?;
                let tuple = match columns.is_empty() {
                    true => Ok(StructArray::new_empty_fields(rows, None)),
                    false => StructArray::try_new(fields, columns, None),
                };
                Ok(Arc::new(tuple.map_err(unfit)?))
            }
        }
    }
}

fn no_type(of: &ColumnType) -> Wrong {
    (None, 1, format!("{of} is not offered"))
}

/// Whether values of the type are made of others.
pub fn is_container(data_type: &DataType) -> bool {
    let is_state = ColumnType::state_from_arrow(data_type).is_some();
    let plain = |field: &Field| !field.name().is_empty();
    match data_type {
        DataType::List(_) | DataType::Map(..) => true,
        DataType::Struct(fields) => !is_state && fields.iter().all(|field| plain(field)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::display::{ArrayFormatter, FormatOptions};

    use super::*;

    fn read(text: &str, column_type: &str) -> std::result::Result<String, String> {
        let column_type: ColumnType = column_type.parse().expect(column_type);
        let texts = StringViewArray::from(vec![None, Some(text)]);
        let values = from_texts(&texts, &column_type, &by_cast).map_err(|error| {
            assert_eq!(error.row, 1, "{text}");
            error.message
        })?;
        assert_eq!(values.data_type(), &column_type.arrow());
        assert!(values.is_null(0));
        let options = FormatOptions::new().with_null("NULL");
        let shown = ArrayFormatter::try_new(&values, &options).expect("a formatter");
        Ok(shown.value(1).to_string())
    }

    #[test]
    fn texts_become_arrays_tuples_and_maps() {
        for (text, column_type, expected) in [
            ("[1,2,3]", "Array(Int32)", "[1, 2, 3]"),
            (" [ 1 , -2 ] ", "Array(Int32)", "[1, -2]"),
            ("[]", "Array(String)", "[]"),
            ("{1,2}", "Array(Int64)", "[1, 2]"),
            ("{a,\"b c\",NULL}", "Array(Nullable(String))", "[a, b c, NULL]"),
            ("['a','it''s','x\\'y','a,b]']", "Array(String)", "[a, it's, x'y, a,b]]"),
            ("[\"a\",\"b\"]", "Array(String)", "[a, b]"),
            ("[[1,2],[],[3]]", "Array(Array(UInt8))", "[[1, 2], [], [3]]"),
            ("[1,NULL]", "Array(Nullable(Int8))", "[1, NULL]"),
            ("['2024-02-29']", "Array(Date)", "[2024-02-29]"),
            ("[2024-02-29]", "Array(Date)", "[2024-02-29]"),
            ("{'a':1,'b':2}", "Map(String, UInt64)", "{a: 1, b: 2}"),
            ("{}", "Map(String, UInt64)", "{}"),
            ("{1:[2,3]}", "Map(Int32, Array(Int32))", "{1: [2, 3]}"),
            ("(1,'x')", "Tuple(UInt8, String)", "{1: 1, 2: x}"),
            (
                "(1.5,[('x',2)])",
                "Tuple(a Float64, b Array(Tuple(String, Int8)))",
                "{a: 1.5, b: [{1: x, 2: 2}]}",
            ),
        ] {
            assert_eq!(read(text, column_type).as_deref(), Ok(expected), "{text} as {column_type}");
        }
    }

    #[test]
    fn what_is_none_is_told_with_its_place() {
        for (text, column_type, expected) in [
            ("[1,x]", "Array(Int32)", "at character 4: cannot parse 'x' as Int32"),
            ("[1,2", "Array(Int32)", "at character 5: ',' or ']' is expected, and the text ends"),
            ("1,2", "Array(Int32)", "at character 1: '[' is expected, not '1'"),
            ("", "Array(Int32)", "at character 1: '[' is expected, and the text ends"),
            ("[1] 2", "Array(Int32)", "at character 5: nothing more is expected, not '2'"),
            ("[1,,2]", "Array(Int32)", "at character 4: a value is expected, not ','"),
            ("[ä,300]", "Array(UInt8)", "at character 2: cannot parse 'ä' as UInt8"),
            (
                "[a]",
                "Array(String)",
                "at character 2: a text in quotation marks is expected, not 'a'",
            ),
            ("['a]", "Array(String)", "at character 2: the quotation mark is not closed"),
            ("[NULL]", "Array(Int32)", "at character 2: NULL in a value of type Int32"),
            ("(1)", "Tuple(UInt8, String)", "at character 3: ',' is expected, not ')'"),
            ("(1,'a',2)", "Tuple(UInt8, String)", "at character 7: ')' is expected, not ','"),
            ("{'a'}", "Map(String, UInt64)", "at character 5: ':' is expected, not '}'"),
        ] {
            let error = read(text, column_type).expect_err(text);
            assert!(error.ends_with(expected), "{text} as {column_type}: {error}");
        }
    }
}
