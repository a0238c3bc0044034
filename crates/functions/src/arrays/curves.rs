//! The area under the curve of right against wrong alarms, of scores with their labels.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};

use crate::gives;
use crate::rows::{floats, lists, range_of};
use crate::scalar::{Scalar, TWO, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![scalar("arrayROCAUC", TWO, gives::float, areas)]
}

fn areas(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (scores, labels) = (lists(&arguments[0])?, lists(&arguments[1])?);
    let score = floats(scores.values())?;
    let label = floats(&cast(labels.values(), &DataType::Float64)?)?;
    let row = |row: usize| {
        if scores.is_null(row) || labels.is_null(row) {
            return Ok(None);
        }
        let (of_scores, of_labels) = (range_of(&scores, row), range_of(&labels, row));
        if of_scores.len() != of_labels.len() {
            return exec_err!(
                "arrayROCAUC: there are {} scores and {} labels",
                of_scores.len(),
                of_labels.len()
            );
        }
        let pairs = of_scores.zip(of_labels);
        Ok(Some(area(pairs.map(|(s, l)| (score.value(s), label.value(l) > 0.0)).collect())))
    };
    Ok(Arc::new((0..scores.len()).map(row).collect::<Result<Float64Array>>()?))
}

/// The share of pairs of a positive and a negative in which the positive has the higher score; equal
/// scores count half.
fn area(mut pairs: Vec<(f64, bool)>) -> f64 {
    pairs.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let positives = pairs.iter().filter(|(_, is_positive)| *is_positive).count() as f64;
    let negatives = pairs.len() as f64 - positives;
    let (mut before, mut area) = (0.0, 0.0);
    for equal in pairs.chunk_by(|(one, _), (other, _)| one == other) {
        let positives = equal.iter().filter(|(_, is_positive)| *is_positive).count() as f64;
        area += (equal.len() as f64 - positives) * (before + positives / 2.0);
        before += positives;
    }
    area / (positives * negatives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_of_scores() {
        let labels = |labels: [bool; 4]| [0.1, 0.4, 0.35, 0.8].into_iter().zip(labels).collect();
        assert_eq!(area(labels([false, false, true, true])), 0.75);
        assert_eq!(area(labels([true, true, false, false])), 0.25);
        assert_eq!(area(vec![(0.5, true), (0.5, false)]), 0.5);
    }
}
