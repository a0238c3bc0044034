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
//! settles the marks and the comparisons ([`settle`]).

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, ScalarValue};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr as PlannedExpr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, cast, lit,
};
use granary_catalog::ColumnType;
use granary_functions::{TEXT_OF, WITHOUT_ZEROS, call, filled_to};
use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::names::Names;
use super::{calls, templates};
use crate::statement::TableName;

/// The engine's functions of texts; those of the dialect take bytes as texts anyway, or are in the
/// texts' templates.
const OF_TEXTS: [&str; 38] = [
    "ascii",
    "bit_length",
    "btrim",
    "char_length",
    "character_length",
    "concat",
    "concat_ws",
    "contains",
    "ends_with",
    "find_in_set",
    "initcap",
    "instr",
    "left",
    "length_utf8",
    "levenshtein",
    "lower",
    "lpad",
    "ltrim",
    "octet_length",
    "overlay",
    "position",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "substring",
    "upper",
];

/// Others, which are spelled in several ways.
const MORE_OF_TEXTS: [&str; 4] = ["substr_index", "substring_index", "translate", "trim"];

/// Marks the arguments of a call of a function of texts.
pub(super) fn mark(function: &mut Function) -> granary_common::Result<()> {
    let lower = function.name.to_string().to_lowercase();
    let is_of_texts = OF_TEXTS.contains(&lower.as_str())
        || MORE_OF_TEXTS.contains(&lower.as_str())
        || templates::is_of_texts(&lower);
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    if !is_of_texts {
        return Ok(());
    }
    for argument in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument {
            mark_one(argument)?;
        }
    }
    Ok(())
}

/// Marks what may be a FixedString.
pub(super) fn mark_one(argument: &mut Expr) -> granary_common::Result<()> {
    let may_be = match argument {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Case { .. } => true,
        Expr::Function(function) => {
            let name = function.name.to_string().to_lowercase();
            ["tofixedstring", "coalesce", "nullif", "min", "max", "any"].contains(&name.as_str())
        }
        _ => false,
    };
    if may_be {
        *argument = calls::substitute(&format!("{TEXT_OF}($1)"), std::slice::from_ref(argument))?;
    }
    Ok(())
}

/// `plan` without marks, and with such comparisons.
pub(super) fn settle(plan: LogicalPlan, names: Option<&Names<'_>>) -> Result<LogicalPlan> {
    let settled = plan.transform_up_with_subqueries(|plan| {
        let schema = match plan.inputs().as_slice() {
            [] => DFSchemaRef::clone(plan.schema()),
            inputs => Arc::new(merge_schema(inputs)),
        };
        let has_fixed = schema.fields().iter().any(|field| is_fixed(field.data_type()));
        let inputs: Vec<LogicalPlan> = match has_fixed {
            true => plan.inputs().into_iter().cloned().collect(),
            false => Vec::new(),
        };
        let scope = Scope { schema: &schema, inputs: &inputs, names };
        let preserver = NamePreserver::new(&plan);
        let settled = plan.map_expressions(|expression| {
            let name = preserver.save(&expression);
            let changed = expression.transform_up(|inner| scope.settle(inner))?;
            Ok(match changed.transformed {
                true => changed.update_data(|expression| name.restore(expression)),
                false => changed,
            })
        })?;
        settled.map_data(|plan| scope.settle_join(plan))
    })?;
    Ok(settled.data)
}

/// [`settle`] for one expression over the columns of `schema`.
pub(super) fn settle_expression(expression: PlannedExpr, schema: &DFSchema) -> Result<PlannedExpr> {
    let scope = Scope { schema, inputs: &[], names: None };
    Ok(expression.transform_up(|inner| scope.settle(inner))?.data)
}

fn is_fixed(data_type: &DataType) -> bool {
    *data_type == DataType::BinaryView
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// What expressions of one node of a plan refer to.
struct Scope<'a> {
    schema: &'a DFSchema,
    inputs: &'a [LogicalPlan],
    names: Option<&'a Names<'a>>,
}

