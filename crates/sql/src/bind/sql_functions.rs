//! Functions that are written in SQL: a call becomes the function's expression, with the arguments in
//! the places of its parameters.
//!
//! ```text
//!   CREATE FUNCTION f AS (x, y) -> x * y + 1        f(a + 1, 2)  ──►  ((a + 1) * 2 + 1)
//! ```

mod places;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::execution::SessionState;
use granary_catalog::{Snapshot, SqlFunction};
use granary_common::{Error, Result, did_you_mean};
use sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, LambdaFunction, OneOrManyWithParens, Query, Select,
    SelectItem, VisitMut, Visitor, VisitorMut,
};

use super::calls::plain_arguments;
use super::enums::SessionTables;
use super::{rewritten_names, templates};
use crate::error::place_of;
use crate::statement::CreateFunction;
use crate::walk::{has_more_expressions, visit_expressions, walk, walk_mut};
use granary_functions::function_reference;
use places::{places_of, with_arguments};

/// Calls within calls within calls.
const DEPTH_MAX: usize = 32;
/// Expressions that one call comes to: arguments are written wherever the body has their parameters.
const EXPRESSIONS_MAX: usize = 100_000;
/// Calls that one statement comes to.
const CALLS_MAX: usize = 10_000;

/// Puts the functions' expressions in the place of their calls. `sql` is the statement, for errors.
///
/// # Errors
/// InvalidInput for a wrong number of arguments and for functions that call each other in a circle.
pub(crate) fn expand(tree: &mut impl VisitMut, state: &SessionState, sql: &str) -> Result<()> {
    let Some(tables) = state.config().get_extension::<SessionTables>() else { return Ok(()) };
    let SessionTables(snapshot) = tables.as_ref();
    match snapshot.functions.is_empty() {
        true => Ok(()),
        false => Expander { snapshot, sql, calls: 0, within: Vec::new() }.expand(tree),
    }
}

/// Refuses such calls in what a table keeps: it would change, or fail, with the function.
pub(super) fn refuse(expression: &Expr, state: &SessionState) -> Result<()> {
    let Some(tables) = state.config().get_extension::<SessionTables>() else { return Ok(()) };
    let called = visit_expressions(expression, |inner| match called(&tables.0, inner) {
        Some((function, _)) => ControlFlow::Break(function.name.clone()),
        None => ControlFlow::Continue(()),
    });
    match called {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => Err(Error::unsupported(format!(
            "'{name}' is a function in SQL, which a table's own expressions can't call: write out \
             what it does"
        ))),
    }
}

/// Checks a function that is to be created.
///
/// # Errors
/// InvalidInput for a name that is taken by a function of the system, for names in the body that are
/// no parameters, and for a function that would call itself; Unsupported for subqueries.
pub fn check(state: &SessionState, create: &CreateFunction, sql: &str) -> Result<()> {
    let name = create.name.as_str();
    if is_own(state, name) {
        return Err(Error::already_exists(format!(
            "the system has a function '{name}' already{}",
            place_of(name, sql)
        )));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = create.parameters.iter().find(|parameter| !seen.insert(*parameter)) {
        return Err(Error::invalid(format!("function '{name}' has the parameter '{twice}' twice")));
    }
    let mut checked = Checked { create, sql, bound: Vec::new() };
    if let ControlFlow::Break(error) = walk(&create.body, &mut checked) {
        return Err(error);
    }
    let Some(tables) = state.config().get_extension::<SessionTables>() else { return Ok(()) };
    let within = vec![name.to_owned()];
    Expander { snapshot: &tables.0, sql, calls: 0, within }.expand(&mut create.body.clone())
}

/// Whether the system brings a function of this name along.
fn is_own(state: &SessionState, name: &str) -> bool {
    let lower = name.to_lowercase();
    let mut described = function_reference().iter().flat_map(|entry| {
        let names = std::iter::once(&entry.name).chain(&entry.aliases);
        names.map(String::as_str)
    });
    state.scalar_functions().contains_key(&lower)
        || state.aggregate_functions().contains_key(&lower)
        || state.window_functions().contains_key(&lower)
        || described.any(|known| known.eq_ignore_ascii_case(name))
        || rewritten_names().any(|known| known.eq_ignore_ascii_case(name))
}

/// The function in SQL that an expression calls.
fn called<'s, 'e>(
    snapshot: &'s Snapshot,
    expression: &'e Expr,
) -> Option<(&'s SqlFunction, &'e Function)> {
    let Expr::Function(call) = expression else { return None };
    let [part] = call.name.0.as_slice() else { return None };
    let function = snapshot.find_function(&part.as_ident()?.value)?;
    Some((function.as_ref(), call))
}

/// Puts expressions in the place of calls.
struct Expander<'a> {
    snapshot: &'a Snapshot,
    sql: &'a str,
    calls: usize,
    /// The functions whose bodies are being read.
    within: Vec<String>,
}

