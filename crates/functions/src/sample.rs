//! The hash by which rows are in a sample.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::common::Result;

use super::scalar::{Arity, Scalar};

/// Spread evenly over all 64-bit numbers; 0 for NULL. Samples of one table must stay the same, so this
/// must not change.
pub(super) const SAMPLE_HASH: Scalar = Scalar {
    name: "__granarySampleHash",
    arity: Arity::Exactly(1),
    returns: |_| Ok(DataType::UInt64),
    kernel: |arguments| hash(&arguments[0]),
};

fn hash(keys: &ArrayRef) -> Result<ArrayRef> {
    let hashes: UInt64Array = match keys.data_type() {
        DataType::UInt64 => {
            let keys = keys.as_primitive::<UInt64Type>();
            keys.iter().map(|key| Some(key.map_or(0, mix))).collect()
        }
        data_type if data_type.is_integer() => {
            let keys = cast(keys, &DataType::Int64)?;
            let keys = keys.as_primitive::<Int64Type>();
            keys.iter().map(|key| Some(key.map_or(0, |key| mix(key as u64)))).collect()
        }
        _ => {
            let keys = cast(keys, &DataType::Utf8)?;
            let keys = keys.as_string::<i32>();
            let of_text = |text: &str| mix(fnv(text.as_bytes()));
            keys.iter().map(|key| Some(key.map_or(0, of_text))).collect()
        }
    };
    debug_assert_eq!(hashes.len(), keys.len(), "one hash for each key");
    Ok(Arc::new(hashes))
}

/// FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The finalizer of SplitMix64, one to one, after its increment so that 0 moves too.
fn mix(key: u64) -> u64 {
    let key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_spread_and_stay() {
        // The first output of SplitMix64 with seed 0.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        let below: usize = (0..10_000_u64).filter(|key| mix(*key) < u64::MAX / 10).count();
        assert!((900..1_100).contains(&below), "{below}");
        let texts = (0..10_000_u64).map(|key| mix(fnv(key.to_string().as_bytes())));
        let below = texts.filter(|hash| *hash < u64::MAX / 10).count();
        assert!((900..1_100).contains(&below), "{below}");
    }
}
