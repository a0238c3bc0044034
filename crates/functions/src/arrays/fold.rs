//! Sums over arrays, whole and running.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, ListArray, PrimitiveArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, Float64Type, Int64Type, UInt64Type,
};
use datafusion::common::{Result, plan_err};

use crate::rows::{item_type, lists};
use crate::scalar::{Arity, Scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        Scalar {
            name: "arraySum",
            arity: Arity::Exactly(1),
            returns: |types| sum_type(&types[0]),
            kernel: |arguments| fold(&arguments[0], Fold::Sum),
        },
        Scalar {
            name: "arrayProduct",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Float64),
            kernel: |arguments| fold(&arguments[0], Fold::Product),
        },
        Scalar {
            name: "arrayCumSum",
            arity: Arity::Exactly(1),
            returns: |types| list_of(sum_type(&types[0])?),
            kernel: |arguments| running(&arguments[0], Running::Sum),
        },
        Scalar {
            name: "arrayCumSumNonNegative",
            arity: Arity::Exactly(1),
            returns: |types| list_of(sum_type(&types[0])?),
            kernel: |arguments| running(&arguments[0], Running::NonNegativeSum),
        },
        Scalar {
            name: "arrayDifference",
            arity: Arity::Exactly(1),
            returns: |types| list_of(signed(sum_type(&types[0])?)),
            kernel: |arguments| running(&arguments[0], Running::Difference),
        },
    ]
}

#[derive(Clone, Copy)]
enum Fold {
    Sum,
    Product,
}

#[derive(Clone, Copy)]
enum Running {
    Sum,
    NonNegativeSum,
    Difference,
}

fn list_of(item: DataType) -> Result<DataType> {
    Ok(DataType::List(Arc::new(Field::new_list_field(item, true))))
}

/// The type of a sum of the elements.
fn sum_type(list: &DataType) -> Result<DataType> {
    Ok(match item_type(list)? {
        DataType::Boolean
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => DataType::UInt64,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Null => {
            DataType::Int64
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Decimal128(_, scale) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale),
        other => return plan_err!("elements of type {other} have no sum"),
    })
}

fn signed(data_type: DataType) -> DataType {
    match data_type {
        DataType::UInt64 => DataType::Int64,
        other => other,
    }
}

fn fold(values: &ArrayRef, fold: Fold) -> Result<ArrayRef> {
    let list = lists(values)?;
    let result = match fold {
        Fold::Sum => sum_type(values.data_type())?,
        Fold::Product => DataType::Float64,
    };
    let items = cast(list.values(), &result)?;
    Ok(match result {
        DataType::UInt64 => folded::<UInt64Type>(&list, &items, fold),
        DataType::Int64 => folded::<Int64Type>(&list, &items, fold),
        DataType::Float64 => folded::<Float64Type>(&list, &items, fold),
        DataType::Decimal128(precision, scale) => {
            let sums = folded::<Decimal128Type>(&list, &items, fold);
            let sums = sums.as_primitive::<Decimal128Type>().clone();
            Arc::new(sums.with_precision_and_scale(precision, scale)?)
        }
        other => return plan_err!("elements of type {other} have no sum"),
    })
}

fn folded<T: ArrowPrimitiveType>(list: &ListArray, items: &ArrayRef, fold: Fold) -> ArrayRef {
    let items = items.as_primitive::<T>();
    let row = |row: usize| {
        if list.is_null(row) {
            return None;
        }
        let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
        let present = range.filter(|at| items.is_valid(*at)).map(|at| items.value(at));
        Some(match fold {
            Fold::Sum => present.fold(T::Native::ZERO, |sum, value| sum.add_wrapping(value)),
            Fold::Product => present.fold(T::Native::ONE, |all, value| all.mul_wrapping(value)),
        })
    };
    let results: PrimitiveArray<T> = (0..list.len()).map(row).collect();
    Arc::new(results)
}

fn running(values: &ArrayRef, how: Running) -> Result<ArrayRef> {
    let list = lists(values)?;
    let mut result = sum_type(values.data_type())?;
    if matches!(how, Running::Difference) {
        result = signed(result);
    }
    let items = cast(list.values(), &result)?;
    let moved: ArrayRef = match result {
        DataType::UInt64 => moving::<UInt64Type>(&list, &items, how),
        DataType::Int64 => moving::<Int64Type>(&list, &items, how),
        DataType::Float64 => moving::<Float64Type>(&list, &items, how),
        DataType::Decimal128(precision, scale) => {
            let sums = moving::<Decimal128Type>(&list, &items, how);
            let sums = sums.as_primitive::<Decimal128Type>().clone();
            Arc::new(sums.with_precision_and_scale(precision, scale)?)
        }
        other => return plan_err!("elements of type {other} have no sum"),
    };
    let field = Arc::new(Field::new_list_field(moved.data_type().clone(), true));
    let offsets = list.offsets().clone();
    Ok(Arc::new(ListArray::try_new(field, offsets, moved, list.nulls().cloned())?))
}

/// The elements of all rows, each with regard to those before it in its row. NULLs count as 0.
fn moving<T: ArrowPrimitiveType>(list: &ListArray, items: &ArrayRef, how: Running) -> ArrayRef {
    let items = items.as_primitive::<T>();
    let mut moved = vec![T::Native::ZERO; items.len()];
    for row in 0..list.len() {
        let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
        let mut before = T::Native::ZERO;
        for at in range.clone() {
            let value = if items.is_valid(at) { items.value(at) } else { T::Native::ZERO };
            moved[at] = match how {
                Running::Difference if at == range.start => T::Native::ZERO,
                Running::Difference => value.sub_wrapping(before),
                Running::Sum | Running::NonNegativeSum => before.add_wrapping(value),
            };
            if matches!(how, Running::NonNegativeSum) && moved[at].is_lt(T::Native::ZERO) {
                moved[at] = T::Native::ZERO;
            }
            before = if matches!(how, Running::Difference) { value } else { moved[at] };
        }
    }
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(moved), None))
}
