//! Arrays with elements moved, left out, filled in or cut into pieces.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Field};
use arrow::row::{Row, RowConverter, Rows, SortField};
use datafusion::common::{Result, exec_err};

use crate::gives;
use crate::rows::{integers, item_type, list_of, lists, range_of};
use crate::scalar::{Arity, ONE, Scalar, TWO, scalar};
use crate::zero::zero_value;

pub(super) fn all() -> Vec<Scalar> {
    moved().into_iter().chain(cut()).collect()
}

fn moved() -> Vec<Scalar> {
    let two_or_three = Arity::Between(2, 3);
    vec![
        scalar("arrayCompact", ONE, gives::same, |arguments| {
            let list = lists(&arguments[0])?;
            let rows = rows_of(list.values())?;
            picked(&list, |range| {
                let first = range.start;
                range.filter(|at| *at == first || rows.row(*at) != rows.row(*at - 1)).collect()
            })
        }),
        scalar("arrayRotateLeft", TWO, gives::same, |arguments| rotated(arguments, 1)),
        scalar("arrayRotateRight", TWO, gives::same, |arguments| rotated(arguments, -1)),
        scalar("arrayShiftLeft", two_or_three, gives::same, |arguments| shifted(arguments, 1)),
        scalar("arrayShiftRight", two_or_three, gives::same, |arguments| shifted(arguments, -1)),
        scalar(
            "arrayEnumerateDense",
            ONE,
            |_| Ok(gives::list(DataType::UInt32)),
            |arguments| dense(&lists(&arguments[0])?),
        ),
        scalar("__granaryFillForward", TWO, gives::same, |arguments| {
            filled(arguments, |keeps, range| {
                let mut last = range.start;
                let mut places = Vec::with_capacity(range.len());
                for at in range.clone() {
                    last = if at == range.start || keeps[at] { at } else { last };
                    places.push(last);
                }
                places
            })
        }),
        scalar("__granaryFillBackward", TWO, gives::same, |arguments| {
            filled(arguments, |keeps, range| {
                let mut next = range.end.saturating_sub(1);
                let mut places = Vec::with_capacity(range.len());
                for at in range.clone().rev() {
                    next = if at + 1 == range.end || keeps[at] { at } else { next };
                    places.push(next);
                }
                places.reverse();
                places
            })
        }),
        scalar("arraySymmetricDifference", TWO, gives::same, symmetric_difference),
        scalar("arrayJaccardIndex", TWO, gives::float, jaccard),
        scalar("hasSubstr", TWO, gives::flag, has_run),
    ]
}

fn cut() -> Vec<Scalar> {
    let pieces = |types: &[DataType]| Ok(gives::list(gives::same(types)?));
    vec![
        // The condition begins a piece.
        scalar("__granarySplitBefore", TWO, pieces, |arguments| split(arguments, 0)),
        // The condition ends a piece.
        scalar("__granarySplitBehind", TWO, pieces, |arguments| split(arguments, 1)),
    ]
}

pub(super) fn rows_of(values: &ArrayRef) -> Result<Rows> {
    let converter = RowConverter::new(vec![SortField::new(values.data_type().clone())])?;
    Ok(converter.convert_columns(&[Arc::clone(values)])?)
}

/// The list with the elements at the places that `pick` gives for the range of each row.
fn picked(
    list: &ListArray,
    pick: impl Fn(std::ops::Range<usize>) -> Vec<usize>,
) -> Result<ArrayRef> {
    let mut places: Vec<u32> = Vec::with_capacity(list.values().len());
    let mut lengths = Vec::with_capacity(list.len());
    for row in 0..list.len() {
        let of_row = pick(range_of(list, row));
        lengths.push(of_row.len());
        places.extend(of_row.into_iter().map(|place| place as u32));
    }
    let items = take(list.values(), &UInt32Array::from(places), None)?;
    let DataType::List(field) = list.data_type() else { return exec_err!("an array is expected") };
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, items, list.nulls().cloned())?))
}

