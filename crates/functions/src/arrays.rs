//! Arrays and maps: what DataFusion does not offer. Functions of functions are rewrites in `bind`.

mod curves;
mod element;
mod entries;
mod enumerate;
mod flatten;
mod fold;
mod levenshtein;
mod maps;
mod reduce;
mod resize;
mod series;
mod shape;
mod sort;
mod tuples;
mod vectors;

use super::scalar::{Scalar, Typed};

pub use element::{ELEMENT, ELEMENTS};
pub use reduce::FOLD;
pub(super) use reduce::fold as folding;

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let families = [
        curves::all(),
        element::all(),
        fold::all(),
        sort::all(),
        enumerate::all(),
        entries::all(),
        flatten::all(),
        levenshtein::all(),
        maps::all(),
        resize::all(),
        series::all(),
        shape::all(),
        tuples::all(),
        vectors::all(),
    ];
    families.into_iter().flatten().collect()
}

/// Those whose type depends on a name.
pub(super) fn typed() -> Vec<Typed> {
    element::typed()
}
