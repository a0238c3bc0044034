//! Hashes with ClickHouse's values: of texts and other bytes by the algorithm of the name, of several
//! arguments, arrays and tuples by combining.

mod checksums;
mod city;
mod farm;
mod md5;
mod murmur;
mod sha1;
mod sip;
mod wy;
mod xx;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray, UInt32Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, TimeUnit, UInt64Type};
use datafusion::common::{Result, plan_err};

use super::rows::lists;
use super::scalar::{Arity, Scalar};

/// What one function does.
#[derive(Clone, Copy)]
struct Algorithm {
    bytes: fn(&[u8]) -> u64,
    combine: fn(u64, u64) -> u64,
    /// Numbers are hashed as numbers, not as their bytes.
    by_number: bool,
    bits: u8,
}

const CITY: Algorithm =
    Algorithm { bytes: city::hash, combine: city::combine, by_number: true, bits: 64 };

/// What `gccMurmurHash` begins with.
const GCC_SEED: u64 = 0xc70f_6907;
/// What `kafkaMurmurHash` begins with.
const KAFKA_SEED: u32 = 0x9747_b28c;

fn sip_pair(first: u64, second: u64) -> u64 {
    let mut bytes = first.to_le_bytes().to_vec();
    bytes.extend(second.to_le_bytes());
    sip::hash(&bytes)
}

fn murmur_pair(first: u64, second: u64) -> u64 {
    int_hash_64(first) ^ second
}

fn murmur_pair_32(first: u64, second: u64) -> u64 {
    u64::from(int_hash_32(first)) ^ second
}

/// A hash of any number of arguments.
macro_rules! hash {
    ($name:literal, 32, $algorithm:expr) => {
        Scalar {
            name: $name,
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::UInt32),
            kernel: |arguments| {
                let hashes = hashes(arguments, $algorithm)?;
                let narrow = hashes.into_iter().map(|hash| hash.map(|hash| hash as u32));
                Ok(Arc::new(narrow.collect::<UInt32Array>()))
            },
        }
    };
    ($name:literal, 64, $algorithm:expr) => {
        Scalar {
            name: $name,
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::UInt64),
            kernel: |arguments| Ok(Arc::new(UInt64Array::from(hashes(arguments, $algorithm)?))),
        }
    };
}

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let mut all = vec![
        hash!("cityHash64", 64, CITY),
        hash!("farmFingerprint64", 64, Algorithm { bytes: farm::fingerprint, ..CITY }),
        hash!("farmHash64", 64, Algorithm { bytes: farm::fingerprint, ..CITY }),
        hash!(
            "wyHash64",
            64,
            Algorithm { bytes: wy::hash, combine: wy::pair, by_number: false, bits: 64 }
        ),
        hash!("metroHash64", 64, Algorithm { bytes: xx::metro, ..CITY }),
        hash!(
            "sipHash64",
            64,
            Algorithm { bytes: sip::hash, combine: sip_pair, by_number: false, bits: 64 }
        ),
        hash!(
            "halfMD5",
            64,
            Algorithm { bytes: md5::half, combine: md5::pair, by_number: false, bits: 64 }
        ),
        hash!("xxHash64", 64, Algorithm { bytes: xx::xx_64, by_number: false, ..CITY }),
        hash!(
            "xxh3",
            64,
            Algorithm { bytes: xxhash_rust::xxh3::xxh3_64, by_number: false, ..CITY }
        ),
        hash!("xxHash32", 32, of_32(|bytes| u64::from(xx::xx_32(bytes)))),
        hash!("murmurHash2_32", 32, of_32(|bytes| u64::from(murmur::two_32(bytes, 0)))),
        hash!("murmurHash3_32", 32, of_32(|bytes| u64::from(murmur::three_32(bytes)))),
        hash!(
            "kafkaMurmurHash",
            32,
            of_32(|bytes| u64::from(murmur::two_32(bytes, KAFKA_SEED) & 0x7fff_ffff))
        ),
        hash!("murmurHash2_64", 64, of_64(|bytes| murmur::two_64(bytes, 0))),
        hash!("murmurHash3_64", 64, of_64(murmur::three_64)),
        hash!("gccMurmurHash", 64, of_64(|bytes| murmur::two_64(bytes, GCC_SEED))),
    ];
    all.extend(checksums::all());
    all.push(sha1::SHA1);
    all
}

