//! Aggregates over frames that leave rows out: `EXCLUDE CURRENT ROW`, `GROUP` and `TIES`.
//!
//! ```text
//!   frame of a row   |---- before ----|  peers  |---- behind ----|
//!   CURRENT ROW       ................. ..row.. .................
//!   GROUP             .................         .................
//!   TIES              .................   row   .................
//! ```
//!
//! The engine's own frames are ranges of rows. Here an aggregate becomes a window function that takes
//! such a range and adds up what is left of it in up to three ranges, by way of a tree of states, so
//! that a frame of n rows costs about log n steps.
//!
//! Workers find functions by their names, so there is one function for each way to leave rows out;
//! which aggregate it adds up is said by the type of its first argument, a tuple whose only element has
//! the aggregate's name.

mod evaluator;
mod tree;

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::scalar::ScalarStructBuilder;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    AggregateUDF, Expr, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl, lit,
};

use self::evaluator::Evaluator;

/// Which rows a frame leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Excluded {
    CurrentRow,
    /// The current row and its peers.
    Group,
    /// The peers of the current row.
    Ties,
}

impl Excluded {
    const ALL: [Excluded; 3] = [Excluded::CurrentRow, Excluded::Group, Excluded::Ties];
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Excluded::CurrentRow => "CURRENT ROW",
            Excluded::Group => "GROUP",
            Excluded::Ties => "TIES",
        })
    }
}

impl FromStr for Excluded {
    type Err = ();

    fn from_str(text: &str) -> Result<Excluded, ()> {
        Excluded::ALL.into_iter().find(|one| one.to_string() == text).ok_or(())
    }
}

/// One way to add up frames.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ExcludingAggregate {
    name: String,
    excluded: Excluded,
    is_distinct: bool,
    /// Whether the last argument says which rows count.
    is_filtered: bool,
    signature: Signature,
}

static ALL: LazyLock<Vec<Arc<WindowUDF>>> = LazyLock::new(|| {
    let kinds = [(false, false), (false, true), (true, false), (true, true)];
    let all = Excluded::ALL.into_iter().flat_map(|one| kinds.map(|kind| (one, kind)));
    all.map(|(one, (is_distinct, is_filtered))| {
        Arc::new(WindowUDF::from(ExcludingAggregate {
            name: name(one, is_distinct, is_filtered),
            excluded: one,
            is_distinct,
            is_filtered,
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    })
    .collect()
});

fn name(excluded: Excluded, is_distinct: bool, is_filtered: bool) -> String {
    let distinct = if is_distinct { "distinct " } else { "" };
    let filtered = if is_filtered { "filtered " } else { "" };
    format!("__granary_{distinct}{filtered}excluding {excluded}")
}

pub(crate) fn all() -> impl Iterator<Item = Arc<WindowUDF>> {
    ALL.iter().cloned()
}

/// The function, and its arguments, that gives `aggregate` of `arguments` over frames without
/// `excluded`, where `filter` says which rows count.
///
/// # Errors
/// An internal error where the aggregate's name is no name.
pub fn excluding(
    excluded: Excluded,
    aggregate: &AggregateUDF,
    arguments: Vec<Expr>,
    is_distinct: bool,
    filter: Option<Expr>,
) -> Result<(Arc<WindowUDF>, Vec<Expr>)> {
    let name = name(excluded, is_distinct, filter.is_some());
    let Some(function) = ALL.iter().find(|function| function.name() == name) else {
        return datafusion::common::internal_err!("{name} is not registered");
    };
    let element = Field::new(aggregate.name(), DataType::Boolean, true);
    let which = ScalarStructBuilder::new().with_scalar(element, ScalarValue::Boolean(None));
    let arguments = std::iter::once(lit(which.build()?)).chain(arguments).chain(filter);
    Ok((Arc::clone(function), arguments.collect()))
}

/// The aggregate that the type of a first argument names.
fn named(types: &[&DataType]) -> Result<Arc<AggregateUDF>> {
    if let Some(DataType::Struct(elements)) = types.first()
        && let [element] = elements.as_ref()
        && let Some(aggregate) = crate::aggregate(element.name())
    {
        return Ok(aggregate);
    }
    plan_err!("frames that leave rows out are for aggregates: write f(..) OVER (.. EXCLUDE ..)")
}

impl ExcludingAggregate {
    /// The places of the aggregate's own among so many arguments.
    fn own(&self, arguments: usize) -> std::ops::Range<usize> {
        1..arguments.saturating_sub(usize::from(self.is_filtered)).max(1)
    }
}

impl WindowUDFImpl for ExcludingAggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let aggregate = named(&types.iter().collect::<Vec<_>>())?;
        let own = self.own(types.len());
        let field = |of: &DataType| Arc::new(Field::new("argument", of.clone(), true));
        let fields: Vec<FieldRef> = types[own.clone()].iter().map(field).collect();
        let mut coerced = types.to_vec();
        for (place, field) in own.zip(fields_with_udf(&fields, &*aggregate)?) {
            coerced[place] = field.data_type().clone();
        }
        if let Some(condition) = coerced.last_mut().filter(|_| self.is_filtered) {
            *condition = DataType::Boolean;
        }
        Ok(coerced)
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        let fields = arguments.input_fields();
        let types: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
        let value = named(&types)?.return_field(&fields[self.own(fields.len())])?;
        Ok(Arc::new(value.as_ref().clone().with_name(arguments.name()).with_nullable(true)))
    }

    fn partition_evaluator(
        &self,
        arguments: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let fields = arguments.input_fields();
        let types: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
        Ok(Box::new(Evaluator::new(self, named(&types)?, &arguments)?))
    }
}
