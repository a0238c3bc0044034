//! What is drawn for each row: texts, bytes, orders of arrays. The engine's `random()`, which a
//! statement gives as the last argument, is the only source of chance here; all else follows from it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryViewArray, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};

use crate::gives;
use crate::mixed;
use crate::rows::{floats, integers, list_of, lists, range_of, texts};
use crate::scalar::{Arity, Scalar, THREE, scalar};

/// Most characters or bytes of one value.
const LENGTH_MAX: i64 = 16 << 20;

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar("__granary_random_text", THREE, gives::text, text),
        scalar("__granary_random_bytes", Arity::Exactly(2), |_| Ok(DataType::BinaryView), bytes),
        scalar("__granary_shuffled", Arity::Exactly(4), shuffled_type, shuffled),
    ]
}

/// Numbers that follow from one.
struct Draws(u64);

impl Draws {
    fn of(seed: f64) -> Draws {
        Draws(mixed(seed.to_bits()))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

fn length(asked: i64) -> Result<usize> {
    match asked {
        0..=LENGTH_MAX => Ok(asked as usize),
        _ => exec_err!("a random value has 0 to {LENGTH_MAX} characters, not {asked}"),
    }
}

/// `(length, kind, random())`.
fn text(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (lengths, kinds, seeds) =
        (integers(&arguments[0])?, texts(&arguments[1])?, floats(&arguments[2])?);
    let row = |row: usize| {
        if lengths.is_null(row) {
            return Ok(None);
        }
        let mut draws = Draws::of(seeds.value(row));
        let mut one = || match kinds.value(row) {
            "printable" => char::from(b' ' + draws.below(95) as u8),
            "any" => loop {
                // Without those that stand for halves of others.
                if let Some(c) = char::from_u32(draws.below(0x11_0000) as u32) {
                    break c;
                }
            },
            _ => char::from(draws.below(128) as u8),
        };
        let length = length(lengths.value(row))?;
        Ok(Some((0..length).map(|_| one()).collect::<String>()))
    };
    Ok(Arc::new((0..lengths.len()).map(row).collect::<Result<StringArray>>()?))
}

/// `(length, random())`.
fn bytes(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (lengths, seeds) = (integers(&arguments[0])?, floats(&arguments[1])?);
    let row = |row: usize| {
        if lengths.is_null(row) {
            return Ok(None);
        }
        let mut draws = Draws::of(seeds.value(row));
        let length = length(lengths.value(row))?;
        Ok(Some((0..length).map(|_| draws.next() as u8).collect::<Vec<u8>>()))
    };
    let rows = (0..lengths.len()).map(row).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(rows.into_iter().collect::<BinaryViewArray>()))
}

fn shuffled_type(types: &[DataType]) -> Result<DataType> {
    match types.first() {
        Some(DataType::List(item)) => Ok(gives::list(item.data_type().clone())),
        other => plan_err!("an array is expected, not {other:?}"),
    }
}

/// `(array, count, whether only so many are wanted, random())`: the first `count` places get elements
/// from anywhere, 0 for all places.
fn shuffled(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (list, counts, cuts, seeds) = (
        lists(&arguments[0])?,
        integers(&arguments[1])?,
        integers(&arguments[2])?,
        floats(&arguments[3])?,
    );
    let mut indices: Vec<u32> = Vec::with_capacity(list.values().len());
    let mut lengths = Vec::with_capacity(list.len());
    for row in 0..list.len() {
        if list.is_null(row) {
            lengths.push(None);
            continue;
        }
        let mut order: Vec<u32> = range_of(&list, row).map(|at| at as u32).collect();
        let mut draws = Draws::of(seeds.value(row));
        let is_cut = cuts.value(row) != 0;
        let places = match usize::try_from(counts.value(row)) {
            Ok(0) | Err(_) if !is_cut => order.len(),
            Ok(count) => count.min(order.len()),
            Err(_) => 0,
        };
        for place in 0..places {
            let from = place as u64 + draws.below((order.len() - place) as u64);
            order.swap(place, from as usize);
        }
        if is_cut {
            order.truncate(places);
        }
        lengths.push(Some(order.len()));
        indices.extend(order);
    }
    list_of(take(list.values(), &UInt32Array::from(indices), None)?, &lengths)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Float64Array, Int64Array};

    use super::*;

    #[test]
    fn rows_differ_by_their_seeds() {
        let lengths: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), Some(5), None]));
        let kinds: ArrayRef = Arc::new(StringArray::from(vec!["printable"; 3]));
        let seeds: ArrayRef = Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3]));
        let drawn = text(&[lengths, kinds, seeds]).expect("texts");
        let drawn = drawn.as_string::<i32>();
        assert_ne!(drawn.value(0), drawn.value(1));
        assert!(drawn.is_null(2));
        assert!(drawn.value(0).bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(drawn.value(0).len(), 5);
    }
}
