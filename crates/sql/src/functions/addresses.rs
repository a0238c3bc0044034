//! Addresses of the Internet protocol. An IPv4 is a 32-bit number, an IPv6 its text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StringArray, UInt32Array};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};

use super::rows::{integers, map_texts, texts};
use super::scalar::{Arity, Scalar};

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    vec![
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
            kernel: |arguments| {
                let numbers: UInt32Array =
                    texts(&arguments[0])?.iter().map(|text| text.and_then(number)).collect();
                Ok(Arc::new(numbers))
            },
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
    ]
}

fn number(text: &str) -> Option<u32> {
    text.trim().parse::<Ipv4Addr>().ok().map(u32::from)
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
