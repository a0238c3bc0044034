//! FixedString beside texts. A value has zero bytes up to its length; in comparisons they do not
//! count, functions of texts get all bytes.
//!
//! ```text
//!   code = 'ab'       code = 'ab\0\0'                      where the length of `code` is known
//!   code = name       without_zeros(code) = without_zeros(name)
//!   upper(code)       upper(CAST(code AS text))
//! ```
//!
//! The tree marks what functions of texts are given, before its types are known ([`mark`]); the plan
//! settles the marks and the comparisons ([`settle`]). With them goes what else depends on a column's
//! declared type, which Arrow does not carry: an element that an Array(Nullable(T)) lacks is NULL; and
//! casts of texts to arrays, tuples and maps; and texts beside UUIDs and addresses.

mod marks;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::functions_nested::extract::array_element_udf;
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, cast, lit,
};
use granary_catalog::ColumnType;
use granary_functions::{ELEMENT, TEXT_OF, WITHOUT_ZEROS, call, filled_to};

use super::declared::declared_type;
use super::names::Names;
use super::{containers, each, spelled, type_names, whole};

pub(super) use marks::{mark, mark_parts};

/// `plan` without marks, and with such comparisons.
pub(super) fn settle(plan: LogicalPlan, names: Option<&Names<'_>>) -> Result<LogicalPlan> {
    let settled = plan.transform_up_with_subqueries(|plan| {
        let schema = each::read_by(&plan);
        let depends = |data_type: &DataType| {
            matches!(
                data_type,
                DataType::BinaryView | DataType::Utf8View | DataType::UInt32 | DataType::List(_)
            )
        };
        let inputs: Vec<LogicalPlan> = match schema.fields().iter().any(|f| depends(f.data_type()))
        {
            true => plan.inputs().into_iter().cloned().collect(),
            false => Vec::new(),
        };
        let scope = Scope { schema: &schema, inputs: &inputs, names };
        let settled = each::of_operator(plan, |inner| scope.settle(inner))?;
        settled.map_data(|plan| scope.settle_join(plan))
    })?;
    Ok(settled.data)
}

/// [`settle`] for one expression over the columns of `schema`.
pub(super) fn settle_expression(expression: Expr, schema: &DFSchema) -> Result<Expr> {
    let scope = Scope { schema, inputs: &[], names: None };
    Ok(expression.transform_up(|inner| scope.settle(inner))?.data)
}

fn is_fixed(data_type: &DataType) -> bool {
    *data_type == DataType::BinaryView
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// What expressions of one node of a plan refer to.
struct Scope<'a> {
    schema: &'a DFSchema,
    inputs: &'a [LogicalPlan],
    names: Option<&'a Names<'a>>,
}

