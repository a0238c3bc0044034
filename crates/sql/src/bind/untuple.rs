//! `untuple(t)` in a SELECT list: a column for each element of the tuple.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::execution::SessionState;
use granary_common::{Error, Result};
use sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, SetExpr, VisitorMut};

use super::calls::{plain_arguments, substitute};
use super::templates;
use crate::error_from_datafusion;
use crate::walk::walk_mut;

/// Most tuples that one query takes apart.
const TUPLES_MAX: usize = 32;

/// Writes the elements out.
pub(super) async fn expand(query: &mut Query, state: &SessionState, sql: &str) -> Result<()> {
    for _ in 0..TUPLES_MAX {
        let mut first = First { written: None, found: None };
        let _ = walk_mut(query, &mut first);
        let Some((select, tuple, prefix)) = first.found else { return Ok(()) };
        let elements = elements_of(&select, &tuple, query, state, sql).await?;
        let written = elements.iter().map(|element| item(&tuple, element, prefix.as_ref()));
        let written = written.collect::<Result<Vec<_>>>()?;
        let _ = walk_mut(query, &mut First { written: Some(written), found: None });
    }
    Err(Error::invalid(format!("a query takes at most {TUPLES_MAX} tuples apart")))
}

/// The tuple, and the name behind it.
fn call_of(item: &SelectItem) -> Option<(Expr, Option<Ident>)> {
    let (expression, alias) = match item {
        SelectItem::UnnamedExpr(expression) => (expression, None),
        SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.clone())),
        _ => return None,
    };
    let Expr::Function(function) = expression else { return None };
    if !function.name.to_string().eq_ignore_ascii_case("untuple") {
        return None;
    }
    match plain_arguments(function)?.as_slice() {
        [tuple] => Some((tuple.clone(), alias)),
        _ => None,
    }
}

/// Finds the first tuple, or writes its elements in its place.
struct First {
    written: Option<Vec<SelectItem>>,
    found: Option<(Select, Expr, Option<Ident>)>,
}

impl VisitorMut for First {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let place = select.projection.iter().position(|item| call_of(item).is_some());
        let Some(place) = place else { return ControlFlow::Continue(()) };
        match self.written.take() {
            Some(written) => {
                select.projection.splice(place..=place, written);
            }
            None => {
                let call = call_of(&select.projection[place]);
                self.found = call.map(|(tuple, prefix)| (select.clone(), tuple, prefix));
            }
        }
        ControlFlow::Break(())
    }
}

/// The names of the tuple's elements.
async fn elements_of(
    select: &Select,
    tuple: &Expr,
    whole: &Query,
    state: &SessionState,
    sql: &str,
) -> Result<Vec<String>> {
    let mut query = templates::query("SELECT 1")?;
    if let SetExpr::Select(one) = query.body.as_mut() {
        one.from = select.from.clone();
        one.projection = vec![SelectItem::UnnamedExpr(tuple.clone())];
    }
    query.with = whole.with.clone();
    super::rewrite(&mut query, state, sql)?;
    let plan = super::plan(state, query).await;
    let plan = plan.map_err(|error| error_from_datafusion(error, Some(sql)))?;
    match plan.schema().field(0).data_type() {
        DataType::Struct(fields) => Ok(fields.iter().map(|field| field.name().clone()).collect()),
        _ => Err(Error::invalid(format!("untuple takes a tuple, not '{tuple}'"))),
    }
}

fn item(tuple: &Expr, element: &str, prefix: Option<&Ident>) -> Result<SelectItem> {
    let text = format!("tupleElement($1, '{}')", element.replace('\'', "''"));
    let name = match prefix {
        Some(prefix) => format!("{}.{element}", prefix.value),
        None => element.to_owned(),
    };
    let expr = substitute(&text, std::slice::from_ref(tuple))?;
    Ok(SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('`', name) })
}
