//! Hashes of 64 and 32 bits, for sampling and for keys. The values of `cityHash64` and its kin are
//! Granary's own, not ClickHouse's: they are made for spreading rows, not for exchange.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::rows::texts;
use super::scalar::{Arity, Scalar};

/// Those that are the same hash under another name.
const NAMES: [&str; 9] = [
    "cityHash64",
    "sipHash64",
    "xxHash64",
    "xxh3",
    "farmHash64",
    "metroHash64",
    "murmurHash2_64",
    "murmurHash3_64",
    "wyHash64",
];

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let hash = |name: &'static str| Scalar {
        name,
        summary: "cityHash64(x, ...) and its kin: a hash of all arguments of 64 bits, whose values \
                  are Granary's own",
        arity: Arity::AtLeastOne,
        returns: |_| Ok(DataType::UInt64),
        kernel: hash_64,
    };
    let mut all: Vec<Scalar> = NAMES.into_iter().map(hash).collect();
    all.push(Scalar {
        name: "intHash64",
        summary: "intHash64(n): a hash of a whole number, of 64 bits; the values are Granary's own",
        arity: Arity::Exactly(1),
        returns: |_| Ok(DataType::UInt64),
        kernel: hash_64,
    });
    all.push(Scalar {
        name: "intHash32",
        summary: "intHash32(n): a hash of a whole number, of 32 bits; the values are Granary's own",
        arity: Arity::Exactly(1),
        returns: |_| Ok(DataType::UInt32),
        kernel: |arguments| {
            let hashes =
                UInt32Array::from_iter_values(hashes(arguments)?.iter().map(|h| *h as u32));
            Ok(Arc::new(hashes))
        },
    });
    all.push(Scalar {
        name: "CRC32",
        summary: "CRC32(text): the checksum of the text's bytes. CRC32('a') = 3904355907",
        arity: Arity::Exactly(1),
        returns: |_| Ok(DataType::UInt32),
        kernel: |arguments| {
            let sums: UInt32Array =
                texts(&arguments[0])?.iter().map(|text| text.map(crc_32)).collect();
            Ok(Arc::new(sums))
        },
    });
    all
}

fn hash_64(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    Ok(Arc::new(UInt64Array::from(hashes(arguments)?)))
}

/// NULL has a hash too, so that keys with NULL are spread as well.
fn hashes(arguments: &[ArrayRef]) -> Result<Vec<u64>> {
    let columns: Vec<StringArray> = arguments.iter().map(texts).collect::<Result<_>>()?;
    let rows = arguments.first().map_or(0, |values| values.len());
    let row = |row: usize| {
        columns.iter().fold(OFFSET, |hash, column| {
            let hash = match arrow::array::Array::is_valid(column, row) {
                true => column.value(row).bytes().fold(hash, step),
                false => step(hash, 0xff),
            };
            // Texts that end at another place are other arguments.
            step(hash, 0)
        })
    };
    Ok((0..rows).map(|at| mixed(row(at))).collect())
}

/// FNV-1a.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Spreads every bit over all others, as the finish of SplitMix64 does.
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

fn crc_32(text: &str) -> u32 {
    let sum = text.bytes().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| match sum & 1 {
            1 => (sum >> 1) ^ 0xedb8_8320,
            _ => sum >> 1,
        })
    });
    !sum
}
