//! Queries to DataFusion's logical plans.
//!
//! ```text
//!   tree ──names──► exact names ──clauses, calls──► ANSI meaning ──SqlToRel──► LogicalPlan
//!                                       ▲                             │
//!                                       └────────── repair ◄──────────┘ unknown column
//! ```
//!
//! What needs no types is rewritten in the tree; what does is decided by the planners that
//! [`crate::functions::register`] adds to the session.

mod access;
mod accurate;
mod aggregates;
mod ambiguous;
mod answered;
mod calls;
mod chances;
mod clauses;
mod coerced;
mod columns;
mod compared;
mod containers;
mod correlated;
mod crossed;
mod declared;
mod dictionaries;
mod digests;
mod digits;
mod each;
mod enums;
mod fill;
mod fixed;
mod hidden;
mod joins;
mod json;
mod lambdas;
mod literals;
mod matched;
mod members;
mod memberships;
mod merged;
mod multisets;
mod names;
mod opaque;
mod order;
mod outside;
mod overlooked;
mod parameters;
mod parts;
mod past;
mod patterns;
mod pivots;
mod positions;
mod ranges;
mod repair;
mod repeated;
mod rows;
mod series;
mod setting_calls;
mod several;
mod shown;
mod spelled;
mod sql_functions;
mod tables;
mod templates;
mod totals;
mod type_names;
mod units;
mod unnested;
mod untuple;
mod using;
mod view_calls;
mod whole;
mod windows;
mod words;
mod zoned;

use std::ops::ControlFlow;

use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr as PlannedExpr, LogicalPlan};
use datafusion::sql::parser::Statement as PlannerStatement;
use granary_common::{Error, Result};
use granary_execution::subqueries::nullable_subqueries;
use sqlparser::ast::{
    Expr, ExprWithAlias, Query, Select, SetExpr, Statement as Tree, TableFactor, VisitorMut,
};

pub(crate) use calls::{plain_arguments, with_arguments};
pub use enums::SessionTables;
pub use names::SessionUser;
pub use outside::{OutsideCall, OutsideTables, register_outside};
pub use parameters::{parameter_types, with_named_parameters, with_parameters};
pub use past::{past_point, reads_past};
pub use setting_calls::SessionSettings;
pub use shown::as_shown;
pub use sql_functions::check as check_function;
pub(crate) use sql_functions::expand as expand_functions;
pub use tables::query_of_table;
pub(crate) use tables::{SERIES, all_of};
pub(crate) use templates::{expression as parsed_expression, query as parsed_query};
pub(crate) use type_names::may_be_null;
pub use view_calls::{ParameterViews, SessionViewCalls};

use crate::error_from_datafusion;
use crate::statement::setting_text;
use crate::walk::{visit_expressions_mut, walk_mut};
use names::Names;

/// Most corrections of one query by [`repair`], so that binding always ends.
const REPAIRS_MAX: usize = 64;

/// Binds a query at the session's catalog. `sql` is its text, for errors.
///
/// # Errors
/// InvalidInput for unknown names and wrong types, NotFound for unknown tables, Unsupported for
/// clauses that are not offered.
pub async fn bind_query(state: &SessionState, query: &Query, sql: &str) -> Result<LogicalPlan> {
    let mut query = query.clone();
    sql_functions::expand(&mut query, state, sql)?;
    past::settle(&mut query, state).await?;
    outside::settle(&mut query, state).await?;
    view_calls::settle(&mut query, state).await?;
    pivots::settle(&mut query, state, sql).await?;
    columns::expand(&mut query, state, sql).await?;
    untuple::expand(&mut query, state, sql).await?;
    // Before what the expressions are made of shows.
    clauses::name_outputs(&mut query);
    multisets::expand(&mut query, state, sql).await?;
    rewrite(&mut query, state, sql)?;
    // Long VALUES name nothing that could be corrected, and copying them costs.
    let repairs_max = match *query.body {
        SetExpr::Values(_) => 0,
        _ => REPAIRS_MAX,
    };
    let mut before_aliases = None;
    for _ in 0..repairs_max {
        match plan(state, query.clone()).await {
            Ok(plan) => return Ok(plan),
            Err(error) if repair::repair(&mut query, &error) => {}
            Err(error) if ambiguous::column(&error).is_some() => {
                match first_meant(state, &query, &error).await {
                    Some((_, Some(plan))) => return Ok(plan),
                    Some((settled, None)) => query = settled,
                    None => return Err(error_from_datafusion(error, Some(sql))),
                }
            }
            // The last chance; where it does not help, what was wrong before counts.
            Err(error) => match before_aliases.take() {
                None if repair::group_by_aliases(&mut query) => before_aliases = Some(error),
                first => {
                    let error = first.unwrap_or(error);
                    return Err(error_from_datafusion(error, Some(sql)));
                }
            },
        }
    }
    plan(state, query).await.map_err(|error| error_from_datafusion(error, Some(sql)))
}

/// The query with a column that several tables have taken for the first one's, and its plan if no other
/// column is in doubt.
async fn first_meant(
    state: &SessionState,
    query: &Query,
    error: &DataFusionError,
) -> Option<(Query, Option<LogicalPlan>)> {
    let name = ambiguous::column(error)?;
    for candidate in ambiguous::candidates(query, &name) {
        match plan(state, candidate.clone()).await {
            Ok(plan) => return Some((candidate, Some(plan))),
            Err(other) if ambiguous::column(&other).is_some_and(|other| other != name) => {
                return Some((candidate, None));
            }
            Err(_) => {}
        }
    }
    None
}

