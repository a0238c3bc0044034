//! Dates and times. What is a plain cast or a `date_part` is a rewrite in `bind`.

mod age;
mod best_effort;
mod civil;
mod difference;
mod format;
mod interval;
mod parse;
mod parts;
mod patterns;
mod truncate;
mod weeks;
mod zones;

use super::scalar::{Scalar, Typed};

pub(crate) use format::time_texts;
pub use interval::INTERVAL_LENGTH;
pub use patterns::mysql_pattern;
pub use zones::{AS_IS, ON_CLOCKS, zoned_texts};

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let mut all = civil::all();
    all.push(age::AGE);
    all.push(difference::DATE_DIFF);
    all.extend(format::all());
    all.push(interval::TO_INTERVAL);
    all.push(interval::LENGTH);
    all.extend(parts::all());
    all.push(patterns::TO_CHAR);
    all.extend(weeks::all());
    all.extend(zones::all());
    all
}

/// Those whose type depends on the zone.
pub(super) fn typed() -> Vec<Typed> {
    let mut all = zones::typed();
    all.extend(parse::typed());
    all.push(truncate::TO_START_OF_INTERVAL);
    all
}