impl Expander<'_> {
    fn expand(&mut self, tree: &mut impl VisitMut) -> Result<()> {
        match walk_mut(tree, self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    /// What a call means, if it is one of a function in SQL.
    fn meaning(&mut self, expression: &Expr) -> Result<Option<Expr>> {
        self.refuse_circle(expression)?;
        let snapshot = self.snapshot;
        let Some((function, call)) = called(snapshot, expression) else { return Ok(None) };
        let name = function.name.as_str();
        let place = || place_of(name, self.sql);
        let is_plain = call.over.is_none()
            && call.filter.is_none()
            && call.null_treatment.is_none()
            && call.within_group.is_empty()
            && matches!(call.parameters, FunctionArguments::None);
        let arguments = plain_arguments(call).filter(|_| is_plain).ok_or_else(|| {
            let place = place();
            Error::invalid(format!("'{name}' is a function in SQL: it takes values only{place}"))
        })?;
        let wanted = function.parameters.as_slice();
        if arguments.len() != wanted.len() {
            return Err(Error::invalid(format!(
                "'{name}' takes {} arguments ({}), the call has {}{}",
                wanted.len(),
                wanted.join(", "),
                arguments.len(),
                place()
            )));
        }
        self.calls += 1;
        if self.calls > CALLS_MAX || self.within.len() >= DEPTH_MAX {
            return Err(Error::exhausted(format!(
                "functions in SQL call each other at more than {CALLS_MAX} places, or more than \
                 {DEPTH_MAX} deep{}",
                place()
            )));
        }
        let mut body = templates::expression(&function.body)?;
        self.within.push(function.name.clone());
        let expanded = self.expand(&mut body);
        self.within.pop();
        expanded?;
        if places_of(&body, &function.parameters).zip(&arguments).any(|(places, argument)| {
            places > 1 && has_more_expressions(argument, EXPRESSIONS_MAX / places)
        }) {
            return Err(Error::exhausted(format!(
                "'{name}' comes to more than {EXPRESSIONS_MAX} expressions with its arguments{}",
                place()
            )));
        }
        Ok(Some(with_arguments(body, &function.parameters, arguments)))
    }

    fn refuse_circle(&self, expression: &Expr) -> Result<()> {
        let Expr::Function(call) = expression else { return Ok(()) };
        let name = call.name.to_string();
        match self.within.iter().any(|outer| outer.eq_ignore_ascii_case(&name)) {
            false => Ok(()),
            true => Err(Error::invalid(format!(
                "function '{name}' would call itself ({} -> {name}){}",
                self.within.join(" -> "),
                place_of(&name, self.sql)
            ))),
        }
    }

    /// Whether a call is somewhere in the expression.
    fn has_call(&self, expression: &Expr) -> bool {
        let found = visit_expressions(expression, |inner| match called(self.snapshot, inner) {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        });
        found.is_break()
    }
}

impl VisitorMut for Expander<'_> {
    type Break = Error;

    /// A column keeps the name of the call. ORDER BY of a SELECT DISTINCT finds expressions by their
    /// own names.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        if select.distinct.is_some() {
            return ControlFlow::Continue(());
        }
        let mut names: Vec<String> = Vec::new();
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(expression) = item else { continue };
            if !self.has_call(expression) {
                continue;
            }
            let text = expression.to_string();
            let repeated = names.iter().filter(|name| **name == text).count();
            names.push(text.clone());
            let name = match repeated {
                0 => text,
                n => format!("{text}_{}", n + 1),
            };
            let alias = Ident::with_quote('`', name);
            *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias };
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        match self.meaning(expression) {
            Ok(Some(meaning)) => *expression = meaning,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

fn variables(lambda: &LambdaFunction) -> Vec<&Ident> {
    match &lambda.params {
        OneOrManyWithParens::One(one) => vec![&one.name],
        OneOrManyWithParens::Many(many) => many.iter().map(|parameter| &parameter.name).collect(),
    }
}

/// Looks for what a body can't have.
struct Checked<'a> {
    create: &'a CreateFunction,
    sql: &'a str,
    /// Variables of the lambdas around.
    bound: Vec<Vec<String>>,
}

impl Visitor for Checked<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Error> {
        ControlFlow::Break(Error::unsupported(format!(
            "function '{}' has a subquery: a function in SQL is an expression over its arguments",
            self.create.name
        )))
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Error> {
        let name = match expression {
            Expr::Lambda(lambda) => {
                let names = variables(lambda).into_iter().map(|name| name.value.clone());
                self.bound.push(names.collect());
                return ControlFlow::Continue(());
            }
            Expr::Identifier(ident) => &ident.value,
            Expr::CompoundIdentifier(parts) if !parts.is_empty() => &parts[0].value,
            _ => return ControlFlow::Continue(()),
        };
        let known = self.create.parameters.iter().chain(self.bound.iter().flatten());
        let known: Vec<&str> = known.map(String::as_str).collect();
        if known.contains(&name.as_str()) {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(Error::invalid(format!(
            "'{name}' is no parameter of function '{}', which sees its arguments only{}{}",
            self.create.name,
            did_you_mean(name, known),
            place_of(name, self.sql)
        )))
    }

    fn post_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Error> {
        if matches!(expression, Expr::Lambda(_)) {
            self.bound.pop();
        }
        ControlFlow::Continue(())
    }
}
