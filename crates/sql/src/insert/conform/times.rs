//! Times of day: their digits and their bounds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
};

use super::row_of_offset;

const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

/// Times of day without the digits beyond the column's precision.
pub(super) fn in_precision(times: &ArrayRef, precision: u8) -> ArrayRef {
    let cut = |digits: u8| 10_i64.pow(u32::from(digits.saturating_sub(precision)));
    match times.data_type() {
        DataType::Time64(TimeUnit::Microsecond) if precision < 6 => {
            let ticks = cut(6);
            let times = times.as_primitive::<Time64MicrosecondType>();
            Arc::new(times.unary::<_, Time64MicrosecondType>(|time| time - time % ticks))
        }
        DataType::Time64(TimeUnit::Nanosecond) if precision < 9 => {
            let ticks = cut(9);
            let times = times.as_primitive::<Time64NanosecondType>();
            Arc::new(times.unary::<_, Time64NanosecondType>(|time| time - time % ticks))
        }
        _ => Arc::clone(times),
    }
}

/// The first row with a time that is none of a day, also inside of its value. Arrow's type has room for
/// them, and files do not.
pub(super) fn first_beyond_a_day(values: &ArrayRef) -> Option<usize> {
    match values.data_type() {
        DataType::Time64(TimeUnit::Microsecond) => {
            beyond(values.as_primitive::<Time64MicrosecondType>(), MICROSECONDS_A_DAY)
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            beyond(values.as_primitive::<Time64NanosecondType>(), MICROSECONDS_A_DAY * 1_000)
        }
        DataType::List(_) => {
            let list = values.as_list::<i32>();
            row_of_offset(list.offsets(), first_beyond_a_day(list.values())?)
        }
        DataType::Map(..) => {
            let map = values.as_map();
            map.entries()
                .columns()
                .iter()
                .find_map(|column| row_of_offset(map.offsets(), first_beyond_a_day(column)?))
        }
        DataType::Struct(_) => values.as_struct().columns().iter().find_map(first_beyond_a_day),
        _ => None,
    }
}

fn beyond<T: ArrowPrimitiveType<Native = i64>>(
    times: &PrimitiveArray<T>,
    day: i64,
) -> Option<usize> {
    times.iter().position(|time| time.is_some_and(|time| !(0..day).contains(&time)))
}
