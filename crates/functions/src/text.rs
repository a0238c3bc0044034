//! Texts: everything as a text, lengths, regular expressions, templates.

mod distance;
mod encode;
mod fixed;
mod format;
mod groups;
mod html;
mod length;
mod marks;
mod normal;
mod printf;
mod regex;
mod replace;
mod row;
mod search;
mod split;
mod to_string;
mod written;

use super::scalar::{Scalar, Typed};

pub(super) use fixed::text_of;
pub use fixed::{TEXT_OF, TooLong, WITHOUT_ZEROS, filled_to, fixed_strings};
pub(super) use to_string::TO_STRING;
pub use written::{FROM_TEXT, FROM_TEXT_OR_NULL, NotWritten, from_texts, is_container};

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let mut all = vec![
        TO_STRING,
        length::LENGTH,
        regex::EXTRACT,
        regex::EXTRACT_ALL,
        format::FORMAT,
        printf::PRINTF,
        replace::REPLACE_ONE,
        fixed::CUT_ZEROS,
    ];
    all.extend(distance::all());
    all.extend(encode::all());
    all.extend(groups::all());
    all.extend(html::all());
    all.extend(marks::all());
    all.extend(normal::all());
    all.extend(search::all());
    all.extend(split::all());
    all.extend(written::all());
    all
}

/// Those whose type depends on constants.
pub(super) fn typed() -> Vec<Typed> {
    std::iter::once(fixed::TO_FIXED_STRING).chain(row::all()).collect()
}
