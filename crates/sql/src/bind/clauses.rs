//! Clauses of ClickHouse's SELECT in standard words.

use granary_common::{Error, Result};
use sqlparser::ast::{
    BinaryOperator, Expr, Fetch, Ident, LimitClause, OrderBy, OrderByExpr, OrderByKind, Query,
    Select, SelectFlavor, SelectItem, SetExpr, TableFactor, TopQuantity, Value,
    WildcardAdditionalOptions,
};

use super::{fill, overlooked, templates, totals};

/// Names of the columns that LIMIT BY adds and takes away again.
const POSITION_IN_GROUP: &str = "__granary_position_in_group";
const POSITION: &str = "__granary_position";

/// Gives every output column of the whole query the name that its text has, as clients expect.
pub(super) fn name_outputs(query: &mut Query) {
    let distinct_order = matches!(query.body.as_ref(), SetExpr::Select(select) if select.distinct.is_some())
        && query.order_by.is_some();
    // The first SELECT of a UNION names its columns.
    let mut body = query.body.as_mut();
    while let SetExpr::SetOperation { left, .. } = body {
        body = left.as_mut();
    }
    let SetExpr::Select(select) = body else { return };
    // ORDER BY of a SELECT DISTINCT finds its expressions by their own names.
    if distinct_order {
        return;
    }
    let mut names: Vec<String> = Vec::new();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expression) = item else { continue };
        let text = expression.to_string();
        let repeated = names.iter().filter(|name| **name == text).count();
        names.push(text.clone());
        let is_column = matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        let name = match repeated {
            0 if is_column => continue,
            0 => text,
            n => format!("{text}_{}", n + 1),
        };
        *item = SelectItem::ExprWithAlias {
            expr: expression.clone(),
            alias: Ident::with_quote('`', name),
        };
    }
}

/// Gives an expression that an inner query shows twice a name of its own; the engine takes no two
/// columns of one name.
pub(super) fn name_apart(select: &mut Select) {
    let mut names: Vec<String> = Vec::new();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expression) = item else { continue };
        let text = expression.to_string();
        let repeated = names.iter().filter(|name| **name == text).count();
        names.push(text.clone());
        if repeated > 0 {
            let alias = Ident::with_quote('`', format!("{text}_{}", repeated + 1));
            *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias };
        }
    }
}

/// Names the value of a subquery after the subquery: by the expression alone it could not be told
/// from the same expression outside.
pub(super) fn name_value(query: &mut Query) {
    let text = format!("({query})");
    if let SetExpr::Select(select) = query.body.as_mut()
        && let [SelectItem::UnnamedExpr(expression)] = select.projection.as_slice()
    {
        let alias = Ident::with_quote('`', text);
        select.projection = vec![SelectItem::ExprWithAlias { expr: expression.clone(), alias }];
    }
}

/// Rewrites what the clauses of one query say. Inner queries come by themselves.
pub(super) fn rewrite_query(query: &mut Query) -> Result<()> {
    // The client makes the format; a notice of the statement says so.
    query.format_clause = None;
    top_as_limit(query)?;
    overlooked::check_query(query)?;
    query.settings = None;
    order_by_positions(query);
    fill::as_table(query)?;
    totals::rewrite_query(query)?;
    ties_as_window(query)?;
    rewrite_selects(query.body.as_mut())?;
    if let Some(LimitClause::LimitOffset { limit_by, .. }) = &query.limit_clause
        && !limit_by.is_empty()
    {
        limit_by_as_window(query)?;
    }
    fetch_as_limit(query)?;
    whole_limits(query)
}

/// `LIMIT 100 / 10`: what is computed becomes a whole number, since `/` gives floats.
fn whole_limits(query: &mut Query) -> Result<()> {
    let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause else {
        return Ok(());
    };
    for rows in limit.iter_mut().chain(offset.iter_mut().map(|offset| &mut offset.value)) {
        if matches!(rows, Expr::BinaryOp { .. } | Expr::Nested(_) | Expr::Function(_)) {
            *rows = super::calls::substitute("CAST($1 AS Int64)", std::slice::from_ref(rows))?;
        }
    }
    Ok(())
}