async fn plan(
    state: &SessionState,
    query: Query,
) -> std::result::Result<LogicalPlan, DataFusionError> {
    let tree = Tree::Query(Box::new(query));
    let plan = state.statement_to_plan(PlannerStatement::Statement(Box::new(tree))).await?;
    let plan = correlated::join_correlated(nullable_subqueries(plan)?, state)?;
    let names = Names::of(state, "");
    let plan = fixed::settle(literals::floats_beside_floats(plan)?, Some(&names))?;
    windows::refuse_in_filters(&plan)?;
    opaque::hide_casts(coerced::coerce(ranges::settle(order::keep_orders(plan, &names)?)?)?)
}

/// Binds the rows of an INSERT: the plan's columns are the named columns, or all visible ones.
/// VALUES without placeholders are better taken by [`crate::insert_values`].
///
/// # Errors
/// As [`bind_query`].
pub async fn bind_insert_source(
    state: &SessionState,
    query: &Query,
    sql: &str,
) -> Result<LogicalPlan> {
    let mut query = query.clone();
    crate::insert::defaults_as_null(&mut query);
    bind_query(state, &query, sql).await
}

/// The settings that a query brings along, `SELECT ... SETTINGS name = value`, as text. Binding
/// leaves them out; whoever runs the query applies them.
pub fn query_settings(query: &Query) -> Vec<(String, String)> {
    let settings = query.settings.iter().flatten();
    settings.map(|setting| (setting.key.value.clone(), setting_text(&setting.value))).collect()
}

/// Plans one expression over the columns of `schema`, for defaults and keys.
pub(crate) fn bind_expression(
    state: &SessionState,
    expression: &Expr,
    schema: &DFSchema,
) -> Result<PlannedExpr> {
    let mut expression = expression.clone();
    sql_functions::refuse(&expression, state)?;
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    repair::match_case(&mut expression, &columns);
    let mut rewriter = Rewriter {
        names: Names::of(state, ""),
        state,
        ctes: Vec::new(),
        columns: enums::Columns::default(),
    };
    if let ControlFlow::Break(error) = walk_mut(&mut expression, &mut rewriter) {
        return Err(error);
    }
    let expression = ExprWithAlias { expr: expression, alias: None };
    state
        .create_logical_expr_from_sql_expr(expression, schema)
        .and_then(|bound| fixed::settle_expression(bound, schema))
        .map_err(|error| error_from_datafusion(error, None))
}

/// An expression in the words of DataFusion, apart from any session.
pub(crate) fn standard_words(mut expression: Expr) -> Result<Expr> {
    match visit_expressions_mut(&mut expression, |inner| or_break(calls::rewrite(inner))) {
        ControlFlow::Continue(()) => Ok(expression),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The names of functions that the tree's rewrites know.
pub(crate) fn rewritten_names() -> impl Iterator<Item = String> {
    templates::names().chain(aggregates::names().chain(lambdas::names()).map(str::to_owned))
}

/// The aggregate that `name` is with or without combinators.
#[cfg(test)]
pub(crate) fn plain_aggregate(name: &str) -> Option<&'static str> {
    aggregates::plain(name)
}

/// Gives the query its ANSI meaning, in place.
fn rewrite(query: &mut Query, state: &SessionState, sql: &str) -> Result<()> {
    let names = Names::of(state, sql);
    let columns = enums::Columns::of(query, &names);
    let mut rewriter = Rewriter { names, state, ctes: Vec::new(), columns };
    match walk_mut(query, &mut rewriter) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Visits the tree once; what it changes is in the modules beside.
struct Rewriter<'a> {
    names: Names<'a>,
    state: &'a SessionState,
    /// Names of the common table expressions that are in scope somewhere.
    ctes: Vec<String>,
    columns: enums::Columns,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.ctes.extend(tables.map(|cte| cte.alias.name.value.clone()));
        or_break(self.columns.order(query))?;
        memberships::rewrite_order(query)?;
        repeated::name_of_lists(query);
        or_break(rows::floats_beside_floats(query))?;
        or_break(rows::times_beside_texts(query))?;
        or_break(rows::with_subqueries(query))?;
        or_break(clauses::rewrite_query(query))?;
        or_break(positions::show_in_query(query, &self.names, &self.ctes))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        or_break(matched::rewrite(select))?;
        or_break(unnested::join(select))?;
        or_break(rows::in_projection(select))?;
        windows::name_in_lower_case(select);
        windows::refine(select);
        or_break(using::settle(select))?;
        or_break(crossed::cross(select))?;
        memberships::rewrite(select)?;
        joins::nest(select);
        clauses::name_apart(select);
        or_break(hidden::hide(select, self.state, &self.ctes))?;
        or_break(positions::show_in_select(select, &self.names, &self.ctes))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        or_break(overlooked::check_table(factor))?;
        or_break(pivots::rewrite(factor))?;
        or_break(merged::rewrite(factor, &self.names))?;
        or_break(tables::rewrite(factor))?;
        repeated::name_apart(factor);
        if let TableFactor::Table { name, args: None, .. } = factor {
            or_break(self.names.resolve(name, &self.ctes))?;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        if let Some(value) = names::of_session(expression, &self.names) {
            *expression = value;
        }
        match setting_calls::rewrite(expression, &self.names) {
            Ok(Some(value)) => *expression = value,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        if let Expr::Subquery(query) = expression {
            or_break(several::as_tuple(query))?;
            clauses::name_value(query);
        }
        match dictionaries::rewrite(expression, &self.names) {
            Ok(Some(lookup)) => *expression = lookup,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        or_break(self.columns.rewrite(expression))?;
        windows::refer_in_lower_case(expression);
        windows::settle_frame(expression);
        or_break(patterns::rewrite(expression))?;
        or_break(compared::rewrite(expression))?;
        or_break(calls::rewrite(expression))
    }
}

fn or_break(result: Result<()>) -> ControlFlow<Error> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}
