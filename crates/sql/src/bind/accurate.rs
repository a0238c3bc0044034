//! Conversions that are asked for by the name of a type.

use granary_common::{Error, Result};
use sqlparser::ast::Expr;

use super::calls::substitute;
use super::zoned::text_of;

/// `accurateCast(x, 'T')` and its kin, and `caseWithExpression`.
pub(super) fn rewrite(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    if lower == "casewithexpression" {
        return case_of(arguments).map(Some);
    }
    let Some(kind) = lower.strip_prefix("accuratecast") else { return Ok(None) };
    let [value, wanted, default @ ..] = arguments else { return Ok(None) };
    let Some(wanted) = text_of(wanted) else {
        return Err(Error::invalid("accurateCast takes the name of a type as a text"));
    };
    let tried = format!("TRY_CAST($1 AS {wanted})");
    let text = match (kind, default) {
        ("", []) => format!("CAST($1 AS {wanted})"),
        ("ornull", []) => tried,
        ("ordefault", []) => format!("valueOrDefault({tried})"),
        ("ordefault", [_]) => format!("coalesce({tried}, $2)"),
        _ => return Ok(None),
    };
    let arguments: Vec<Expr> = std::iter::once(value).chain(default).cloned().collect();
    substitute(&text, &arguments).map(Some)
}

fn case_of(arguments: &[Expr]) -> Result<Expr> {
    let [value, pairs @ .., default] = arguments else {
        return Err(Error::invalid("caseWithExpression takes a value, pairs and a default"));
    };
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(Error::invalid("caseWithExpression takes pairs of a value and a result"));
    }
    pairs.chunks(2).rev().try_fold(default.clone(), |otherwise, pair| {
        let arguments = [value.clone(), pair[0].clone(), pair[1].clone(), otherwise];
        substitute("CASE WHEN ($1) = ($2) THEN $3 ELSE $4 END", &arguments)
    })
}
