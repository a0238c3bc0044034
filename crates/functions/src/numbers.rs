//! Numbers: rounding as ClickHouse does it, bits, special functions, readable texts.

mod bits;
mod readable;
mod rounding;
pub(super) mod special;

use super::scalar::Scalar;

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let families = [rounding::all(), bits::all(), special::all(), readable::all()];
    families.into_iter().flatten().collect()
}
