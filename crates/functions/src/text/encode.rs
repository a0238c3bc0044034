//! Texts in other alphabets: hexadecimal, Base64, percent signs of URLs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, UInt64Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion::common::{Result, exec_err};

use crate::rows::{integers, map_texts, texts};
use crate::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    digits_and_base64().into_iter().chain(urls_and_characters()).collect()
}

/// Bytes as digits and as Base64, and back.
fn digits_and_base64() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "hex",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| digits(&arguments[0], |byte| format!("{byte:02X}"), 16),
        },
        Scalar {
            name: "bin",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| digits(&arguments[0], |byte| format!("{byte:08b}"), 2),
        },
        Scalar {
            name: "unhex",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| map_texts(&arguments[0], |text| Some(unhex(text))),
        },
        Scalar {
            name: "base64Encode",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| map_texts(&arguments[0], |text| Some(STANDARD.encode(text))),
        },
        Scalar {
            name: "base64Decode",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: base64_decode,
        },
        Scalar {
            name: "tryBase64Decode",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| {
                map_texts(&arguments[0], |text| Some(decoded(text).unwrap_or_default()))
            },
        },
    ]
}

/// Texts in URLs, and bytes one by one.
fn urls_and_characters() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "encodeURLComponent",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| map_texts(&arguments[0], |text| Some(percent_encoded(text))),
        },
        Scalar {
            name: "decodeURLComponent",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| map_texts(&arguments[0], |text| Some(percent_decoded(text))),
        },
        Scalar {
            name: "char",
            arity: Arity::AtLeastOne,
            returns: |_| Ok(DataType::Utf8),
            kernel: characters,
        },
    ]
}

fn digits(values: &ArrayRef, byte: fn(&u8) -> String, base: u32) -> Result<ArrayRef> {
    let number = |number: u64| match base {
        16 if number == 0 => "00".to_owned(),
        // Whole bytes, as for texts.
        16 => {
            let digits = format!("{number:X}");
            if digits.len() % 2 == 1 { format!("0{digits}") } else { digits }
        }
        _ => {
            let digits = format!("{number:b}");
            let missing = (8 - digits.len() % 8) % 8;
            format!("{}{digits}", "0".repeat(missing))
        }
    };
    let written: StringArray = match values.data_type() {
        data_type if data_type.is_integer() => {
            bits(values)?.into_iter().map(|value| value.map(number)).collect()
        }
        DataType::Binary | DataType::BinaryView => cast(values, &DataType::BinaryView)?
            .as_binary_view()
            .iter()
            .map(|bytes| bytes.map(|bytes| bytes.iter().map(byte).collect::<String>()))
            .collect(),
        _ => texts(values)?
            .iter()
            .map(|text| text.map(|text| text.as_bytes().iter().map(byte).collect::<String>()))
            .collect(),
    };
    Ok(Arc::new(written))
}

/// The numbers as the bits that they have in their width.
fn bits(values: &ArrayRef) -> Result<Vec<Option<u64>>> {
    let data_type = values.data_type();
    if *data_type == DataType::UInt64 {
        return Ok(values.as_primitive::<UInt64Type>().iter().collect());
    }
    let mask = u64::MAX >> (64 - 8 * data_type.primitive_width().unwrap_or(8).clamp(1, 8));
    Ok(integers(values)?.iter().map(|value| value.map(|value| value as u64 & mask)).collect())
}

fn unhex(text: &str) -> String {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    // An odd number of digits means a leading zero.
    let padded = match digits.len() % 2 {
        1 => [vec![0], digits].concat(),
        _ => digits,
    };
    let bytes: Vec<u8> = padded.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

fn base64_decode(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let decoded: StringArray = texts(&arguments[0])?
        .iter()
        .map(|text| match text {
            None => Ok(None),
            Some(text) => match decoded(text) {
                Some(decoded) => Ok(Some(decoded)),
                None => exec_err!(
                    "base64Decode: '{text}' is no text in Base64; tryBase64Decode gives ''"
                ),
            },
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(decoded))
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// What is no two hexadecimal digits behind a percent sign stays.
pub(crate) fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = match (first, after) {
            (b'%', [high, low, ..]) => char::from(*high)
                .to_digit(16)
                .zip(char::from(*low).to_digit(16))
                .map(|(high, low)| (high * 16 + low) as u8),
            _ => None,
        };
        match code {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn characters(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let codes: Vec<Int64Array> = arguments.iter().map(integers).collect::<Result<_>>()?;
    let row = |row: usize| {
        let bytes: Option<Vec<u8>> =
            codes.iter().map(|codes| codes.is_valid(row).then(|| codes.value(row) as u8)).collect();
        bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let texts: StringArray = (0..arguments[0].len()).map(row).collect();
    Ok(Arc::new(texts))
}