/// One of the MurmurHashes, which combine alike.
const fn of_64(bytes: fn(&[u8]) -> u64) -> Algorithm {
    Algorithm { bytes, combine: murmur_pair, by_number: false, bits: 64 }
}

const fn of_32(bytes: fn(&[u8]) -> u64) -> Algorithm {
    Algorithm { bytes, combine: murmur_pair_32, by_number: false, bits: 32 }
}

/// ClickHouse's hash of a number.
pub(super) fn int_hash_64(number: u64) -> u64 {
    murmur::finished(number ^ 0x4cf2_d2ba_ae6d_a887)
}

fn int_hash_32(number: u64) -> u32 {
    let mut key = number ^ 0x75d9_543d_e018_bf45;
    key = (!key).wrapping_add(key << 18);
    key ^= key.rotate_right(31);
    key = key.wrapping_mul(21);
    key ^= key.rotate_right(11);
    key = key.wrapping_add(key << 6);
    key ^= key.rotate_right(22);
    key as u32
}

/// The hash of each row; NULL where an argument is.
fn hashes(arguments: &[ArrayRef], algorithm: Algorithm) -> Result<Vec<Option<u64>>> {
    let rows = arguments.first().map_or(0, |values| values.len());
    let mut hashes = vec![None; rows];
    for values in arguments {
        algorithm.take(values, &mut hashes)?;
    }
    for values in arguments {
        for (row, hash) in hashes.iter_mut().enumerate() {
            if values.data_type() == &DataType::Null || values.is_null(row) {
                *hash = None;
            }
        }
    }
    Ok(hashes)
}

impl Algorithm {
    fn step(&self, hash: &mut Option<u64>, next: u64) {
        *hash = Some(hash.map_or(next, |before| (self.combine)(before, next)));
    }

    fn number(&self, number: u64) -> u64 {
        match self.bits {
            32 => u64::from(int_hash_32(number)),
            _ => int_hash_64(number),
        }
    }

    /// Adds a value of each row to the row's hash.
    fn take(&self, values: &ArrayRef, hashes: &mut [Option<u64>]) -> Result<()> {
        match values.data_type() {
            DataType::Null => Ok(()),
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
                let list = lists(values)?;
                self.take_lists(list.value_offsets(), list.values(), hashes)
            }
            DataType::Map(..) => {
                let map = values.as_map();
                let entries: ArrayRef = Arc::new(map.entries().clone());
                self.take_lists(map.value_offsets(), &entries, hashes)
            }
            DataType::Struct(_) => {
                let tuple: &StructArray = values.as_struct();
                tuple.columns().iter().try_for_each(|part| self.take(part, hashes))
            }
            _ => self.take_values(values, hashes),
        }
    }

    fn take_lists(
        &self,
        offsets: &[i32],
        items: &ArrayRef,
        hashes: &mut [Option<u64>],
    ) -> Result<()> {
        let mut of_items = vec![None; items.len()];
        self.take(items, &mut of_items)?;
        for (hash, range) in hashes.iter_mut().zip(offsets.windows(2)) {
            self.step(hash, self.number((range[1] - range[0]) as u64));
            for item in &of_items[range[0] as usize..range[1] as usize] {
                self.step(hash, item.unwrap_or(NULL_HASH));
            }
        }
        Ok(())
    }

    fn take_values(&self, values: &ArrayRef, hashes: &mut [Option<u64>]) -> Result<()> {
        if let Some(numbers) = numbers(values)? {
            for (hash, (bits, width)) in hashes.iter_mut().zip(numbers) {
                let next = match self.by_number {
                    true => int_hash_64(bits),
                    false => (self.bytes)(&bits.to_le_bytes()[..width]),
                };
                self.step(hash, next);
            }
            return Ok(());
        }
        let bytes = match values.data_type() {
            DataType::Decimal128(..) => {
                let wide = values.as_primitive::<arrow::datatypes::Decimal128Type>();
                let bytes = wide.values().iter().map(|value| (self.bytes)(&value.to_le_bytes()));
                bytes.collect::<Vec<u64>>()
            }
            _ => match cast(values, &DataType::Binary) {
                Ok(bytes) => {
                    let bytes = bytes.as_binary::<i32>();
                    (0..bytes.len()).map(|row| (self.bytes)(bytes.value(row))).collect()
                }
                Err(_) => return plan_err!("values of type {} have no hash", values.data_type()),
            },
        };
        for (hash, next) in hashes.iter_mut().zip(bytes) {
            self.step(hash, next);
        }
        Ok(())
    }
}

