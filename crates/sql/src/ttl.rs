//! The rules of a TTL as data that workers act on.
//!
//! Texts stay what SHOW CREATE TABLE writes; what they mean is bound here, with columns by their
//! ids, and bound again by every ALTER TABLE, so that a rule always fits the columns that there are.

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as PlannedColumn, DFSchema};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr as Planned, ExprSchemable, cast};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use granary_catalog::{
    Column, ColumnCodec, ColumnRole, KeyExpression, RollUp, RowExpression, TtlAction, TtlRule,
};
use granary_common::{ColumnId, Error, Result, did_you_mean};
use granary_execution::row_expression::encode;
use sqlparser::ast::Expr;
use std::sync::Arc;

use crate::bind::bind_expression;
use crate::create_table::check_deterministic;
use crate::error::error_from_datafusion;
use crate::mutate::mentions;
use crate::show::identifier;
use crate::statement::{TtlClause, TtlClauseAction, parse_expression};

/// The table that rules are bound for.
#[derive(Clone, Copy)]
pub(crate) struct TtlTable<'a> {
    pub columns: &'a [Column],
    pub order_by: &'a [KeyExpression],
    pub primary_key_len: usize,
    pub partition_by: &'a [KeyExpression],
    /// Columns that rows are distributed by or told apart by.
    pub other_keys: &'a [ColumnId],
    pub state: &'a SessionState,
}

/// Binds the rules of a table and of its columns.
///
/// # Errors
/// InvalidInput for rules that do not fit the table.
pub(crate) fn bind_rules(clauses: &[TtlClause], table: TtlTable<'_>) -> Result<Vec<TtlRule>> {
    let binder = Binder { table, schema: schema_of(table.columns)? };
    let mut rules = Vec::new();
    for clause in clauses {
        let bound = binder.rule(clause);
        rules.push(bound.map_err(|error| error.context(format!("TTL {}", clause.expiry)))?);
    }
    for column in table.columns.iter().filter(|column| column.is_visible()) {
        if let Some(text) = &column.ttl {
            let bound = binder.column_rule(column, &parse_expression(text)?);
            rules.push(
                bound.map_err(|error| {
                    error.context(format!("the TTL of column '{}'", column.name))
                })?,
            );
        }
    }
    Ok(rules)
}

/// The visible columns as a schema to bind over.
pub(crate) fn schema_of(columns: &[Column]) -> Result<DFSchema> {
    let visible = columns.iter().filter(|column| column.is_visible());
    let fields = visible.map(|column| column.column_type.arrow_field(&column.name));
    DFSchema::try_from(Schema::new(fields.collect::<Vec<_>>())).map_err(planning)
}

fn planning(error: DataFusionError) -> Error {
    error_from_datafusion(error, None)
}

fn simplifier(state: &SessionState, schema: &DFSchema) -> ExprSimplifier {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(Arc::clone(state.config_options()))
        .with_current_time()
        .build();
    ExprSimplifier::new(context)
}

/// The expression over the visible columns with its types settled and its constants computed.
pub(crate) fn settled(
    expression: Planned,
    schema: &DFSchema,
    columns: &[Column],
    state: &SessionState,
) -> Result<RowExpression> {
    let simplifier = simplifier(state, schema);
    let coerced = simplifier.coerce(expression, schema);
    let settled = coerced.and_then(|coerced| simplifier.simplify(coerced)).map_err(planning)?;
    encoded(settled, columns)
}

fn encoded(expression: Planned, columns: &[Column]) -> Result<RowExpression> {
    encode(expression, |name| {
        let found = columns.iter().find(|column| column.is_visible() && column.name == name);
        found.map(|column| column.id)
    })
}

/// What the expressions of PARTITION BY mean, for those that are no plain columns.
///
/// # Errors
/// InvalidInput for one that does not bind.
pub(crate) fn partition_expressions(
    partition_by: &[KeyExpression],
    columns: &[Column],
    state: &SessionState,
) -> Result<Vec<Option<RowExpression>>> {
    let schema = schema_of(columns)?;
    let bound = |key: &KeyExpression| {
        let column = columns.iter().find(|column| column.id == key.column);
        let Some(ColumnRole::KeyExpression(text)) = column.map(|column| &column.role) else {
            return Ok(None);
        };
        let bound = bind_expression(state, &parse_expression(text)?, &schema)?;
        settled(bound, &schema, columns, state).map(Some)
    };
    partition_by.iter().map(bound).collect()
}

struct Binder<'a> {
    table: TtlTable<'a>,
    /// The visible columns.
    schema: DFSchema,
}

