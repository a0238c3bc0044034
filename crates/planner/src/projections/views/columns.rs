//! What columns of a view's table keep, as the engine and their types have it.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{AggregateUDF, Expr, ExprSchemable};
use granary_catalog::{Column as Stored, ColumnType, EngineKind, Fold, Table};
use granary_storage::merge::CollapseRule;

/// Whether rows that the engine makes of several have the value of each.
pub fn is_key(table: &Table, column: &Stored) -> bool {
    !table.engine.kind.collapses() || table.order_by.iter().any(|key| key.column == column.id)
}

pub fn merges_states(table: &Table) -> bool {
    use EngineKind::{Aggregating, MergeTree, Summing};
    matches!(table.engine.kind, MergeTree | Aggregating | Summing { .. })
}

/// Whether the column has each value of type `given` as it is.
pub fn keeps(given: &ColumnType, own: &ColumnType) -> bool {
    has_values_of(given, own) && (!given.is_nullable() || own.is_nullable())
}

/// The same of results that are folded so. Counts fit both integers of 64 bits; of sums each would
/// cut what the other one has.
pub fn keeps_results(
    fold: Fold,
    given: &ColumnType,
    own: &ColumnType,
    is_never_null: bool,
) -> bool {
    let counts = |of: &ColumnType| matches!(of.base(), ColumnType::Int64 | ColumnType::UInt64);
    let is_count = fold == Fold::Count && counts(given) && counts(own);
    let is_there = is_never_null || !given.is_nullable() || own.is_nullable();
    (is_count || has_values_of(given, own)) && is_there
}

fn has_values_of(given: &ColumnType, own: &ColumnType) -> bool {
    match (given.base(), own.base()) {
        (ColumnType::Decimal(digits, scale), ColumnType::Decimal(own_digits, own_scale)) => {
            scale == own_scale && digits <= own_digits
        }
        (given, own) => given == own,
    }
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
    match (CollapseRule::of(table), &column.column_type) {
        (CollapseRule::None, _) => true,
        (
            CollapseRule::Aggregating { .. } | CollapseRule::Summing { .. },
            ColumnType::SimpleAggregateFunction(function, _),
        ) => match function.as_str() {
            "sum" => adds,
            "min" => fold == Fold::Min,
            "max" => fold == Fold::Max,
            _ => false,
        },
        (CollapseRule::Summing { columns, .. }, _) => adds && columns.contains(&column.id),
        _ => false,
    }
}

/// Whether the table keeps its rows though they sum to nothing.
pub fn keeps_zeros(table: &Table) -> bool {
    match CollapseRule::of(table) {
        CollapseRule::Summing { columns, states } => columns.is_empty() || !states.is_empty(),
        _ => true,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ColumnType {
        text.parse().unwrap()
    }

    #[test]
    fn keys_keep_what_they_get() {
        for (given, own, expected) in [
            ("Int32", "Int32", true),
            ("Int32", "Nullable(Int32)", true),
            ("Nullable(Int32)", "Int32", false),
            ("String", "LowCardinality(String)", true),
            ("Int64", "UInt64", false),
            ("Decimal(9, 2)", "Decimal(18, 2)", true),
            ("Decimal(9, 2)", "Decimal(18, 4)", false),
            ("Decimal(18, 2)", "Decimal(9, 2)", false),
        ] {
            assert_eq!(keeps(&of(given), &of(own)), expected, "{given} in {own}");
        }
    }

    #[test]
    fn columns_keep_results_that_fit() {
        for (fold, given, own, is_never_null, expected) in [
            (Fold::Count, "Int64", "UInt64", true, true),
            (Fold::Count, "Int64", "Int64", true, true),
            (Fold::Count, "Int64", "SimpleAggregateFunction(sum, UInt64)", true, true),
            (Fold::Count, "Int64", "UInt32", true, false),
            (Fold::Count, "Int64", "Float64", true, false),
            (Fold::Sum, "Int64", "Int64", true, true),
            (Fold::Sum, "Int64", "UInt64", true, false),
            (Fold::Sum, "UInt64", "Int64", true, false),
            (Fold::Sum, "Int64", "Int32", true, false),
            (Fold::Sum, "Nullable(Int64)", "Int64", true, true),
            (Fold::Sum, "Nullable(Int64)", "Int64", false, false),
            (Fold::Sum, "Nullable(Int64)", "Nullable(Int64)", false, true),
            (Fold::Max, "Decimal(12, 2)", "Decimal(38, 2)", true, true),
        ] {
            let found = keeps_results(fold, &of(given), &of(own), is_never_null);
            assert_eq!(found, expected, "{fold:?} of {given} in {own}");
        }
    }
}
