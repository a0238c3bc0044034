//! Bytes as values and values as bytes, and the numbers of UUIDs and hardware addresses.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, PrimitiveArray, StringArray,
    UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::*;
use datafusion::common::{Result, exec_err, plan_err};

use crate::gives;
use crate::rows::{integers, map_texts, texts};
use crate::scalar::{ONE, Scalar, scalar};

/// The first bytes of a value as a number of this type; what is missing is zero.
macro_rules! number {
    ($name:literal, $arrow:ident, $native:ty) => {
        scalar(
            $name,
            ONE,
            |_| Ok($arrow::DATA_TYPE),
            |arguments| {
                numbers::<$arrow, { size_of::<$native>() }>(&arguments[0], <$native>::from_le_bytes)
            },
        )
    };
}

pub(super) fn all() -> Vec<Scalar> {
    let numbers = vec![
        number!("reinterpretAsInt8", Int8Type, i8),
        number!("reinterpretAsInt16", Int16Type, i16),
        number!("reinterpretAsInt32", Int32Type, i32),
        number!("reinterpretAsInt64", Int64Type, i64),
        number!("reinterpretAsUInt8", UInt8Type, u8),
        number!("reinterpretAsUInt16", UInt16Type, u16),
        number!("reinterpretAsUInt32", UInt32Type, u32),
        number!("reinterpretAsUInt64", UInt64Type, u64),
        number!("reinterpretAsFloat32", Float32Type, f32),
        number!("reinterpretAsFloat64", Float64Type, f64),
        scalar(
            "reinterpretAsDate",
            ONE,
            |_| Ok(DataType::Date32),
            |arguments| {
                numbers::<Date32Type, 2>(&arguments[0], |bytes| u16::from_le_bytes(bytes).into())
            },
        ),
        scalar(
            "reinterpretAsDateTime",
            ONE,
            |_| Ok(DataType::Timestamp(TimeUnit::Second, None)),
            |arguments| {
                numbers::<TimestampSecondType, 4>(&arguments[0], |bytes| {
                    u32::from_le_bytes(bytes).into()
                })
            },
        ),
    ];
    numbers.into_iter().chain(bytes()).chain(addresses()).collect()
}

/// Bytes as they are.
fn bytes() -> Vec<Scalar> {
    vec![
        scalar("reinterpretAsString", ONE, gives::text, as_text),
        scalar(
            "reinterpretAsFixedString",
            ONE,
            |_| Ok(DataType::BinaryView),
            |arguments| {
                let values = bytes_of(&arguments[0])?;
                Ok(Arc::new(values.into_iter().collect::<BinaryViewArray>()))
            },
        ),
    ]
}

/// UUIDs and hardware addresses, and texts in Base32.
fn addresses() -> Vec<Scalar> {
    vec![
        scalar("reinterpretAsUUID", ONE, gives::text, as_uuid),
        scalar(
            "UUIDStringToNum",
            ONE,
            |_| Ok(DataType::BinaryView),
            |arguments| {
                let numbers = texts(&arguments[0])?;
                let numbers = numbers.iter().map(|text| text.and_then(uuid_bytes));
                Ok(Arc::new(numbers.collect::<BinaryViewArray>()))
            },
        ),
        scalar("UUIDNumToString", ONE, gives::text, |arguments| {
            let shown = |bytes: Option<Vec<u8>>| Ok(bytes.map(|bytes| uuid_text(&bytes)));
            let shown = bytes_of(&arguments[0])?.into_iter().map(shown);
            Ok(Arc::new(shown.collect::<Result<StringArray>>()?))
        }),
        scalar("MACNumToString", ONE, gives::text, |arguments| {
            let shown = |number: i64| {
                let bytes = number.to_be_bytes();
                let pairs: Vec<String> = bytes[2..].iter().map(|b| format!("{b:02X}")).collect();
                pairs.join(":")
            };
            let numbers = integers(&arguments[0])?;
            let shown: StringArray = numbers.iter().map(|number| number.map(shown)).collect();
            Ok(Arc::new(shown))
        }),
        scalar("MACStringToNum", ONE, gives::number, |arguments| mac(&arguments[0], 0)),
        scalar("MACStringToOUI", ONE, gives::number, |arguments| mac(&arguments[0], 24)),
        scalar(
            "UUIDv7ToDateTime",
            ONE,
            |_| Ok(DataType::Timestamp(TimeUnit::Millisecond, None)),
            |arguments| {
                let ticks = texts(&arguments[0])?;
                let ticks = ticks.iter().map(|text| uuid_time(text?));
                Ok(Arc::new(ticks.collect::<PrimitiveArray<TimestampMillisecondType>>()))
            },
        ),
        scalar("base32Encode", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(base32_encoded(text.as_bytes())))
        }),
        scalar("tryBase32Decode", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(base32_decoded(text).unwrap_or_default()))
        }),
    ]
}

