//! Sets of whole numbers: `groupBitmapState(x)` and `bitmapBuild([...])` make them, which are states of
//! `uniq`. Their numbers are in order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, ListArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::ScalarUDF;
use granary_catalog::{AggregateType, ColumnType};

use super::call::Call;
use super::known;
use crate::gives;
use crate::rows::{integers, item_type, list_of, lists, range_of};
use crate::scalar::{ONE, Scalar, THREE, TWO, scalar};

/// The functions of this family.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let all: Vec<Scalar> = vec![
        scalar("bitmapBuild", ONE, |types| bitmap_type(&item_type(&types[0])?), build),
        scalar("bitmapToArray", ONE, |types| Ok(gives::list(number_type(&types[0])?)), to_array),
        scalar("bitmapCardinality", ONE, gives::number, |maps| counts(maps, |set, _| set.to_vec())),
        scalar("bitmapAnd", TWO, first_type, |maps| combined(maps, and)),
        scalar("bitmapOr", TWO, first_type, |maps| combined(maps, or)),
        scalar("bitmapXor", TWO, first_type, |maps| combined(maps, xor)),
        scalar("bitmapAndnot", TWO, first_type, |maps| combined(maps, and_not)),
        scalar("bitmapAndCardinality", TWO, gives::number, |maps| counts(maps, and)),
        scalar("bitmapOrCardinality", TWO, gives::number, |maps| counts(maps, or)),
        scalar("bitmapXorCardinality", TWO, gives::number, |maps| counts(maps, xor)),
        scalar("bitmapAndnotCardinality", TWO, gives::number, |maps| counts(maps, and_not)),
        scalar("bitmapHasAny", TWO, gives::flag, |maps| test(maps, |a, b| !and(a, b).is_empty())),
        scalar("bitmapHasAll", TWO, gives::flag, |maps| {
            test(maps, |a, b| and(a, b).len() == b.len())
        }),
        scalar("bitmapContains", TWO, gives::flag, contains),
        scalar("bitmapMin", ONE, gives::number, |maps| extreme(maps, |set| set.first().copied())),
        scalar("bitmapMax", ONE, gives::number, |maps| extreme(maps, |set| set.last().copied())),
        scalar("bitmapSubsetInRange", THREE, first_type, |maps| {
            cut(maps, |set, from, to| {
                set.iter().copied().filter(|n| (from..to).contains(n)).collect()
            })
        }),
        scalar("bitmapSubsetLimit", THREE, first_type, |maps| {
            cut(maps, |set, from, most| {
                set.iter().copied().filter(|n| *n >= from).take(most as usize).collect()
            })
        }),
        scalar("subBitmap", THREE, first_type, |maps| {
            cut(maps, |set, skip, most| {
                set.iter().copied().skip(skip as usize).take(most as usize).collect()
            })
        }),
    ];
    all.into_iter().map(Scalar::udf).collect()
}

fn call(number: &DataType) -> Result<Call> {
    match known::of("uniq") {
        Some(known) if number.is_integer() => {
            Call::new(known, std::slice::from_ref(number), Vec::new())
        }
        _ => plan_err!("a bitmap is made of whole numbers, not of {number}"),
    }
}

fn bitmap_type(number: &DataType) -> Result<DataType> {
    Ok(call(number)?.codec()?.data_type())
}

/// The type of the numbers in a bitmap.
fn number_type(bitmap: &DataType) -> Result<DataType> {
    let state: Option<AggregateType> = ColumnType::state_from_arrow(bitmap);
    match state.as_ref().map(|state| (state.function.as_str(), state.arguments.as_slice())) {
        Some(("uniq", [number])) => Ok(number.arrow()),
        _ => plan_err!("a bitmap is expected: bitmapBuild(array) or groupBitmapState(number)"),
    }
}

fn first_type(types: &[DataType]) -> Result<DataType> {
    bitmap_type(&number_type(&types[0])?)
}

fn build(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let list = lists(&arguments[0])?;
    let number = list.values().data_type().clone();
    let all = integers(list.values())?;
    let set = |row: usize| {
        let range = range_of(&list, row);
        let mut set: Vec<i64> = all.slice(range.start, range.len()).iter().flatten().collect();
        set.sort_unstable();
        set.dedup();
        set
    };
    encoded((0..list.len()).map(set), &number)
}

/// The numbers of each row; none of NULL and of the empty state.
fn sets(bitmaps: &ArrayRef) -> Result<Vec<Vec<i64>>> {
    let decoded = call(&number_type(bitmaps.data_type())?)?.codec()?.decode(bitmaps)?;
    let mut sets = vec![Vec::new(); bitmaps.len()];
    let Some(values) = decoded.values.first() else { return Ok(sets) };
    let list = lists(values)?;
    let all = integers(list.values())?;
    for (at, row) in decoded.rows.into_iter().enumerate() {
        let range = range_of(&list, at);
        let mut set: Vec<i64> = all.slice(range.start, range.len()).iter().flatten().collect();
        set.sort_unstable();
        sets[row] = set;
    }
    Ok(sets)
}

