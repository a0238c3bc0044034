//! Whether a projection answers an aggregation exactly, and how. A function of the two shapes; where
//! it is in doubt it says no, and the rows of the table are read.
//!
//! Columns of the table are named by their ids here, those of the projection by
//! [`granary_storage::projection`].

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    AggregateUDF, Case, Cast, Expr, ExprSchemable, Volatility, cast, is_true, lit,
};
use granary_catalog::Fold;
use granary_execution::row_expression::{settled, settled_aggregate};
use granary_storage::projection::{key_name, value_name};

/// Why a projection does not answer.
pub type Refusal = &'static str;

/// An aggregation of rows of a table.
pub struct Shape {
    pub groups: Vec<Expr>,
    pub aggregates: Vec<Expr>,
    /// What every row passes.
    pub filters: Vec<Expr>,
}

/// A projection that groups, or a table whose rows come of such a SELECT.
#[derive(Default)]
pub struct Kept {
    pub keys: Vec<Expr>,
    pub values: Vec<(Fold, AggregateFunction)>,
    /// For each value that is kept as a state: what merges them.
    pub merges: Vec<Option<Arc<AggregateUDF>>>,
}

/// One column of both: of the table's rows, and of rows of the projection.
#[derive(Clone, Debug, PartialEq)]
pub struct Both {
    pub of_rows: Expr,
    pub of_projection: Expr,
}

/// How an aggregation is answered: rows of either kind pass the filters and give `groups` and
/// `inputs`; `calls` aggregate the inputs, and `results` are made of them.
#[derive(Debug)]
pub struct Answer {
    pub filters: Vec<Both>,
    pub groups: Vec<Both>,
    pub inputs: Vec<Both>,
    pub calls: Vec<Call>,
    pub results: Vec<Outcome>,
}

/// An aggregate over the input of that place.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub func: Arc<AggregateUDF>,
    pub input: usize,
    pub distinct: bool,
}

/// How the result of an aggregate comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is what the call gives.
    Call(usize),
    /// It is what the call gives, or 0 of no row.
    Count(usize),
    /// The one by the other.
    Mean { sum: usize, count: usize },
}

/// Answers `shape` by `kept`; `schema` is that of the table.
pub fn answer(
    shape: &Shape,
    kept: &Kept,
    schema: &DFSchema,
    options: &Arc<ConfigOptions>,
) -> Result<Answer, Refusal> {
    let mut matcher = Matcher { kept, schema, options, inputs: Vec::new(), calls: Vec::new() };
    let mut groups = Vec::with_capacity(shape.groups.len());
    for group in &shape.groups {
        groups.push(matcher.over_keys(group).ok_or("it groups by more than the keys")?);
    }
    let mut filters = Vec::with_capacity(shape.filters.len());
    for filter in &shape.filters {
        filters.push(matcher.over_keys(filter).ok_or("a condition is on more than the keys")?);
    }
    let results = shape.aggregates.iter().map(|aggregate| matcher.outcome(aggregate));
    let results = results.collect::<Result<_, _>>()?;
    let Matcher { inputs, calls, .. } = matcher;
    Ok(Answer { filters, groups, inputs, calls, results })
}

/// One form of expressions that are written alike.
pub fn comparable(expression: Expr) -> Expr {
    let same = expression.transform_up(|inner| {
        Ok(match inner {
            Expr::Alias(alias) => Transformed::yes(*alias.expr),
            Expr::Cast(Cast { expr, field }) if field.metadata().is_empty() => {
                Transformed::yes(Expr::Cast(Cast::new(expr, field.data_type().clone())))
            }
            other => Transformed::no(other),
        })
    });
    // Nothing above fails; NULL is no expression of a projection.
    same.map_or(Expr::Literal(ScalarValue::Null, None), |same| same.data)
}

/// The same of a call.
pub fn comparable_call(call: AggregateFunction) -> AggregateFunction {
    let AggregateFunction { func, mut params } = call;
    params.args = params.args.into_iter().map(comparable).collect();
    params.filter = params.filter.map(|filter| Box::new(comparable(*filter)));
    AggregateFunction { func, params }
}

