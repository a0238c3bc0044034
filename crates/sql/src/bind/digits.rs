//! Decimals and times with a number of digits.

use granary_common::Result;
use sqlparser::ast::Expr;

use super::calls::substitute;

/// The call in other words; `None` when it is another function.
pub(super) fn rewrite(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    match (lower, arguments) {
        ("todecimal32", [value, scale]) => decimal(value, 9, scale).map(Some),
        ("todecimal64", [value, scale]) => decimal(value, 18, scale).map(Some),
        ("todecimal128", [value, scale]) => decimal(value, 38, scale).map(Some),
        ("todecimal256", [value, scale]) => decimal(value, 76, scale).map(Some),
        ("todatetime64", [value, precision]) => {
            let text = format!("CAST($1 AS DateTime64({precision}))");
            substitute(&text, std::slice::from_ref(value)).map(Some)
        }
        ("makedatetime64", [_, _, _, _, _, _, rest @ ..]) if rest.len() <= 2 => {
            let precision = rest.get(1).map_or_else(|| "3".to_owned(), Expr::to_string);
            let fraction = if rest.is_empty() { "0" } else { "CAST($7 AS Int64)" };
            let text = format!(
                "__granary_of_ticks(__granary_ticks(CAST(makeDateTime($1, $2, $3, $4, $5, $6) AS \
                 DateTime64({precision}))) + {fraction}, CAST('1970-01-01' AS DateTime64({precision})))"
            );
            substitute(&text, arguments).map(Some)
        }
        _ => match time_or(lower, arguments)? {
            Some(found) => Ok(Some(found)),
            None => decimal_or(lower, arguments),
        },
    }
}

/// `toDateTime64OrNull(x, precision)` and its kin.
fn time_or(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let (Some(kind), [_, precision, default @ ..]) =
        (lower.strip_prefix("todatetime64or"), arguments)
    else {
        return Ok(None);
    };
    let tried = format!("TRY_CAST($1 AS DateTime64({precision}))");
    let text = match (kind, default) {
        ("null", []) => tried,
        ("zero" | "default", []) => {
            format!("coalesce({tried}, CAST('1970-01-01' AS DateTime64({precision})))")
        }
        ("default", [_]) => format!("coalesce({tried}, $3)"),
        _ => return Ok(None),
    };
    substitute(&text, arguments).map(Some)
}

/// `toDecimal64OrNull(x, scale)` and its kin.
fn decimal_or(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let Some(rest) = lower.strip_prefix("todecimal") else { return Ok(None) };
    let sizes = [("32", 9), ("64", 18), ("128", 38), ("256", 76)];
    let found = sizes.iter().find_map(|(bits, digits)| Some((rest.strip_prefix(bits)?, digits)));
    let (Some((kind, digits)), [value, scale, default @ ..]) = (found, arguments) else {
        return Ok(None);
    };
    let tried = format!("TRY_CAST($1 AS Decimal({digits}, {scale}))");
    let text = match (kind, default) {
        ("ornull", []) => tried,
        ("orzero" | "ordefault", []) => {
            format!("coalesce({tried}, CAST(0 AS Decimal({digits}, {scale})))")
        }
        ("ordefault", [_]) => format!("coalesce({tried}, $2)"),
        _ => return Ok(None),
    };
    let arguments: Vec<Expr> = std::iter::once(value).chain(default).cloned().collect();
    substitute(&text, &arguments).map(Some)
}

fn decimal(value: &Expr, precision: u8, scale: &Expr) -> Result<Expr> {
    substitute(&format!("CAST($1 AS Decimal({precision}, {scale}))"), std::slice::from_ref(value))
}
