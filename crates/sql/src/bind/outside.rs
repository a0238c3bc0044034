//! `file(...)`, `s3(...)` and `url(...)` in FROM. What they name is opened before the query is planned,
//! by whoever opened the session: this crate never sees a file.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result as EngineResult, ScalarValue, internal_err};
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr as PlannedExpr;
use granary_common::{Error, Result};
use sqlparser::ast::{
    ColumnOption, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor,
    TableFunctionArgs as TreeArgs, Value, Visitor, VisitorMut,
};

use super::positions::{hide, mentioned};
use super::tables::structure;
use super::zoned::text_of;
use crate::types::type_from_sql;
use crate::walk::{walk, walk_mut};

/// The engine's function that stands for what was opened, by its number.
const OPENED: &str = "__granary_outside";

const FUNCTIONS: [Known; 7] = [
    ("file", "file", false),
    ("s3", "s3", false),
    ("gcs", "s3", false),
    ("url", "url", false),
    ("s3cluster", "s3", true),
    ("urlcluster", "url", true),
    ("filecluster", "file", true),
];

/// Where a row comes from: columns that are there for queries that name one of them.
const VIRTUAL_COLUMNS: [&str; 2] = ["_path", "_file"];

/// Behind the arguments of a call whose query names one of them.
const WITH_VIRTUAL: &str = "__granary_virtual_columns";

/// Statements read so many of them at most.
const CALLS_MAX: usize = 256;

/// A call as it was written. Its arguments may be secret, so it is never shown.
pub struct OutsideCall {
    /// `file`, `s3` or `url`.
    pub function: &'static str,
    pub arguments: Vec<String>,
    /// Whether the query asks for `_path` and `_file` too.
    pub virtual_columns: bool,
}

impl OutsideCall {
    /// What a function names that is written to.
    ///
    /// # Errors
    /// Unsupported for other functions, InvalidInput for arguments that are no texts.
    pub fn of(function: &Function) -> Result<OutsideCall> {
        let (FunctionArguments::List(list), Some(known)) = (&function.args, known(&function.name))
        else {
            return Err(Error::unsupported(format!(
                "{} is not written to; there are file() and s3()",
                function.name
            )));
        };
        call(known, &list.args)
    }

    /// The columns of a structure, `'a Int64, b Nullable(String)'`.
    ///
    /// # Errors
    /// InvalidInput when the text is none.
    pub fn structure(text: &str) -> Result<Schema> {
        let mut fields = Vec::new();
        for column in structure(text)? {
            let column_type = type_from_sql(&column.data_type)?;
            let is_null = |option: &ColumnOption| matches!(option, ColumnOption::Null);
            let nullable = column.options.iter().any(|option| is_null(&option.option));
            let name = column.name.value;
            let nullable = nullable || column_type.is_nullable();
            fields.push(Field::new(name, column_type.arrow(), nullable));
        }
        Ok(Schema::new(fields))
    }
}

/// Opens what calls name.
#[async_trait]
pub trait OutsideTables: fmt::Debug + Send + Sync {
    /// The rows that a call names.
    async fn open(&self, call: OutsideCall) -> Result<Arc<dyn TableProvider>>;
}

/// What a session has opened.
#[derive(Debug)]
pub(super) struct Opened {
    opener: Arc<dyn OutsideTables>,
    tables: Mutex<Vec<Arc<dyn TableProvider>>>,
}

impl Opened {
    pub(super) fn add(&self, table: Arc<dyn TableProvider>) -> usize {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.push(table);
        tables.len() - 1
    }
}

impl TableFunctionImpl for Opened {
    fn call_with_args(
        &self,
        args: TableFunctionArgs<'_, '_>,
    ) -> EngineResult<Arc<dyn TableProvider>> {
        let number = match args.exprs() {
            [PlannedExpr::Literal(ScalarValue::Int64(Some(number)), _)] => usize::try_from(*number),
            [PlannedExpr::Literal(ScalarValue::UInt64(Some(number)), _)] => {
                usize::try_from(*number)
            }
            _ => return internal_err!("what was opened is called by its number"),
        };
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        match number.ok().and_then(|number| tables.get(number)) {
            Some(table) => Ok(Arc::clone(table)),
            None => internal_err!("nothing was opened under this number"),
        }
    }
}

/// Lets queries of the session read files, which `opener` opens.
pub fn register_outside(state: &mut SessionState, opener: Arc<dyn OutsideTables>) {
    let opened = Arc::new(Opened { opener, tables: Mutex::default() });
    state.config_mut().set_extension(Arc::clone(&opened));
    state.register_udtf(OPENED, opened);
}

