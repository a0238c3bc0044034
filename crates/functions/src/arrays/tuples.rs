//! Tuples put together, and reckoned with part by part.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StructArray, UInt64Array};
use arrow::compute::kernels::numeric::{
    add_wrapping, div, mul_wrapping, neg_wrapping, rem, sub_wrapping,
};
use arrow::compute::{cast, concat, interleave};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, exec_err, plan_err};

use crate::gives;
use crate::rows::{list_of, text_lists};
use crate::scalar::{Arity, ONE, Scalar, TWO, scalar};

pub(super) fn all() -> Vec<Scalar> {
    reckoned().into_iter().chain(whole_parts()).chain(named()).collect()
}

/// Divisions that give whole numbers.
fn whole_parts() -> Vec<Scalar> {
    let quotients: fn(&[ArrayRef]) -> Result<ArrayRef> = |tuples| {
        let quotient: Operation = |a, b| Ok(div(a, b)?);
        part_by_part(tuples, &DataType::Int64, quotient)
    };
    let rests: fn(&[ArrayRef]) -> Result<ArrayRef> = |tuples| both(tuples, |a, b| Ok(rem(a, b)?));
    vec![
        scalar("tupleIntDiv", TWO, whole_type, quotients),
        scalar("tupleIntDivByNumber", TWO, whole_type, quotients),
        scalar("tupleModulo", TWO, number_parts, rests),
        scalar("tupleModuloByNumber", TWO, number_parts, rests),
    ]
}

fn whole_type(types: &[DataType]) -> Result<DataType> {
    Ok(DataType::Struct(numbered(parts_of(&types[0])?.iter().map(|_| DataType::Int64))))
}

/// The names of the parts.
fn named() -> Vec<Scalar> {
    vec![
        scalar("tupleNames", ONE, gives::texts, |tuples| {
            let fields = parts_of(tuples[0].data_type())?;
            let names: Vec<String> = (0..fields.len()).map(|at| name_of(fields, at)).collect();
            Ok(text_lists(std::iter::repeat_n(Some(names), tuples[0].len())))
        }),
        scalar("tupleToNameValuePairs", ONE, pairs_type, pairs),
    ]
}

/// The name of a part, or its place from 1 where it has none.
fn name_of(fields: &Fields, at: usize) -> String {
    match fields[at].name() {
        name if *name == format!("c{at}") => (at + 1).to_string(),
        name => name.clone(),
    }
}

fn pairs_type(types: &[DataType]) -> Result<DataType> {
    let first = parts_of(&types[0])?.first().map(|field| field.data_type().clone());
    let value = first.unwrap_or(DataType::Null);
    Ok(gives::list(DataType::Struct(numbered([DataType::Utf8, value].into_iter()))))
}

/// For each row the names of the parts with their values, which are as those of the first part.
fn pairs(tuples: &[ArrayRef]) -> Result<ArrayRef> {
    let (tuple, fields) = (tuples[0].as_struct(), parts_of(tuples[0].data_type())?);
    let Some(first) = fields.first() else { return exec_err!("the tuple has no parts") };
    let columns = tuple.columns().iter().map(|part| cast(part, first.data_type()));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    let parts: Vec<&dyn Array> = columns.iter().map(|part| part.as_ref()).collect();
    let places: Vec<(usize, usize)> =
        (0..tuple.len()).flat_map(|row| (0..parts.len()).map(move |part| (part, row))).collect();
    let values = interleave(&parts, &places)?;
    let names: StringArray = places.iter().map(|(part, _)| Some(name_of(fields, *part))).collect();
    let types = [DataType::Utf8, first.data_type().clone()];
    let pairs = StructArray::try_new(
        numbered(types.into_iter()),
        vec![Arc::new(names) as ArrayRef, values],
        None,
    )?;
    list_of(Arc::new(pairs), &vec![Some(parts.len()); tuple.len()])
}

/// Reckoned with part by part.
fn reckoned() -> Vec<Scalar> {
    vec![
        scalar("tupleConcat", Arity::AtLeastOne, concat_type, concat_tuples),
        scalar("tuplePlus", TWO, number_parts, |tuples| {
            both(tuples, |a, b| Ok(add_wrapping(a, b)?))
        }),
        scalar("tupleMinus", TWO, number_parts, |tuples| {
            both(tuples, |a, b| Ok(sub_wrapping(a, b)?))
        }),
        scalar("tupleMultiply", TWO, number_parts, |tuples| {
            both(tuples, |a, b| Ok(mul_wrapping(a, b)?))
        }),
        scalar("tupleDivide", TWO, float_parts, quotients),
        scalar("tupleMultiplyByNumber", TWO, number_parts, |tuples| {
            both(tuples, |a, b| Ok(mul_wrapping(a, b)?))
        }),
        scalar("tupleDivideByNumber", TWO, float_parts, quotients),
        scalar("tupleNegate", ONE, number_parts, |tuples| {
            let fields = parts_of(tuples[0].data_type())?;
            let wanted = wanted_type(&[tuples[0].data_type().clone()])?;
            let part = |part: &ArrayRef| Ok(neg_wrapping(&cast(part, &wanted)?)?);
            let parts = tuples[0].as_struct().columns().iter().map(part).collect::<Result<_>>()?;
            tuple_of(parts, fields.len(), &wanted, &tuples[0])
        }),
        scalar("tupleHammingDistance", TWO, gives::number, distance),
    ]
}