/// What a NULL inside an array or a tuple counts as.
const NULL_HASH: u64 = 0xc58a_d2da_03d9_a871;

/// The bits of numbers, days and times and how many bytes they have; `None` for other values.
fn numbers(values: &ArrayRef) -> Result<Option<Vec<(u64, usize)>>> {
    let width = match values.data_type() {
        DataType::Boolean | DataType::Int8 | DataType::UInt8 => 1,
        DataType::Int16 | DataType::UInt16 => 2,
        DataType::Int32 | DataType::UInt32 | DataType::Timestamp(TimeUnit::Second, _) => 4,
        DataType::Int64 | DataType::UInt64 | DataType::Timestamp(..) => 8,
        DataType::Float32 => {
            let bits = values.as_primitive::<Float32Type>().values().iter();
            return Ok(Some(bits.map(|value| (u64::from(value.to_bits()), 4)).collect()));
        }
        DataType::Float64 => {
            let bits = values.as_primitive::<Float64Type>().values().iter();
            return Ok(Some(bits.map(|value| (value.to_bits(), 8)).collect()));
        }
        DataType::Date32 => {
            let days = cast(&cast(values, &DataType::Int32)?, &DataType::Int64)?;
            // Days up to 2149 are two bytes, as a Date has.
            let bits = |day: &i64| match u16::try_from(*day) {
                Ok(day) => (u64::from(day), 2),
                Err(_) => (*day as u64 & mask(4), 4),
            };
            return Ok(Some(days.as_primitive::<Int64Type>().values().iter().map(bits).collect()));
        }
        DataType::Decimal128(precision, _) if *precision <= 18 => {
            let width = if *precision <= 9 { 4 } else { 8 };
            let bits = values.as_primitive::<arrow::datatypes::Decimal128Type>().values().iter();
            return Ok(Some(bits.map(|v| (*v as u64 & mask(width), width)).collect()));
        }
        _ => return Ok(None),
    };
    if *values.data_type() == DataType::UInt64 {
        let bits = values.as_primitive::<UInt64Type>().values().iter();
        return Ok(Some(bits.map(|value| (*value, 8)).collect()));
    }
    let wide = cast(values, &DataType::Int64)?;
    let bits = wide.as_primitive::<Int64Type>().values().iter();
    Ok(Some(bits.map(|value| (*value as u64 & mask(width), width)).collect()))
}