fn encoded(sets: impl Iterator<Item = Vec<i64>>, number: &DataType) -> Result<ArrayRef> {
    let call = call(number)?;
    let sets: Vec<Vec<i64>> = sets.collect();
    let offsets = OffsetBuffer::from_lengths(sets.iter().map(Vec::len));
    let items: arrow::array::Int64Array = sets.into_iter().flatten().map(Some).collect();
    let items = cast(&items, number)?;
    let field = match call.state_fields()?.first().map(|field| field.data_type().clone()) {
        Some(DataType::List(field)) => field,
        _ => Arc::new(Field::new_list_field(number.clone(), true)),
    };
    let list: ArrayRef = Arc::new(ListArray::try_new(field, offsets, items, None)?);
    call.codec()?.encode(&[list])
}

fn to_array(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let sets = sets(&arguments[0])?;
    let lengths: Vec<Option<usize>> = sets.iter().map(|set| Some(set.len())).collect();
    let items: arrow::array::Int64Array = sets.into_iter().flatten().map(Some).collect();
    list_of(cast(&items, &number_type(arguments[0].data_type())?)?, &lengths)
}

type Combine = fn(&[i64], &[i64]) -> Vec<i64>;

fn and(a: &[i64], b: &[i64]) -> Vec<i64> {
    a.iter().copied().filter(|number| b.binary_search(number).is_ok()).collect()
}

fn and_not(a: &[i64], b: &[i64]) -> Vec<i64> {
    a.iter().copied().filter(|number| b.binary_search(number).is_err()).collect()
}

fn or(a: &[i64], b: &[i64]) -> Vec<i64> {
    let mut all = [a, b].concat();
    all.sort_unstable();
    all.dedup();
    all
}

fn xor(a: &[i64], b: &[i64]) -> Vec<i64> {
    or(&and_not(a, b), &and_not(b, a))
}

/// What becomes of both sets of each row; of one alone it is the set.
fn pairs(arguments: &[ArrayRef], of: Combine) -> Result<Vec<Vec<i64>>> {
    let left = sets(&arguments[0])?;
    match arguments.get(1) {
        None => Ok(left.iter().map(|set| of(set, &[])).collect()),
        Some(right) => {
            let right = sets(right)?;
            Ok(left.iter().zip(&right).map(|(left, right)| of(left, right)).collect())
        }
    }
}

fn combined(arguments: &[ArrayRef], of: Combine) -> Result<ArrayRef> {
    let number = number_type(arguments[0].data_type())?;
    encoded(pairs(arguments, of)?.into_iter(), &number)
}

fn counts(arguments: &[ArrayRef], of: Combine) -> Result<ArrayRef> {
    let counts = pairs(arguments, of)?.into_iter().map(|set| set.len() as u64);
    Ok(Arc::new(UInt64Array::from_iter_values(counts)))
}

fn test(arguments: &[ArrayRef], of: fn(&[i64], &[i64]) -> bool) -> Result<ArrayRef> {
    let (left, right) = (sets(&arguments[0])?, sets(&arguments[1])?);
    let tested = left.iter().zip(&right).map(|(left, right)| Some(of(left, right)));
    Ok(Arc::new(tested.collect::<BooleanArray>()))
}

fn contains(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (sets, numbers) = (sets(&arguments[0])?, integers(&arguments[1])?);
    let found = sets.iter().zip(numbers.iter());
    let found = found.map(|(set, number)| Some(set.binary_search(&number?).is_ok()));
    Ok(Arc::new(found.collect::<BooleanArray>()))
}

/// Of an empty bitmap it is 0.
fn extreme(arguments: &[ArrayRef], of: fn(&[i64]) -> Option<i64>) -> Result<ArrayRef> {
    let found = sets(&arguments[0])?.into_iter().map(|set| of(&set).unwrap_or(0) as u64);
    Ok(Arc::new(UInt64Array::from_iter_values(found)))
}

fn cut(arguments: &[ArrayRef], of: fn(&[i64], i64, i64) -> Vec<i64>) -> Result<ArrayRef> {
    let number = number_type(arguments[0].data_type())?;
    let (first, second) = (integers(&arguments[1])?, integers(&arguments[2])?);
    let sets = sets(&arguments[0])?;
    let rows = sets.iter().enumerate();
    encoded(rows.map(|(row, set)| of(set, first.value(row), second.value(row))), &number)
}