fn rotated(arguments: &[ArrayRef], direction: i64) -> Result<ArrayRef> {
    let (list, turns) = (lists(&arguments[0])?, integers(&arguments[1])?);
    let row = std::cell::Cell::new(0);
    picked(&list, |range| {
        let turn = turns.value(row.replace(row.get() + 1)) * direction;
        match range.len() {
            0 => Vec::new(),
            length => {
                let first = turn.rem_euclid(length as i64) as usize;
                (0..length).map(|at| range.start + (at + first) % length).collect()
            }
        }
    })
}

/// Elements that are moved out are lost; the default, else the zero value, comes in.
fn shifted(arguments: &[ArrayRef], direction: i64) -> Result<ArrayRef> {
    let (list, turns) = (lists(&arguments[0])?, integers(&arguments[1])?);
    let item = list.values().data_type().clone();
    let fill: ArrayRef = match arguments.get(2) {
        Some(defaults) => cast(defaults, &item)?,
        None => match zero_value(&item) {
            Some(zero) => cast(&zero.to_array_of_size(list.len())?, &item)?,
            None => arrow::array::new_null_array(&item, list.len()),
        },
    };
    let existing = list.values().len();
    let with_fill = concat(&[list.values().as_ref(), fill.as_ref()])?;
    let mut places: Vec<u32> = Vec::with_capacity(existing);
    let mut lengths = Vec::with_capacity(list.len());
    for row in 0..list.len() {
        let range = range_of(&list, row);
        let turn = turns.value(row) * direction;
        for at in 0..range.len() as i64 {
            let from = at + turn;
            places.push(match (0..range.len() as i64).contains(&from) {
                true => (range.start as i64 + from) as u32,
                false => (existing + row) as u32,
            });
        }
        lengths.push(list.is_valid(row).then_some(range.len()));
    }
    list_of(take(&with_fill, &UInt32Array::from(places), None)?, &lengths)
}

/// Equal elements have equal numbers, counted by first occurrence.
fn dense(list: &ListArray) -> Result<ArrayRef> {
    let rows = rows_of(list.values())?;
    let mut numbers: Vec<u32> = Vec::with_capacity(list.values().len());
    let mut lengths = Vec::with_capacity(list.len());
    for row in 0..list.len() {
        let range = range_of(list, row);
        lengths.push(list.is_valid(row).then_some(range.len()));
        let mut known: HashMap<Row<'_>, u32> = HashMap::new();
        for at in range {
            let next = known.len() as u32 + 1;
            numbers.push(*known.entry(rows.row(at)).or_insert(next));
        }
    }
    list_of(Arc::new(UInt32Array::from(numbers)), &lengths)
}

/// The conditions of all elements, one list beside the other.
fn conditions(list: &ListArray, conditions: &ArrayRef) -> Result<Vec<bool>> {
    let flags = lists(conditions)?;
    let values = cast(flags.values(), &DataType::Boolean)?;
    let values = values.as_boolean();
    let mut all = vec![false; list.values().len()];
    for row in 0..list.len() {
        let (items, of_items) = (range_of(list, row), range_of(&flags, row));
        if items.len() != of_items.len() {
            return exec_err!("the arrays of a row differ in length");
        }
        for (at, flag) in items.zip(of_items) {
            all[at] = values.is_valid(flag) && values.value(flag);
        }
    }
    Ok(all)
}

fn filled(
    arguments: &[ArrayRef],
    places: fn(&[bool], std::ops::Range<usize>) -> Vec<usize>,
) -> Result<ArrayRef> {
    let list = lists(&arguments[0])?;
    let keeps = conditions(&list, &arguments[1])?;
    picked(&list, |range| places(&keeps, range))
}

