//! Makes the values of an array values of a column type, or says which one is none.

mod states;
mod times;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder, UInt32Builder};
use arrow::compute::{CastOptions, can_cast_types, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use granary_catalog::ColumnType;
use granary_common::Error;
use granary_functions::{NotWritten, TooLong, converted, from_texts, is_converted, zoned_texts};

/// Most characters of a value in an error.
const SHOWN_CHARACTERS: usize = 60;

/// A value that is none of the type.
#[derive(Debug)]
pub(super) struct Misfit {
    /// Position in the array; unknown when the types do not go together at all.
    row: Option<usize>,
    message: String,
}

impl Misfit {
    fn at(row: usize, message: impl Into<String>) -> Misfit {
        Misfit { row: Some(row), message: message.into() }
    }

    /// The error for a client; rows count from `first_row`.
    pub(super) fn into_error(self, column: &str, first_row: u64) -> Error {
        let message = self.message;
        Error::invalid(match self.row {
            Some(row) => format!("row {}, column '{column}': {message}", first_row + row as u64),
            None => format!("column '{column}': {message}"),
        })
    }
}

/// The values as values of `column_type`. Nothing is cut, rounded to another number or replaced;
/// fractions of seconds beyond the column's precision and of decimals beyond its scale are.
pub(super) fn conform(values: &ArrayRef, column_type: &ColumnType) -> Result<ArrayRef, Misfit> {
    let converted = match column_type.base() {
        ColumnType::Enum8(names) | ColumnType::Enum16(names) => enumerate(values, names)?,
        ColumnType::Uuid => texts(values, column_type, canonical_uuid)?,
        ColumnType::Ipv6 => texts(values, column_type, canonical_ipv6)?,
        ColumnType::Ipv4 if is_text(values.data_type()) => addresses(values)?,
        ColumnType::FixedString(length) => fixed_strings(values, *length as usize)?,
        ColumnType::Time(_) | ColumnType::Interval | ColumnType::Binary
            if values.data_type().is_numeric() =>
        {
            // Arrow would take the number as ticks or as its bytes.
            return Err(misfit_of_types(values, column_type));
        }
        ColumnType::Time(precision) => {
            times::in_precision(&convert(values, column_type)?, *precision)
        }
        ColumnType::AggregateFunction(state) => states::conform_states(values, state, column_type)?,
        ColumnType::Array(_) | ColumnType::Map(..) | ColumnType::Tuple(_)
            if is_text(values.data_type()) =>
        {
            written(values, column_type)?
        }
        _ => convert(values, column_type)?,
    };
    if let Some(row) = times::first_beyond_a_day(&converted) {
        let message = format!("a time beyond the day in a column of type {column_type}");
        return Err(Misfit::at(row, message));
    }
    if !column_type.is_nullable()
        && let Some(row) = first_null(&converted)
    {
        return Err(Misfit::at(row, format!("NULL in a column of type {column_type}")));
    }
    Ok(converted)
}

/// Arrays, tuples and maps that are written as texts.
fn written(values: &ArrayRef, column_type: &ColumnType) -> Result<ArrayRef, Misfit> {
    let texts = as_texts(values, &column_type.to_string())?;
    let leaf = |texts: ArrayRef, of: &ColumnType| {
        conform(&texts, of).map_err(|misfit| (misfit.row, misfit.message))
    };
    from_texts(&texts, column_type, &leaf)
        .map_err(|NotWritten { row, message }| Misfit::at(row, message))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn first_null(values: &ArrayRef) -> Option<usize> {
    match values.null_count() {
        0 => None,
        _ => (0..values.len()).find(|row| values.is_null(*row)),
    }
}

const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: FormatOptions::new() };

fn convert(values: &ArrayRef, column_type: &ColumnType) -> Result<ArrayRef, Misfit> {
    let wanted = column_type.arrow();
    if values.data_type() == &wanted {
        return Ok(Arc::clone(values));
    }
    if let (DataType::Timestamp(unit, None), DataType::Timestamp(_, Some(_))) =
        (values.data_type(), &wanted)
    {
        // A time without a zone is one of UTC; Arrow would take it for one on the column's clocks.
        let utc = cast(values, &DataType::Timestamp(*unit, Some("UTC".into())))
            .map_err(|_| misfit_of_types(values, column_type))?;
        return convert(&utc, column_type);
    }
    if is_text(values.data_type())
        && matches!(wanted, DataType::Timestamp(_, Some(_)))
        && let Ok(times) = zoned_texts(values, &wanted)
        && times.null_count() == values.null_count()
    {
        return Ok(times);
    }
    if is_own(values.data_type(), &wanted) {
        let made = converted(values, &wanted, true);
        return made.map_err(|_| misfit_of_cast(values, &wanted, column_type));
    }
    let loose = with_nulls(&wanted);
    if !can_cast_types(values.data_type(), &loose) {
        return Err(misfit_of_types(values, column_type));
    }
    let made = cast_with_options(values, &loose, &STRICT)
        .map_err(|_| misfit_of_cast(values, &loose, column_type))?;
    if let Some(row) = first_inner_null(&made, &wanted) {
        return Err(Misfit::at(row, format!("NULL inside a value of type {column_type}")));
    }
    cast_with_options(&made, &wanted, &STRICT)
        .map_err(|_| misfit_of_cast(values, &wanted, column_type))
}

/// Whether Arrow would convert them in another way. Whole numbers are ticks of a column of times, as they
/// come from other tools.
fn is_own(from: &DataType, wanted: &DataType) -> bool {
    is_converted(from, wanted) && !from.is_integer() && !from.is_temporal()
}

fn misfit_of_types(values: &ArrayRef, column_type: &ColumnType) -> Misfit {
    let message = format!("values of type {} cannot be {column_type}", spelled(values));
    Misfit { row: None, message }
}

/// The type's name for a person.
fn spelled(values: &ArrayRef) -> String {
    match granary_functions::column_type_from_arrow(values.data_type(), false) {
        Ok(known) => known.to_string(),
        Err(_) => values.data_type().to_string(),
    }
}

/// The same type with every inner value nullable, so that a cast never meets a NULL it must not.
fn with_nulls(data_type: &DataType) -> DataType {
    let loose = |field: &Field| {
        field.clone().with_data_type(with_nulls(field.data_type())).with_nullable(true)
    };
    match data_type {
        DataType::List(item) => DataType::List(Arc::new(loose(item))),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| loose(field)).collect::<Fields>())
        }
        DataType::Map(entries, ordered) => {
            let DataType::Struct(fields) = entries.data_type() else { return data_type.clone() };
            let [key, value] = fields.as_ref() else { return data_type.clone() };
            let fields = Fields::from(vec![key.as_ref().clone(), loose(value)]);
            let entries = entries.as_ref().clone().with_data_type(DataType::Struct(fields));
            DataType::Map(Arc::new(entries), *ordered)
        }
        other => other.clone(),
    }
}

