//! Column types: the vocabulary of ClickHouse, and how Arrow carries them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use granary_common::{Error, Result};
use serde::{Deserialize, Serialize};

/// A column's type. Stored as its spelling, which [`fmt::Display`] gives and [`FromStr`] reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float32,
    Float64,
    /// Precision to 76, scale up to the precision.
    Decimal(u8, u8),
    String,
    /// Exactly this many bytes.
    FixedString(u32),
    /// Any bytes.
    Binary,
    Uuid,
    Ipv4,
    Ipv6,
    /// Days since the epoch, 0001-01-01 to 9999-12-31.
    Date,
    /// Seconds, in a time zone for display.
    DateTime(Option<String>),
    /// Ticks of 10^-precision seconds, precision 0 to 9.
    DateTime64(u8, Option<String>),
    /// A time of day, in fractions of 10^-precision seconds, precision 0 to 9.
    Time(u8),
    /// Months, days and nanoseconds, each with its sign.
    Interval,
    /// Names with their numbers, 8 bits wide.
    Enum8(Vec<(String, i16)>),
    /// Names with their numbers, 16 bits wide.
    Enum16(Vec<(String, i16)>),
    LowCardinality(Box<ColumnType>),
    Nullable(Box<ColumnType>),
    Array(Box<ColumnType>),
    /// Elements, named or by position.
    Tuple(Vec<(Option<String>, ColumnType)>),
    Map(Box<ColumnType>, Box<ColumnType>),
    /// Unfinished results of an aggregate function, to be merged and finished later.
    AggregateFunction(Box<AggregateType>),
    /// Values that merge by this aggregate function and are the type's own in all else.
    SimpleAggregateFunction(String, Box<ColumnType>),
}

/// What an aggregate function's state is a state of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AggregateType {
    /// The function's name with its combinators, as `sum` or `uniqIf`.
    pub function: String,
    /// The parameters before the arguments, as `0.9` of `quantile(0.9)(x)`, as written.
    pub parameters: Vec<String>,
    /// The types of the arguments.
    pub arguments: Vec<ColumnType>,
}

impl fmt::Display for AggregateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        if !self.parameters.is_empty() {
            write!(f, "({})", self.parameters.join(", "))?;
        }
        self.arguments.iter().try_for_each(|argument| write!(f, ", {argument}"))
    }
}

impl ColumnType {
    /// Whether NULL is a value of the type.
    pub fn is_nullable(&self) -> bool {
        match self {
            ColumnType::Nullable(_) => true,
            ColumnType::LowCardinality(inner) | ColumnType::SimpleAggregateFunction(_, inner) => {
                inner.is_nullable()
            }
            _ => false,
        }
    }

    /// The type without `Nullable`, `LowCardinality` and `SimpleAggregateFunction` around it.
    pub fn base(&self) -> &ColumnType {
        match self {
            ColumnType::Nullable(inner)
            | ColumnType::LowCardinality(inner)
            | ColumnType::SimpleAggregateFunction(_, inner) => inner.base(),
            other => other,
        }
    }

    /// The type with NULL as a value.
    pub fn into_nullable(self) -> ColumnType {
        match self {
            ColumnType::LowCardinality(inner) => {
                ColumnType::LowCardinality(Box::new(inner.into_nullable()))
            }
            ColumnType::SimpleAggregateFunction(function, inner) => {
                let inner = Box::new(inner.into_nullable());
                ColumnType::SimpleAggregateFunction(function, inner)
            }
            already @ ColumnType::Nullable(_) => already,
            other => ColumnType::Nullable(Box::new(other)),
        }
    }

    /// How Arrow carries the values in plans. Strings are views, so that scans need not copy them;
    /// an enum's values are its names. A state is a structure of one binary whose name is the
    /// state's type, so that plans keep the type wherever the values go.
    pub fn arrow(&self) -> DataType {
        match self {
            ColumnType::Bool => DataType::Boolean,
            ColumnType::Int8 => DataType::Int8,
            ColumnType::Int16 => DataType::Int16,
            ColumnType::Int32 => DataType::Int32,
            ColumnType::Int64 => DataType::Int64,
            ColumnType::UInt8 => DataType::UInt8,
            ColumnType::UInt16 => DataType::UInt16,
            ColumnType::UInt32 | ColumnType::Ipv4 => DataType::UInt32,
            ColumnType::UInt64 => DataType::UInt64,
            ColumnType::Float32 => DataType::Float32,
            ColumnType::Float64 => DataType::Float64,
            ColumnType::Decimal(p, s) if *p <= 38 => DataType::Decimal128(*p, *s as i8),
            ColumnType::Decimal(p, s) => DataType::Decimal256(*p, *s as i8),
            ColumnType::String
            | ColumnType::Uuid
            | ColumnType::Ipv6
            | ColumnType::Enum8(_)
            | ColumnType::Enum16(_) => DataType::Utf8View,
            ColumnType::FixedString(_) => DataType::BinaryView,
            // Not a view: so plans tell it from FixedString.
            ColumnType::Binary => DataType::Binary,
            // Of the two units that go beyond milliseconds: times are compared without casts then.
            ColumnType::Time(0..=6) => DataType::Time64(TimeUnit::Microsecond),
            ColumnType::Time(_) => DataType::Time64(TimeUnit::Nanosecond),
            ColumnType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            ColumnType::Date => DataType::Date32,
            ColumnType::DateTime(zone) => DataType::Timestamp(TimeUnit::Second, arrow_zone(zone)),
            ColumnType::DateTime64(precision, zone) => {
                DataType::Timestamp(time_unit(*precision), arrow_zone(zone))
            }
            ColumnType::LowCardinality(inner)
            | ColumnType::Nullable(inner)
            | ColumnType::SimpleAggregateFunction(_, inner) => inner.arrow(),
            ColumnType::AggregateFunction(_) => {
                let state = Field::new(self.to_string(), DataType::BinaryView, true);
                DataType::Struct(Fields::from(vec![state]))
            }
            ColumnType::Array(inner) => DataType::List(Arc::new(inner.arrow_field("item"))),
            ColumnType::Tuple(elements) => DataType::Struct(tuple_fields(elements)),
            ColumnType::Map(key, value) => {
                let entries = Fields::from(vec![
                    Field::new("key", key.arrow(), false),
                    value.arrow_field("value"),
                ]);
                let entries = Field::new("entries", DataType::Struct(entries), false);
                DataType::Map(Arc::new(entries), false)
            }
        }
    }