impl Scope<'_> {
    fn settle(&self, expression: Expr) -> Result<Transformed<Expr>> {
        let spelled = spelled::settle(expression, &|column| self.declared(column))?;
        match spelled.transformed {
            true => Ok(spelled),
            false => {
                let said = whole::settle(spelled.data, self.schema)?;
                match said.transformed {
                    true => Ok(said),
                    false => self.settle_fixed(said.data),
                }
            }
        }
    }

    fn settle_fixed(&self, expression: Expr) -> Result<Transformed<Expr>> {
        match expression {
            Expr::ScalarFunction(mut function) if function.func.name() == TEXT_OF => {
                let Some(value) = function.args.pop() else {
                    return Ok(Transformed::no(Expr::ScalarFunction(function)));
                };
                Ok(Transformed::yes(match self.is_fixed(&value) {
                    true => cast(value, DataType::Utf8View),
                    false => value,
                }))
            }
            Expr::ScalarFunction(function)
                if function.func.name() == ELEMENT && self.has_nulls(&function.args[0]) =>
            {
                let element = array_element_udf().call(function.args);
                Ok(Transformed::yes(element))
            }
            Expr::ScalarFunction(function) if function.func.name() == "isNullable" => {
                let nullable = function
                    .args
                    .first()
                    .map(|value| lit(type_names::may_be_null(value, self.schema)));
                Ok(match nullable {
                    Some(nullable) => Transformed::yes(nullable),
                    None => Transformed::no(Expr::ScalarFunction(function)),
                })
            }
            Expr::ScalarFunction(function) if function.func.name() == "toTypeName" => {
                let value = function.args.first();
                let name = value
                    .and_then(|value| type_names::name(value, self.schema, self.length(value)));
                Ok(match name {
                    Some(name) => Transformed::yes(name),
                    None => Transformed::no(Expr::ScalarFunction(function)),
                })
            }
            Expr::BinaryExpr(mut binary) if compares(&binary.op) => {
                match self.pair(&binary.left, &binary.right)? {
                    Some((left, right)) => {
                        (*binary.left, *binary.right) = (left, right);
                        Ok(Transformed::yes(Expr::BinaryExpr(binary)))
                    }
                    None => Ok(Transformed::no(Expr::BinaryExpr(binary))),
                }
            }
            Expr::InList(mut list) => {
                let changed = self.beside(&mut list.expr, list.list.iter_mut().collect())?;
                Ok(Transformed::new_transformed(Expr::InList(list), changed))
            }
            Expr::Between(mut between) => {
                let bounds = vec![between.low.as_mut(), between.high.as_mut()];
                let changed = self.beside(&mut between.expr, bounds)?;
                Ok(Transformed::new_transformed(Expr::Between(between), changed))
            }
            Expr::Case(mut case) => {
                let Some(value) = &mut case.expr else {
                    return Ok(Transformed::no(Expr::Case(case)));
                };
                let others = case.when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
                let changed = self.beside(value, others.collect())?;
                Ok(Transformed::new_transformed(Expr::Case(case), changed))
            }
            Expr::Like(mut like) if self.is_fixed(&like.expr) => {
                *like.expr = cast(std::mem::take(like.expr.as_mut()), DataType::Utf8View);
                Ok(Transformed::yes(Expr::Like(like)))
            }
            Expr::InSubquery(within) => self.within(within),
            other => containers::settle(other, self.schema),
        }
    }

    fn is_fixed(&self, expression: &Expr) -> bool {
        expression.get_type(self.schema).is_ok_and(|of| is_fixed(&of))
    }

    /// Two sides of a comparison as they are to be compared, if not as they are.
    fn pair(&self, left: &Expr, right: &Expr) -> Result<Option<(Expr, Expr)>> {
        let (mut left, mut right) = (left.clone(), right.clone());
        let changed = match self.is_fixed(&left) {
            true => self.beside(&mut left, vec![&mut right])?,
            false => self.is_fixed(&right) && self.beside(&mut right, vec![&mut left])?,
        };
        Ok(changed.then_some((left, right)))
    }

    /// Changes a value and what it is compared with; gives whether it did.
    fn beside(&self, value: &mut Expr, others: Vec<&mut Expr>) -> Result<bool> {
        let differs = |other: &&mut Expr| match other.get_type(self.schema) {
            Ok(of) if is_fixed(&of) => self.length(other) != self.length(value),
            Ok(of) => is_text(&of),
            Err(_) => false,
        };
        if !self.is_fixed(value) || !others.iter().any(differs) {
            return Ok(false);
        }
        let length = self.length(value);
        let texts: Option<Vec<ScalarValue>> = length
            .and_then(|length| others.iter().map(|other| filled_literal(other, length)).collect());
        match texts {
            Some(texts) => {
                for (other, text) in others.into_iter().zip(texts) {
                    *other = lit(text);
                }
            }
            None => {
                for side in std::iter::once(value).chain(others) {
                    *side = without_zeros(std::mem::take(side))?;
                }
            }
        }
        Ok(true)
    }

    /// `value IN (SELECT ...)` where one side has texts, or both are columns of one name.
    fn within(&self, mut within: InSubquery) -> Result<Transformed<Expr>> {
        let apart = apart(&mut within)?;
        let of_subquery = within.subquery.subquery.schema().field(0).data_type().clone();
        let value = within.expr.get_type(self.schema);
        let is_mixed = value.is_ok_and(|value| {
            (is_fixed(&value) && is_text(&of_subquery))
                || (is_text(&value) && is_fixed(&of_subquery))
        });
        if !is_mixed {
            return Ok(Transformed::new_transformed(Expr::InSubquery(within), apart));
        }
        let inner = within.subquery.subquery.as_ref().clone();
        let column = Expr::Column(Column::from(inner.schema().qualified_field(0)));
        let inner = LogicalPlanBuilder::from(inner).project([without_zeros(column)?])?.build()?;
        within.subquery.subquery = Arc::new(inner);
        *within.expr = without_zeros(std::mem::take(within.expr.as_mut()))?;
        Ok(Transformed::yes(Expr::InSubquery(within)))
    }

    /// The keys of a join.
    fn settle_join(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let LogicalPlan::Join(mut join) = plan else { return Ok(plan) };
        for (left, right) in &mut join.on {
            if let Some(settled) = self.pair(left, right)? {
                (*left, *right) = settled;
            }
        }
        Ok(LogicalPlan::Join(join))
    }

    /// How many bytes every value has, as far as the plan tells.
    fn length(&self, expression: &Expr) -> Option<usize> {
        match expression {
            Expr::Alias(alias) => self.length(&alias.expr),
            Expr::Literal(ScalarValue::BinaryView(Some(bytes)), _) => Some(bytes.len()),
            Expr::ScalarFunction(function) if function.func.name() == "toFixedString" => {
                match function.args.get(1)? {
                    Expr::Literal(ScalarValue::Int64(Some(length)), _) => {
                        usize::try_from(*length).ok()
                    }
                    _ => None,
                }
            }
            Expr::Column(column) => match self.declared(column)?.base() {
                ColumnType::FixedString(length) => usize::try_from(*length).ok(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it is a column of arrays whose elements may be NULL.
    fn has_nulls(&self, array: &Expr) -> bool {
        let Expr::Column(column) = array else { return false };
        matches!(self.declared(column), Some(ColumnType::Array(element)) if element.is_nullable())
    }

    /// The type that a table declares for a column.
    fn declared(&self, column: &Column) -> Option<ColumnType> {
        let mut inputs = self.inputs.iter().filter(|input| input.schema().has_column(column));
        inputs.find_map(|input| declared_type(column, input, self.names?))
    }
}

/// What the column of a subquery is called that has the name of a column without a table outside.
const MEMBER: &str = "__granary_member";

/// Names the column of the subquery apart, as the engine makes a join of both; gives whether it did.
fn apart(within: &mut InSubquery) -> Result<bool> {
    let (relation, field) = within.subquery.subquery.schema().qualified_field(0);
    let outside = within.expr.column_refs();
    if !outside.iter().any(|column| column.relation.is_none() && column.name == *field.name()) {
        return Ok(false);
    }
    let column = Expr::Column(Column::from((relation, field)));
    let inner = within.subquery.subquery.as_ref().clone();
    let inner = LogicalPlanBuilder::from(inner).project([column.alias(MEMBER)])?.build()?;
    within.subquery.subquery = Arc::new(inner);
    Ok(true)
}

pub(super) fn compares(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

fn without_zeros(value: Expr) -> Result<Expr> {
    call(WITHOUT_ZEROS, vec![value])
}

/// A text that is written down, or bytes, in so many bytes.
fn filled_literal(expression: &Expr, length: usize) -> Option<ScalarValue> {
    let Expr::Literal(value, _) = expression else { return None };
    let bytes = match value {
        ScalarValue::BinaryView(Some(bytes)) => bytes.as_slice(),
        other => other.try_as_str()??.as_bytes(),
    };
    Some(ScalarValue::BinaryView(Some(filled_to(bytes, length))))
}