/// The first row with a NULL where `wanted` allows none below its top.
fn first_inner_null(values: &ArrayRef, wanted: &DataType) -> Option<usize> {
    let bad = |inner: &ArrayRef, field: &Field| -> Option<usize> {
        match field.is_nullable() {
            true => None,
            false => first_null(inner),
        }
        .or_else(|| first_inner_null(inner, field.data_type()))
    };
    match (values.data_type(), wanted) {
        (DataType::List(_), DataType::List(item)) => {
            let list = values.as_list::<i32>();
            let at = bad(list.values(), item)?;
            row_of_offset(list.offsets(), at)
        }
        (DataType::Map(..), DataType::Map(entries, _)) => {
            let DataType::Struct(fields) = entries.data_type() else { return None };
            let map = values.as_map();
            let at = bad(map.values(), fields.get(1)?)?;
            row_of_offset(map.offsets(), at)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let columns = values.as_struct().columns();
            columns
                .iter()
                .zip(fields)
                .find_map(|(column, field)| bad(column, field))
                .filter(|row| values.is_valid(*row))
        }
        _ => None,
    }
}

/// The row whose run of values holds position `at`.
fn row_of_offset(offsets: &[i32], at: usize) -> Option<usize> {
    offsets.windows(2).position(|run| (run[0] as usize..run[1] as usize).contains(&at))
}

/// Finds the first row that does not cast, by halves.
fn misfit_of_cast(values: &ArrayRef, wanted: &DataType, column_type: &ColumnType) -> Misfit {
    let is_own = is_own(values.data_type(), wanted);
    let fails = |first: usize, rows: usize| {
        let values = values.slice(first, rows);
        match is_own {
            true => converted(&values, wanted, true).is_err(),
            false => cast_with_options(&values, wanted, &STRICT).is_err(),
        }
    };
    let (mut first, mut rows) = (0, values.len());
    while rows > 1 {
        let half = rows / 2;
        match fails(first, half) {
            true => rows = half,
            false => {
                first += half;
                rows -= half;
            }
        }
    }
    let value = shown(values, first);
    // NULL is not what is wrong with it.
    let column_type = column_type.base();
    Misfit::at(
        first,
        match is_text(values.data_type()) {
            true => format!("cannot parse {value} as {column_type}"),
            false => format!("{value} is out of the range of {column_type}"),
        },
    )
}