/// The bytes of each value as they lie in memory, the lowest first; those of a text or of bytes
/// are themselves.
fn bytes_of(values: &ArrayRef) -> Result<Vec<Option<Vec<u8>>>> {
    match values.data_type() {
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => {
            let bytes = cast(values, &DataType::BinaryView)?;
            Ok(bytes.as_binary_view().iter().map(|bytes| bytes.map(<[u8]>::to_vec)).collect())
        }
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>().iter();
            Ok(days.map(|days| days.map(|days| (days as u16).to_le_bytes().to_vec())).collect())
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            let seconds = values.as_primitive::<TimestampSecondType>().iter();
            Ok(seconds.map(|at| at.map(|at| (at as u32).to_le_bytes().to_vec())).collect())
        }
        other => match other.primitive_width() {
            Some(width) => {
                let data = values.to_data();
                let all = &data.buffers()[0].as_slice()[data.offset() * width..];
                let of = |row: usize| all[row * width..(row + 1) * width].to_vec();
                Ok((0..values.len()).map(|row| values.is_valid(row).then(|| of(row))).collect())
            }
            None => plan_err!("values of type {other} cannot be taken for bytes"),
        },
    }
}

fn numbers<T: ArrowPrimitiveType, const N: usize>(
    values: &ArrayRef,
    number: fn([u8; N]) -> T::Native,
) -> Result<ArrayRef> {
    let first = |bytes: Vec<u8>| {
        let mut padded = [0; N];
        let length = bytes.len().min(N);
        padded[..length].copy_from_slice(&bytes[..length]);
        number(padded)
    };
    let numbers = bytes_of(values)?.into_iter().map(|bytes| bytes.map(first));
    Ok(Arc::new(numbers.collect::<PrimitiveArray<T>>()))
}

/// Without the zero bytes at the end.
fn as_text(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let text = |bytes: Option<Vec<u8>>| {
        let Some(mut bytes) = bytes else { return Ok(None) };
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => exec_err!(
                "reinterpretAsString: the bytes are no text; reinterpretAsFixedString gives them"
            ),
        }
    };
    let texts = bytes_of(&arguments[0])?.into_iter().map(text);
    Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
}

/// ClickHouse keeps each half of a UUID in the order of its machine.
fn as_uuid(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let text = |mut bytes: Vec<u8>| {
        bytes.resize(16, 0);
        bytes[..8].reverse();
        bytes[8..].reverse();
        uuid_text(&bytes)
    };
    let texts = bytes_of(&arguments[0])?.into_iter().map(|bytes| bytes.map(text));
    Ok(Arc::new(texts.collect::<StringArray>()))
}

fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for at in 0..16 {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", bytes.get(at).copied().unwrap_or_default()));
    }
    text
}

fn uuid_bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    (digits.len() == 32).then(|| digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}

/// The milliseconds in the first 48 bits of a UUID of version 7; the epoch for others.
fn uuid_time(text: &str) -> Option<i64> {
    let bytes = uuid_bytes(text)?;
    let is_seven = bytes[6] >> 4 == 7;
    let ticks = bytes[..6].iter().fold(0_i64, |ticks, byte| ticks << 8 | i64::from(*byte));
    Some(if is_seven { ticks } else { 0 })
}

/// The number of a hardware address without its last bits; 0 for what is none.
fn mac(values: &ArrayRef, without_bits: u32) -> Result<ArrayRef> {
    let number = |text: &str| {
        let digits: String = text.split([':', '-']).collect();
        let number = (digits.len() == 12).then(|| u64::from_str_radix(&digits, 16).ok());
        number.flatten().unwrap_or(0) >> without_bits
    };
    let texts = texts(values)?;
    let numbers: UInt64Array = texts.iter().map(|text| text.map(number)).collect();
    Ok(Arc::new(numbers))
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32_encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for piece in bytes.chunks(5) {
        let mut padded = [0; 8];
        padded[3..3 + piece.len()].copy_from_slice(piece);
        let number = u64::from_be_bytes(padded);
        let letters = (piece.len() * 8).div_ceil(5);
        for at in 0..8 {
            match at < letters {
                true => text.push(BASE32[(number >> (35 - 5 * at) & 31) as usize].into()),
                false => text.push('='),
            }
        }
    }
    text
}

fn base32_decoded(text: &str) -> Option<String> {
    let letters = text.trim_end_matches('=');
    let mut bytes = Vec::new();
    let (mut number, mut bits) = (0_u32, 0);
    for letter in letters.bytes() {
        let digit = BASE32.iter().position(|known| *known == letter.to_ascii_uppercase())?;
        number = number << 5 | digit as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((number >> bits) as u8);
            number &= (1 << bits) - 1;
        }
    }
    (number == 0).then(|| String::from_utf8(bytes).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_in_base_32() {
        for (text, expected) in
            [("", ""), ("f", "MY======"), ("fo", "MZXQ===="), ("foobar", "MZXW6YTBOI======")]
        {
            assert_eq!(base32_encoded(text.as_bytes()), expected);
            assert_eq!(base32_decoded(expected).as_deref(), Some(text));
        }
        assert_eq!(base32_decoded("1"), None);
    }

    #[test]
    fn uuids_are_sixteen_bytes() {
        let text = "612f3c40-5d3b-217e-707b-6a546a3d7b29";
        assert_eq!(uuid_text(&uuid_bytes(text).expect("a UUID")), text);
        assert_eq!(uuid_bytes("612f"), None);
        assert_eq!(uuid_time("018f05c9-4ab8-7b86-b64e-c9f03fbd45d1"), Some(1_713_789_029_048));
    }
}