/// Opens what the query names and puts it in the place of the calls.
pub(super) async fn settle(query: &mut Query, state: &SessionState) -> Result<()> {
    if let ControlFlow::Break(error) = walk_mut(query, &mut Virtuals) {
        return Err(error);
    }
    let mut found = Calls::default();
    if let ControlFlow::Break(error) = walk(&*query, &mut found) {
        return Err(error);
    }
    if found.calls.is_empty() {
        return Ok(());
    }
    let Some(opened) = state.config().get_extension::<Opened>() else {
        return Err(Error::unsupported("files cannot be read here"));
    };
    let mut numbers = Vec::with_capacity(found.calls.len());
    for call in found.calls {
        numbers.push(opened.add(opened.opener.open(call).await?));
    }
    match walk_mut(query, &mut Places { numbers: numbers.into_iter() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// A function: as it is written, as it is meant, and whether it takes the name of a cluster first.
type Known = (&'static str, &'static str, bool);

fn known(name: &ObjectName) -> Option<Known> {
    let [part] = name.0.as_slice() else { return None };
    let lower = part.as_ident()?.value.to_lowercase();
    FUNCTIONS.into_iter().find(|(name, ..)| *name == lower)
}

/// The function that `factor` calls.
fn called(factor: &TableFactor) -> Option<(Known, &TreeArgs)> {
    match factor {
        TableFactor::Table { name, args: Some(arguments), .. } => Some((known(name)?, arguments)),
        _ => None,
    }
}

fn call(known: Known, arguments: &[FunctionArg]) -> Result<OutsideCall> {
    let (written, function, of_cluster) = known;
    let mut arguments = texts(written, arguments)?;
    // All workers read what all reach, and a cluster is the only one that there is.
    if of_cluster && !arguments.is_empty() {
        arguments.remove(0);
    }
    let virtual_columns = arguments.pop_if(|last| last == WITH_VIRTUAL).is_some();
    Ok(OutsideCall { function, arguments, virtual_columns })
}

/// Marks the calls of SELECTs that name one of the virtual columns.
struct Virtuals;

impl VisitorMut for Virtuals {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let ordered_by =
            query.order_by.as_ref().is_some_and(|order_by| mentioned(order_by, VIRTUAL_COLUMNS));
        match query.body.as_mut() {
            SetExpr::Select(select) if ordered_by => mark(select),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        if mentioned(select, VIRTUAL_COLUMNS) {
            mark(select);
        }
        ControlFlow::Continue(())
    }
}

fn mark(select: &mut Select) {
    let mut is_any = false;
    for table in &mut select.from {
        let joined = table.joins.iter_mut().map(|join| &mut join.relation);
        for factor in std::iter::once(&mut table.relation).chain(joined) {
            if called(factor).is_none() {
                continue;
            }
            is_any = true;
            let mark = Expr::Identifier(Ident::new(WITH_VIRTUAL));
            let mark = FunctionArg::Unnamed(FunctionArgExpr::Expr(mark));
            if let TableFactor::Table { args: Some(arguments), .. } = factor
                && !arguments.args.contains(&mark)
            {
                arguments.args.push(mark);
            }
        }
    }
    for item in &mut select.projection {
        match item {
            SelectItem::Wildcard(options) if is_any => hide(options, VIRTUAL_COLUMNS),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Calls {
    calls: Vec<OutsideCall>,
}

impl Visitor for Calls {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        let Some((known, arguments)) = called(factor) else { return ControlFlow::Continue(()) };
        if self.calls.len() >= CALLS_MAX {
            return ControlFlow::Break(Error::exhausted(format!(
                "a statement reads files at more than {CALLS_MAX} places"
            )));
        }
        match call(known, &arguments.args) {
            Ok(call) => {
                self.calls.push(call);
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// The arguments; words stand for themselves.
fn texts(function: &str, arguments: &[FunctionArg]) -> Result<Vec<String>> {
    let wrong = || {
        // Not shown: it may be secret.
        Error::invalid(format!("{function} takes texts that are written out"))
    };
    let text = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => match value {
            Expr::Identifier(word) => Ok(word.value.clone()),
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => Err(wrong()),
            other => text_of(other).map(str::to_owned).ok_or_else(wrong),
        },
        _ => Err(wrong()),
    };
    arguments.iter().map(text).collect()
}

struct Places {
    numbers: std::vec::IntoIter<usize>,
}

impl VisitorMut for Places {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        let Some(((written, ..), _)) = called(factor) else { return ControlFlow::Continue(()) };
        let Some(number) = self.numbers.next() else {
            return ControlFlow::Break(Error::internal("a file was not opened"));
        };
        put_opened(factor, number, written);
        ControlFlow::Continue(())
    }
}

/// Puts what was opened under this number in the place of a call of `written`.
pub(super) fn put_opened(factor: &mut TableFactor, number: usize, written: &str) {
    if let TableFactor::Table { name, alias, args, .. } = factor {
        *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(OPENED))]);
        let number = Expr::Value(Value::Number(number.to_string(), false).into());
        let number = FunctionArg::Unnamed(FunctionArgExpr::Expr(number));
        *args = Some(TreeArgs { args: vec![number], settings: None });
        alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: Ident::with_quote('`', written),
            columns: Vec::new(),
            at: None,
        });
    }
}