/// As many bytes of ones.
fn mask(width: usize) -> u64 {
    u64::MAX >> (64 - 8 * width.clamp(1, 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_bytes() {
        for (name, got, expected) in [
            ("murmurHash2_32", u64::from(murmur::two_32(b"foo", 0)), 2_414_502_773),
            ("murmurHash2_64", murmur::two_64(b"foo", 0), 14_834_356_025_302_342_401),
            ("murmurHash2_64 of a byte", murmur::two_64(b"\x01", 0), 12_725_806_677_685_968_135),
            ("murmurHash3_32", u64::from(murmur::three_32(b"foo")), 4_138_058_784),
            ("murmurHash3_64", murmur::three_64(b"foo"), 11_303_473_983_767_132_390),
            ("gccMurmurHash", murmur::two_64(b"foo", GCC_SEED), 9_631_199_822_919_835_226),
            (
                "kafkaMurmurHash",
                u64::from(murmur::two_32(b"foobar", KAFKA_SEED) & 0x7fff_ffff),
                1_357_151_166,
            ),
            ("xxHash32", u64::from(xx::xx_32(b"Hello, world!")), 834_093_149),
            ("xxHash64", xx::xx_64(b"Hello, world!"), 17_691_043_854_468_224_118),
            ("intHash32", u64::from(int_hash_32(42)), 1_228_623_923),
            ("intHash64", int_hash_64(42), 11_490_350_930_367_293_593),
            (
                "metroHash64",
                xx::metro(b"012345678901234567890123456789012345678901234567890123456789012"),
                u64::from_be_bytes([0x40, 0x0e, 0x73, 0x5c, 0x4f, 0x04, 0x8f, 0x65]),
            ),
            ("wyHash64", wy::hash(b"ClickHouse"), 12_336_419_557_878_201_794),
            ("farmFingerprint64 of 4", farm::fingerprint(b"test"), 8_581_389_452_482_819_506),
            ("farmFingerprint64 of 6", farm::fingerprint(b"Moscow"), 5_992_710_078_453_357_409),
            (
                "farmFingerprint64 of 8",
                farm::fingerprint(b"1footrue"),
                -1_541_654_101_129_638_711_i64 as u64,
            ),
            (
                "farmFingerprint64 of 10",
                farm::fingerprint(b"2applefalse"),
                2_794_438_866_806_483_259,
            ),
            (
                "farmFingerprint64 of 15",
                farm::fingerprint(b"Amazon Redshift"),
                8_085_098_817_162_212_970,
            ),
            (
                "farmFingerprint64 of 32",
                farm::fingerprint("test".repeat(8).as_bytes()),
                -4_196_240_717_365_766_262_i64 as u64,
            ),
            (
                "farmFingerprint64 of 256",
                farm::fingerprint("test".repeat(64).as_bytes()),
                3_500_507_768_004_279_527,
            ),
            ("sipHash64 of no bytes", sip::hash(b""), 0x1e92_4b9d_7377_00d7),
        ] {
            assert_eq!(got, expected, "{name}");
        }
        // The published vectors of 32 bytes and more, seed 0.
        let text: Vec<u8> = (0..101_u32).map(|at| (at * 7) as u8).collect();
        assert_eq!(xx::xx_32(&text), xx_32_by_definition(&text));
    }

    /// xxHash32 as its specification writes it down.
    fn xx_32_by_definition(bytes: &[u8]) -> u32 {
        const P: [u32; 5] = [2654435761, 2246822519, 3266489917, 668265263, 374761393];
        let mut lanes = [606290984_u32, 2246822519, 0, 1640531535];
        let mut rest = bytes;
        while rest.len() >= 16 {
            for lane in &mut lanes {
                let word = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
                *lane =
                    lane.wrapping_add(word.wrapping_mul(P[1])).rotate_left(13).wrapping_mul(P[0]);
                rest = &rest[4..];
            }
        }
        let mut sum = lanes[0].rotate_left(1);
        sum = sum.wrapping_add(lanes[1].rotate_left(7)).wrapping_add(lanes[2].rotate_left(12));
        sum = sum.wrapping_add(lanes[3].rotate_left(18)).wrapping_add(bytes.len() as u32);
        while rest.len() >= 4 {
            let word = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
            sum = sum.wrapping_add(word.wrapping_mul(P[2])).rotate_left(17).wrapping_mul(P[3]);
            rest = &rest[4..];
        }
        for byte in rest {
            sum = sum
                .wrapping_add(u32::from(*byte).wrapping_mul(P[4]))
                .rotate_left(11)
                .wrapping_mul(P[0]);
        }
        sum = (sum ^ (sum >> 15)).wrapping_mul(P[1]);
        sum = (sum ^ (sum >> 13)).wrapping_mul(P[2]);
        sum ^ (sum >> 16)
    }
}
