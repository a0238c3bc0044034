//! `(a, b) IN (SELECT x, y ...)`: rows are compared part by part.

use granary_common::Result;
use sqlparser::ast::{Expr, Query, SetExpr, TableFactor};

use super::templates;

/// The rows of the subquery and their columns.
const MEMBERS: &str = "__granary_members";

/// As EXISTS. NOT IN holds only where no row can be equal, so a NULL counts as possibly equal.
pub(super) fn rewrite(parts: &[Expr], subquery: &Query, negated: bool) -> Result<Expr> {
    let columns: Vec<String> =
        (1..=parts.len()).map(|place| format!("{MEMBERS}_{place}")).collect();
    let equal = |(place, column): (usize, &String)| match negated {
        false => format!("{MEMBERS}.{column} = (${})", place + 1),
        true => format!("possiblyTrue({MEMBERS}.{column} = (${}))", place + 1),
    };
    let conditions: Vec<String> = columns.iter().enumerate().map(equal).collect();
    let not = if negated { "NOT " } else { "" };
    let text = format!(
        "{not}EXISTS (SELECT 1 FROM (SELECT 1) AS {MEMBERS} ({}) WHERE {})",
        columns.join(", "),
        conditions.join(" AND ")
    );
    let mut exists = templates::substitute(templates::expression(&text)?, parts)?;
    let inner = match &mut exists {
        Expr::Exists { subquery, .. } => Some(subquery),
        Expr::UnaryOp { expr, .. } => match expr.as_mut() {
            Expr::Exists { subquery, .. } => Some(subquery),
            _ => None,
        },
        _ => None,
    };
    if let Some(inner) = inner
        && let SetExpr::Select(select) = inner.body.as_mut()
        && let Some(table) = select.from.first_mut()
        && let TableFactor::Derived { subquery: members, .. } = &mut table.relation
    {
        **members = subquery.clone();
    }
    Ok(exists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_compared_part_by_part() {
        let subquery = templates::query("SELECT x, y FROM u").expect("a query");
        let parts: Vec<Expr> =
            ["a", "b"].iter().map(|text| templates::expression(text).expect("a part")).collect();
        for (negated, begins, compares) in [
            (false, "EXISTS (SELECT 1 FROM (SELECT x, y FROM u)", "__granary_members_1 = (a) AND"),
            (true, "NOT EXISTS (SELECT 1 FROM (SELECT x, y FROM u)", "possiblyTrue("),
        ] {
            let text = rewrite(&parts, &subquery, negated).expect("a condition").to_string();
            assert!(text.starts_with(begins), "{text}");
            assert!(text.contains(compares), "{text}");
        }
    }
}