fn parts_of(data_type: &DataType) -> Result<&Fields> {
    match data_type {
        DataType::Struct(fields) => Ok(fields),
        other => plan_err!("a tuple is expected, not {other}"),
    }
}

/// The fields that a tuple of these types has.
fn numbered(types: impl Iterator<Item = DataType>) -> Fields {
    types.enumerate().map(|(at, part)| Field::new(format!("c{at}"), part, true)).collect()
}

fn concat_type(types: &[DataType]) -> Result<DataType> {
    let mut parts = Vec::new();
    for tuple in types {
        parts.extend(parts_of(tuple)?.iter().map(|field| field.data_type().clone()));
    }
    Ok(DataType::Struct(numbered(parts.into_iter())))
}

fn concat_tuples(tuples: &[ArrayRef]) -> Result<ArrayRef> {
    let types: Vec<DataType> = tuples.iter().map(|tuple| tuple.data_type().clone()).collect();
    let DataType::Struct(fields) = concat_type(&types)? else {
        return exec_err!("tupleConcat takes tuples");
    };
    let parts = tuples.iter().flat_map(|tuple| tuple.as_struct().columns().to_vec()).collect();
    Ok(Arc::new(StructArray::try_new(fields, parts, None)?))
}

/// Whole numbers stay such.
fn wanted_type(types: &[DataType]) -> Result<DataType> {
    let mut is_whole = true;
    for data_type in types {
        is_whole &= match data_type {
            DataType::Struct(fields) => fields.iter().all(|field| field.data_type().is_integer()),
            number => number.is_integer(),
        };
    }
    Ok(if is_whole { DataType::Int64 } else { DataType::Float64 })
}

fn number_parts(types: &[DataType]) -> Result<DataType> {
    let wanted = wanted_type(types)?;
    Ok(DataType::Struct(numbered(parts_of(&types[0])?.iter().map(|_| wanted.clone()))))
}

fn float_parts(types: &[DataType]) -> Result<DataType> {
    Ok(DataType::Struct(numbered(parts_of(&types[0])?.iter().map(|_| DataType::Float64))))
}

fn tuple_of(
    parts: Vec<ArrayRef>,
    count: usize,
    data_type: &DataType,
    like: &ArrayRef,
) -> Result<ArrayRef> {
    let fields = numbered((0..count).map(|_| data_type.clone()));
    Ok(Arc::new(StructArray::try_new(fields, parts, like.nulls().cloned())?))
}

type Operation = fn(&ArrayRef, &ArrayRef) -> Result<ArrayRef>;

/// Part by part with a tuple, or each part with a number.
fn both(arguments: &[ArrayRef], of: Operation) -> Result<ArrayRef> {
    let types: Vec<DataType> = arguments.iter().map(|tuple| tuple.data_type().clone()).collect();
    part_by_part(arguments, &wanted_type(&types)?, of)
}

fn quotients(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    part_by_part(arguments, &DataType::Float64, |a, b| Ok(div(a, b)?))
}

fn part_by_part(arguments: &[ArrayRef], wanted: &DataType, of: Operation) -> Result<ArrayRef> {
    let count = parts_of(arguments[0].data_type())?.len();
    let left = arguments[0].as_struct();
    let right: Vec<ArrayRef> = match arguments[1].as_struct_opt() {
        Some(tuple) => tuple.columns().to_vec(),
        None => vec![Arc::clone(&arguments[1]); count],
    };
    if right.len() != count {
        return exec_err!("the tuples have {count} and {} parts", right.len());
    }
    let part = |(a, b): (&ArrayRef, &ArrayRef)| of(&cast(a, wanted)?, &cast(b, wanted)?);
    let parts = left.columns().iter().zip(&right).map(part).collect::<Result<Vec<ArrayRef>>>()?;
    tuple_of(parts, count, wanted, &arguments[0])
}

/// How many parts differ.
fn distance(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right) = (arguments[0].as_struct(), arguments[1].as_struct());
    if left.num_columns() != right.num_columns() {
        return exec_err!(
            "the tuples have {} and {} parts",
            left.num_columns(),
            right.num_columns()
        );
    }
    let rows = left.len();
    let mut distances = vec![0_u64; rows];
    for (a, b) in left.columns().iter().zip(right.columns()) {
        let b = cast(b, a.data_type())?;
        let converter = RowConverter::new(vec![SortField::new(a.data_type().clone())])?;
        let keys = converter.convert_columns(&[concat(&[a.as_ref(), b.as_ref()])?])?;
        for (row, distance) in distances.iter_mut().enumerate() {
            *distance += u64::from(keys.row(row) != keys.row(rows + row));
        }
    }
    Ok(Arc::new(UInt64Array::from(distances)))
}
