//! Texts in and out of other notations: Base58, Base64 of URLs, forms, XML; and small changes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray, UInt64Array};
use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use datafusion::common::{Result, exec_err};

use crate::gives;
use crate::rows::{each, each_pair, map_text_pairs, map_texts};
use crate::scalar::{ONE, Scalar, TWO, scalar};

pub(super) fn all() -> Vec<Scalar> {
    notations().into_iter().chain(changes()).collect()
}

fn notations() -> Vec<Scalar> {
    vec![
        scalar("base58Encode", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(base_58(text)))
        }),
        scalar("base58Decode", ONE, gives::text, |arguments| {
            decoded(&arguments[0], "base58Decode", from_base_58)
        }),
        scalar("tryBase58Decode", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(from_base_58(text).unwrap_or_default()))
        }),
        scalar("base64URLEncode", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(URL_SAFE_NO_PAD.encode(text)))
        }),
        scalar("base64URLDecode", ONE, gives::text, |arguments| {
            decoded(&arguments[0], "base64URLDecode", from_url_base_64)
        }),
        scalar("tryBase64URLDecode", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(from_url_base_64(text).unwrap_or_default()))
        }),
        scalar("unbin", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(from_bits(text)))
        }),
        scalar("encodeURLFormComponent", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(form_encoded(text)))
        }),
        scalar("decodeURLFormComponent", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| {
                Some(super::encode::percent_decoded(&text.replace('+', " ")))
            })
        }),
        scalar("encodeXMLComponent", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| {
                let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                Some(text.replace('"', "&quot;").replace('\'', "&apos;"))
            })
        }),
        scalar("decodeXMLComponent", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(from_xml(text)))
        }),
    ]
}

fn changes() -> Vec<Scalar> {
    vec![
        scalar("appendTrailingCharIfAbsent", TWO, gives::text, |arguments| {
            map_text_pairs(arguments, |text, end| {
                let has_it = text.is_empty() || text.ends_with(end);
                Some(if has_it { text.to_owned() } else { format!("{text}{end}") })
            })
        }),
        scalar("firstLine", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| {
                Some(text.lines().next().unwrap_or_default().to_owned())
            })
        }),
        scalar("soundex", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(soundex(text)))
        }),
        scalar("stringBytesUniq", ONE, gives::number, |arguments| {
            let counts = each(&arguments[0], |text| {
                Some(byte_counts(text).iter().filter(|count| **count > 0).count() as u64)
            });
            Ok(Arc::new(UInt64Array::from(counts?)))
        }),
        scalar("stringBytesEntropy", ONE, gives::float, |arguments| {
            let entropies = each(&arguments[0], |text| Some(entropy(text)));
            Ok(Arc::new(Float64Array::from(entropies?)))
        }),
        scalar("hasSubsequence", TWO, gives::flag, |arguments| {
            let found = each_pair(arguments, |text, needle| {
                let mut rest = text.chars();
                Some(needle.chars().all(|wanted| rest.any(|c| c == wanted)))
            });
            Ok(Arc::new(arrow::array::BooleanArray::from(found?)))
        }),
        scalar("splitByString", TWO, gives::texts, |arguments| {
            let parts = each_pair(arguments, |separator, text| Some(split(separator, text)));
            Ok(crate::rows::text_lists(parts?))
        }),
    ]
}

/// The parts between the separators; the empty separator cuts between all characters.
fn split(separator: &str, text: &str) -> Vec<String> {
    match separator.is_empty() {
        true => text.chars().map(String::from).collect(),
        false => text.split(separator).map(str::to_owned).collect(),
    }
}

fn decoded(values: &ArrayRef, name: &str, decode: fn(&str) -> Option<String>) -> Result<ArrayRef> {
    let mut broken = None;
    let rows = each(values, |text| {
        let decoded = decode(text);
        Some((text.to_owned(), decoded))
    })?;
    let mut texts = Vec::with_capacity(rows.len());
    for row in rows {
        match row {
            None => texts.push(None),
            Some((_, Some(decoded))) => texts.push(Some(decoded)),
            Some((text, None)) => {
                broken = Some(text);
                break;
            }
        }
    }
    match broken {
        Some(text) => exec_err!("{name}: '{text}' is no such text"),
        None => Ok(Arc::new(StringArray::from(texts))),
    }
}

const BASE_58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

fn base_58(text: &str) -> String {
    let zeros = text.bytes().take_while(|byte| *byte == 0).count();
    // The digits, the last one first.
    let mut digits: Vec<u8> = Vec::new();
    for byte in text.bytes() {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let digits = digits.iter().rev().map(|digit| char::from(BASE_58[usize::from(*digit)]));
    std::iter::repeat_n('1', zeros).chain(digits).collect()
}

fn from_base_58(text: &str) -> Option<String> {
    let zeros = text.bytes().take_while(|byte| *byte == b'1').count();
    let mut bytes: Vec<u8> = Vec::new();
    for c in text.bytes() {
        let mut carry = BASE_58.iter().position(|digit| *digit == c)? as u32;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry as u8);
            carry >>= 8;
        }
    }
    bytes.extend(std::iter::repeat_n(0, zeros));
    bytes.reverse();
    String::from_utf8(bytes).ok()
}

fn from_url_base_64(text: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()?;
    String::from_utf8(bytes).ok()
}

fn from_bits(text: &str) -> String {
    let bits: Vec<u8> =
        text.bytes().filter(|b| matches!(b, b'0' | b'1')).map(|b| b - b'0').collect();
    let missing = (8 - bits.len() % 8) % 8;
    let padded: Vec<u8> = std::iter::repeat_n(0, missing).chain(bits).collect();
    let bytes = padded.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit));
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}

fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Replaces the five names and the numbers of characters; what is none stays.
fn from_xml(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(';').filter(|end| *end < 12);
        let named = end.and_then(|end| entity(&rest[1..end]));
        match (named, end) {
            (Some(c), Some(end)) => {
                decoded.push(c);
                rest = &rest[end + 1..];
            }
            _ => {
                decoded.push('&');
                rest = &rest[1..];
            }
        }
    }
    decoded + rest
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

fn soundex(text: &str) -> String {
    let code = |c: char| match c.to_ascii_uppercase() {
        'B' | 'F' | 'P' | 'V' => '1',
        'C' | 'G' | 'J' | 'K' | 'Q' | 'S' | 'X' | 'Z' => '2',
        'D' | 'T' => '3',
        'L' => '4',
        'M' | 'N' => '5',
        'R' => '6',
        // They do not separate letters of one sound.
        'H' | 'W' => '-',
        _ => '0',
    };
    let mut letters = text.chars().filter(char::is_ascii_alphabetic);
    let Some(first) = letters.next() else { return String::new() };
    let mut result = String::from(first.to_ascii_uppercase());
    let mut last = code(first);
    for c in letters {
        let digit = code(c);
        if digit != '-' {
            if digit != '0' && digit != last {
                result.push(digit);
            }
            last = digit;
        }
        if result.len() == 4 {
            break;
        }
    }
    format!("{result:0<4}")
}

fn byte_counts(text: &str) -> [u64; 256] {
    let mut counts = [0; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    counts
}

fn entropy(text: &str) -> f64 {
    let total = text.len() as f64;
    let share = |count: &u64| *count as f64 / total;
    let counts = byte_counts(text);
    counts.iter().filter(|count| **count > 0).map(|c| -share(c) * share(c).log2()).sum()
}
