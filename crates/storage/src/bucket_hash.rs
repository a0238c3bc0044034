//! How rows find their bucket.
//!
//! The hash is specified over values, not over their Arrow or disk form, so that every build and
//! every width of a type gives the same bucket. It is Granary's own and never DataFusion's.
//!
//! ```text
//! h(row) = h_n,  h_0 = 0,  h_i = XXH3_64(seed = h_(i-1) + tag(value_i) mod 2^64, bytes(value_i))
//! bucket = h(row) mod n
//! ```
//!
//! | value | tag | bytes (little-endian) |
//! |---|---|---|
//! | NULL | 0 | none |
//! | integer, Boolean (0, 1), decimal without a fraction | 1 | 8 (two's complement) when it fits, else 16, else 32 |
//! | decimal with a fraction | 2 | 1: scale after trailing zeros are cut; then as an integer |
//! | float, widened to 64 bits, -0 as 0, one NaN | 3 | 8 |
//! | date | 4 | 8: days |
//! | time | 5 | 16: nanoseconds since the epoch |
//! | text | 6 | its UTF-8 |
//! | bytes | 7 | themselves |
//! | time of day | 8 | 8: nanoseconds since midnight |
//!
//! So widening an integer, a float, a decimal or a time moves no row. Nested types have no hash.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::*;
use granary_common::{BucketIndex, Error, Result};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::sort_order::canonical_f64;

/// The hash of every row over `columns`, which must be of one length; 0 for rows without columns.
/// Kind `InvalidInput` for a type that has no hash.
pub fn hash_columns(columns: &[ArrayRef]) -> Result<Vec<u64>> {
    let rows = columns.first().map_or(0, |column| column.len());
    let mut hashes = vec![0; rows];
    for column in columns {
        hash_column(column, &mut hashes)?;
    }
    Ok(hashes)
}

/// The bucket of a hash in a table of `buckets`, at least 1.
pub fn bucket_of(hash: u64, buckets: u32) -> BucketIndex {
    BucketIndex((hash % u64::from(buckets.max(1))) as u32)
}

/// Whether rows can be distributed by a column of `data_type`.
pub fn can_hash(data_type: &DataType) -> bool {
    crate::scalar::has_scalars(data_type)
}

fn hash_column(column: &ArrayRef, hashes: &mut [u64]) -> Result<()> {
    macro_rules! integers {
        ($arrow:ty) => {{
            let values = column.as_primitive::<$arrow>();
            fold(column, hashes, |row, seed| integer(values.value(row).into(), seed))
        }};
    }
    macro_rules! texts {
        ($tag:literal, $values:expr) => {{
            let values = $values;
            fold(column, hashes, |row, seed| tagged($tag, values.value(row).as_ref(), seed))
        }};
    }
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            fold(column, hashes, |row, seed| integer(values.value(row).into(), seed));
        }
        DataType::Int8 => integers!(Int8Type),
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => integers!(Int64Type),
        DataType::UInt8 => integers!(UInt8Type),
        DataType::UInt16 => integers!(UInt16Type),
        DataType::UInt32 => integers!(UInt32Type),
        DataType::UInt64 => integers!(UInt64Type),
        DataType::Decimal128(_, scale) => {
            let values = column.as_primitive::<Decimal128Type>();
            fold(column, hashes, |row, seed| decimal(i256::from(values.value(row)), *scale, seed));
        }
        DataType::Decimal256(_, scale) => {
            let values = column.as_primitive::<Decimal256Type>();
            fold(column, hashes, |row, seed| decimal(values.value(row), *scale, seed));
        }
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            fold(column, hashes, |row, seed| float(values.value(row).into(), seed));
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            fold(column, hashes, |row, seed| float(values.value(row), seed));
        }
        DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..) => {
            hash_time(column, hashes)
        }
        DataType::Utf8 => texts!(6, column.as_string::<i32>()),
        DataType::LargeUtf8 => texts!(6, column.as_string::<i64>()),
        DataType::Utf8View => texts!(6, column.as_string_view()),
        DataType::Binary => texts!(7, column.as_binary::<i32>()),
        DataType::LargeBinary => texts!(7, column.as_binary::<i64>()),
        DataType::BinaryView => texts!(7, column.as_binary_view()),
        other => {
            return Err(Error::invalid(format!("rows cannot be distributed by {other} values")));
        }
    }
    Ok(())
}

