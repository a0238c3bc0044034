//! Texts: everything as a text, lengths, regular expressions, templates.

mod format;
mod length;
mod regex;
mod replace;
mod to_string;

use super::scalar::Scalar;

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    vec![
        to_string::TO_STRING,
        length::LENGTH,
        regex::EXTRACT,
        regex::EXTRACT_ALL,
        format::FORMAT,
        replace::REPLACE_ONE,
    ]
}
