use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano};
use arrow::record_batch::RecordBatch;

use crate::schema::PartSchema;
use crate::test_support::{memory, scanned, table, whole, written};

/// Enough rows for several granules and an incomplete last one.
const ROWS: usize = 1_000;
const GRANULARITY: usize = 128;

fn null_at(row: usize) -> bool {
    row % 7 == 3
}

fn number(row: usize) -> i64 {
    (row as i64 * 7_919) % 1_013 - 500
}

/// A column of `ROWS` values of the type, with NULL where it admits it.
fn column(data_type: &DataType, nullable: bool, rows: usize) -> ArrayRef {
    let numbers = Int64Array::from_iter(
        (0..rows).map(|row| (!(nullable && null_at(row))).then(|| number(row))),
    );
    let texts = || {
        (0..rows).map(|row| {
            let text = match row % 3 {
                0 => format!("{}", number(row)),
                1 => String::new(),
                _ => format!("a text of row {row} that does not fit into a view é"),
            };
            (!(nullable && null_at(row))).then_some(text)
        })
    };
    match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from_iter(
            (0..rows).map(|row| (!(nullable && null_at(row))).then_some(row % 3 == 0)),
        )),
        DataType::Utf8View => Arc::new(StringViewArray::from_iter(texts())),
        DataType::BinaryView => Arc::new(BinaryViewArray::from_iter(
            texts().map(|text| text.map(|text| [text.as_bytes(), &[0, 255]].concat())),
        )),
        DataType::Binary => Arc::new(BinaryArray::from_iter(
            texts().map(|text| text.map(|text| [text.as_bytes(), &[255]].concat())),
        )),
        DataType::Interval(_) => {
            Arc::new(IntervalMonthDayNanoArray::from_iter(numbers.iter().map(|number| {
                let number = number?;
                Some(IntervalMonthDayNano::new(number as i32, -(number as i32), number << 40))
            })))
        }
        DataType::List(item) => list(item, nullable, rows),
        DataType::Map(entries, _) => map(entries, nullable, rows),
        DataType::Struct(fields) => {
            let columns =
                fields.iter().map(|f| column(f.data_type(), f.is_nullable(), rows)).collect();
            Arc::new(StructArray::new(fields.clone(), columns, None))
        }
        // Wraps around in the narrow types, so that their extremes are there.
        DataType::UInt8 => Arc::new(UInt8Array::from_iter(wrapped(&numbers, |v| v as u8))),
        DataType::UInt16 => Arc::new(UInt16Array::from_iter(wrapped(&numbers, |v| v as u16))),
        DataType::UInt32 => Arc::new(UInt32Array::from_iter(wrapped(&numbers, |v| v as u32))),
        DataType::UInt64 => Arc::new(UInt64Array::from_iter(wrapped(&numbers, |v| v as u64))),
        DataType::Int8 => Arc::new(Int8Array::from_iter(wrapped(&numbers, |v| v as i8))),
        // Times are of one day.
        DataType::Time64(_) => {
            let times = Int64Array::from_iter(numbers.iter().map(|n| n.map(i64::abs)));
            arrow::compute::cast(&times, data_type).unwrap()
        }
        other => arrow::compute::cast(&numbers, other)
            .or_else(|_| {
                let days = arrow::compute::cast(&numbers, &DataType::Int32)?;
                arrow::compute::cast(&days, other)
            })
            .unwrap(),
    }
}

fn wrapped<T>(numbers: &Int64Array, narrow: impl Fn(i64) -> T) -> Vec<Option<T>> {
    numbers.iter().map(|value| value.map(&narrow)).collect()
}

fn lengths(nullable: bool, rows: usize) -> Vec<usize> {
    (0..rows).map(|row| if nullable && null_at(row) { 0 } else { row % 4 }).collect()
}

fn list(item: &Arc<Field>, nullable: bool, rows: usize) -> ArrayRef {
    let lengths = lengths(nullable, rows);
    let items = column(item.data_type(), item.is_nullable(), lengths.iter().sum());
    let nulls = nullable.then(|| NullBuffer::from_iter((0..rows).map(|row| !null_at(row))));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Arc::new(ListArray::new(Arc::clone(item), offsets, items, nulls))
}

fn map(entries: &Arc<Field>, nullable: bool, rows: usize) -> ArrayRef {
    let lengths = lengths(nullable, rows);
    let DataType::Struct(fields) = entries.data_type() else { panic!("not a map") };
    let total = lengths.iter().sum();
    let columns = fields.iter().map(|f| column(f.data_type(), f.is_nullable(), total)).collect();
    let entry_values = StructArray::new(fields.clone(), columns, None);
    let offsets = OffsetBuffer::from_lengths(lengths);
    Arc::new(MapArray::new(Arc::clone(entries), offsets, entry_values, None, false))
}

