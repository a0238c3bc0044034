//! Arrays and maps: what DataFusion does not offer. Functions of functions are rewrites in `bind`.

mod entries;
mod enumerate;
mod fold;
mod sort;

use super::scalar::Scalar;

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let families = [fold::all(), sort::all(), enumerate::all(), entries::all()];
    families.into_iter().flatten().collect()
}