pub(super) fn shown(values: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::new().with_null("NULL");
    let text = ArrayFormatter::try_new(values, &options)
        .map(|formatter| formatter.value(row).to_string())
        .unwrap_or_else(|_| "the value".to_owned());
    let cut: String = text.chars().take(SHOWN_CHARACTERS).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    match is_text(values.data_type()) {
        true => format!("'{cut}{dots}'"),
        false => format!("{cut}{dots}"),
    }
}

/// The values as texts.
fn as_texts(values: &ArrayRef, column_type: &str) -> Result<StringViewArray, Misfit> {
    let cast = cast_with_options(values, &DataType::Utf8View, &STRICT).map_err(|_| Misfit {
        row: None,
        message: format!("values of type {} cannot be {column_type}", spelled(values)),
    })?;
    Ok(cast.as_string_view().clone())
}

/// Texts that `canonical` accepts, in its spelling.
fn texts(
    values: &ArrayRef,
    column_type: &ColumnType,
    canonical: fn(&str) -> Option<String>,
) -> Result<ArrayRef, Misfit> {
    let texts = as_texts(values, &column_type.to_string())?;
    let mut converted = StringViewBuilder::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        match text {
            None => converted.append_null(),
            Some(text) => match canonical(text) {
                Some(canonical) => converted.append_value(canonical),
                None => {
                    let message = format!("cannot parse '{text}' as {}", column_type.base());
                    return Err(Misfit::at(row, message));
                }
            },
        }
    }
    Ok(Arc::new(converted.finish()))
}

/// 32 hexadecimal digits, with or without hyphens, in lower case with hyphens.
pub(crate) fn canonical_uuid(text: &str) -> Option<String> {
    let digits: String = match text.len() {
        32 => text.to_ascii_lowercase(),
        36 => {
            let hyphens = [8, 13, 18, 23];
            let placed = hyphens.iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
            placed.then(|| text.replace('-', "").to_ascii_lowercase())?
        }
        _ => return None,
    };
    let valid = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    valid.then(|| {
        let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
        format!("{a}-{b}-{c}-{}-{}", &digits[16..20], &digits[20..])
    })
}

pub(crate) fn canonical_ipv6(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(address.to_ipv6_mapped().to_string());
    }
    text.parse::<Ipv6Addr>().ok().map(|address| address.to_string())
}

fn addresses(values: &ArrayRef) -> Result<ArrayRef, Misfit> {
    let texts = as_texts(values, "IPv4")?;
    let mut converted = UInt32Builder::with_capacity(texts.len());
    for (row, text) in texts.iter().enumerate() {
        match text.map(|text| (text, text.parse::<Ipv4Addr>())) {
            None => converted.append_null(),
            Some((_, Ok(address))) => converted.append_value(u32::from(address)),
            Some((text, Err(_))) => {
                return Err(Misfit::at(row, format!("cannot parse '{text}' as IPv4")));
            }
        }
    }
    Ok(Arc::new(converted.finish()))
}

/// Shorter values are filled with zero bytes.
fn fixed_strings(values: &ArrayRef, length: usize) -> Result<ArrayRef, Misfit> {
    let bytes = cast_with_options(values, &DataType::BinaryView, &STRICT).map_err(|_| Misfit {
        row: None,
        message: format!("values of type {} cannot be FixedString", spelled(values)),
    })?;
    let filled = granary_functions::fixed_strings(bytes.as_binary_view(), length);
    let filled = filled.map_err(|TooLong { row, bytes }| {
        Misfit::at(row, format!("{bytes} bytes are too long for FixedString({length})"))
    })?;
    Ok(Arc::new(filled))
}

