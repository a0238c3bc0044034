//! Columns of files as queries see them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use granary_common::{Error, Result, did_you_mean};

const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: FormatOptions::new() };
const LENIENT: CastOptions<'static> =
    CastOptions { safe: true, format_options: FormatOptions::new() };

/// The type under which queries see values of a file's type.
pub(crate) fn seen_type(of_file: &DataType) -> DataType {
    let within = |field: &FieldRef| {
        Arc::new(Field::new(field.name(), seen_type(field.data_type()), field.is_nullable()))
    };
    match of_file {
        DataType::Null
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => DataType::Utf8View,
        DataType::Dictionary(_, values) => seen_type(values),
        DataType::RunEndEncoded(_, values) => seen_type(values.data_type()),
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(within(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(within).collect()),
        other => other.clone(),
    }
}

/// The columns of a file's schema as queries see them.
pub(crate) fn seen_schema(of_file: &Schema) -> Schema {
    let seen = |field: &FieldRef| {
        let nullable = field.is_nullable() || field.data_type() == &DataType::Null;
        Field::new(field.name(), seen_type(field.data_type()), nullable)
    };
    Schema::new(of_file.fields().iter().map(seen).collect::<Vec<_>>())
}

/// Refuses types that no file gives.
///
/// # Errors
/// Unsupported with the column's name.
pub fn check_structure(schema: &Schema) -> Result<()> {
    let bad = schema.fields().iter().find(|field| !is_given(field.data_type()));
    match bad {
        None => Ok(()),
        Some(field) => Err(Error::unsupported(format!(
            "column '{}': files give no values of this type; read them as String and convert them",
            field.name()
        ))),
    }
}

fn is_given(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => is_given(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_given(field.data_type())),
        DataType::Map(entries, _) => is_given(entries.data_type()),
        DataType::Dictionary(_, values) => is_text(values),
        DataType::Boolean
        | DataType::Date32
        | DataType::Timestamp(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => true,
        other => other.is_numeric() || is_text(other),
    }
}

/// Whether values of the type are texts.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The place of the column `name`: exactly, else the only one without regard to case.
pub(crate) fn position<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    name: &str,
) -> Result<usize> {
    if let Some(exact) = names.clone().position(|known| known == name) {
        return Ok(exact);
    }
    let mut alike = names.clone().enumerate().filter(|(_, known)| known.eq_ignore_ascii_case(name));
    match (alike.next(), alike.next()) {
        (Some((at, _)), None) => Ok(at),
        _ => {
            let hint = did_you_mean(name, names.clone());
            let known: Vec<&str> = names.take(20).collect();
            Err(Error::invalid(format!(
                "it has no column '{name}'{hint}; its columns are {}",
                known.join(", ")
            )))
        }
    }
}

/// The columns of `read` under the names and types of `wanted`, column by column. `first_row` counts
/// the rows of the file from 1, where that is known.
///
/// # Errors
/// InvalidInput with the row and the column of a value that does not fit.
pub(crate) fn fitted(
    read: &[ArrayRef],
    wanted: &SchemaRef,
    rows: usize,
    first_row: Option<u64>,
) -> Result<RecordBatch> {
    let fit = |(column, field): (&ArrayRef, &FieldRef)| fit(column, field, first_row);
    let columns = read.iter().zip(wanted.fields()).map(fit).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(wanted), columns, &options)
        .map_err(|error| Error::invalid(error.to_string()))
}

fn fit(column: &ArrayRef, field: &Field, first_row: Option<u64>) -> Result<ArrayRef> {
    let wrong = |row: usize, what: String| {
        let row = first_row.map(|first| format!("row {}, ", first + row as u64));
        let row = row.unwrap_or_default();
        Err(Error::invalid(format!("{row}column '{}': {what}", field.name())))
    };
    let target = field.data_type();
    let cast = if column.data_type() == target {
        Arc::clone(column)
    } else if column.data_type() == &DataType::Null {
        new_null_array(target, column.len())
    } else if !can_cast_types(column.data_type(), target) {
        return Err(Error::invalid(format!(
            "column '{}' has values of {} where {target} is read",
            field.name(),
            column.data_type()
        )));
    } else {
        match cast_with_options(column, target, &STRICT) {
            Ok(cast) => cast,
            Err(error) => {
                // Which value it was says the cast that gives NULL for it.
                let lenient = cast_with_options(column, target, &LENIENT);
                let bad = lenient.ok().and_then(|cast| {
                    (0..column.len()).find(|row| cast.is_null(*row) && !column.is_null(*row))
                });
                return match bad {
                    Some(row) => wrong(row, format!("{} is no {target}", shown(column, row))),
                    None => Err(Error::invalid(format!("column '{}': {error}", field.name()))),
                };
            }
        }
    };
    if !field.is_nullable() && cast.null_count() > 0 {
        let row = (0..cast.len()).find(|row| cast.is_null(*row)).unwrap_or(0);
        return wrong(row, "the value is missing".to_owned());
    }
    Ok(cast)
}

/// A value, cut to what a message can show.
fn shown(column: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::new();
    let text = ArrayFormatter::try_new(column, &options).map(|of| of.value(row).to_string());
    let text = text.unwrap_or_default();
    let short: String = text.chars().take(60).collect();
    let more = if short.len() < text.len() { ".." } else { "" };
    format!("'{short}{more}'")
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};

    use super::*;

    fn check(column: ArrayRef, target: DataType, nullable: bool) -> Result<RecordBatch> {
        let rows = column.len();
        let wanted = Arc::new(Schema::new(vec![Field::new("a", target, nullable)]));
        fitted(&[column], &wanted, rows, Some(11))
    }

    #[test]
    fn values_that_do_not_fit_are_named() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("1"), None, Some("x")]));
        for (column, target, nullable, complaint) in [
            (&texts, DataType::Int64, true, "row 13, column 'a': 'x' is no Int64"),
            (&texts, DataType::Utf8View, false, "row 12, column 'a': the value is missing"),
        ] {
            let error = check(Arc::clone(column), target, nullable).unwrap_err();
            assert!(error.message().contains(complaint), "{error}");
        }
        assert_eq!(check(texts, DataType::Utf8View, true).unwrap().num_rows(), 3);
        let wide: ArrayRef = Arc::new(Int32Array::from(vec![1, 300]));
        let error = check(wide, DataType::UInt8, true).unwrap_err();
        assert!(error.message().contains("row 12, column 'a': '300'"), "{error}");
    }

    #[test]
    fn columns_are_found_by_name() {
        let names = ["id", "Name"];
        assert_eq!(position(names.into_iter(), "name").unwrap(), 1);
        let error = position(names.into_iter(), "nam").unwrap_err();
        assert!(error.message().contains("did you mean 'Name'?"), "{error}");
    }
}
