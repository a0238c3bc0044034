//! SQL's many spellings of types, ClickHouse's and the standard's, as column types.

mod aggregate;
mod enumeration;

use granary_catalog::ColumnType;
use granary_common::{Error, Result, did_you_mean};
use sqlparser::ast::{ArrayElemTypeDef, DataType, ExactNumberInfo, StructField};

/// Digits of `DECIMAL` without a precision.
const DECIMAL_PRECISION_DEFAULT: u8 = 10;
/// Most digits of a decimal.
const DECIMAL_PRECISION_MAX: u64 = 76;

/// Names that the parser hands through as custom types, for suggestions.
const KNOWN_NAMES: [&str; 35] = [
    "Bool",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float32",
    "Float64",
    "Decimal",
    "Decimal32",
    "Decimal64",
    "Decimal128",
    "Decimal256",
    "String",
    "FixedString",
    "UUID",
    "IPv4",
    "IPv6",
    "Date",
    "DateTime",
    "DateTime64",
    "Time",
    "Interval",
    "Binary",
    "Enum8",
    "Enum16",
    "LowCardinality",
    "Nullable",
    "Array",
    "Map",
    "AggregateFunction",
    "SimpleAggregateFunction",
];

/// The column type that `data_type` spells, exactly as nullable as it says.
///
/// # Errors
/// InvalidInput for an unknown name or bad arguments, Unsupported for types that are not offered.
pub fn type_from_sql(data_type: &DataType) -> Result<ColumnType> {
    if let Some(plain) = plain(data_type) {
        return Ok(plain);
    }
    match data_type {
        DataType::Decimal(info) | DataType::Numeric(info) | DataType::Dec(info) => decimal_of(info),
        DataType::FixedString(length) => fixed_string(*length),
        DataType::Datetime64(precision, zone) => date_time_64(*precision, zone.clone()),
        DataType::Datetime(None) => Ok(ColumnType::DateTime(None)),
        DataType::Datetime(Some(precision)) => date_time_64(*precision, None),
        DataType::Timestamp(precision, zone) => timestamp(*precision, zone),
        DataType::TimestampNtz(precision) => date_time_64(precision.unwrap_or(6), None),
        DataType::Time(precision, zone) => time(precision.unwrap_or(6), zone),
        DataType::Enum(members, bits) => enumeration::enumeration(members, *bits),
        DataType::Nullable(inner) => nullable(type_from_sql(inner)?),
        DataType::LowCardinality(inner) => low_cardinality(type_from_sql(inner)?),
        DataType::Array(ArrayElemTypeDef::Parenthesis(inner))
        | DataType::Array(ArrayElemTypeDef::AngleBracket(inner))
        | DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _)) => {
            Ok(ColumnType::Array(Box::new(inside("Array", type_from_sql(inner)?)?)))
        }
        DataType::Map(key, value) => map(type_from_sql(key)?, type_from_sql(value)?),
        DataType::Tuple(fields) => tuple(fields),
        DataType::Custom(name, arguments) => custom(&name.to_string(), arguments),
        other => Err(Error::unsupported(format!("type {other} is not supported"))),
    }
}

