//! Values that the catalog itself compares: partition values and the bounds of keys.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A value in a canonical, totally ordered form. Dates are days and times are the column's ticks
/// since the epoch, decimals their unscaled integer; a column's values share one variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Scalar {
    /// Sorts after every value, as NULLS LAST.
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    /// Decimals and wide integers.
    Wide(i128),
    /// NaN sorts after every number and equals itself; -0 equals 0.
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Scalar {
    fn rank(&self) -> u8 {
        match self {
            Scalar::Bool(_) => 0,
            Scalar::Int(_) => 1,
            Scalar::UInt(_) => 2,
            Scalar::Wide(_) => 3,
            Scalar::Float(_) => 4,
            Scalar::Text(_) => 5,
            Scalar::Bytes(_) => 6,
            Scalar::Null => 7,
        }
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(b),
            (Scalar::Int(a), Scalar::Int(b)) => a.cmp(b),
            (Scalar::UInt(a), Scalar::UInt(b)) => a.cmp(b),
            (Scalar::Wide(a), Scalar::Wide(b)) => a.cmp(b),
            (Scalar::Float(a), Scalar::Float(b)) => compare_floats(*a, *b),
            (Scalar::Text(a), Scalar::Text(b)) => a.cmp(b),
            (Scalar::Bytes(a), Scalar::Bytes(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

fn compare_floats(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Null => f.write_str("NULL"),
            Scalar::Bool(v) => write!(f, "{v}"),
            Scalar::Int(v) => write!(f, "{v}"),
            Scalar::UInt(v) => write!(f, "{v}"),
            Scalar::Wide(v) => write!(f, "{v}"),
            Scalar::Float(v) => write!(f, "{v}"),
            Scalar::Text(v) => f.write_str(v),
            Scalar::Bytes(v) => v.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// A value of `PARTITION BY`, one scalar an expression; empty when the table has no partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionValue(pub Vec<Scalar>);

impl fmt::Display for PartitionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("all"),
            [one] => one.fmt(f),
            many => {
                let texts: Vec<String> = many.iter().map(Scalar::to_string).collect();
                write!(f, "({})", texts.join(","))
            }
        }
    }
}

/// Inclusive bounds of a part's primary key. Long texts are cut, so the bounds may be wider than
/// the data and never narrower; `max: None` is unbounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    pub min: Vec<Scalar>,
    pub max: Option<Vec<Scalar>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_total() {
        let ascending = [
            Scalar::Float(f64::NEG_INFINITY),
            Scalar::Float(0.0),
            Scalar::Float(f64::INFINITY),
            Scalar::Float(f64::NAN),
            Scalar::Null,
        ];
        assert!(ascending.is_sorted());
        assert_eq!(Scalar::Float(-0.0), Scalar::Float(0.0));
    }
}