/// Dates hash as days, times and times of day as nanoseconds, so that another precision moves nothing.
fn hash_time(column: &ArrayRef, hashes: &mut [u64]) {
    macro_rules! times {
        ($arrow:ty, $nanoseconds:expr) => {{
            let values = column.as_primitive::<$arrow>();
            fold(column, hashes, |row, seed| {
                let nanoseconds = i128::from(values.value(row)) * $nanoseconds;
                tagged(5, &nanoseconds.to_le_bytes(), seed)
            })
        }};
    }
    macro_rules! times_of_day {
        ($arrow:ty, $nanoseconds:expr) => {{
            let values = column.as_primitive::<$arrow>();
            fold(column, hashes, |row, seed| {
                // A day has less than 2^47 nanoseconds; whatever else is there hashes somehow.
                let nanoseconds = values.value(row).wrapping_mul($nanoseconds);
                tagged(8, &nanoseconds.to_le_bytes(), seed)
            })
        }};
    }
    match column.data_type() {
        DataType::Time64(TimeUnit::Microsecond) => times_of_day!(Time64MicrosecondType, 1_000),
        DataType::Time64(_) => times_of_day!(Time64NanosecondType, 1),
        DataType::Timestamp(TimeUnit::Second, _) => times!(TimestampSecondType, 1_000_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            times!(TimestampMillisecondType, 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => times!(TimestampMicrosecondType, 1_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => times!(TimestampNanosecondType, 1),
        // The caller passes nothing else.
        _ => {
            let values = column.as_primitive::<Date32Type>();
            fold(column, hashes, |row, seed| {
                tagged(4, &i64::from(values.value(row)).to_le_bytes(), seed)
            });
        }
    }
}

/// Replaces each row's hash by `hash(row, hash so far)`, or by that of NULL.
fn fold(column: &ArrayRef, hashes: &mut [u64], hash: impl Fn(usize, u64) -> u64) {
    for (row, so_far) in hashes.iter_mut().enumerate() {
        *so_far = if column.is_null(row) { tagged(0, &[], *so_far) } else { hash(row, *so_far) };
    }
}

fn tagged(tag: u64, bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed.wrapping_add(tag))
}

fn integer(value: i128, seed: u64) -> u64 {
    match i64::try_from(value) {
        Ok(value) => tagged(1, &value.to_le_bytes(), seed),
        Err(_) => tagged(1, &value.to_le_bytes(), seed),
    }
}

fn float(value: f64, seed: u64) -> u64 {
    tagged(3, &canonical_f64(value).to_le_bytes(), seed)
}

fn decimal(mut value: i256, mut scale: i8, seed: u64) -> u64 {
    let ten = i256::from_i128(10);
    while scale > 0 {
        let (quotient, rest) = (value.wrapping_div(ten), value.wrapping_rem(ten));
        if rest != i256::ZERO {
            break;
        }
        (value, scale) = (quotient, scale - 1);
    }
    if scale <= 0 {
        return match value.to_i128() {
            Some(value) => integer(value, seed),
            None => tagged(1, &value.to_le_bytes(), seed),
        };
    }
    let mut bytes = [0; 33];
    bytes[0] = scale as u8;
    let length = match value.to_i128().map(|wide| (i64::try_from(wide), wide)) {
        Some((Ok(narrow), _)) => {
            bytes[1..9].copy_from_slice(&narrow.to_le_bytes());
            9
        }
        Some((Err(_), wide)) => {
            bytes[1..17].copy_from_slice(&wide.to_le_bytes());
            17
        }
        None => {
            bytes[1..33].copy_from_slice(&value.to_le_bytes());
            33
        }
    };
    tagged(2, &bytes[..length], seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::*;
    use std::sync::Arc;

    fn decimals(values: Vec<i128>, precision: u8, scale: i8) -> ArrayRef {
        let array = Decimal128Array::from(values);
        Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
    }

    /// Frozen: rows on disk are in the buckets that these give.
    #[test]
    fn frozen_vectors() {
        let cases: Vec<(ArrayRef, Vec<u64>)> = vec![
            (
                Arc::new(Int64Array::from(vec![Some(0), Some(1), Some(-1), Some(42), None])),
                FROZEN_INTEGERS.to_vec(),
            ),
            (
                Arc::new(StringViewArray::from(vec![
                    Some(""),
                    Some("granary"),
                    Some("a longer text than a view holds inline"),
                    None,
                ])),
                FROZEN_TEXTS.to_vec(),
            ),
            (Arc::new(Float64Array::from(vec![0.0, 1.5, f64::NAN])), FROZEN_FLOATS.to_vec()),
            (decimals(vec![150, -1, 300], 15, 2), FROZEN_DECIMALS.to_vec()),
            (Arc::new(Date32Array::from(vec![0, 19_000])), FROZEN_DATES.to_vec()),
            (Arc::new(TimestampSecondArray::from(vec![0, 1_700_000_000])), FROZEN_TIMES.to_vec()),
            (
                Arc::new(BinaryViewArray::from_iter_values([b"".as_slice(), b"\x00\xff"])),
                FROZEN_BYTES.to_vec(),
            ),
        ];
        for (column, expected) in cases {
            let hashes = hash_columns(std::slice::from_ref(&column)).unwrap();
            assert_eq!(hashes, expected, "{:?}: {hashes:#018x?}", column.data_type());
        }
        let both: [ArrayRef; 2] =
            [Arc::new(Int32Array::from(vec![7])), Arc::new(StringArray::from(vec!["x"]))];
        assert_eq!(hash_columns(&both).unwrap(), FROZEN_PAIR);
        assert_eq!(bucket_of(FROZEN_INTEGERS[3], 16), BucketIndex(FROZEN_BUCKET));
    }

    const FROZEN_INTEGERS: [u64; 5] = [
        0x9e51_ad6d_2f3e_695c,
        0x8567_1091_eda7_5eb5,
        0x7b01_6d4c_cc01_c9bf,
        0x6757_2691_c5ab_fc9c,
        0x2d06_8005_38d3_94c2,
    ];
    const FROZEN_TEXTS: [u64; 4] = [
        0x67c1_4dd6_5e9d_3f81,
        0x72a1_5b92_5c7d_9e1a,
        0x5cad_188c_f247_5fbb,
        0x2d06_8005_38d3_94c2,
    ];
    const FROZEN_FLOATS: [u64; 3] =
        [0xd4eb_d778_23c7_899a, 0x70e9_4629_6b91_9ba9, 0xed9b_08ad_428a_5479];
    const FROZEN_DECIMALS: [u64; 3] =
        [0x5ad5_c838_30ee_8321, 0x45cf_c1c6_f87a_bc9b, 0x77a5_9498_a006_c051];
    const FROZEN_DATES: [u64; 2] = [0x3cae_c76b_0631_9273, 0x56d6_99b1_c0d9_a72b];
    const FROZEN_TIMES: [u64; 2] = [0x2093_2047_bf26_7387, 0x3792_3d71_80be_c61a];
    const FROZEN_BYTES: [u64; 2] = [0x913a_e087_3e9b_7eb8, 0xb575_41b4_2aee_3e13];
    const FROZEN_PAIR: [u64; 1] = [0xd4bb_eb97_acf5_003c];
    const FROZEN_BUCKET: u32 = 12;

    /// Equal values in different types are in the same bucket.
    #[test]
    fn widening_moves_nothing() {
        let same: Vec<Vec<ArrayRef>> = vec![
            vec![
                Arc::new(Int8Array::from(vec![3])),
                Arc::new(UInt16Array::from(vec![3])),
                Arc::new(Int64Array::from(vec![3])),
                Arc::new(UInt64Array::from(vec![3])),
                decimals(vec![3], 10, 0),
                decimals(vec![300], 15, 2),
            ],
            vec![decimals(vec![150], 15, 2), decimals(vec![15_000], 30, 4)],
            vec![Arc::new(Float32Array::from(vec![0.5])), Arc::new(Float64Array::from(vec![0.5]))],
            vec![Arc::new(Float64Array::from(vec![0.0])), Arc::new(Float64Array::from(vec![-0.0]))],
            vec![
                Arc::new(StringArray::from(vec!["abc"])),
                Arc::new(StringViewArray::from(vec!["abc"])),
            ],
            vec![
                Arc::new(TimestampSecondArray::from(vec![2])),
                Arc::new(TimestampMicrosecondArray::from(vec![2_000_000])),
            ],
            vec![
                Arc::new(UInt64Array::from(vec![u64::MAX])),
                decimals(vec![i128::from(u64::MAX)], 38, 0),
            ],
        ];
        for arrays in same {
            let hashes: Vec<_> =
                arrays.iter().map(|a| hash_columns(std::slice::from_ref(a)).unwrap()[0]).collect();
            assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{arrays:?} {hashes:?}");
        }
    }
}
