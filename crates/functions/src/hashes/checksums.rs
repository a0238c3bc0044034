//! Hashes of one number, checksums, Java's hash and places on a ring.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, UInt32Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::{Result, exec_err};

use super::{int_hash_32, int_hash_64, numbers};
use crate::rows::texts;
use crate::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    of_numbers().into_iter().chain(checksums()).collect()
}

fn of_numbers() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "intHash64",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt64),
            kernel: |arguments| {
                let bits = bits(&arguments[0])?;
                let hashes = bits.into_iter().map(|bits| bits.map(int_hash_64));
                Ok(Arc::new(hashes.collect::<UInt64Array>()))
            },
        },
        Scalar {
            name: "intHash32",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt32),
            kernel: |arguments| {
                let bits = bits(&arguments[0])?;
                let hashes = bits.into_iter().map(|bits| bits.map(int_hash_32));
                Ok(Arc::new(hashes.collect::<UInt32Array>()))
            },
        },
        Scalar {
            name: "javaHash",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Int32),
            kernel: |arguments| java(&arguments[0]),
        },
        Scalar {
            name: "hiveHash",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Int32),
            kernel: |arguments| {
                let hashes = texts(&arguments[0])?;
                let hashes = hashes.iter().map(|text| text.map(|t| java_of(t) & i32::MAX));
                Ok(Arc::new(hashes.collect::<Int32Array>()))
            },
        },
        Scalar {
            name: "jumpConsistentHash",
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::Int32),
            kernel: jump,
        },
    ]
}

fn checksums() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "CRC32",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt32),
            kernel: |arguments| {
                let sums = texts(&arguments[0])?;
                let sums = sums.iter().map(|text| text.map(|text| !crc_32(text, u32::MAX)));
                Ok(Arc::new(sums.collect::<UInt32Array>()))
            },
        },
        Scalar {
            name: "CRC32IEEE",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt32),
            kernel: |arguments| {
                let sums = texts(&arguments[0])?;
                let sums = sums.iter().map(|text| text.map(|text| crc_32(text, 0)));
                Ok(Arc::new(sums.collect::<UInt32Array>()))
            },
        },
        Scalar {
            name: "CRC64",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt64),
            kernel: |arguments| {
                let sums = texts(&arguments[0])?;
                let sums = sums.iter().map(|text| text.map(crc_64));
                Ok(Arc::new(sums.collect::<UInt64Array>()))
            },
        },
    ]
}

/// The bits of whole numbers, days and times.
fn bits(values: &ArrayRef) -> Result<Vec<Option<u64>>> {
    match numbers(values)? {
        Some(bits) if !values.data_type().is_floating() => {
            // A number keeps its sign: -1 is the same in every width.
            let wide = match values.data_type() {
                signed if signed.is_signed_integer() => {
                    let wide = cast(values, &DataType::Int64)?;
                    wide.as_primitive::<Int64Type>().values().iter().map(|v| *v as u64).collect()
                }
                _ => bits.into_iter().map(|(bits, _)| bits).collect::<Vec<u64>>(),
            };
            let valid = |(row, bits): (usize, u64)| values.is_valid(row).then_some(bits);
            Ok(wide.into_iter().enumerate().map(valid).collect())
        }
        _ => exec_err!("a whole number is expected, not {}", values.data_type()),
    }
}

fn java_of(text: &str) -> i32 {
    text.bytes()
        .fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte as i8) as u32))
        as i32
}

fn java(values: &ArrayRef) -> Result<ArrayRef> {
    let hashes: Int32Array = match values.data_type() {
        DataType::Int8 | DataType::Int16 | DataType::Int32 => {
            let wide = cast(values, &DataType::Int64)?;
            wide.as_primitive::<Int64Type>().iter().map(|v| v.map(|v| v as i32)).collect()
        }
        DataType::Int64 => {
            let hash = |value: i64| (value as u32 ^ (value as u64 >> 32) as u32) as i32;
            values.as_primitive::<Int64Type>().iter().map(|v| v.map(hash)).collect()
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            texts(values)?.iter().map(|text| text.map(java_of)).collect()
        }
        other => return exec_err!("javaHash takes a text or a signed number, not {other}"),
    };
    Ok(Arc::new(hashes))
}

/// As Lamping and Veach wrote it.
fn jump(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let keys = cast(&arguments[0], &DataType::UInt64)?;
    let counts = cast(&arguments[1], &DataType::Int64)?;
    let bucket = |mut key: u64, buckets: i64| {
        let (mut last, mut next) = (-1_i64, 0_i64);
        while next < buckets {
            last = next;
            key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
            let turn = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
            next = ((last + 1) as f64 * turn) as i64;
        }
        i32::try_from(last).ok()
    };
    let places = keys.as_primitive::<UInt64Type>().iter().zip(counts.as_primitive::<Int64Type>());
    let places: Int32Array = places.map(|(key, count)| bucket(key?, count?)).collect();
    Ok(Arc::new(places))
}

fn crc_32(text: &str, first: u32) -> u32 {
    text.bytes().fold(first, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| match sum & 1 {
            1 => (sum >> 1) ^ 0xedb8_8320,
            _ => sum >> 1,
        })
    })
}

fn crc_64(text: &str) -> u64 {
    let sum = text.bytes().fold(u64::MAX, |sum, byte| {
        (0..8).fold(sum ^ u64::from(byte), |sum, _| match sum & 1 {
            1 => (sum >> 1) ^ 0xc96c_5795_d787_0f42,
            _ => sum >> 1,
        })
    });
    !sum
}