impl Binder<'_> {
    fn rule(&self, clause: &TtlClause) -> Result<TtlRule> {
        let condition = clause.condition.as_ref().map(|one| self.condition(one)).transpose()?;
        let action = match &clause.action {
            TtlClauseAction::Delete => TtlAction::Delete,
            TtlClauseAction::GroupBy { keys, set } => TtlAction::GroupBy(self.roll_up(keys, set)?),
            TtlClauseAction::Recompress(codec) => {
                let text = codec.to_string();
                if !text.to_ascii_uppercase().starts_with("CODEC(") {
                    return Err(Error::invalid(format!("RECOMPRESS takes CODEC(...), not {text}")));
                }
                let codecs = ColumnCodec::parse(&text);
                TtlAction::RecompressWith(codecs.map_err(|error| error.context("RECOMPRESS"))?)
            }
            TtlClauseAction::MoveTo(place) => TtlAction::Move(place.clone()),
        };
        let is_of_parts = action.recompresses() || matches!(action, TtlAction::Move(_));
        if condition.is_some() && is_of_parts {
            return Err(Error::invalid("WHERE is for rules that delete rows or group them"));
        }
        Ok(TtlRule { expiry: self.expiry(&clause.expiry)?, condition, action })
    }

    fn column_rule(&self, column: &Column, expiry: &Expr) -> Result<TtlRule> {
        self.check_no_key(column, "a column of a key cannot expire")?;
        let default = match &column.default {
            None => None,
            Some(default) => {
                let bound = bind_expression(
                    self.table.state,
                    &parse_expression(default.text())?,
                    &self.schema,
                )?;
                let value = cast(bound, column.column_type.arrow());
                // What is the same at all times is computed by each merge: now() is its time.
                Some(self.encoded(self.simplifier(&self.schema).coerce(value, &self.schema))?)
            }
        };
        let action = TtlAction::Reset { column: column.id, default };
        Ok(TtlRule { expiry: self.expiry(expiry)?, condition: None, action })
    }

    /// The moment as seconds since the epoch.
    fn expiry(&self, expression: &Expr) -> Result<RowExpression> {
        let bound = self.of_row(expression)?;
        let (_, field) = bound.to_field(&self.schema).map_err(planning)?;
        let seconds = match field.data_type() {
            DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Second, None),
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Second, zone.clone()),
            other => {
                return Err(Error::invalid(format!(
                    "it is a {other}, and a Date or a DateTime is needed"
                )));
            }
        };
        self.settled(cast(cast(bound, seconds), DataType::Int64))
    }

    fn condition(&self, expression: &Expr) -> Result<RowExpression> {
        self.settled(cast(self.of_row(expression)?, DataType::Boolean))
    }

    /// The expression, if it depends on the row and on nothing else.
    fn of_row(&self, expression: &Expr) -> Result<Planned> {
        let bound = bind_expression(self.table.state, expression, &self.schema)?;
        check_deterministic(&bound)?;
        match bound.column_refs().is_empty() {
            true => Err(Error::invalid(format!("'{expression}' refers to no column"))),
            false => Ok(bound),
        }
    }

    fn simplifier(&self, schema: &DFSchema) -> ExprSimplifier {
        simplifier(self.table.state, schema)
    }

    fn settled(&self, expression: Planned) -> Result<RowExpression> {
        settled(expression, &self.schema, self.table.columns, self.table.state)
    }

    fn encoded(
        &self,
        expression: std::result::Result<Planned, DataFusionError>,
    ) -> Result<RowExpression> {
        encoded(expression.map_err(planning)?, self.table.columns)
    }

    fn roll_up(&self, keys: &[Expr], set: &[(String, Expr)]) -> Result<RollUp> {
        let primary = &self.table.order_by[..self.table.primary_key_len];
        let texts = keys.iter().map(|key| self.key_text(key)).collect::<Result<Vec<_>>>()?;
        let leads = texts.len() <= primary.len()
            && texts.iter().zip(primary).all(|(text, key)| *text == key.text);
        if !leads {
            return Err(Error::invalid(format!(
                "GROUP BY must be the first expressions of the primary key ({})",
                primary.iter().map(|key| key.text.as_str()).collect::<Vec<_>>().join(", ")
            )));
        }
        let mut aggregates = Aggregates::default();
        let mut assigned = Vec::with_capacity(set.len());
        for (name, value) in set {
            let column = self.column(name)?;
            self.check_no_key(column, "SET cannot change a column of a key")?;
            if assigned.iter().any(|(known, _): &(&Column, Planned)| known.id == column.id) {
                return Err(Error::invalid(format!("SET names column '{name}' twice")));
            }
            let bound = bind_expression(self.table.state, value, &self.schema)?;
            let value = aggregates.taken_out(bound, value, &self.schema)?;
            assigned.push((column, value));
        }
        let results = aggregates.schema()?;
        let simplifier = self.simplifier(&results);
        let mut bound = Vec::with_capacity(assigned.len());
        for (column, value) in assigned {
            let value = cast(value, column.column_type.arrow());
            let value = simplifier.coerce(value, &results).map_err(planning)?;
            let place = |name: &str| results.index_of_column_by_name(None, name);
            let value = encode(value, |name| place(name).map(|at| ColumnId(at as u32)))?;
            bound.push((column.id, value));
        }
        let own = self.simplifier(&self.schema);
        let calls = aggregates.calls.into_iter();
        Ok(RollUp {
            keys: primary[..keys.len()].iter().map(|key| key.column).collect(),
            aggregates: calls
                .map(|call| self.encoded(own.coerce(call, &self.schema)))
                .collect::<Result<_>>()?,
            set: bound,
        })
    }

    /// The text of a key's expression, as keys keep it.
    fn key_text(&self, key: &Expr) -> Result<String> {
        match key {
            Expr::Nested(inner) => self.key_text(inner),
            Expr::Identifier(name) => Ok(identifier(&self.column(&name.value)?.name)),
            computed => Ok(computed.to_string()),
        }
    }

    fn column(&self, name: &str) -> Result<&Column> {
        let visible = || self.table.columns.iter().filter(|column| column.is_visible());
        let exact = visible().find(|column| column.name == name);
        let alike = || visible().find(|column| column.name.eq_ignore_ascii_case(name));
        exact.or_else(alike).ok_or_else(|| {
            let hint = did_you_mean(name, visible().map(|column| column.name.as_str()));
            Error::invalid(format!("unknown column '{name}'{hint}"))
        })
    }

    /// Refuses a column that a key is made of.
    fn check_no_key(&self, column: &Column, what: &str) -> Result<()> {
        let keys = self.table.order_by.iter().chain(self.table.partition_by);
        let mut keys = keys.map(|key| key.column).chain(self.table.other_keys.iter().copied());
        let uses = |id: ColumnId| -> Result<bool> {
            let key = self.table.columns.iter().find(|column| column.id == id);
            match key.map(|column| &column.role) {
                Some(ColumnRole::KeyExpression(text)) => {
                    Ok(mentions(&parse_expression(text)?, &column.name))
                }
                _ => Ok(id == column.id),
            }
        };
        match keys.try_fold(false, |found, id| Ok::<_, Error>(found || uses(id)?))? {
            true => Err(Error::invalid(format!("{what}: '{}'", column.name))),
            false => Ok(()),
        }
    }
}

