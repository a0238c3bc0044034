//! Digests as hexadecimal texts, and numbers that are written down as narrow as ClickHouse sees them
//! where their width counts.

use granary_common::Result;
use sqlparser::ast::{Expr, UnaryOperator, Value, ValueWithSpan};

use super::calls::substitute;

/// Digests whose bytes ClickHouse gives, while the engine gives their digits.
const DIGESTS: [(&str, &str); 7] = [
    ("md5", "md5"),
    ("sha224", "sha224"),
    ("sha256", "sha256"),
    ("sha384", "sha384"),
    ("sha512", "sha512"),
    ("blake3", "blake3"),
    ("blake2b", "blake2b"),
];

/// Hashes of the bytes that a number has.
const BY_BYTES: [&str; 10] = [
    "siphash64",
    "xxhash64",
    "xxhash32",
    "xxh3",
    "murmurhash2_32",
    "murmurhash2_64",
    "murmurhash3_32",
    "murmurhash3_64",
    "gccmurmurhash",
    "kafkamurmurhash",
];

pub(super) fn rewrite(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    if let ("hex", [Expr::Function(inner)]) = (lower, arguments) {
        let inner_name = inner.name.to_string().to_lowercase();
        let digest = DIGESTS.iter().find(|(name, _)| *name == inner_name);
        let text = super::calls::plain_arguments(inner);
        if let ("sha1", Some([_])) = (inner_name.as_str(), text.as_deref()) {
            return substitute("upper($1)", arguments).map(Some);
        }
        if let (Some((_, method)), Some([value])) = (digest, text.as_deref()) {
            let text = format!("upper(encode(digest($1, '{method}'), 'hex'))");
            return substitute(&text, std::slice::from_ref(value)).map(Some);
        }
    }
    if BY_BYTES.contains(&lower) && arguments.iter().any(|argument| written(argument).is_some()) {
        let narrow = arguments.iter().map(|argument| match written(argument) {
            Some(number) => {
                let text = format!("CAST($1 AS {})", narrowest(number));
                substitute(&text, std::slice::from_ref(argument))
            }
            None => Ok(argument.clone()),
        });
        let narrow = narrow.collect::<Result<Vec<Expr>>>()?;
        let call = super::templates::expression(&format!("{lower}()"))?;
        return Ok(Some(super::calls::with_arguments(call, narrow)));
    }
    Ok(None)
}

/// The whole number that an expression writes down.
fn written(expression: &Expr) -> Option<i128> {
    match expression {
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) => digits.parse().ok(),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => written(expr).map(|number| -number),
        Expr::Nested(inner) => written(inner),
        _ => None,
    }
}

/// ClickHouse's type of a number that is written down.
fn narrowest(number: i128) -> &'static str {
    match number {
        0..=0xff => "UInt8",
        0x100..=0xffff => "UInt16",
        0x1_0000..=0xffff_ffff => "UInt32",
        n if n > 0 => "UInt64",
        -0x80..0 => "Int8",
        -0x8000..-0x80 => "Int16",
        -0x8000_0000..-0x8000 => "Int32",
        _ => "Int64",
    }
}