const TYPES: [&str; 47] = [
    "Bool",
    "Nullable(Bool)",
    "Int8",
    "Int16",
    "Int32",
    "Nullable(Int32)",
    "Int64",
    "Nullable(Int64)",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Nullable(UInt64)",
    "Float32",
    "Nullable(Float32)",
    "Float64",
    "Nullable(Float64)",
    "Decimal(9, 2)",
    "Decimal(15, 2)",
    "Nullable(Decimal(15, 2))",
    "Decimal(38, 10)",
    "Decimal(76, 20)",
    "String",
    "Nullable(String)",
    "LowCardinality(String)",
    "LowCardinality(Nullable(String))",
    "FixedString(4)",
    "Binary",
    "Nullable(Binary)",
    "Time(3)",
    "Nullable(Time(6))",
    "Time(9)",
    "Interval",
    "Nullable(Interval)",
    "UUID",
    "IPv4",
    "IPv6",
    "Date",
    "Nullable(Date)",
    "DateTime",
    "DateTime('Europe/Berlin')",
    "DateTime64(3)",
    "Nullable(DateTime64(6, 'UTC'))",
    "DateTime64(9)",
    "Enum8('x' = 1, 'y' = 2)",
    "Array(Nullable(Int32))",
    "Array(Array(String))",
];

const NESTED: [&str; 4] = [
    "Tuple(Int32, String)",
    "Tuple(x Nullable(Float64), y Array(Int64))",
    "Map(String, UInt64)",
    "Map(String, Nullable(String))",
];

async fn round_trip(schema: &PartSchema, rows: usize) {
    let columns = schema.columns.iter().map(|c| {
        let field = c.column_type.arrow_field(&c.name);
        column(field.data_type(), field.is_nullable(), rows)
    });
    let block = RecordBatch::try_new(schema.arrow_schema(), columns.collect()).unwrap();
    let part = written(&memory(), schema, block.clone()).await;
    let batches = scanned(&part, schema, whole(schema)).await.unwrap();
    let read = arrow::compute::concat_batches(&schema.arrow_schema(), &batches).unwrap();
    for (place, column) in schema.columns.iter().enumerate() {
        assert_eq!(read.column(place), block.column(place), "{}", column.column_type);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_round_trips() {
    for text in TYPES.into_iter().chain(NESTED) {
        for rows in [1, ROWS] {
            round_trip(&table(&[text], &[], &[], GRANULARITY), rows).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_rows_round_trip() {
    round_trip(&table(&TYPES[..26], &[], &[], GRANULARITY), ROWS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_granule_of_the_default_size_and_more() {
    let types = ["Int64", "String", "Nullable(Decimal(15, 2))"];
    round_trip(&table(&types, &[], &[], 8192), 20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_round_trips_with_every_codec() {
    use granary_catalog::ColumnCodec::*;
    let all: [&[granary_catalog::ColumnCodec]; 8] = [
        &[Plain],
        &[Lz4],
        &[Zstd { level: 3 }],
        &[Delta],
        &[Delta, Zstd { level: 9 }],
        &[T64],
        &[Gorilla],
        &[Dictionary],
    ];
    for codecs in all {
        let mut schema = table(&TYPES, &[], &[], GRANULARITY);
        for column in &mut schema.columns {
            column.codecs = codecs.to_vec();
        }
        round_trip(&schema, ROWS).await;
        let mut schema = table(&NESTED, &[], &[], GRANULARITY);
        for column in &mut schema.columns {
            column.codecs = codecs.to_vec();
        }
        round_trip(&schema, ROWS).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codecs_change_the_bytes_on_disk() {
    use granary_catalog::ColumnCodec::*;
    const ROWS: i64 = 100_000;
    // Steps of one size; floats with few decimals; long texts that repeat in part.
    let steps = Int64Array::from_iter_values((0..ROWS).map(|n| n * 1_000));
    let floats =
        Float64Array::from_iter_values((0..ROWS).map(|n| (n * 7_919 % 100_003) as f64 / 8.));
    let text = |n: i64| {
        format!("user {} asked for page {} of shop {}", n * 7_919 % 9_973, n % 613, n % 17)
    };
    let texts = StringViewArray::from_iter_values((0..ROWS).map(text));
    let columns: [(&str, ArrayRef); 3] =
        [("Int64", Arc::new(steps)), ("Float64", Arc::new(floats)), ("String", Arc::new(texts))];
    let mut sizes = std::collections::BTreeMap::new();
    for (kind, values) in columns {
        for (name, codecs) in [
            ("default", vec![]),
            ("none", vec![Plain]),
            ("zstd1", vec![Zstd { level: 1 }]),
            ("zstd19", vec![Zstd { level: 19 }]),
            ("delta", vec![Delta]),
            ("t64", vec![T64]),
            ("gorilla", vec![Gorilla]),
        ] {
            let mut schema = table(&[kind], &[], &[], 8192);
            schema.columns[0].codecs = codecs;
            let block = RecordBatch::try_new(schema.arrow_schema(), vec![Arc::clone(&values)]);
            let parts = crate::test_support::write(&memory(), &schema, block.unwrap()).await;
            sizes.insert((kind, name), parts.unwrap()[0].bytes);
        }
    }
    println!("{sizes:?}");
    let size = |kind, name| sizes[&(kind, name)] as f64;
    for kind in ["Int64", "Float64"] {
        assert!(size(kind, "none") >= 8.0 * ROWS as f64, "{kind} is stored as it is");
        assert!(size(kind, "default") < 0.7 * size(kind, "none"), "{kind}");
    }
    assert!(size("Int64", "delta") < 0.1 * size("Int64", "t64"));
    assert!(size("Float64", "gorilla") < 0.7 * size("Float64", "none"));
    assert!(size("String", "zstd19") < 0.95 * size("String", "zstd1"));
    assert!(size("String", "zstd1") < 0.5 * size("String", "none"));
}