/// Types without arguments that matter; lengths of character types do not limit anything.
fn plain(data_type: &DataType) -> Option<ColumnType> {
    Some(match data_type {
        DataType::Bool | DataType::Boolean => ColumnType::Bool,
        DataType::TinyInt(_) => ColumnType::Int8,
        DataType::SmallInt(_) | DataType::Int2(_) | DataType::Int16 => ColumnType::Int16,
        DataType::Int(_)
        | DataType::Integer(_)
        | DataType::Int4(_)
        | DataType::MediumInt(_)
        | DataType::Int32
        | DataType::Signed
        | DataType::SignedInteger => ColumnType::Int32,
        DataType::BigInt(_) | DataType::Int64 => ColumnType::Int64,
        // PostgreSQL's INT8 has eight bytes, ClickHouse's Int8 eight bits; ours is ClickHouse's.
        DataType::Int8(_) => ColumnType::Int8,
        DataType::UInt8 | DataType::TinyIntUnsigned(_) | DataType::UTinyInt => ColumnType::UInt8,
        DataType::UInt16 | DataType::SmallIntUnsigned(_) | DataType::USmallInt => {
            ColumnType::UInt16
        }
        DataType::UInt32
        | DataType::IntUnsigned(_)
        | DataType::IntegerUnsigned(_)
        | DataType::Unsigned
        | DataType::UnsignedInteger => ColumnType::UInt32,
        DataType::UInt64 | DataType::BigIntUnsigned(_) | DataType::UBigInt => ColumnType::UInt64,
        DataType::Float4 | DataType::Float32 | DataType::Real => ColumnType::Float32,
        DataType::Float(ExactNumberInfo::Precision(bits)) if *bits > 24 => ColumnType::Float64,
        DataType::Float(_) => ColumnType::Float32,
        DataType::Float8 | DataType::Float64 | DataType::Double(_) | DataType::DoublePrecision => {
            ColumnType::Float64
        }
        DataType::Character(_)
        | DataType::Char(_)
        | DataType::CharacterVarying(_)
        | DataType::CharVarying(_)
        | DataType::Varchar(_)
        | DataType::Nvarchar(_)
        | DataType::CharacterLargeObject(_)
        | DataType::CharLargeObject(_)
        | DataType::Clob(_)
        | DataType::Text
        | DataType::TinyText
        | DataType::MediumText
        | DataType::LongText
        | DataType::String(_) => ColumnType::String,
        // A document is kept as its text.
        DataType::JSON | DataType::JSONB => ColumnType::String,
        // Whole numbers of more than 64 bits are decimals without a fraction, as wide as they go.
        DataType::Int128 | DataType::UInt128 | DataType::HugeInt | DataType::UHugeInt => {
            ColumnType::Decimal(39, 0)
        }
        DataType::Int256 | DataType::UInt256 => ColumnType::Decimal(76, 0),
        DataType::Uuid => ColumnType::Uuid,
        DataType::Date | DataType::Date32 => ColumnType::Date,
        // Lengths limit nothing, as those of texts.
        DataType::Binary(_)
        | DataType::Varbinary(_)
        | DataType::Blob(_)
        | DataType::TinyBlob
        | DataType::MediumBlob
        | DataType::LongBlob
        | DataType::Bytes(_)
        | DataType::Bytea => ColumnType::Binary,
        // One type has years and months as well as days and seconds.
        DataType::Interval { .. } => ColumnType::Interval,
        _ => return None,
    })
}

fn decimal_of(info: &ExactNumberInfo) -> Result<ColumnType> {
    match *info {
        ExactNumberInfo::None => Ok(ColumnType::Decimal(DECIMAL_PRECISION_DEFAULT, 0)),
        ExactNumberInfo::Precision(precision) => decimal(precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => decimal(precision, scale),
    }
}

fn decimal(precision: u64, scale: i64) -> Result<ColumnType> {
    let in_range = (1..=DECIMAL_PRECISION_MAX).contains(&precision)
        && u64::try_from(scale).is_ok_and(|scale| scale <= precision);
    match in_range {
        true => Ok(ColumnType::Decimal(precision as u8, scale as u8)),
        false => Err(Error::invalid(format!(
            "type Decimal({precision}, {scale}): the precision is 1 to {DECIMAL_PRECISION_MAX}, \
             the scale 0 to the precision"
        ))),
    }
}

fn fixed_string(length: u64) -> Result<ColumnType> {
    match u32::try_from(length) {
        Ok(length) if length > 0 => Ok(ColumnType::FixedString(length)),
        _ => Err(Error::invalid(format!("type FixedString({length}): the length is out of range"))),
    }
}

fn date_time_64(precision: u64, zone: Option<String>) -> Result<ColumnType> {
    match precision {
        0..=9 => Ok(ColumnType::DateTime64(precision as u8, checked_zone(zone)?)),
        _ => Err(Error::invalid(format!("type DateTime64({precision}): the precision is 0 to 9"))),
    }
}

fn checked_zone(zone: Option<String>) -> Result<Option<String>> {
    match &zone {
        Some(name) if name.parse::<chrono_tz::Tz>().is_err() => {
            Err(Error::invalid(format!("unknown time zone '{name}'")))
        }
        _ => Ok(zone),
    }
}

/// `TIMESTAMP` has microseconds, as the standard's default precision says.
fn timestamp(precision: Option<u64>, zone: &sqlparser::ast::TimezoneInfo) -> Result<ColumnType> {
    use sqlparser::ast::TimezoneInfo;
    let zone = match zone {
        TimezoneInfo::Tz | TimezoneInfo::WithTimeZone => Some("UTC".to_owned()),
        TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => None,
    };
    date_time_64(precision.unwrap_or(6), zone)
}

/// A time of day has no zone of its own.
fn time(precision: u64, zone: &sqlparser::ast::TimezoneInfo) -> Result<ColumnType> {
    use sqlparser::ast::TimezoneInfo;
    if matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) {
        return Err(Error::unsupported(
            "type TIME WITH TIME ZONE is not supported: a zone belongs to a TIMESTAMP",
        ));
    }
    match precision {
        0..=9 => Ok(ColumnType::Time(precision as u8)),
        _ => Err(Error::invalid(format!("type Time({precision}): the precision is 0 to 9"))),
    }
}

