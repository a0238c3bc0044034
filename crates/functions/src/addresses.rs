//! Addresses of the Internet protocol. An IPv4 is a 32-bit number, an IPv6 its text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, StringArray, StructArray, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, exec_err};

use super::rows::{integers, map_texts, texts};
use super::scalar::{Arity, Scalar, TWO, scalar};

/// An address of a text, or of its number.
pub const TO_IPV4: &str = "toIPv4";
/// The same, NULL for what is none.
pub const TO_IPV4_OR_NULL: &str = "toIPv4OrNull";

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let mut all = vec![
        Scalar {
            name: "IPv4StringToNum",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt32),
            kernel: strict,
        },
        Scalar {
            name: "IPv4StringToNumOrNull",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt32),
            kernel: or_null,
        },
        Scalar {
            name: "IPv4NumToString",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| {
                let text = |number: i64| Ipv4Addr::from(number as u32).to_string();
                let written: StringArray =
                    integers(&arguments[0])?.iter().map(|number| number.map(text)).collect();
                Ok(Arc::new(written))
            },
        },
        Scalar {
            name: "toIPv6",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| {
                map_texts(&arguments[0], |text| match text.parse::<IpAddr>().ok()? {
                    IpAddr::V4(address) => Some(address.to_ipv6_mapped().to_string()),
                    IpAddr::V6(address) => Some(address.to_string()),
                })
            },
        },
        Scalar {
            name: "isIPv4String",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Boolean),
            kernel: |arguments| test(&arguments[0], |text| text.parse::<Ipv4Addr>().is_ok()),
        },
        Scalar {
            name: "isIPv6String",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Boolean),
            kernel: |arguments| test(&arguments[0], |text| text.parse::<Ipv6Addr>().is_ok()),
        },
        Scalar {
            name: "isIPAddressInRange",
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::Boolean),
            kernel: in_range,
        },
    ];
    all.extend(ranges());
    all.extend(shown());
    all
}

/// Numbers that are shown as addresses.
fn shown() -> [Scalar; 2] {
    [
        Scalar {
            name: TO_IPV4,
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt32),
            kernel: |arguments| match arguments[0].data_type().is_integer() {
                true => Ok(cast(&arguments[0], &DataType::UInt32)?),
                false => strict(arguments),
            },
        },
        Scalar {
            name: TO_IPV4_OR_NULL,
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt32),
            kernel: or_null,
        },
    ]
}

/// Networks as ranges of addresses.
fn ranges() -> [Scalar; 2] {
    [
        scalar(
            "IPv4CIDRToRange",
            TWO,
            |_| Ok(range_type(DataType::UInt32)),
            |arguments| {
                let (numbers, bits) = (integers(&arguments[0])?, integers(&arguments[1])?);
                let ends = |row: usize| {
                    let (number, bits) = (numbers.value(row) as u32, bits.value(row).clamp(0, 32));
                    let rest = u32::MAX.checked_shr(bits as u32).unwrap_or(0);
                    (number & !rest, number | rest)
                };
                let (low, high): (Vec<u32>, Vec<u32>) = (0..numbers.len()).map(ends).unzip();
                range(Arc::new(UInt32Array::from(low)), Arc::new(UInt32Array::from(high)))
            },
        ),
        scalar(
            "IPv6CIDRToRange",
            TWO,
            |_| Ok(range_type(DataType::Utf8)),
            |arguments| {
                let (addresses, bits) = (texts(&arguments[0])?, integers(&arguments[1])?);
                let mut ends = (Vec::new(), Vec::new());
                for row in 0..addresses.len() {
                    let Ok(address) = addresses.value(row).parse::<Ipv6Addr>() else {
                        return exec_err!("'{}' is no IPv6", addresses.value(row));
                    };
                    let bits = bits.value(row).clamp(0, 128) as u32;
                    let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
                    ends.0.push(Ipv6Addr::from(u128::from(address) & !rest).to_string());
                    ends.1.push(Ipv6Addr::from(u128::from(address) | rest).to_string());
                }
                range(Arc::new(StringArray::from(ends.0)), Arc::new(StringArray::from(ends.1)))
            },
        ),
    ]
}

/// The first and the last address.
fn range_type(address: DataType) -> DataType {
    let field = |name: &str| Field::new(name, address.clone(), true);
    DataType::Struct(Fields::from(vec![field("1"), field("2")]))
}

fn range(low: ArrayRef, high: ArrayRef) -> Result<ArrayRef> {
    let DataType::Struct(fields) = range_type(low.data_type().clone()) else {
        return exec_err!("a range is a tuple");
    };
    Ok(Arc::new(StructArray::try_new(fields, vec![low, high], None)?))
}

fn number(text: &str) -> Option<u32> {
    text.trim().parse::<Ipv4Addr>().ok().map(u32::from)
}

fn or_null(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let numbers: UInt32Array =
        texts(&arguments[0])?.iter().map(|text| text.and_then(number)).collect();
    Ok(Arc::new(numbers))
}

fn strict(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let numbers: UInt32Array = texts(&arguments[0])?
        .iter()
        .map(|text| match text {
            None => Ok(None),
            Some(text) => match number(text) {
                Some(number) => Ok(Some(number)),
                None => exec_err!("'{text}' is no IPv4; IPv4StringToNumOrNull gives NULL"),
            },
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(numbers))
}

fn test(values: &ArrayRef, of: fn(&str) -> bool) -> Result<ArrayRef> {
    let tested: BooleanArray = texts(values)?.iter().map(|text| text.map(of)).collect();
    Ok(Arc::new(tested))
}

fn in_range(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (addresses, ranges) = (texts(&arguments[0])?, texts(&arguments[1])?);
    let within: BooleanArray = addresses
        .iter()
        .zip(ranges.iter())
        .map(|(address, range)| match (address, range) {
            (Some(address), Some(range)) => match lies_in(address, range) {
                Some(lies) => Ok(Some(lies)),
                None => exec_err!("'{address}' is no address or '{range}' no range as 10.0.0.0/8"),
            },
            _ => Ok(None),
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(within))
}

fn lies_in(address: &str, range: &str) -> Option<bool> {
    let (base, bits) = range.split_once('/')?;
    let bits: u32 = bits.parse().ok()?;
    match (address.parse().ok()?, base.parse().ok()?) {
        (IpAddr::V4(address), IpAddr::V4(base)) if bits <= 32 => {
            let shift = |address: Ipv4Addr| u64::from(u32::from(address)) >> (32 - bits);
            Some(shift(address) == shift(base))
        }
        (IpAddr::V6(address), IpAddr::V6(base)) if bits <= 128 => {
            let shift = |address: Ipv6Addr| u128::from(address).checked_shr(128 - bits);
            Some(shift(address) == shift(base))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Some(false),
        _ => None,
    }
}