/// Whether the expression gives the same for the same row at all times.
pub fn is_immutable(expression: &Expr) -> bool {
    let changes = expression.exists(|inner| {
        Ok(match inner {
            Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
            _ => false,
        })
    });
    changes.is_ok_and(|changes| !changes)
}

struct Matcher<'a> {
    kept: &'a Kept,
    schema: &'a DFSchema,
    options: &'a Arc<ConfigOptions>,
    inputs: Vec<Both>,
    calls: Vec<Call>,
}

impl Matcher<'_> {
    /// The expression over the keys of the projection, if it depends on nothing else.
    fn over_keys(&self, expression: &Expr) -> Option<Both> {
        if expression.is_volatile() {
            return None;
        }
        let of_rows = expression.clone().unalias();
        let both = |of_projection| Both { of_rows: of_rows.clone(), of_projection };
        let as_written = self.mapped(of_rows.clone());
        as_written.map(both).or_else(|| {
            // What the time of the query decides is decided later, once for all of it.
            if !is_immutable(&of_rows) {
                return None;
            }
            let settled = settled(of_rows.clone(), self.schema, self.options).ok()?;
            self.mapped(settled).map(both)
        })
    }

    fn mapped(&self, expression: Expr) -> Option<Expr> {
        let mapped = expression.transform_down(|inner| {
            let form = comparable(inner.clone());
            Ok(match self.kept.keys.iter().position(|key| *key == form) {
                Some(place) => Transformed::new(
                    Expr::Column(Column::new_unqualified(key_name(place))),
                    true,
                    TreeNodeRecursion::Jump,
                ),
                None => Transformed::no(inner),
            })
        });
        let mapped = mapped.ok()?.data;
        let keys: Vec<String> = (0..self.kept.keys.len()).map(key_name).collect();
        let is_foreign = mapped.exists(|inner| {
            Ok(match inner {
                Expr::Column(column) => column.relation.is_some() || !keys.contains(&column.name),
                Expr::OuterReferenceColumn(..)
                | Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::GroupingSet(_)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
                | Expr::Placeholder(_)
                | Expr::ScalarVariable(..)
                | Expr::HigherOrderFunction(_)
                | Expr::Lambda(_)
                | Expr::LambdaVariable(_)
                | Expr::Unnest(_) => true,
                _ => false,
            })
        });
        is_foreign.is_ok_and(|is_foreign| !is_foreign).then_some(mapped)
    }

    fn outcome(&mut self, aggregate: &Expr) -> Result<Outcome, Refusal> {
        let aggregate = aggregate.clone().unalias();
        if !is_immutable(&aggregate) {
            return Err("an aggregate is not the same every time");
        }
        let call = settled_aggregate(aggregate, self.schema, self.options);
        let call = comparable_call(call.map_err(|_| "an aggregate is not understood")?);
        let params = &call.params;
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return Err("an aggregate depends on the order of rows");
        }
        if !params.distinct {
            if let Some(place) = self.place_of(&call) {
                return self.kept_value(place);
            }
            if let Some(mean) = self.mean(&call)? {
                return Ok(mean);
            }
        }
        self.of_keys(&call).ok_or("an aggregate is not kept")
    }

    fn place_of(&self, call: &AggregateFunction) -> Option<usize> {
        self.kept.values.iter().position(|(_, value)| value == call)
    }

    /// Folds the results of parts.
    fn kept_value(&mut self, place: usize) -> Result<Outcome, Refusal> {
        let (fold, value) = &self.kept.values[place];
        let of_projection = Expr::Column(Column::new_unqualified(value_name(place)));
        if let Some(Some(merge)) = self.kept.merges.get(place) {
            // Where states are kept no rows stand beside them.
            let states = Both { of_rows: of_projection.clone(), of_projection };
            let call = self.call(Arc::clone(merge), states, false);
            return Ok(match fold {
                Fold::Count => Outcome::Count(call),
                _ => Outcome::Call(call),
            });
        }
        let of_rows = self.of_one_row(*fold, value).ok_or("an aggregate is not understood")?;
        let func = match fold {
            Fold::Count => sum_udaf(),
            _ => Arc::clone(&value.func),
        };
        let call = self.call(func, Both { of_rows, of_projection }, false);
        Ok(match fold {
            Fold::Count => Outcome::Count(call),
            _ => Outcome::Call(call),
        })
    }

    /// What the aggregate is of one row alone.
    fn of_one_row(&self, fold: Fold, call: &AggregateFunction) -> Option<Expr> {
        let [argument] = call.params.args.as_slice() else { return None };
        let condition = call.params.filter.as_ref().map(|filter| is_true((**filter).clone()));
        if fold == Fold::Count {
            let counted =
                argument.nullable(self.schema).ok()?.then(|| argument.clone().is_not_null());
            let condition = match (counted, condition) {
                (Some(counted), Some(condition)) => Some(counted.and(condition)),
                (counted, condition) => counted.or(condition),
            };
            return Some(match condition {
                Some(condition) => case(condition, lit(1_i64), lit(0_i64)),
                None => lit(1_i64),
            });
        }
        let whole = Expr::AggregateFunction(call.clone());
        let data_type = whole.get_type(self.schema).ok()?;
        let value = match argument.get_type(self.schema).ok()? == data_type {
            true => argument.clone(),
            false => cast(argument.clone(), data_type.clone()),
        };
        let nothing = cast(Expr::Literal(ScalarValue::Null, None), data_type);
        Some(match condition {
            Some(condition) => case(condition, value, nothing),
            None => value,
        })
    }

    /// A mean is a sum by a count.
    fn mean(&mut self, call: &AggregateFunction) -> Result<Option<Outcome>, Refusal> {
        let is_float = |argument: &Expr| {
            argument.get_type(self.schema).is_ok_and(|found| found == DataType::Float64)
        };
        if call.func.name() != "avg" || !call.params.args.iter().all(is_float) {
            return Ok(None);
        }
        let place = |func: Arc<AggregateUDF>| {
            let other = Expr::AggregateFunction(AggregateFunction { func, ..call.clone() });
            let other = settled_aggregate(other, self.schema, self.options).ok()?;
            self.place_of(&comparable_call(other))
        };
        let (Some(sum), Some(count)) = (place(sum_udaf()), place(count_udaf())) else {
            return Ok(None);
        };
        match (self.kept_value(sum)?, self.kept_value(count)?) {
            (Outcome::Call(sum), Outcome::Count(count)) => Ok(Some(Outcome::Mean { sum, count })),
            _ => Ok(None),
        }
    }

    /// What does not depend on how many rows have a key.
    fn of_keys(&mut self, call: &AggregateFunction) -> Option<Outcome> {
        let name = call.func.name();
        let is_free = ["min", "max"].contains(&name)
            || (call.params.distinct && ["count", "sum", "avg"].contains(&name));
        let ([argument], true) = (call.params.args.as_slice(), is_free) else { return None };
        let mut input = self.over_keys(argument)?;
        if let Some(filter) = &call.params.filter {
            let filter = self.over_keys(filter)?;
            let data_type = argument.get_type(self.schema).ok()?;
            let nothing = || cast(Expr::Literal(ScalarValue::Null, None), data_type.clone());
            let when = |condition, value| case(is_true(condition), value, nothing());
            input = Both {
                of_rows: when(filter.of_rows, input.of_rows),
                of_projection: when(filter.of_projection, input.of_projection),
            };
        }
        Some(Outcome::Call(self.call(Arc::clone(&call.func), input, call.params.distinct)))
    }

    fn call(&mut self, func: Arc<AggregateUDF>, input: Both, distinct: bool) -> usize {
        let input = place_in(&mut self.inputs, input);
        place_in(&mut self.calls, Call { func, input, distinct })
    }
}

/// The place of the item, which is added if it is new.
fn place_in<T: PartialEq>(items: &mut Vec<T>, item: T) -> usize {
    match items.iter().position(|known| *known == item) {
        Some(place) => place,
        None => {
            items.push(item);
            items.len() - 1
        }
    }
}

fn case(condition: Expr, then: Expr, otherwise: Expr) -> Expr {
    let branches = vec![(Box::new(condition), Box::new(then))];
    Expr::Case(Case::new(None, branches, Some(Box::new(otherwise))))
}
