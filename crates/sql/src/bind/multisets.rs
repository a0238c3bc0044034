//! `INTERSECT ALL` and `EXCEPT ALL`: equal rows are numbered on both sides, so that each row meets one
//! of the other side.

use std::ops::ControlFlow;

use datafusion::execution::SessionState;
use granary_common::{Error, Result};
use sqlparser::ast::{Ident, Query, SetExpr, SetOperator, SetQuantifier, TableFactor, VisitorMut};

use super::templates;
use crate::error_from_datafusion;
use crate::walk::walk_mut;

/// Most of these operations in one query.
const OPERATIONS_MAX: usize = 32;

/// The number of a row among those that are equal to it.
const COPY: &str = "__granary_copy";

/// Numbers the rows of every such operation.
pub(super) async fn expand(query: &mut Query, state: &SessionState, sql: &str) -> Result<()> {
    for _ in 0..OPERATIONS_MAX {
        let mut search = Search { put: None, found: None };
        let _ = walk_mut(query, &mut search);
        let Some((left, right, op)) = search.found else { return Ok(()) };
        let names = columns_of(&left, query, state, sql).await?;
        let body = numbered(&left, &right, op, &names)?;
        let mut search = Search { put: Some(body), found: None };
        let _ = walk_mut(query, &mut search);
    }
    Err(Error::invalid(format!("a query has at most {OPERATIONS_MAX} EXCEPT ALL or INTERSECT ALL")))
}

/// Finds the first operation, or puts something in its place.
struct Search {
    put: Option<SetExpr>,
    found: Option<(SetExpr, SetExpr, SetOperator)>,
}

impl Search {
    fn look(&mut self, body: &mut SetExpr) -> ControlFlow<()> {
        let SetExpr::SetOperation { op, set_quantifier, left, right } = body else {
            return ControlFlow::Continue(());
        };
        self.look(left)?;
        self.look(right)?;
        let is_one = matches!(op, SetOperator::Except | SetOperator::Intersect)
            && *set_quantifier == SetQuantifier::All;
        if !is_one {
            return ControlFlow::Continue(());
        }
        match self.put.take() {
            Some(put) => *body = put,
            None => self.found = Some((left.as_ref().clone(), right.as_ref().clone(), *op)),
        }
        ControlFlow::Break(())
    }
}

impl VisitorMut for Search {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.look(&mut query.body)
    }
}

/// The names of the columns of one side.
async fn columns_of(
    side: &SetExpr,
    whole: &Query,
    state: &SessionState,
    sql: &str,
) -> Result<Vec<String>> {
    let mut query = templates::query("SELECT 1")?;
    *query.body = side.clone();
    query.with = whole.with.clone();
    super::clauses::name_outputs(&mut query);
    super::rewrite(&mut query, state, sql)?;
    let plan = super::plan(state, query).await;
    let plan = plan.map_err(|error| error_from_datafusion(error, Some(sql)))?;
    Ok(plan.schema().fields().iter().map(|field| field.name().clone()).collect())
}

/// The operation over numbered rows, and its columns without the number.
fn numbered(left: &SetExpr, right: &SetExpr, op: SetOperator, names: &[String]) -> Result<SetExpr> {
    let columns: Vec<String> = (1..=names.len()).map(|at| format!("c{at}")).collect();
    let columns = columns.join(", ");
    let side = |side: &SetExpr| -> Result<SetExpr> {
        let text = format!(
            "SELECT {columns}, row_number() OVER (PARTITION BY {columns}) AS {COPY} \
             FROM (SELECT 1) AS __granary_side ({columns})"
        );
        with_source(&text, side.clone())
    };
    let mark = |at: usize| Ident::with_quote('`', &names[at]).to_string();
    let shown: Vec<String> =
        (0..names.len()).map(|at| format!("c{} AS {}", at + 1, mark(at))).collect();
    let text = format!("SELECT {} FROM (SELECT 1) AS __granary_rows", shown.join(", "));
    let all = SetExpr::SetOperation {
        op,
        set_quantifier: SetQuantifier::Distinct,
        left: Box::new(side(left)?),
        right: Box::new(side(right)?),
    };
    with_source(&text, all)
}

/// The SELECT of `text`, whose only table is `source`.
fn with_source(text: &str, source: SetExpr) -> Result<SetExpr> {
    let mut query = templates::query(text)?;
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(table) = select.from.first_mut()
        && let TableFactor::Derived { subquery, .. } = &mut table.relation
    {
        *subquery.body = source;
    }
    Ok(*query.body)
}