/// The type of what stands inside of another. Parts store intervals as columns only.
fn inside(outer: &str, inner: ColumnType) -> Result<ColumnType> {
    match inner.base() {
        ColumnType::Interval => Err(Error::unsupported(format!(
            "type {outer}({inner}): intervals are values of columns, not of parts of values"
        ))),
        _ => Ok(inner),
    }
}

fn nullable(inner: ColumnType) -> Result<ColumnType> {
    match inner {
        ColumnType::Array(_)
        | ColumnType::Map(..)
        | ColumnType::Tuple(_)
        | ColumnType::AggregateFunction(_)
        | ColumnType::SimpleAggregateFunction(..) => {
            Err(Error::invalid(format!("type Nullable({inner}): {inner} cannot be nullable")))
        }
        ColumnType::LowCardinality(_) => Err(Error::invalid(format!(
            "type Nullable({inner}): write LowCardinality(Nullable(T)) instead"
        ))),
        other => Ok(other.into_nullable()),
    }
}

fn low_cardinality(inner: ColumnType) -> Result<ColumnType> {
    match inner.base() {
        ColumnType::Array(_)
        | ColumnType::Map(..)
        | ColumnType::Tuple(_)
        | ColumnType::AggregateFunction(_)
        | ColumnType::Decimal(..)
        | ColumnType::Interval
        | ColumnType::Enum8(_)
        | ColumnType::Enum16(_) => {
            Err(Error::invalid(format!("type LowCardinality({inner}) is not possible")))
        }
        _ => Ok(ColumnType::LowCardinality(Box::new(inner))),
    }
}

fn map(key: ColumnType, value: ColumnType) -> Result<ColumnType> {
    match key.is_nullable() {
        true => Err(Error::invalid(format!("type Map({key}, {value}): a key cannot be nullable"))),
        false => {
            let (key, value) = (inside("Map", key)?, inside("Map", value)?);
            Ok(ColumnType::Map(Box::new(key), Box::new(value)))
        }
    }
}

fn tuple(fields: &[StructField]) -> Result<ColumnType> {
    let element = |field: &StructField| {
        let name = field.field_name.as_ref().map(|name| name.value.clone());
        Ok((name, inside("Tuple", type_from_sql(&field.field_type)?)?))
    };
    Ok(ColumnType::Tuple(fields.iter().map(element).collect::<Result<_>>()?))
}