/// Names of an enum, or its numbers.
fn enumerate(values: &ArrayRef, names: &[(String, i16)]) -> Result<ArrayRef, Misfit> {
    let mut converted = StringViewBuilder::with_capacity(values.len());
    if values.data_type().is_integer() {
        let numbers = cast_with_options(values, &DataType::Int64, &STRICT).map_err(|_| Misfit {
            row: None,
            message: "the numbers are out of range".to_owned(),
        })?;
        for (row, number) in numbers.as_primitive::<Int64Type>().iter().enumerate() {
            let named = |number: i64| names.iter().find(|(_, known)| i64::from(*known) == number);
            match number.map(|number| (number, named(number))) {
                None => converted.append_null(),
                Some((_, Some((name, _)))) => converted.append_value(name),
                Some((number, None)) => {
                    return Err(Misfit::at(row, format!("{number} is not a number of the enum")));
                }
            }
        }
        return Ok(Arc::new(converted.finish()));
    }
    for (row, text) in as_texts(values, "an enum")?.iter().enumerate() {
        match text {
            None => converted.append_null(),
            Some(text) if names.iter().any(|(name, _)| name == text) => {
                converted.append_value(text);
            }
            Some(text) => {
                let hint =
                    granary_common::did_you_mean(text, names.iter().map(|(n, _)| n.as_str()));
                return Err(Misfit::at(row, format!("unknown enum value '{text}'{hint}")));
            }
        }
    }
    Ok(Arc::new(converted.finish()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray, Time64MicrosecondArray};

    use super::*;

    fn check(values: ArrayRef, column_type: &str, expected: Result<&str, &str>) {
        let column_type: ColumnType = column_type.parse().expect("a type");
        let got = conform(&values, &column_type);
        match (got, expected) {
            (Ok(array), Ok(text)) => {
                assert_eq!(array.data_type(), &column_type.arrow());
                let texts: Vec<String> = (0..array.len()).map(|row| shown(&array, row)).collect();
                assert_eq!(texts.join(" "), text, "{column_type}");
            }
            (Err(misfit), Err(text)) => {
                let error = misfit.into_error("c", 10);
                assert!(error.message().contains(text), "{column_type}: {error}");
            }
            (got, expected) => panic!("{column_type}: {got:?} instead of {expected:?}"),
        }
    }

    fn strings(texts: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(texts))
    }

    #[test]
    fn values_fit_or_are_named() {
        check(strings(&["1", "2"]), "UInt32", Ok("1 2"));
        check(
            strings(&["1", "abc"]),
            "UInt32",
            Err("row 11, column 'c': cannot parse 'abc' as UInt32"),
        );
        check(strings(&["-1"]), "UInt8", Err("row 10"));
        check(strings(&["2024-02-29"]), "Date", Ok("2024-02-29"));
        check(strings(&["2024-02-30"]), "Date", Err("cannot parse '2024-02-30' as Date"));
        check(strings(&["not a date"]), "DateTime", Err("cannot parse"));
        check(strings(&["2024-01-01 10:00:00"]), "DateTime", Ok("2024-01-01T10:00:00"));
        check(strings(&["12.345"]), "Decimal(10, 2)", Ok("12.34"));
        check(strings(&["123456789.0"]), "Decimal(5, 2)", Err("row 10"));
        check(
            Arc::new(Int64Array::from(vec![1, 300])),
            "UInt8",
            Err("row 11, column 'c': 300 is out of the range of UInt8"),
        );
        check(
            Arc::new(Int64Array::from(vec![Some(1), None])),
            "Int64",
            Err("row 11, column 'c': NULL"),
        );
        check(Arc::new(Float64Array::from(vec![1e30])), "Int32", Err("out of the range"));
        check(
            strings(&["a", "x"]),
            "Enum8('a' = 1)",
            Err("row 11, column 'c': unknown enum value 'x'"),
        );
        check(Arc::new(Int64Array::from(vec![1])), "Enum8('a' = 1)", Ok("'a'"));
        check(
            strings(&["61F0C404-5CB3-11E7-907B-A6006AD3DBA0"]),
            "UUID",
            Ok("'61f0c404-5cb3-11e7-907b-a6006ad3dba0'"),
        );
        check(strings(&["not-a-uuid"]), "UUID", Err("cannot parse 'not-a-uuid' as UUID"));
        check(strings(&["127.0.0.1"]), "IPv4", Ok("2130706433"));
        check(strings(&["abc"]), "FixedString(2)", Err("too long"));
        check(strings(&["10:20", "23:59:59.987654"]), "Time(3)", Ok("10:20:00 23:59:59.987"));
        check(strings(&["25:00"]), "Time(6)", Err("cannot parse '25:00' as Time(6)"));
        check(Arc::new(Int64Array::from(vec![1])), "Time(6)", Err("Int64 cannot be Time(6)"));
        check(
            Arc::new(Time64MicrosecondArray::from(vec![0, 86_399_999_999, 86_400_000_000])),
            "Time(6)",
            Err("row 12, column 'c': a time beyond the day"),
        );
        check(strings(&["1 day 2 hours"]), "Interval", Ok("1 days 2 hours"));
        check(strings(&["ab"]), "Binary", Ok("6162"));
    }
}
