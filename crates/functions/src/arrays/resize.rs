//! Arrays of another length.

use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};

use crate::rows::{integers, list_of, lists, range_of};
use crate::scalar::{Arity, Scalar, scalar};
use crate::zero::zero_value;

/// Most elements of one array.
const LENGTH_MAX: i64 = 1 << 30;

pub(super) fn all() -> Vec<Scalar> {
    vec![scalar("arrayResize", Arity::Between(2, 3), result_type, resized)]
}

fn result_type(types: &[DataType]) -> Result<DataType> {
    match (&types[0], types.get(2)) {
        (DataType::List(item), Some(fill)) if item.data_type().is_null() => {
            Ok(crate::gives::list(fill.clone()))
        }
        (DataType::List(item), _) => Ok(crate::gives::list(item.data_type().clone())),
        (other, _) => plan_err!("arrayResize takes an array, not {other}"),
    }
}

/// The first elements, and the third argument or the type's zero value behind them; with a negative
/// length the last elements, and those before them.
fn resized(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let types: Vec<DataType> = arguments.iter().map(|of| of.data_type().clone()).collect();
    let DataType::List(item) = result_type(&types)? else {
        return exec_err!("an array is expected");
    };
    let list = lists(&arguments[0])?;
    let lengths = integers(&arguments[1])?;
    let items = cast(list.values(), item.data_type())?;
    let fill = match arguments.get(2) {
        Some(fill) => cast(fill, item.data_type())?,
        None => match zero_value(item.data_type()) {
            Some(zero) => zero.to_array()?,
            None => new_null_array(item.data_type(), 1),
        },
    };
    let fill_of = |row: usize| (items.len() + if arguments.len() > 2 { row } else { 0 }) as u32;
    let (mut places, mut sizes) = (Vec::new(), Vec::with_capacity(list.len()));
    for row in 0..list.len() {
        if list.is_null(row) || lengths.is_null(row) {
            sizes.push(None);
            continue;
        }
        let (wanted, range) = (lengths.value(row), range_of(&list, row));
        if wanted.unsigned_abs() > LENGTH_MAX as u64 {
            return exec_err!("arrayResize: {wanted} elements are more than {LENGTH_MAX}");
        }
        let size = wanted.unsigned_abs() as usize;
        let kept = size.min(range.len());
        let fills = std::iter::repeat_n(fill_of(row), size - kept);
        match wanted < 0 {
            true => {
                places.extend(fills);
                places.extend((range.end - kept..range.end).map(|at| at as u32));
            }
            false => {
                places.extend((range.start..range.start + kept).map(|at| at as u32));
                places.extend(fills);
            }
        }
        sizes.push(Some(size));
    }
    let all = concat(&[items.as_ref(), fill.as_ref()])?;
    list_of(take(&all, &UInt32Array::from(places), None)?, &sizes)
}