/// Types that the parser does not know by name. ClickHouse's names are matched without case.
fn custom(name: &str, arguments: &[String]) -> Result<ColumnType> {
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let scaled = |precision: u64| match number(0) {
        Some(scale) => decimal(precision, scale as i64),
        None => Err(Error::invalid(format!("type {name} takes its scale, as in {name}(2)"))),
    };
    let zone = |at: usize| arguments.get(at).map(|text| text.trim_matches('\'').to_owned());
    match name.to_ascii_lowercase().as_str() {
        "decimal32" => scaled(9),
        "decimal64" => scaled(18),
        "decimal128" => scaled(38),
        "decimal256" => scaled(76),
        "datetime" => Ok(ColumnType::DateTime(checked_zone(zone(0))?)),
        "datetime32" => Ok(ColumnType::DateTime(checked_zone(zone(0))?)),
        "datetime64" => date_time_64(number(0).unwrap_or(3), zone(1)),
        "time64" => time(number(0).unwrap_or(6), &sqlparser::ast::TimezoneInfo::None),
        "timestamptz" => date_time_64(6, Some("UTC".to_owned())),
        "ipv4" => Ok(ColumnType::Ipv4),
        "ipv6" => Ok(ColumnType::Ipv6),
        "string" | "varchar" | "text" => Ok(ColumnType::String),
        "float32" => Ok(ColumnType::Float32),
        "float64" => Ok(ColumnType::Float64),
        "uuid" => Ok(ColumnType::Uuid),
        "aggregatefunction" => aggregate::state(arguments),
        "simpleaggregatefunction" => aggregate::simple(arguments),
        _ => {
            let hint = did_you_mean(name, KNOWN_NAMES);
            Err(Error::invalid(format!("unknown type '{name}'{hint}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::parser::Parser;

    use super::*;
    use crate::dialect::{GranaryDialect, tokenize};

    fn read(text: &str) -> Result<ColumnType> {
        let tokens = tokenize(text).expect(text);
        let parsed = Parser::new(&GranaryDialect)
            .with_tokens_with_locations(tokens)
            .parse_data_type()
            .expect(text);
        type_from_sql(&parsed)
    }

    #[test]
    fn spellings_become_column_types() {
        for (text, expected) in [
            ("BIGINT", "Int64"),
            ("INT", "Int32"),
            ("integer", "Int32"),
            ("SMALLINT", "Int16"),
            ("TINYINT UNSIGNED", "UInt8"),
            ("UInt64", "UInt64"),
            ("Int8", "Int8"),
            ("VARCHAR(100)", "String"),
            ("CHAR(1)", "String"),
            ("TEXT", "String"),
            ("STRING", "String"),
            ("String", "String"),
            ("DOUBLE", "Float64"),
            ("DOUBLE PRECISION", "Float64"),
            ("REAL", "Float32"),
            ("Float64", "Float64"),
            ("DECIMAL(15,2)", "Decimal(15, 2)"),
            ("NUMERIC", "Decimal(10, 0)"),
            ("Decimal64(4)", "Decimal(18, 4)"),
            ("DATE", "Date"),
            ("DateTime", "DateTime"),
            ("DateTime('Europe/Berlin')", "DateTime('Europe/Berlin')"),
            ("DateTime64(9)", "DateTime64(9)"),
            ("DateTime64(3, 'UTC')", "DateTime64(3, 'UTC')"),
            ("TIMESTAMP", "DateTime64(6)"),
            ("TIMESTAMP(3)", "DateTime64(3)"),
            ("BOOLEAN", "Bool"),
            ("UUID", "UUID"),
            ("LowCardinality(Nullable(String))", "LowCardinality(Nullable(String))"),
            ("Map(String, Float64)", "Map(String, Float64)"),
            ("Array(Array(UInt8))", "Array(Array(UInt8))"),
            ("Tuple(a UInt8, b String)", "Tuple(a UInt8, b String)"),
            ("Enum8('a' = 1, 'b' = -2)", "Enum8('a' = 1, 'b' = -2)"),
            ("Enum('x', 'y')", "Enum8('x' = 1, 'y' = 2)"),
            ("FixedString(16)", "FixedString(16)"),
            ("IPv6", "IPv6"),
            ("TIME", "Time(6)"),
            ("TIME(3) WITHOUT TIME ZONE", "Time(3)"),
            ("Time64(9)", "Time(9)"),
            ("INTERVAL", "Interval"),
            ("INTERVAL DAY TO SECOND", "Interval"),
            ("VARBINARY(16)", "Binary"),
            ("BYTEA", "Binary"),
            ("BLOB", "Binary"),
            ("AggregateFunction(count)", "AggregateFunction(count)"),
            (
                "AggregateFunction(quantiles(0.5, 0.9), Decimal(9, 2))",
                "AggregateFunction(quantiles(0.5, 0.9), Decimal(9, 2))",
            ),
            (
                "AggregateFunction(argMax, String, DateTime('UTC'))",
                "AggregateFunction(argMax, String, DateTime('UTC'))",
            ),
            (
                "SimpleAggregateFunction(max, Nullable(DateTime64(3)))",
                "SimpleAggregateFunction(max, Nullable(DateTime64(3)))",
            ),
        ] {
            assert_eq!(read(text).map(|t| t.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn bad_types_are_refused() {
        for (text, expected) in [
            ("Strng", "unknown type 'Strng'; did you mean 'String'?"),
            ("NoSuchType", "unknown type 'NoSuchType'"),
            ("Decimal(80, 2)", "the precision is 1 to 76"),
            ("TIME WITH TIME ZONE", "TIME WITH TIME ZONE is not supported"),
            ("Array(INTERVAL)", "intervals are values of columns"),
            ("DateTime64(12)", "the precision is 0 to 9"),
            ("Nullable(Array(UInt8))", "cannot be nullable"),
            ("Enum8('a' = 1, 'a' = 2)", "there twice"),
            ("DateTime('Mars/Olympus')", "unknown time zone"),
            ("AggregateFunction(summ, UInt8)", "unknown aggregate function 'summ'"),
            ("AggregateFunction(sum)", "sum takes other arguments"),
            ("SimpleAggregateFunction(avg, Float64)", "avg of values is not mergeable"),
            ("SimpleAggregateFunction(sum, Int32)", "sums are of type Int64"),
        ] {
            let message = read(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
