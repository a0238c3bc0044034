//! Views with parameters: `FROM v(p = 5)`, where the query of `v` has `{p:UInt64}`. Their plans are
//! made before the query is planned, by whoever opened the session.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::execution::SessionState;
use granary_catalog::View;
use granary_common::{Error, Result};
use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArgOperator, Query, TableFactor,
    UnaryOperator, Value, Visitor, VisitorMut,
};

use super::enums::SessionTables;
use super::outside::{Opened, put_opened};
use super::zoned::text_of;
use crate::resolve::{Named, resolve_name};
use crate::statement::TableName;
use crate::walk::{walk, walk_mut};

/// Calls of one statement.
const CALLS_MAX: usize = 256;

/// Binds views with values for their parameters.
#[async_trait]
pub trait ParameterViews: fmt::Debug + Send + Sync {
    /// The rows of `view`. `values` are texts by the names of the parameters, in lower case.
    async fn bind_with(
        &self,
        view: &View,
        values: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn TableProvider>>;
}

/// What binds such views, as an extension of the session's configuration.
#[derive(Debug)]
pub struct SessionViewCalls(pub Arc<dyn ParameterViews>);

/// Binds the views that the query calls, and puts them in the place of the calls.
pub(super) async fn settle(query: &mut Query, state: &SessionState) -> Result<()> {
    let config = state.config();
    let (Some(tables), Some(views), Some(opened)) = (
        config.get_extension::<SessionTables>(),
        config.get_extension::<SessionViewCalls>(),
        config.get_extension::<Opened>(),
    ) else {
        return Ok(());
    };
    let current_database = &state.config_options().catalog.default_schema;
    let known = Known { tables: &tables, current_database };
    let mut found = Calls { known: &known, calls: Vec::new() };
    if let ControlFlow::Break(error) = walk(&*query, &mut found) {
        return Err(error);
    }
    if found.calls.is_empty() {
        return Ok(());
    }
    let mut numbers = Vec::with_capacity(found.calls.len());
    for (view, values) in found.calls {
        numbers.push(opened.add(views.0.bind_with(&view, &values).await?));
    }
    match walk_mut(query, &mut Places { known: &known, numbers: numbers.into_iter() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The views of a session.
struct Known<'a> {
    tables: &'a SessionTables,
    current_database: &'a str,
}

impl Known<'_> {
    /// The view that `factor` calls, and the arguments: all of them have names.
    fn called<'f>(&self, factor: &'f TableFactor) -> Option<(Arc<View>, Arguments<'f>)> {
        let TableFactor::Table { name, args: Some(arguments), .. } = factor else { return None };
        let arguments: Option<Vec<_>> = arguments.args.iter().map(named).collect();
        let name = TableName::of(name).ok()?;
        match resolve_name(&self.tables.0, self.current_database, &name).ok()? {
            Named::View(view) => Some((view, arguments?)),
            Named::Table(_) => None,
        }
    }
}

/// Values by the names of parameters.
type Arguments<'f> = Vec<(&'f str, &'f Expr)>;

/// `name = value`.
fn named(argument: &FunctionArg) -> Option<(&str, &Expr)> {
    match argument {
        FunctionArg::Named {
            name,
            arg: FunctionArgExpr::Expr(value),
            operator: FunctionArgOperator::Equals,
        } => Some((name.value.as_str(), value)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        })) => match left.as_ref() {
            Expr::Identifier(name) => Some((name.value.as_str(), right.as_ref())),
            _ => None,
        },
        _ => None,
    }
}

/// A value as the text that the parameter's type reads.
fn value_text(view: &str, name: &str, value: &Expr) -> Result<String> {
    let text = match value {
        Expr::Value(literal) => match &literal.value {
            Value::Number(digits, _) => Some(digits.clone()),
            Value::Boolean(value) => Some(value.to_string()),
            _ => text_of(value).map(str::to_owned),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(literal) => match &literal.value {
                Value::Number(digits, _) => Some(format!("-{digits}")),
                _ => None,
            },
            _ => None,
        },
        Expr::Nested(inner) => Some(value_text(view, name, inner)?),
        Expr::TypedString(literal) => literal.value.value.clone().into_string(),
        _ => None,
    };
    text.ok_or_else(|| {
        Error::invalid(format!(
            "view '{view}': the value of the parameter '{name}' is written out, as a number, a text \
             or a date"
        ))
    })
}

struct Calls<'a> {
    known: &'a Known<'a>,
    calls: Vec<(Arc<View>, BTreeMap<String, String>)>,
}

impl Calls<'_> {
    fn add(&mut self, factor: &TableFactor) -> Result<()> {
        let Some((view, arguments)) = self.known.called(factor) else { return Ok(()) };
        if self.calls.len() >= CALLS_MAX {
            return Err(Error::exhausted(format!(
                "a statement calls views at more than {CALLS_MAX} places"
            )));
        }
        let mut values = BTreeMap::new();
        for (name, value) in arguments {
            let text = value_text(&view.name, name, value)?;
            if values.insert(name.to_lowercase(), text).is_some() {
                return Err(Error::invalid(format!(
                    "view '{}' got the parameter '{name}' twice",
                    view.name
                )));
            }
        }
        self.calls.push((view, values));
        Ok(())
    }
}

impl Visitor for Calls<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        super::or_break(self.add(factor))
    }
}

struct Places<'a> {
    known: &'a Known<'a>,
    numbers: std::vec::IntoIter<usize>,
}

impl VisitorMut for Places<'_> {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let Some((view, _)) = self.known.called(factor) else { return ControlFlow::Continue(()) };
        match self.numbers.next() {
            Some(number) => {
                put_opened(factor, number, &view.name);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(Error::internal("a view was not bound")),
        }
    }
}