impl Scope<'_> {
    fn settle(&self, expression: PlannedExpr) -> Result<Transformed<PlannedExpr>> {
        match expression {
            PlannedExpr::ScalarFunction(mut function) if function.func.name() == TEXT_OF => {
                let Some(value) = function.args.pop() else {
                    return Ok(Transformed::no(PlannedExpr::ScalarFunction(function)));
                };
                Ok(Transformed::yes(match self.is_fixed(&value) {
                    true => cast(value, DataType::Utf8View),
                    false => value,
                }))
            }
            PlannedExpr::BinaryExpr(mut binary) if compares(&binary.op) => {
                match self.pair(&binary.left, &binary.right)? {
                    Some((left, right)) => {
                        (*binary.left, *binary.right) = (left, right);
                        Ok(Transformed::yes(PlannedExpr::BinaryExpr(binary)))
                    }
                    None => Ok(Transformed::no(PlannedExpr::BinaryExpr(binary))),
                }
            }
            PlannedExpr::InList(mut list) => {
                let changed = self.beside(&mut list.expr, list.list.iter_mut().collect())?;
                Ok(Transformed::new_transformed(PlannedExpr::InList(list), changed))
            }
            PlannedExpr::Between(mut between) => {
                let bounds = vec![between.low.as_mut(), between.high.as_mut()];
                let changed = self.beside(&mut between.expr, bounds)?;
                Ok(Transformed::new_transformed(PlannedExpr::Between(between), changed))
            }
            PlannedExpr::Case(mut case) => {
                let Some(value) = &mut case.expr else {
                    return Ok(Transformed::no(PlannedExpr::Case(case)));
                };
                let others = case.when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
                let changed = self.beside(value, others.collect())?;
                Ok(Transformed::new_transformed(PlannedExpr::Case(case), changed))
            }
            PlannedExpr::Like(mut like) if self.is_fixed(&like.expr) => {
                *like.expr = cast(std::mem::take(like.expr.as_mut()), DataType::Utf8View);
                Ok(Transformed::yes(PlannedExpr::Like(like)))
            }
            PlannedExpr::InSubquery(within) => self.within(within),
            other => Ok(Transformed::no(other)),
        }
    }

    fn is_fixed(&self, expression: &PlannedExpr) -> bool {
        expression.get_type(self.schema).is_ok_and(|of| is_fixed(&of))
    }

    /// Two sides of a comparison as they are to be compared, if not as they are.
    fn pair(
        &self,
        left: &PlannedExpr,
        right: &PlannedExpr,
    ) -> Result<Option<(PlannedExpr, PlannedExpr)>> {
        let (mut left, mut right) = (left.clone(), right.clone());
        let changed = match self.is_fixed(&left) {
            true => self.beside(&mut left, vec![&mut right])?,
            false => self.is_fixed(&right) && self.beside(&mut right, vec![&mut left])?,
        };
        Ok(changed.then_some((left, right)))
    }

    /// Changes a value and what it is compared with; gives whether it did.
    fn beside(&self, value: &mut PlannedExpr, others: Vec<&mut PlannedExpr>) -> Result<bool> {
        let differs = |other: &&mut PlannedExpr| match other.get_type(self.schema) {
            Ok(of) if is_fixed(&of) => self.length(other) != self.length(value),
            Ok(of) => is_text(&of),
            Err(_) => false,
        };
        if !self.is_fixed(value) || !others.iter().any(differs) {
            return Ok(false);
        }
        let length = self.length(value);
        let texts: Option<Vec<ScalarValue>> = length.and_then(|length| {
            others.iter().map(|other| filled_literal(other, length)).collect()
        });
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

    /// `value IN (SELECT ...)` where one side has texts.
    fn within(&self, mut within: InSubquery) -> Result<Transformed<PlannedExpr>> {
        let of_subquery = within.subquery.subquery.schema().field(0).data_type().clone();
        let value = within.expr.get_type(self.schema);
        let is_mixed = value.is_ok_and(|value| {
            (is_fixed(&value) && is_text(&of_subquery)) || (is_text(&value) && is_fixed(&of_subquery))
        });
        if !is_mixed {
            return Ok(Transformed::no(PlannedExpr::InSubquery(within)));
        }
        let inner = within.subquery.subquery.as_ref().clone();
        let column = PlannedExpr::Column(Column::from(inner.schema().qualified_field(0)));
        let inner =
            LogicalPlanBuilder::from(inner).project([without_zeros(column)?])?.build()?;
        within.subquery.subquery = Arc::new(inner);
        *within.expr = without_zeros(std::mem::take(within.expr.as_mut()))?;
        Ok(Transformed::yes(PlannedExpr::InSubquery(within)))
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
    fn length(&self, expression: &PlannedExpr) -> Option<usize> {
        match expression {
            PlannedExpr::Alias(alias) => self.length(&alias.expr),
            PlannedExpr::Literal(ScalarValue::BinaryView(Some(bytes)), _) => Some(bytes.len()),
            PlannedExpr::ScalarFunction(function) if function.func.name() == "toFixedString" => {
                match function.args.get(1)? {
                    PlannedExpr::Literal(ScalarValue::Int64(Some(length)), _) => {
                        usize::try_from(*length).ok()
                    }
                    _ => None,
                }
            }
            PlannedExpr::Column(column) => self
                .inputs
                .iter()
                .filter(|input| input.schema().has_column(column))
                .find_map(|input| length_of(column, input, self.names?)),
            _ => None,
        }
    }
}

fn compares(operator: &Operator) -> bool {
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

fn without_zeros(value: PlannedExpr) -> Result<PlannedExpr> {
    call(WITHOUT_ZEROS, vec![value])
}

/// A text that is written down, or bytes, in so many bytes.
fn filled_literal(expression: &PlannedExpr, length: usize) -> Option<ScalarValue> {
    let PlannedExpr::Literal(value, _) = expression else { return None };
    let bytes = match value {
        ScalarValue::BinaryView(Some(bytes)) => bytes.as_slice(),
        other => other.try_as_str()??.as_bytes(),
    };
    Some(ScalarValue::BinaryView(Some(filled_to(bytes, length))))
}

/// The length of a column of a table that `plan` reads.
fn length_of(column: &Column, plan: &LogicalPlan, names: &Names<'_>) -> Option<usize> {
    let at = |schema: &DFSchema| schema.maybe_index_of_column(column);
    match plan {
        LogicalPlan::TableScan(scan) => {
            let name = TableName {
                database: scan.table_name.schema().map(str::to_owned),
                name: scan.table_name.table().to_owned(),
            };
            let table = names.table(&name)?;
            let found = table.columns.iter().find(|candidate| candidate.name == column.name)?;
            match found.column_type.base() {
                ColumnType::FixedString(length) => usize::try_from(*length).ok(),
                _ => None,
            }
        }
        LogicalPlan::Projection(projection) => {
            let inner = column_of(projection.expr.get(at(&projection.schema)?)?)?;
            length_of(inner, &projection.input, names)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let inner = column_of(aggregate.group_expr.get(at(&aggregate.schema)?)?)?;
            length_of(inner, &aggregate.input, names)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let field = alias.input.schema().qualified_field(at(&alias.schema)?);
            length_of(&Column::from(field), &alias.input, names)
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(_) => plan
            .inputs()
            .into_iter()
            .filter(|input| input.schema().has_column(column))
            .find_map(|input| length_of(column, input, names)),
        _ => None,
    }
}

fn column_of(expression: &PlannedExpr) -> Option<&Column> {
    match expression {
        PlannedExpr::Column(column) => Some(column),
        PlannedExpr::Alias(alias) => column_of(&alias.expr),
        _ => None,
    }
}
