//! A filter as an expression over the stored columns.

use granary_catalog::{ColumnType, Scalar};
use granary_common::{ColumnId, Error, Result};
use vortex::dtype::{FieldName, FieldNames, Nullability};
use vortex::expr::{
    Expression, and_collect, col, eq, gt, gt_eq, ilike, in_list_of, is_not_null, is_null, like,
    lit, lt, lt_eq, not, not_eq, or_collect, pack, root, select,
};
use vortex::layout::layouts::row_idx::row_idx;

use super::literal::{fit, is_of_type, literal, vortex_scalar};
use super::{read_error, stored_name};
use crate::filter::{CompareOp, Filter};
use crate::schema::{PART_OFFSET_COLUMN, PartSchema};

/// The stored columns of `columns` and the rows' positions, in that order.
pub fn projection(columns: &[ColumnId]) -> Expression {
    if columns.contains(&PART_OFFSET_COLUMN) {
        let fields = columns.iter().map(|id| {
            let value = match *id {
                PART_OFFSET_COLUMN => row_idx(),
                id => col(stored_name(id)),
            };
            (FieldName::from(stored_name(*id)), value)
        });
        return pack(fields, Nullability::NonNullable);
    }
    let names: FieldNames = columns.iter().map(|id| FieldName::from(stored_name(*id))).collect();
    select(names, root())
}

/// `filter` over the columns of `schema`. Kind `InvalidInput` when a value does not fit its column.
pub fn predicate(filter: &Filter, schema: &PartSchema) -> Result<Expression> {
    Ok(match filter {
        Filter::And(terms) => and_collect(predicates(terms, schema)?).unwrap_or_else(|| lit(true)),
        Filter::Or(terms) => or_collect(predicates(terms, schema)?).unwrap_or_else(|| lit(false)),
        Filter::Not(term) => not(predicate(term, schema)?),
        Filter::Compare { column, op, value } => comparison(*column, *op, value, schema)?,
        Filter::CompareColumns { left, op, right } => {
            compare(*op, stored(*left, schema)?, stored(*right, schema)?)
        }
        Filter::In { column, values, negated } => {
            let found = membership(*column, values, schema)?;
            if *negated { not(found) } else { found }
        }
        Filter::IsNull { column, negated } => {
            let column = stored(*column, schema)?;
            if *negated { is_not_null(column) } else { is_null(column) }
        }
        Filter::Like { column, pattern, negated, case_insensitive } => {
            let (text, pattern) = (stored(*column, schema)?, lit(pattern.as_str()));
            let found = if *case_insensitive { ilike(text, pattern) } else { like(text, pattern) };
            if *negated { not(found) } else { found }
        }
    })
}

fn predicates(terms: &[Filter], schema: &PartSchema) -> Result<Vec<Expression>> {
    terms.iter().map(|term| predicate(term, schema)).collect()
}

fn stored(column: ColumnId, schema: &PartSchema) -> Result<Expression> {
    schema.column(column)?;
    Ok(col(stored_name(column)))
}

fn column_type(column: ColumnId, schema: &PartSchema) -> Result<&ColumnType> {
    schema.column(column).map(|column| &column.column_type)
}

fn comparison(
    column: ColumnId,
    op: CompareOp,
    value: &Scalar,
    schema: &PartSchema,
) -> Result<Expression> {
    let data_type = column_type(column, schema)?.arrow();
    let (op, value) = match value {
        // NULL for every row.
        Scalar::Null => (op, Scalar::Null),
        value => fit(op, value, &data_type)?,
    };
    Ok(compare(op, stored(column, schema)?, literal(&value, &data_type)?))
}

fn compare(op: CompareOp, left: Expression, right: Expression) -> Expression {
    match op {
        CompareOp::Eq => eq(left, right),
        CompareOp::NotEq => not_eq(left, right),
        CompareOp::Lt => lt(left, right),
        CompareOp::LtEq => lt_eq(left, right),
        CompareOp::Gt => gt(left, right),
        CompareOp::GtEq => gt_eq(left, right),
    }
}

fn membership(column: ColumnId, values: &[Scalar], schema: &PartSchema) -> Result<Expression> {
    let Some(first) = values.first() else { return Ok(lit(false)) };
    let data_type = column_type(column, schema)?.arrow();
    let mut elements = Vec::with_capacity(values.len());
    for value in values {
        if is_of_type(value, &data_type) {
            elements.push(vortex_scalar(value, &data_type)?);
        } else {
            // Checks the kind; a value beyond the type's range matches nothing.
            fit(CompareOp::Eq, value, &data_type)?;
        }
    }
    let Some(element) = elements.first() else {
        // FALSE, and NULL for NULL.
        return comparison(column, CompareOp::Eq, first, schema);
    };
    if elements.iter().all(|element| element.is_null()) {
        return comparison(column, CompareOp::Eq, &Scalar::Null, schema);
    }
    let dtype = element.dtype().clone();
    in_list_of(stored(column, schema)?, dtype, elements)
        .map_err(|error| Error::invalid(read_error(error).message()))
}
