//! Texts: everything as a text, lengths, regular expressions, templates.

mod encode;
mod format;
mod length;
mod regex;
mod replace;
mod search;
mod split;
mod to_string;

use super::scalar::Scalar;

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let mut all = vec![
        to_string::TO_STRING,
        length::LENGTH,
        regex::EXTRACT,
        regex::EXTRACT_ALL,
        format::FORMAT,
        replace::REPLACE_ONE,
    ];
    all.extend(encode::all());
    all.extend(search::all());
    all.extend(split::all());
    all
}
