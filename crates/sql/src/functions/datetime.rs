//! Dates and times. What is a plain cast or a `date_part` is a rewrite in `bind`.

mod age;
mod civil;
mod difference;
mod format;
mod interval;
mod truncate;

use super::scalar::Scalar;

pub(crate) use format::time_texts;

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let mut all = civil::all();
    all.push(age::AGE);
    all.push(difference::DATE_DIFF);
    all.push(format::FORMAT_DATE_TIME);
    all.push(interval::TO_INTERVAL);
    all.push(truncate::TO_START_OF_INTERVAL);
    all
}