/// Cuts before an element whose condition holds, or `behind` it. The first element begins a piece.
fn split(arguments: &[ArrayRef], behind: usize) -> Result<ArrayRef> {
    let list = lists(&arguments[0])?;
    let cuts = conditions(&list, &arguments[1])?;
    let mut lengths: Vec<usize> = Vec::new();
    let mut pieces = Vec::with_capacity(list.len());
    let mut places: Vec<u32> = Vec::with_capacity(list.values().len());
    for row in 0..list.len() {
        let before = lengths.len();
        let range = range_of(&list, row);
        for at in range.clone() {
            let begins = at == range.start || cuts[at - behind.min(at - range.start)];
            match lengths.last_mut() {
                Some(length) if !begins => *length += 1,
                _ => lengths.push(1),
            }
            places.push(at as u32);
        }
        pieces.push(list.is_valid(row).then_some(lengths.len() - before));
    }
    let items = take(list.values(), &UInt32Array::from(places), None)?;
    let field = Arc::new(Field::new_list_field(item_type(list.data_type())?, true));
    let inner = ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), items, None)?;
    list_of(Arc::new(inner), &pieces)
}

/// Both lists with elements of one type, and their elements as comparable rows.
fn pair(arguments: &[ArrayRef]) -> Result<(ListArray, ListArray, Rows, Rows)> {
    let (left, right) = (lists(&arguments[0])?, lists(&arguments[1])?);
    let items = cast(right.values(), left.values().data_type())?;
    let rows = (rows_of(left.values())?, rows_of(&items)?);
    Ok((left, right, rows.0, rows.1))
}

/// The elements that one of both has and the other has not, each once.
fn symmetric_difference(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right, left_rows, right_rows) = pair(arguments)?;
    let all = concat(&[
        left.values().as_ref(),
        cast(right.values(), left.values().data_type())?.as_ref(),
    ])?;
    let mut places: Vec<u32> = Vec::new();
    let mut lengths = Vec::with_capacity(left.len());
    for row in 0..left.len() {
        let of_left: HashSet<Row<'_>> = range_of(&left, row).map(|at| left_rows.row(at)).collect();
        let of_right: HashSet<Row<'_>> =
            range_of(&right, row).map(|at| right_rows.row(at)).collect();
        let mut seen: HashSet<Row<'_>> = HashSet::new();
        let before = places.len();
        for at in range_of(&left, row) {
            let item = left_rows.row(at);
            if !of_right.contains(&item) && seen.insert(item) {
                places.push(at as u32);
            }
        }
        for at in range_of(&right, row) {
            let item = right_rows.row(at);
            if !of_left.contains(&item) && seen.insert(item) {
                places.push((left.values().len() + at) as u32);
            }
        }
        let is_there = left.is_valid(row) && right.is_valid(row);
        lengths.push(is_there.then_some(places.len() - before));
        if !is_there {
            places.truncate(before);
        }
    }
    list_of(take(&all, &UInt32Array::from(places), None)?, &lengths)
}

fn jaccard(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right, left_rows, right_rows) = pair(arguments)?;
    let index = |row: usize| {
        let of_left: HashSet<Row<'_>> = range_of(&left, row).map(|at| left_rows.row(at)).collect();
        let of_right: HashSet<Row<'_>> =
            range_of(&right, row).map(|at| right_rows.row(at)).collect();
        let common = of_left.intersection(&of_right).count();
        let all = of_left.len() + of_right.len() - common;
        let is_there = left.is_valid(row) && right.is_valid(row);
        is_there.then(|| if all == 0 { f64::NAN } else { common as f64 / all as f64 })
    };
    Ok(Arc::new((0..left.len()).map(index).collect::<arrow::array::Float64Array>()))
}

/// Whether the second array's elements stand in the first one behind each other.
fn has_run(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right, left_rows, right_rows) = pair(arguments)?;
    let found = |row: usize| {
        let text: Vec<Row<'_>> = range_of(&left, row).map(|at| left_rows.row(at)).collect();
        let run: Vec<Row<'_>> = range_of(&right, row).map(|at| right_rows.row(at)).collect();
        let is_there = left.is_valid(row) && right.is_valid(row);
        is_there.then(|| run.is_empty() || text.windows(run.len()).any(|part| part == run))
    };
    Ok(Arc::new((0..left.len()).map(found).collect::<arrow::array::BooleanArray>()))
}