/// `SELECT TOP n ...`, which knows the order of the whole query.
fn top_as_limit(query: &mut Query) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    let Some(top) = select.top.take() else { return Ok(()) };
    if top.percent {
        return Err(Error::unsupported("TOP takes no PERCENT"));
    }
    if query.fetch.is_some() || query.limit_clause.is_some() {
        return Err(Error::invalid("a query takes TOP or LIMIT, not both"));
    }
    let quantity = match top.quantity {
        Some(TopQuantity::Constant(rows)) => templates::expression(&rows.to_string())?,
        Some(TopQuantity::Expr(rows)) => rows,
        None => return Err(Error::invalid("TOP needs a number of rows")),
    };
    let with_ties = top.with_ties;
    query.fetch = Some(Fetch { with_ties, percent: false, quantity: Some(quantity) });
    Ok(())
}

/// The standard's FETCH FIRST n ROWS ONLY.
fn fetch_as_limit(query: &mut Query) -> Result<()> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.percent || fetch.with_ties {
        return Err(Error::unsupported("FETCH takes no PERCENT"));
    }
    let limit = Some(fetch.quantity.map_or_else(|| templates::expression("1"), Ok)?);
    query.limit_clause = Some(match query.limit_clause.take() {
        None => LimitClause::LimitOffset { limit, offset: None, limit_by: Vec::new() },
        Some(LimitClause::LimitOffset { limit: None, offset, limit_by }) => {
            LimitClause::LimitOffset { limit, offset, limit_by }
        }
        Some(_) => return Err(Error::invalid("a query takes LIMIT or FETCH, not both")),
    });
    Ok(())
}

/// Every SELECT of a UNION; queries in brackets come by themselves.
fn rewrite_selects(body: &mut SetExpr) -> Result<()> {
    match body {
        SetExpr::Select(select) => rewrite_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            rewrite_selects(left)?;
            rewrite_selects(right)
        }
        _ => Ok(()),
    }
}

fn rewrite_select(select: &mut Select) -> Result<()> {
    if let Some(early) = select.prewhere.take() {
        select.selection = Some(match select.selection.take() {
            Some(late) => Expr::BinaryOp {
                left: Box::new(Expr::Nested(Box::new(early))),
                op: BinaryOperator::And,
                right: Box::new(Expr::Nested(Box::new(late))),
            },
            None => early,
        });
    }
    // Beside AND a number is a condition.
    for condition in [select.selection.as_mut(), select.having.as_mut()].into_iter().flatten() {
        if super::calls::may_be_number(condition) {
            *condition =
                super::calls::substitute("($1) AND true", std::slice::from_ref(condition))?;
        }
    }
    // `FROM t` alone means all of it.
    if select.projection.is_empty() && select.flavor == SelectFlavor::FromFirstNoSelect {
        select.projection.push(SelectItem::Wildcard(WildcardAdditionalOptions::default()));
    }
    totals::rewrite_select(select)?;
    overlooked::check_select(select)
}

/// `LIMIT n BY keys`: rows are numbered within their group and, to keep the order, overall.
fn limit_by_as_window(query: &mut Query) -> Result<()> {
    let (limit, offset, keys) = match query.limit_clause.take() {
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) => (limit, offset, limit_by),
        other => {
            query.limit_clause = other;
            return Ok(());
        }
    };
    let Some(limit) = limit else {
        return Err(Error::invalid("LIMIT ... BY needs a number of rows"));
    };
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::unsupported("LIMIT ... BY is offered for a plain SELECT only"));
    };
    let order = order_text(query.order_by.as_ref());
    let texts: Vec<String> = keys.iter().map(Expr::to_string).collect();
    let keys = texts.join(", ");
    let numbered = |by: &str, name: &str| -> Result<SelectItem> {
        let text = format!("row_number() OVER ({by}{order})");
        Ok(SelectItem::ExprWithAlias {
            expr: templates::expression(&text)?,
            alias: Ident::new(name),
        })
    };
    select.projection.push(numbered(&format!("PARTITION BY {keys} "), POSITION_IN_GROUP)?);
    select.projection.push(numbered("", POSITION)?);
    query.order_by = None;
    // A second LIMIT, for all groups together, came as FETCH.
    let whole = query.fetch.take();
    let first = offset.map_or_else(|| "0".to_owned(), |offset| offset.value.to_string());
    let outer = format!(
        "SELECT * EXCEPT ({POSITION_IN_GROUP}, {POSITION}) FROM (SELECT 1) \
         WHERE {POSITION_IN_GROUP} > {first} AND {POSITION_IN_GROUP} <= {first} + {limit} \
         ORDER BY {POSITION}"
    );
    enclose(query, &outer)?;
    query.fetch = whole;
    Ok(())
}

