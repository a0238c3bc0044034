//! Which changes of a column's type leave stored values as they are.

use granary_catalog::ColumnType;

/// Whether every value of `from` is a value of `to`, and reading casts it: the same number, text or
/// time.
pub(super) fn is_widening(from: &ColumnType, to: &ColumnType) -> bool {
    if from.is_nullable() && !to.is_nullable() {
        return false;
    }
    let (from, to) = (from.base(), to.base());
    if from == to {
        return true;
    }
    match (from, to) {
        (ColumnType::Enum8(old) | ColumnType::Enum16(old), _) => match to {
            ColumnType::Enum8(new) | ColumnType::Enum16(new) => {
                old.iter().all(|value| new.contains(value))
            }
            _ => *to == ColumnType::String,
        },
        (ColumnType::Uuid | ColumnType::Ipv6 | ColumnType::Date, ColumnType::String) => true,
        (ColumnType::DateTime(old), ColumnType::DateTime64(precision, new)) => {
            old == new && *precision <= 6
        }
        (ColumnType::DateTime64(old, zone), ColumnType::DateTime64(new, other)) => {
            old <= new && *new <= 6 && zone == other
        }
        (ColumnType::Float32, ColumnType::Float64) => true,
        (ColumnType::Decimal(p, s), ColumnType::Decimal(precision, scale)) => {
            scale >= s && precision - scale >= p - s
        }
        _ => match integer(from) {
            Some(width) => holds_integers(width, to),
            None => false,
        },
    }
}

/// Bits, and whether there is a sign.
fn integer(of: &ColumnType) -> Option<(u32, bool)> {
    Some(match of {
        ColumnType::Int8 => (8, true),
        ColumnType::Int16 => (16, true),
        ColumnType::Int32 => (32, true),
        ColumnType::Int64 => (64, true),
        ColumnType::UInt8 => (8, false),
        ColumnType::UInt16 => (16, false),
        ColumnType::UInt32 => (32, false),
        ColumnType::UInt64 => (64, false),
        _ => return None,
    })
}

fn holds_integers((bits, signed): (u32, bool), to: &ColumnType) -> bool {
    match to {
        ColumnType::String => true,
        ColumnType::Float32 => bits <= 16,
        ColumnType::Float64 => bits <= 32,
        ColumnType::Decimal(precision, scale) => {
            let digits = match bits {
                8 => 3,
                16 => 5,
                32 => 10,
                _ => 20,
            };
            precision - scale >= digits
        }
        _ => match integer(to) {
            Some((wider, true)) => wider > bits || (signed && wider == bits),
            Some((wider, false)) => !signed && wider >= bits,
            None => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_keeps_every_value() {
        for (from, to, expected) in [
            ("Int32", "Int64", true),
            ("Int32", "Nullable(Int64)", true),
            ("Nullable(Int32)", "Int64", false),
            ("UInt32", "Int64", true),
            ("UInt64", "Int64", false),
            ("Int32", "UInt64", false),
            ("Int32", "Float64", true),
            ("Int64", "Float64", false),
            ("Int64", "String", true),
            ("String", "Int64", false),
            ("String", "LowCardinality(String)", true),
            ("Float32", "Float64", true),
            ("Decimal(10, 2)", "Decimal(12, 2)", true),
            ("Decimal(10, 2)", "Decimal(12, 4)", true),
            ("Decimal(10, 2)", "Decimal(11, 4)", false),
            ("Int32", "Decimal(12, 2)", true),
            ("Int32", "Decimal(10, 2)", false),
            ("Date", "String", true),
            ("DateTime", "DateTime64(3)", true),
            ("DateTime", "DateTime('Asia/Tokyo')", false),
            ("Enum8('a' = 1)", "Enum16('a' = 1, 'b' = 2)", true),
            ("Enum8('a' = 1, 'b' = 2)", "Enum8('a' = 1)", false),
        ] {
            let of = |text: &str| text.parse::<ColumnType>().expect("a type");
            assert_eq!(is_widening(&of(from), &of(to)), expected, "{from} to {to}");
        }
    }
}