    /// What states Arrow carries as `data_type`; `None` when it is no type of states.
    pub fn state_from_arrow(data_type: &DataType) -> Option<AggregateType> {
        let DataType::Struct(fields) = data_type else { return None };
        let [field] = fields.as_ref() else { return None };
        let is_binary = matches!(
            field.data_type(),
            DataType::BinaryView | DataType::Binary | DataType::LargeBinary
        );
        if !is_binary || !field.name().starts_with("AggregateFunction(") {
            return None;
        }
        match field.name().parse() {
            Ok(ColumnType::AggregateFunction(state)) => Some(*state),
            _ => None,
        }
    }

    /// A field of this type.
    pub fn arrow_field(&self, name: &str) -> Field {
        Field::new(name, self.arrow(), self.is_nullable())
    }
}

fn arrow_zone(zone: &Option<String>) -> Option<Arc<str>> {
    zone.as_deref().map(Arc::from)
}

fn time_unit(precision: u8) -> TimeUnit {
    match precision {
        0 => TimeUnit::Second,
        1..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

fn tuple_fields(elements: &[(Option<String>, ColumnType)]) -> Fields {
    let field = |(place, (name, element)): (usize, &(Option<String>, ColumnType))| {
        let name = name.clone().unwrap_or_else(|| (place + 1).to_string());
        element.arrow_field(&name)
    };
    elements.iter().enumerate().map(field).collect()
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Decimal(p, s) => write!(f, "Decimal({p}, {s})"),
            ColumnType::FixedString(length) => write!(f, "FixedString({length})"),
            ColumnType::Time(precision) => write!(f, "Time({precision})"),
            ColumnType::Uuid => f.write_str("UUID"),
            ColumnType::Ipv4 => f.write_str("IPv4"),
            ColumnType::Ipv6 => f.write_str("IPv6"),
            ColumnType::DateTime(None) => f.write_str("DateTime"),
            ColumnType::DateTime(Some(zone)) => write!(f, "DateTime({})", quoted(zone)),
            ColumnType::DateTime64(p, None) => write!(f, "DateTime64({p})"),
            ColumnType::DateTime64(p, Some(zone)) => {
                write!(f, "DateTime64({p}, {})", quoted(zone))
            }
            ColumnType::Enum8(values) => write!(f, "Enum8({})", enum_values(values)),
            ColumnType::Enum16(values) => write!(f, "Enum16({})", enum_values(values)),
            ColumnType::LowCardinality(inner) => write!(f, "LowCardinality({inner})"),
            ColumnType::Nullable(inner) => write!(f, "Nullable({inner})"),
            ColumnType::Array(inner) => write!(f, "Array({inner})"),
            ColumnType::Tuple(elements) => write!(f, "Tuple({})", tuple_elements(elements)),
            ColumnType::Map(key, value) => write!(f, "Map({key}, {value})"),
            ColumnType::AggregateFunction(state) => write!(f, "AggregateFunction({state})"),
            ColumnType::SimpleAggregateFunction(function, inner) => {
                write!(f, "SimpleAggregateFunction({function}, {inner})")
            }
            plain => write!(f, "{plain:?}"),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn enum_values(values: &[(String, i16)]) -> String {
    let texts: Vec<String> =
        values.iter().map(|(name, number)| format!("{} = {number}", quoted(name))).collect();
    texts.join(", ")
}

fn tuple_elements(elements: &[(Option<String>, ColumnType)]) -> String {
    let text = |(name, element): &(Option<String>, ColumnType)| match name {
        Some(name) => format!("{name} {element}"),
        None => element.to_string(),
    };
    elements.iter().map(text).collect::<Vec<_>>().join(", ")
}

impl FromStr for ColumnType {
    type Err = Error;

    fn from_str(text: &str) -> Result<ColumnType> {
        reader::read(text)
    }
}

impl Serialize for ColumnType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ColumnType, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

mod reader;
