//! What a query's filters let a scan ask of skip indexes. An index only ever says which granules
//! cannot hold a row, so a filter that is not understood costs nothing but time.

use std::borrow::Cow;

use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Like, Operator};
use granary_catalog::{BoundIndex, RowExpression, Scalar, Table};
use granary_execution::row_expression::decode;
use granary_storage::skip::file_name;
use granary_storage::ttl::row_schema;
use granary_storage::{CompareOp, PartSchema, SkipHint, SkipTerm, scalar_at};

use super::patterns::regex_as_like;

/// A condition on an expression, before it is known whether an index is over that expression.
struct Condition<'a> {
    of: &'a Expr,
    shape: Shape<'a>,
}

enum Shape<'a> {
    Compare(CompareOp, &'a ScalarValue),
    In(Vec<&'a ScalarValue>),
    Like(Cow<'a, str>),
    Word(&'a str),
    /// The array has all of these, or any of them.
    HasAll(&'a ScalarValue),
    HasAny(&'a ScalarValue),
}

/// Whether some term of the filter is a condition that an index may be asked about.
pub(super) fn may_hint(filter: &Expr) -> bool {
    split_conjunction(filter).into_iter().any(|term| condition(term).is_some())
}

/// The hints for a scan of `table` whose rows pass every one of `filters`.
pub(super) fn hints(
    session: &dyn Session,
    table: &Table,
    exposed: &PartSchema,
    filters: &[Expr],
) -> Vec<SkipHint> {
    if table.options.indexes.is_empty() {
        return Vec::new();
    }
    let context = session.task_ctx();
    let mut indexes: Vec<(&str, &BoundIndex, Expr)> = Vec::new();
    for index in &table.options.indexes {
        // An index that this build cannot read is not asked.
        if let Some(bound) = &index.bound
            && let Ok(expression) = decode(&bound.expression, &context)
        {
            indexes.push((&index.name, bound, plain(expression)));
        }
    }
    if indexes.is_empty() {
        return Vec::new();
    }
    let Ok(schema) = DFSchema::try_from(row_schema(&exposed.columns)) else { return Vec::new() };
    let conditions = filters.iter().flat_map(split_conjunction).filter_map(|term| {
        let condition = condition(term)?;
        Some((plain(by_id(condition.of.clone(), exposed)?), condition))
    });
    let conditions: Vec<_> = conditions.collect();
    let mut hints = Vec::new();
    // All that an index is asked stands together, so that what it skips is counted once.
    for (name, bound, expression) in indexes {
        let Ok(data_type) = expression.get_type(&schema) else { continue };
        let Ok(file) = file_name(bound) else { continue };
        for (_, condition) in conditions.iter().filter(|(of, _)| *of == expression) {
            for term in condition.terms(&data_type) {
                if term.suits(&bound.kind) {
                    hints.push(SkipHint { name: name.to_owned(), file: file.clone(), term });
                }
            }
        }
    }
    hints
}

/// The expression with its columns by their ids; `None` when it reads others.
pub(super) fn by_id(expression: Expr, exposed: &PartSchema) -> Option<Expr> {
    let mut is_known = true;
    let mapped = expression.transform_up(|inner| {
        let Expr::Column(column) = inner else { return Ok(Transformed::no(inner)) };
        let found = exposed.columns.iter().find(|known| known.name == column.name);
        Ok(match found {
            Some(found) => {
                let name = RowExpression::name_of(found.id);
                Transformed::yes(Expr::Column(Column::new_unqualified(name)))
            }
            None => {
                is_known = false;
                Transformed::no(Expr::Column(column))
            }
        })
    });
    mapped.ok().map(|mapped| mapped.data).filter(|_| is_known)
}

/// Without casts between forms of text and without other names, which change no value.
pub(super) fn plain(expression: Expr) -> Expr {
    let stripped = expression.transform_up(|inner| match inner {
        Expr::Alias(alias) => Ok(Transformed::yes(*alias.expr)),
        Expr::Cast(Cast { expr, field }) if is_text(field.data_type()) && makes_text(&expr) => {
            Ok(Transformed::yes(*expr))
        }
        other => Ok(Transformed::no(other)),
    });
    match stripped {
        Ok(stripped) => stripped.data,
        // Nothing above fails.
        Err(_) => Expr::Literal(ScalarValue::Null, None),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether the expression is known to be a text whatever its columns are.
fn makes_text(expression: &Expr) -> bool {
    match expression {
        Expr::ScalarFunction(call) => {
            ["lower", "upper", "trim", "btrim", "concat", "substr"].contains(&call.func.name())
        }
        Expr::Literal(value, _) => is_text(&value.data_type()),
        _ => false,
    }
}

fn condition(term: &Expr) -> Option<Condition<'_>> {
    match term {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::RegexMatch, right }) => {
            Some(Condition { of: left, shape: Shape::Like(like_of(literal(right)?)?) })
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let op = match op {
                Operator::Eq => CompareOp::Eq,
                Operator::Lt => CompareOp::Lt,
                Operator::LtEq => CompareOp::LtEq,
                Operator::Gt => CompareOp::Gt,
                Operator::GtEq => CompareOp::GtEq,
                _ => return None,
            };
            match (&**left, &**right) {
                (Expr::Literal(..), Expr::Literal(..)) => None,
                (of, Expr::Literal(value, _)) => {
                    Some(Condition { of, shape: Shape::Compare(op, value) })
                }
                (Expr::Literal(value, _), of) => {
                    Some(Condition { of, shape: Shape::Compare(op.swapped(), value) })
                }
                _ => None,
            }
        }
        Expr::InList(InList { expr, list, negated: false }) => {
            let values = list.iter().map(literal).collect::<Option<Vec<_>>>()?;
            Some(Condition { of: expr, shape: Shape::In(values) })
        }
        Expr::Like(Like { negated: false, expr, pattern, escape_char: None, case_insensitive }) => {
            let Expr::Literal(pattern, _) = &**pattern else { return None };
            let pattern = pattern.try_as_str().flatten().filter(|_| !case_insensitive)?;
            Some(Condition { of: expr, shape: Shape::Like(pattern.into()) })
        }
        Expr::ScalarFunction(call) => has_word(call).or_else(|| call_on(call)),
        _ => None,
    }
}

/// A pattern of LIKE that every text that the regular expression finds something in is like.
fn like_of(expression: &ScalarValue) -> Option<Cow<'static, str>> {
    regex_as_like(expression.try_as_str().flatten()?).map(Cow::Owned)
}

/// `match(text, 'expression')`, `has(array, value)`, `hasAll` and `hasAny`, as they are bound.
fn call_on(call: &ScalarFunction) -> Option<Condition<'_>> {
    let [of, argument] = call.args.as_slice() else { return None };
    let value = literal(argument)?;
    let shape = match call.func.name() {
        "regexp_like" => Shape::Like(like_of(value)?),
        "array_has" => Shape::Compare(CompareOp::Eq, value),
        "array_has_all" => Shape::HasAll(value),
        "array_has_any" => Shape::HasAny(value),
        _ => return None,
    };
    Some(Condition { of, shape })
}

fn literal(expression: &Expr) -> Option<&ScalarValue> {
    match expression {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

/// `hasToken(text, 'word')`, as it is bound.
fn has_word(call: &ScalarFunction) -> Option<Condition<'_>> {
    let ("array_has", [words, Expr::Literal(word, _)]) = (call.func.name(), call.args.as_slice())
    else {
        return None;
    };
    let Expr::ScalarFunction(split) = words else { return None };
    match (split.func.name(), split.args.as_slice()) {
        ("splitByNonAlpha", [of]) => {
            Some(Condition { of, shape: Shape::Word(word.try_as_str().flatten()?) })
        }
        _ => None,
    }
}

impl Condition<'_> {
    /// Terms over values of the type, or over what arrays of the type have in them; none when a value
    /// is not exactly one of it.
    fn terms(&self, data_type: &DataType) -> Vec<SkipTerm> {
        let data_type = match data_type {
            DataType::List(element) | DataType::LargeList(element) => element.data_type(),
            other => other,
        };
        let value = |value: &ScalarValue| canonical(value, data_type);
        let equals = |value: Scalar| SkipTerm::Compare { op: CompareOp::Eq, value };
        let term = match &self.shape {
            Shape::Compare(op, literal) => {
                value(literal).map(|value| SkipTerm::Compare { op: *op, value })
            }
            Shape::In(literals) => literals
                .iter()
                .map(|literal| value(literal))
                .collect::<Option<_>>()
                .map(SkipTerm::In),
            Shape::Like(pattern) => Some(SkipTerm::Like(pattern.clone().into_owned())),
            Shape::Word(word) => Some(SkipTerm::Word((*word).to_owned())),
            Shape::HasAny(array) => elements(array, data_type).map(SkipTerm::In),
            Shape::HasAll(array) => {
                return elements(array, data_type).into_iter().flatten().map(equals).collect();
            }
        };
        term.into_iter().collect()
    }
}

/// The elements of an array, which are of the type.
fn elements(array: &ScalarValue, data_type: &DataType) -> Option<Vec<Scalar>> {
    let ScalarValue::List(array) = array else { return None };
    let values = array.is_valid(0).then(|| array.value(0))?;
    let of = |at| canonical(&ScalarValue::try_from_array(&values, at).ok()?, data_type);
    (0..values.len()).map(of).collect()
}

fn canonical(value: &ScalarValue, data_type: &DataType) -> Option<Scalar> {
    if value.is_null() {
        return Some(Scalar::Null);
    }
    let value = match value.data_type() == *data_type {
        true => value.clone(),
        false if is_text(data_type) && is_text(&value.data_type()) => {
            value.cast_to(data_type).ok()?
        }
        false => return None,
    };
    scalar_at(&value.to_array().ok()?, 0).ok()
}
