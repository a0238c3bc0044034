//! Texts beside columns of UUIDs and addresses. Arrow carries a UUID and an IPv6 as texts in one spelling
//! and an IPv4 as a number; what is compared with them is written in any spelling.
//!
//! ```text
//!   u = '61F0C404-...'     u = '61f0c404-...'
//!   a IN ('1.2.3.4')       a IN (16909060)
//!   toString(a)            IPv4NumToString(a)
//! ```

use std::net::Ipv4Addr;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::logical_expr::{Expr, lit};
use granary_catalog::ColumnType;
use granary_functions::call;

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
        Expr::ScalarFunction(function) if function.func.name() == "toString" => {
            let is_address = function.args.first().is_some_and(|value| {
                type_of(value, declared).is_some_and(|of| *of.base() == ColumnType::Ipv4)
            });
            if is_address {
                let text = call("IPv4NumToString", std::mem::take(&mut function.args))?;
                return Ok(Transformed::yes(text));
            }
            false
        }
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
        _ => None,
    }
}

/// Changes the texts among `others`; gives whether it did.
fn spell(value: &Expr, others: Vec<&mut Expr>, declared: Declared<'_>) -> Result<bool> {
    if !matches!(value, Expr::Column(_)) || !others.iter().any(|other| written(other).is_some()) {
        return Ok(false);
    }
    let Some(of) = type_of(value, declared) else { return Ok(false) };
    let mut changed = false;
    for other in others {
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

/// A text that is written down.
fn written(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Literal(
            value @ (ScalarValue::Utf8(_) | ScalarValue::Utf8View(_) | ScalarValue::LargeUtf8(_)),
            _,
        ) => value.try_as_str().flatten(),
        _ => None,
    }
}
