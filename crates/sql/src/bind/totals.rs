//! `GROUP BY ... WITH TOTALS`, WITH ROLLUP and WITH CUBE as sets of keys.

use granary_common::{Error, Result};
use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, GroupByWithModifier, Ident, LimitClause, OrderBy,
    OrderByKind, Query, Select, SelectItem, SetExpr, Value, ValueWithSpan,
};

use super::clauses::enclose;
use super::templates;

/// Names of the columns that WITH TOTALS adds and takes away again.
const IS_TOTAL: &str = "__granary_is_total";
const POSITION: &str = "__granary_total_position";
const KEY: &str = "__granary_total_key_";

/// The modifiers of one GROUP BY; WITH TOTALS is the query's, since it is about its last row.
pub(super) fn rewrite_select(select: &mut Select) -> Result<()> {
    let GroupByExpr::Expressions(keys, modifiers) = &mut select.group_by else {
        return match &select.group_by {
            GroupByExpr::All(modifiers) if !modifiers.is_empty() => {
                Err(Error::unsupported("GROUP BY ALL takes no WITH: name the keys"))
            }
            _ => Ok(()),
        };
    };
    let sets = |keys: &mut Vec<Expr>| keys.drain(..).map(|key| vec![key]).collect::<Vec<_>>();
    let set = match modifiers.as_slice() {
        [] => return Ok(()),
        [GroupByWithModifier::Rollup] => Expr::Rollup(sets(keys)),
        [GroupByWithModifier::Cube] => Expr::Cube(sets(keys)),
        [GroupByWithModifier::Totals] => {
            return Err(Error::unsupported(
                "WITH TOTALS is offered for a plain SELECT only, not for a part of a UNION",
            ));
        }
        [GroupByWithModifier::GroupingSets(_)] => {
            return Err(Error::unsupported("GROUPING SETS after keys is not supported yet"));
        }
        _ => return Err(Error::unsupported("GROUP BY takes one WITH, not several")),
    };
    modifiers.clear();
    keys.push(set);
    Ok(())
}

/// `WITH TOTALS`: the groups and the set without keys, which comes last whatever the limit is.
pub(super) fn rewrite_query(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    let GroupByExpr::Expressions(keys, modifiers) = &mut select.group_by else { return Ok(()) };
    if !matches!(modifiers.as_slice(), [GroupByWithModifier::Totals]) {
        return Ok(());
    }
    if select.distinct.is_some() || select.qualify.is_some() {
        return Err(Error::unsupported(
            "WITH TOTALS together with QUALIFY or DISTINCT is not supported yet",
        ));
    }
    modifiers.clear();
    let mut keys = std::mem::take(keys);
    for key in &mut keys {
        show_position(key, &select.projection);
    }
    let Some(first) = keys.first().cloned() else {
        return Err(Error::invalid("WITH TOTALS needs keys to group by"));
    };
    let is_total = templates::substitute(templates::expression("grouping($1)")?, &[first])?;
    let mut order = vec![is_total.to_string()];
    if let Some(OrderBy { kind: OrderByKind::Expressions(sorts), .. }) = &mut query.order_by {
        for sort in sorts {
            show_position(&mut sort.expr, &select.projection);
            order.push(sort.to_string());
        }
    }
    query.order_by = None;
    keep_groups_of_having(select, &keys)?;
    let position = format!("row_number() OVER (ORDER BY {})", order.join(", "));
    select.projection.push(named(is_total, IS_TOTAL));
    select.projection.push(named(templates::expression(&position)?, POSITION));
    let sets = Expr::GroupingSets(vec![keys, Vec::new()]);
    select.group_by = GroupByExpr::Expressions(vec![sets], Vec::new());
    let kept = limit(query.limit_clause.take())?;
    enclose(
        query,
        &format!(
            "SELECT * EXCEPT ({IS_TOTAL}, {POSITION}) FROM (SELECT 1) \
             WHERE {IS_TOTAL} = 1 OR ({kept}) ORDER BY {POSITION}"
        ),
    )
}

fn named(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::new(name) }
}

/// The last row is about the rows of those groups that pass HAVING. So the other rows go before they are
/// grouped, by the keys of these groups; a NULL is a key like any other one.
fn keep_groups_of_having(select: &mut Select, keys: &[Expr]) -> Result<()> {
    if select.having.is_none() {
        return Ok(());
    }
    let mut groups = select.clone();
    groups.group_by = GroupByExpr::Expressions(keys.to_vec(), Vec::new());
    let names: Vec<String> = (0..keys.len()).map(|at| format!("{KEY}{at}")).collect();
    groups.projection.extend(keys.iter().zip(&names).map(|(key, name)| named(key.clone(), name)));
    let of_key = |key: &str| format!("({key}) IS NULL, valueOrDefault({key})");
    let outer = names.iter().map(|name| of_key(name)).collect::<Vec<_>>().join(", ");
    let mut passing = templates::query("SELECT 1")?;
    *passing.body = SetExpr::Select(Box::new(groups));
    enclose(&mut passing, &format!("SELECT {outer} FROM (SELECT 1)"))?;
    let own: Vec<String> = (1..=keys.len()).map(|at| of_key(&format!("${at}"))).collect();
    let own = templates::expression(&format!("({})", own.join(", ")))?;
    let is_kept = Expr::InSubquery {
        expr: Box::new(templates::substitute(own, keys)?),
        subquery: Box::new(passing),
        negated: false,
    };
    select.having = None;
    select.selection = Some(match select.selection.take() {
        Some(condition) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(condition))),
            op: BinaryOperator::And,
            right: Box::new(is_kept),
        },
        None => is_kept,
    });
    Ok(())
}

/// Which groups the limit keeps.
fn limit(clause: Option<LimitClause>) -> Result<String> {
    match clause {
        None => Ok("TRUE".to_owned()),
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            let first = offset.map_or_else(|| "0".to_owned(), |offset| offset.value.to_string());
            let most = limit.map(|limit| format!(" AND {POSITION} <= {first} + {limit}"));
            Ok(format!("{POSITION} > {first}{}", most.unwrap_or_default()))
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
            Ok(format!("{POSITION} > {offset} AND {POSITION} <= {offset} + {limit}"))
        }
        Some(_) => Err(Error::unsupported("WITH TOTALS and LIMIT BY do not go together yet")),
    }
}

/// What a position in the SELECT list stands for.
fn show_position(key: &mut Expr, projection: &[SelectItem]) {
    let Expr::Value(ValueWithSpan { value: Value::Number(position, _), .. }) = key else { return };
    let at = position.parse::<usize>().ok().and_then(|position| position.checked_sub(1));
    if let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) =
        at.and_then(|at| projection.get(at))
    {
        *key = expr.clone();
    }
}