/// Makes `query` the only table of the query in `outer`, which begins as `SELECT ... FROM (SELECT 1)`.
/// What WITH defines is known in both.
pub(super) fn enclose(query: &mut Query, outer: &str) -> Result<()> {
    let mut inner = templates::query(outer)?;
    std::mem::swap(query, &mut inner);
    query.with = inner.with.take();
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(table) = select.from.first_mut()
        && let TableFactor::Derived { subquery, .. } = &mut table.relation
    {
        **subquery = inner;
    }
    Ok(())
}

/// `ORDER BY ALL`: by all columns from left to right. DataFusion does it for columns alone.
fn order_by_positions(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let Some(OrderBy { kind, .. }) = &mut query.order_by else { return };
    let OrderByKind::All(options) = kind else { return };
    let is_one = |item: &SelectItem| {
        matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
    };
    if !select.projection.iter().all(is_one) {
        return;
    }
    let key = |position: usize| OrderByExpr {
        expr: Expr::Value(Value::Number(position.to_string(), false).into()),
        options: *options,
        with_fill: None,
    };
    *kind = OrderByKind::Expressions((1..=select.projection.len()).map(key).collect());
}

/// `LIMIT n WITH TIES`, which came as FETCH: also the rows that are equal to the last one.
fn ties_as_window(query: &mut Query) -> Result<()> {
    if !query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties && !fetch.percent) {
        return Ok(());
    }
    let order = order_text(query.order_by.as_ref());
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::unsupported("WITH TIES is offered for a plain SELECT only"));
    };
    if order.is_empty() || select.distinct.is_some() {
        return Err(Error::invalid("LIMIT ... WITH TIES needs ORDER BY, and takes no DISTINCT"));
    }
    let first = match query.limit_clause.take() {
        None => "0".to_owned(),
        Some(LimitClause::LimitOffset { limit: None, offset, limit_by }) if limit_by.is_empty() => {
            offset.map_or_else(|| "0".to_owned(), |offset| offset.value.to_string())
        }
        Some(_) => return Err(Error::invalid("a query takes one LIMIT, or LIMIT ... WITH TIES")),
    };
    let quantity = query.fetch.take().and_then(|fetch| fetch.quantity);
    let quantity = quantity.map_or_else(|| "1".to_owned(), |quantity| quantity.to_string());
    for (function, name) in [("rank", POSITION_IN_GROUP), ("row_number", POSITION)] {
        select.projection.push(SelectItem::ExprWithAlias {
            expr: templates::expression(&format!("{function}() OVER ({order})"))?,
            alias: Ident::new(name),
        });
    }
    query.order_by = None;
    enclose(
        query,
        &format!(
            "SELECT * EXCEPT ({POSITION_IN_GROUP}, {POSITION}) FROM (SELECT 1) \
             WHERE {POSITION} > {first} AND {POSITION_IN_GROUP} <= {first} + {quantity} \
             ORDER BY {POSITION}"
        ),
    )
}

fn order_text(order_by: Option<&OrderBy>) -> String {
    match order_by.map(|order| &order.kind) {
        Some(OrderByKind::Expressions(keys)) => {
            let texts: Vec<String> = keys.iter().map(ToString::to_string).collect();
            format!("ORDER BY {}", texts.join(", "))
        }
        _ => String::new(),
    }
}
