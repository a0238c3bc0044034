//! A filter over rows that are in memory already.

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, RecordBatch};
use arrow::compute::kernels::cmp;
use arrow::compute::{and_kleene, is_not_null, is_null, not, or_kleene};
use arrow::error::ArrowError;
use granary_catalog::Scalar;
use granary_common::ColumnId;

use super::{CompareOp, Filter};
use crate::part::format::fit;
use crate::scalar::to_arrow_scalar;
use crate::sort_order::canonical_f64;

/// A longer list is not looked through value by value.
const LIST_MAX: usize = 64;

impl Filter {
    /// What the filter says of each of `rows`, whose columns have the ids `columns`: a row passes when
    /// it is TRUE, and not when it is NULL. `None` where only files can tell: of patterns, long lists,
    /// columns that are not there, and values that are not of their column's kind.
    pub fn passing(&self, rows: &RecordBatch, columns: &[ColumnId]) -> Option<BooleanArray> {
        let column = |id: &ColumnId| {
            let place = columns.iter().position(|column| column == id)?;
            rows.columns().get(place)
        };
        let all = |holds: bool| BooleanArray::from(vec![holds; rows.num_rows()]);
        match self {
            Filter::And(terms) => terms.iter().try_fold(all(true), |passing, term| {
                and_kleene(&passing, &term.passing(rows, columns)?).ok()
            }),
            Filter::Or(terms) => terms.iter().try_fold(all(false), |passing, term| {
                or_kleene(&passing, &term.passing(rows, columns)?).ok()
            }),
            Filter::Not(term) => not(&term.passing(rows, columns)?).ok(),
            Filter::Compare { column: id, op, value } => compared(column(id)?, *op, value),
            Filter::CompareColumns { left, op, right } => {
                compare(*op, column(left)?, column(right)?).ok()
            }
            Filter::In { values, .. } if values.len() > LIST_MAX => None,
            Filter::In { column: id, values, negated } => {
                let among = values.iter().try_fold(all(false), |passing, value| {
                    or_kleene(&passing, &compared(column(id)?, CompareOp::Eq, value)?).ok()
                })?;
                if *negated { not(&among).ok() } else { Some(among) }
            }
            Filter::IsNull { column: id, negated: false } => is_null(column(id)?).ok(),
            Filter::IsNull { column: id, negated: true } => is_not_null(column(id)?).ok(),
            Filter::Like { .. } => None,
        }
    }
}

fn compared(values: &ArrayRef, op: CompareOp, value: &Scalar) -> Option<BooleanArray> {
    let data_type = values.data_type();
    let (op, value) = match value {
        Scalar::Null => return Some(BooleanArray::new_null(values.len())),
        Scalar::Float(value) => (op, Scalar::Float(canonical_f64(*value))),
        value => (op, value.clone()),
    };
    let (op, value) = fit(op, &value, data_type).ok()?;
    compare(op, values, &to_arrow_scalar(&value, data_type).ok()?).ok()
}

fn compare(op: CompareOp, left: &dyn Datum, right: &dyn Datum) -> Result<BooleanArray, ArrowError> {
    match op {
        CompareOp::Eq => cmp::eq(left, right),
        CompareOp::NotEq => cmp::neq(left, right),
        CompareOp::Lt => cmp::lt(left, right),
        CompareOp::LtEq => cmp::lt_eq(left, right),
        CompareOp::Gt => cmp::gt(left, right),
        CompareOp::GtEq => cmp::gt_eq(left, right),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int8Array, StringViewArray};

    use super::*;

    const COLUMNS: [ColumnId; 3] = [ColumnId(7), ColumnId(3), ColumnId(5)];

    fn rows() -> RecordBatch {
        let numbers = Int8Array::from(vec![Some(-128), Some(0), None, Some(127)]);
        let texts = StringViewArray::from(vec![Some("a"), None, Some("b"), Some("a")]);
        let floats = Float64Array::from(vec![0.0, 1.5, f64::NAN, f64::INFINITY]);
        let columns: [(&str, ArrayRef); 3] =
            [("n", Arc::new(numbers)), ("t", Arc::new(texts)), ("f", Arc::new(floats))];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, of)| (name, of, true)))
            .expect("fits")
    }

    fn compare_with(column: u32, op: CompareOp, value: Scalar) -> Filter {
        Filter::Compare { column: ColumnId(column), op, value }
    }

    fn number(op: CompareOp, value: i64) -> Filter {
        compare_with(7, op, Scalar::Int(value))
    }

    fn text(value: &str) -> Filter {
        compare_with(3, CompareOp::Eq, Scalar::Text(value.to_owned()))
    }

    fn float(op: CompareOp, value: f64) -> Filter {
        compare_with(5, op, Scalar::Float(value))
    }

    #[test]
    fn rows_in_memory_pass_as_those_in_files_do() {
        let (yes, no, null) = (Some(true), Some(false), None);
        let among = |values: Vec<Scalar>, negated| {
            let column = ColumnId(3);
            Filter::In { column, values, negated }
        };
        let a = Scalar::Text("a".to_owned());
        for (filter, expected) in [
            (Filter::And(vec![]), [yes; 4]),
            (Filter::Or(vec![]), [no; 4]),
            (number(CompareOp::GtEq, 0), [no, yes, null, yes]),
            // Beyond what the column can hold.
            (number(CompareOp::Lt, 1000), [yes, yes, null, yes]),
            (number(CompareOp::Eq, 1000), [no, no, null, no]),
            (Filter::Not(Box::new(number(CompareOp::GtEq, 0))), [yes, no, null, no]),
            (Filter::And(vec![number(CompareOp::Lt, 5), text("a")]), [yes, null, no, no]),
            (Filter::Or(vec![number(CompareOp::Lt, 5), text("a")]), [yes, yes, null, yes]),
            (among(vec![a.clone()], false), [yes, null, no, yes]),
            (among(vec![a, Scalar::Null], true), [no, null, null, no]),
            (among(vec![], false), [no; 4]),
            (Filter::IsNull { column: ColumnId(7), negated: false }, [no, no, yes, no]),
            (Filter::IsNull { column: ColumnId(7), negated: true }, [yes, yes, no, yes]),
            // NaN is above every number, and -0 is 0.
            (float(CompareOp::Gt, 1.0), [no, yes, yes, yes]),
            (float(CompareOp::Eq, -0.0), [yes, no, no, no]),
        ] {
            let passing = filter.passing(&rows(), &COLUMNS).expect("can be told");
            assert_eq!(passing.iter().collect::<Vec<_>>(), expected, "{filter:?}");
        }
    }

    #[test]
    fn some_only_files_can_tell() {
        let like = Filter::Like {
            column: ColumnId(3),
            pattern: "a%".to_owned(),
            negated: false,
            case_insensitive: false,
        };
        let elsewhere = Filter::IsNull { column: ColumnId(9), negated: false };
        let misfit = compare_with(3, CompareOp::Eq, Scalar::Int(1));
        for filter in [elsewhere, like, misfit] {
            assert!(filter.passing(&rows(), &COLUMNS).is_none(), "{filter:?}");
            let both = Filter::And(vec![number(CompareOp::Lt, 5), filter]);
            assert!(both.passing(&rows(), &COLUMNS).is_none(), "{both:?}");
        }
    }
}
