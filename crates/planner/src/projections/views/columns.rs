//! What columns of a view's table keep, as the engine and their types have it.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{AggregateUDF, Expr, ExprSchemable};
use granary_catalog::{Column as Stored, ColumnType, EngineKind, Fold, Table};

/// Whether rows that the engine makes of several have the value of each.
pub fn is_key(table: &Table, column: &Stored) -> bool {
    !table.engine.kind.collapses() || table.order_by.iter().any(|key| key.column == column.id)
}

pub fn merges_states(table: &Table) -> bool {
    matches!(table.engine.kind, EngineKind::MergeTree | EngineKind::Aggregating)
}

/// Whether the column has each value of type `given` as it is.
pub fn keeps(given: &ColumnType, own: &ColumnType, is_never_null: bool) -> bool {
    let counts = |of: &ColumnType| matches!(of, ColumnType::Int64 | ColumnType::UInt64);
    let is_wider = match (given.base(), own.base()) {
        (ColumnType::Decimal(digits, scale), ColumnType::Decimal(own_digits, own_scale)) => {
            scale == own_scale && digits <= own_digits
        }
        _ => false,
    };
    let is_alike = given.base() == own.base()
        || is_wider
        || is_never_null && counts(given.base()) && counts(own.base());
    is_alike && (is_never_null || !given.is_nullable() || own.is_nullable())
}

/// Whether every row has a value for the call.
pub fn sees_values(call: &AggregateFunction, schema: &DFSchema) -> bool {
    let is_there = |argument: &Expr| argument.nullable(schema).is_ok_and(|nullable| !nullable);
    call.params.filter.is_none() && call.params.args.iter().all(is_there)
}

/// How results of the call become one.
pub fn fold_of(call: &AggregateFunction) -> Option<Fold> {
    let fold = match call.func.name() {
        "count" => Fold::Count,
        "sum" => Fold::Sum,
        "min" => Fold::Min,
        "max" => Fold::Max,
        _ => return None,
    };
    (!call.params.distinct).then_some(fold)
}

/// Whether merges of the table make such results one in the same way.
pub fn folds(table: &Table, column: &Stored, fold: Fold) -> bool {
    let adds = matches!(fold, Fold::Count | Fold::Sum);
    match &table.engine.kind {
        EngineKind::MergeTree => true,
        EngineKind::Aggregating => match &column.column_type {
            ColumnType::SimpleAggregateFunction(function, _) => match function.as_str() {
                "sum" => adds,
                "min" => fold == Fold::Min,
                "max" => fold == Fold::Max,
                _ => false,
            },
            _ => false,
        },
        EngineKind::Summing { columns } => {
            let mut keys = table.order_by.iter().chain(&table.partition_by);
            let is_in_key = keys.any(|key| key.column == column.id);
            adds && !is_in_key && (columns.is_empty() || columns.contains(&column.id))
        }
        _ => false,
    }
}

/// The function whose states the call gives, and the one that merges them, where the session has
/// both.
pub fn of_state(
    state: &SessionState,
    call: &AggregateFunction,
    kept: &str,
) -> Option<(Fold, AggregateFunction, Option<Arc<AggregateUDF>>)> {
    let base = call.func.name().strip_suffix("State")?;
    if call.params.distinct || !kept.eq_ignore_ascii_case(base) {
        return None;
    }
    let find = |name: &str| state.aggregate_functions().get(name).map(Arc::clone);
    let (func, merge) = (find(base)?, find(&format!("{base}Merge"))?);
    let call = AggregateFunction { func, params: call.params.clone() };
    // Only whether it is a count matters of what is merged.
    let fold = fold_of(&call).unwrap_or(Fold::Sum);
    Some((fold, call, Some(merge)))
}