/// The aggregate functions of assignments.
#[derive(Default)]
struct Aggregates {
    calls: Vec<Planned>,
    fields: Vec<Field>,
}

impl Aggregates {
    fn name(at: usize) -> String {
        format!("__aggregate_{at}")
    }

    /// The expression over the results of its aggregate functions.
    fn taken_out(&mut self, bound: Planned, text: &Expr, schema: &DFSchema) -> Result<Planned> {
        let outer = bound.transform_down(|inner| {
            let call = match &inner {
                Planned::AggregateFunction(_) => inner.clone(),
                _ => return Ok(Transformed::no(inner)),
            };
            let at = match self.calls.iter().position(|known| *known == call) {
                Some(at) => at,
                None => {
                    let (_, field) = call.to_field(schema)?;
                    let at = self.calls.len();
                    let name = Self::name(at);
                    self.fields.push(field.as_ref().clone().with_name(name).with_nullable(true));
                    self.calls.push(call);
                    at
                }
            };
            let result = Planned::Column(PlannedColumn::new_unqualified(Self::name(at)));
            Ok(Transformed::new(result, true, TreeNodeRecursion::Jump))
        });
        let outer = outer.map_err(planning)?.data;
        let is_result =
            |column: &&PlannedColumn| self.fields.iter().any(|field| *field.name() == column.name);
        match outer.column_refs().iter().all(is_result) {
            true => Ok(outer),
            false => Err(Error::invalid(format!(
                "SET needs aggregate functions over the rows, as in max(x): '{text}'"
            ))),
        }
    }

    fn schema(&self) -> Result<DFSchema> {
        DFSchema::try_from(Schema::new(self.fields.clone())).map_err(planning)
    }
}
