//! Texts beside columns of UUIDs and addresses. Arrow carries a UUID and an IPv6 as texts in one spelling
//! and an IPv4 as a number; what is compared with them is written in any spelling.
//!
//! ```text
//!   u = '61F0C404-...'     u = '61f0c404-...'
//!   a IN ('1.2.3.4')       a IN (16909060)
//!   toString(a)            IPv4NumToString(a)
//!   concat(a, 'x')         concat(IPv4NumToString(a), 'x')
//!   a = ?                  a = toIPv4(?), whose type is text
//! ```

use std::net::Ipv4Addr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, Operator, lit};
use granary_catalog::ColumnType;
use granary_functions::{TEXT_OF, TO_IPV4, TO_IPV4_OR_NULL, call};

use super::fixed::compares;
use crate::insert::{canonical_ipv6, canonical_uuid};

/// The type that a table declares for a column.
type Declared<'a> = &'a dyn Fn(&Column) -> Option<ColumnType>;

/// One expression with its texts in the spelling of the columns beside them.
pub(super) fn settle(mut expression: Expr, declared: Declared<'_>) -> Result<Transformed<Expr>> {
    let changed = match &mut expression {
        Expr::BinaryExpr(binary) if compares(&binary.op) => {
            spell(&binary.left, vec![binary.right.as_mut()], declared)?
                || spell(&binary.right, vec![binary.left.as_mut()], declared)?
        }
        Expr::InList(list) => spell(&list.expr, list.list.iter_mut().collect(), declared)?,
        Expr::Between(between) => {
            let bounds = vec![between.low.as_mut(), between.high.as_mut()];
            spell(&between.expr, bounds, declared)?
        }
        // What functions of texts are given is marked.
        Expr::ScalarFunction(function)
            if ["toString", TEXT_OF].contains(&function.func.name())
                && function.args.first().is_some_and(|value| is_address(value, declared)) =>
        {
            let text = call("IPv4NumToString", std::mem::take(&mut function.args))?;
            return Ok(Transformed::yes(text));
        }
        Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => {
            let (left, right) = (binary.left.as_mut(), binary.right.as_mut());
            as_text(left, declared)? | as_text(right, declared)?
        }
        Expr::Like(like) => as_text(like.expr.as_mut(), declared)?,
        // What Arrow carries as another type has the name that its table declares.
        Expr::ScalarFunction(function) if function.func.name() == "toTypeName" => {
            let declared = function.args.first().and_then(|value| type_of(value, declared));
            let is_other = |of: &ColumnType| {
                matches!(
                    of.base(),
                    ColumnType::Ipv4
                        | ColumnType::Ipv6
                        | ColumnType::Uuid
                        | ColumnType::Enum8(_)
                        | ColumnType::Enum16(_)
                )
            };
            match declared.filter(is_other) {
                Some(of) => return Ok(Transformed::yes(lit(of.to_string()))),
                None => false,
            }
        }
        _ => false,
    };
    Ok(Transformed::new_transformed(expression, changed))
}

fn type_of(value: &Expr, declared: Declared<'_>) -> Option<ColumnType> {
    match value {
        Expr::Column(column) => declared(column),
        Expr::Alias(alias) => type_of(&alias.expr, declared),
        Expr::ScalarFunction(function) if function.func.name() == "coalesce" => {
            let of = type_of(function.args.first()?, declared)?;
            (*of.base() == ColumnType::Ipv4).then_some(ColumnType::Ipv4)
        }
        other => made_type(other),
    }
}

/// The type of what a function makes, where Arrow carries another one.
pub(super) fn made_type(value: &Expr) -> Option<ColumnType> {
    match value {
        Expr::Alias(alias) => made_type(&alias.expr),
        Expr::ScalarFunction(function) => {
            let name = function.func.name();
            match name == TO_IPV4_OR_NULL {
                true => Some(ColumnType::Ipv4.into_nullable()),
                false => (name == TO_IPV4).then_some(ColumnType::Ipv4),
            }
        }
        _ => None,
    }
}

fn is_address(value: &Expr, declared: Declared<'_>) -> bool {
    type_of(value, declared).is_some_and(|of| *of.base() == ColumnType::Ipv4)
}

/// Makes an address its text; gives whether it was one.
fn as_text(value: &mut Expr, declared: Declared<'_>) -> Result<bool> {
    let found = is_address(value, declared);
    if found {
        *value = call("IPv4NumToString", vec![std::mem::take(value)])?;
    }
    Ok(found)
}

/// Changes the texts among `others`; gives whether it did.
fn spell(value: &Expr, others: Vec<&mut Expr>, declared: Declared<'_>) -> Result<bool> {
    let is_open = |other: &Expr| matches!(other, Expr::Placeholder(_));
    if !others.iter().any(|other| written(other).is_some() || is_open(other)) {
        return Ok(false);
    }
    let Some(of) = type_of(value, declared) else { return Ok(false) };
    let mut changed = false;
    for other in others {
        if is_open(other) && *of.base() == ColumnType::Ipv4 {
            *other = call(TO_IPV4, vec![of_text(std::mem::take(other))])?;
            changed = true;
        }
        let Some(text) = written(other) else { continue };
        let spelled = match of.base() {
            ColumnType::Uuid => canonical_uuid(text).map(lit),
            ColumnType::Ipv6 => canonical_ipv6(text).map(lit),
            ColumnType::Ipv4 => match text.parse::<Ipv4Addr>() {
                Ok(address) => Some(lit(u32::from(address))),
                Err(_) => return plan_err!("cannot parse '{text}' as IPv4"),
            },
            _ => return Ok(false),
        };
        if let Some(spelled) = spelled {
            *other = spelled;
            changed = true;
        }
    }
    Ok(changed)
}

/// A placeholder for a text.
fn of_text(placeholder: Expr) -> Expr {
    match placeholder {
        Expr::Placeholder(Placeholder { id, .. }) => {
            let field = Field::new("", DataType::Utf8, true);
            Expr::Placeholder(Placeholder { id, field: Some(Arc::new(field)) })
        }
        other => other,
    }
}

/// A text that is written down.
pub(super) fn written(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Literal(
            value @ (ScalarValue::Utf8(_) | ScalarValue::Utf8View(_) | ScalarValue::LargeUtf8(_)),
            _,
        ) => value.try_as_str().flatten(),
        _ => None,
    }
}
