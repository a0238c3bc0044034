//! ASOF JOIN: each row of the left side meets the row of the right side with equal keys that is
//! nearest in the order of one more column.
//!
//! ```text
//!   left ──┐ union, in the order of keys and time      join on keys and time
//!          ├──► running maximum of the right's times ──► left rows with their right row
//!   right ─┘                                            ▲
//!     └───────── one row of each key and time ──────────┘
//! ```
//!
//! The cost is that of sorting both sides once, however many rows share a key. Among right rows of
//! one key and time any one is taken, but never several.

use datafusion::common::{Column, DFSchemaRef, Result, ScalarValue};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::binary::comparison_coercion;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprFunctionExt, ExprSchemable, JoinType, LogicalPlan, LogicalPlanBuilder,
    Operator, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, cast, lit,
    when,
};
use sqlparser::ast::{Expr as Tree, JoinConstraint, Value};

use super::invalid;

const TIME: &str = "__granary_asof_time";
const SIDE: &str = "__granary_asof_side";
const NEAREST: &str = "__granary_asof_nearest";
const RIGHT_TIME: &str = "__granary_asof_right_time";
const NUMBER: &str = "__granary_asof_number";

/// What the condition says, all of one type on both sides.
struct Condition {
    /// Left and right expressions that are equal.
    keys: Vec<(Expr, Expr)>,
    left_time: Expr,
    right_time: Expr,
    /// How the left time compares with the right one.
    operator: Operator,
    /// What right rows must fulfil.
    right_only: Vec<Expr>,
    /// Right columns that USING merges with those of the left side.
    merged: Vec<String>,
}

/// Whether left rows without a match stay, as the tokens of the join say.
pub(super) fn keeps_unmatched(mark: &Tree) -> Result<bool> {
    match mark {
        Tree::Value(value) => match value.value {
            Value::Boolean(keeps) => Ok(keeps),
            _ => Err(invalid("write ASOF JOIN with ON or USING, without MATCH_CONDITION")),
        },
        _ => Err(invalid("write ASOF JOIN with ON or USING, without MATCH_CONDITION")),
    }
}

/// The join of both sides.
pub(super) fn plan(
    left: LogicalPlan,
    right: LogicalPlan,
    constraint: JoinConstraint,
    keeps_unmatched: bool,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let condition = match constraint {
        JoinConstraint::On(on) => {
            let both = left.schema().join(right.schema())?;
            let on = context.sql_to_expr(on, &both)?;
            of_on(on, left.schema(), right.schema())?
        }
        JoinConstraint::Using(names) => {
            let names = names.iter().map(|name| match name.0.as_slice() {
                [part] => part.as_ident().map(|ident| ident.value.clone()),
                _ => None,
            });
            let names: Option<Vec<String>> = names.collect();
            let names = names.ok_or_else(|| invalid("USING takes names of columns"))?;
            of_using(names, left.schema(), right.schema())?
        }
        _ => return Err(invalid("ASOF JOIN needs a condition: ON or USING")),
    };
    let condition = of_common_types(condition, left.schema(), right.schema())?;
    join(left, right, &condition, keeps_unmatched)
}

fn of_on(on: Expr, left: &DFSchemaRef, right: &DFSchemaRef) -> Result<Condition> {
    let within = |expr: &Expr, schema: &DFSchemaRef| {
        expr.column_refs().iter().all(|column| schema.has_column(column))
    };
    let mut keys = Vec::new();
    let mut times: Vec<(Expr, Operator, Expr)> = Vec::new();
    let mut right_only = Vec::new();
    for part in split_conjunction_owned(on) {
        if within(&part, right) {
            right_only.push(part);
            continue;
        }
        let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = part else {
            return Err(refused(&part));
        };
        let (a, op, b) = match (within(&a, left) && within(&b, right), op.swap()) {
            (true, _) => (*a, op, *b),
            (false, Some(swapped)) if within(&b, left) && within(&a, right) => (*b, swapped, *a),
            _ => return Err(refused(&format!("{a} {op} {b}"))),
        };
        match op {
            Operator::Eq => keys.push((a, b)),
            Operator::Gt | Operator::GtEq | Operator::Lt | Operator::LtEq => {
                times.push((a, op, b));
            }
            _ => return Err(refused(&format!("{a} {op} {b}"))),
        }
    }
    match <[_; 1]>::try_from(times) {
        Ok([(left_time, operator, right_time)]) => {
            Ok(Condition { keys, left_time, right_time, operator, right_only, merged: Vec::new() })
        }
        Err(times) => Err(invalid(format!(
            "ASOF JOIN takes exactly one comparison with <, <=, > or >= besides equalities, not {}",
            times.len()
        ))),
    }
}

fn refused(part: &dyn std::fmt::Display) -> datafusion::error::DataFusionError {
    invalid(format!(
        "ASOF JOIN takes comparisons of a left with a right value by =, <, <=, > and >=, not '{part}'"
    ))
}

/// The last of the columns is the one that is not equal: the left one is at least the right one.
fn of_using(names: Vec<String>, left: &DFSchemaRef, right: &DFSchemaRef) -> Result<Condition> {
    let column = |schema: &DFSchemaRef, name: &str| {
        schema.qualified_field_with_unqualified_name(name).map(|found| Expr::Column(found.into()))
    };
    let mut pairs = Vec::with_capacity(names.len());
    for name in &names {
        pairs.push((column(left, name)?, column(right, name)?));
    }
    let Some((left_time, right_time)) = pairs.pop() else {
        return Err(invalid("ASOF JOIN USING takes at least one column"));
    };
    Ok(Condition {
        keys: pairs,
        left_time,
        right_time,
        operator: Operator::GtEq,
        right_only: Vec::new(),
        merged: names,
    })
}

fn of_common_types(
    mut condition: Condition,
    left: &DFSchemaRef,
    right: &DFSchemaRef,
) -> Result<Condition> {
    let unite = |a: &mut Expr, b: &mut Expr| -> Result<()> {
        let (of_left, of_right) = (a.get_type(left)?, b.get_type(right)?);
        let common = comparison_coercion(&of_left, &of_right)
            .ok_or_else(|| invalid(format!("{a} and {b} cannot be compared")))?;
        if of_left != common {
            *a = cast(a.clone(), common.clone());
        }
        if of_right != common {
            *b = cast(b.clone(), common);
        }
        Ok(())
    };
    for (a, b) in &mut condition.keys {
        unite(a, b)?;
    }
    unite(&mut condition.left_time, &mut condition.right_time)?;
    Ok(condition)
}

fn left_name(at: usize) -> String {
    format!("__granary_asof_left_{at}")
}

fn key_name(at: usize) -> String {
    format!("__granary_asof_key_{at}")
}

fn right_key_name(at: usize) -> String {
    format!("__granary_asof_right_key_{at}")
}

fn column(name: impl Into<String>) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn join(
    left: LogicalPlan,
    right: LogicalPlan,
    condition: &Condition,
    keeps_unmatched: bool,
) -> Result<LogicalPlan> {
    let left_columns = left.schema().columns();
    let right_columns = right.schema().columns();
    // What is NULL equals nothing and comes before and after nothing.
    let known = condition.keys.iter().map(|(_, key)| key).chain([&condition.right_time]);
    let usable = condition.right_only.iter().cloned().chain(known.map(|e| e.clone().is_not_null()));
    let right = match conjunction(usable) {
        Some(usable) => LogicalPlanBuilder::from(right).filter(usable)?.build()?,
        None => right,
    };
    let matched = matched(left, right.clone(), condition)?;
    let candidates = candidates(right, condition)?;
    let mut equal: Vec<Expr> = (0..condition.keys.len())
        .map(|at| column(key_name(at)).eq(column(right_key_name(at))))
        .collect();
    equal.push(column(NEAREST).eq(column(RIGHT_TIME)));
    let kind = if keeps_unmatched { JoinType::Left } else { JoinType::Inner };
    let restored = left_columns.into_iter().enumerate().map(|(at, original)| {
        column(left_name(at)).alias_qualified(original.relation, original.name)
    });
    let kept = right_columns.into_iter().filter(|column| !condition.merged.contains(&column.name));
    let outputs: Vec<Expr> = restored.chain(kept.map(Expr::Column)).collect();
    LogicalPlanBuilder::from(matched).join_on(candidates, kind, equal)?.project(outputs)?.build()
}

/// The left rows with the time of the right row that each one meets, NULL where there is none.
fn matched(left: LogicalPlan, right: LogicalPlan, condition: &Condition) -> Result<LogicalPlan> {
    let forward = matches!(condition.operator, Operator::Gt | Operator::GtEq);
    let with_equal = matches!(condition.operator, Operator::GtEq | Operator::LtEq);
    // Among equal times the right rows come first where they count.
    let (left_side, right_side) = if with_equal { (1_i8, 0_i8) } else { (0, 1) };
    let fields: Vec<(Column, _)> = left
        .schema()
        .iter()
        .map(|(relation, field)| (Column::from((relation, field)), field.data_type().clone()))
        .collect();

    let mut of_left: Vec<Expr> = Vec::new();
    let mut of_right: Vec<Expr> = Vec::new();
    for (at, (original, data_type)) in fields.into_iter().enumerate() {
        of_left.push(Expr::Column(original).alias(left_name(at)));
        let nothing = ScalarValue::try_from(&data_type)?;
        of_right.push(Expr::Literal(nothing, None).alias(left_name(at)));
    }
    for (at, (left_key, right_key)) in condition.keys.iter().enumerate() {
        of_left.push(left_key.clone().alias(key_name(at)));
        of_right.push(right_key.clone().alias(key_name(at)));
    }
    of_left.push(condition.left_time.clone().alias(TIME));
    of_right.push(condition.right_time.clone().alias(TIME));
    of_left.push(lit(left_side).alias(SIDE));
    of_right.push(lit(right_side).alias(SIDE));
    let right = LogicalPlanBuilder::from(right).project(of_right)?.build()?;
    let both = LogicalPlanBuilder::from(left).project(of_left)?.union(right)?;

    let right_time = when(column(SIDE).eq(lit(right_side)), column(TIME)).end()?;
    let extreme = if forward { max_udaf() } else { min_udaf() };
    let function = WindowFunctionDefinition::AggregateUDF(extreme);
    let nearest = Expr::from(WindowFunction::new(function, vec![right_time]))
        .partition_by((0..condition.keys.len()).map(|at| column(key_name(at))).collect())
        .order_by(vec![column(TIME).sort(forward, false), column(SIDE).sort(true, false)])
        .window_frame(rows_so_far())
        .build()?
        .alias(NEAREST);
    let windowed = both.window(vec![nearest])?.filter(column(SIDE).eq(lit(left_side)))?;
    // A left row without a time comes last in the order, yet after nothing.
    let nearest = when(column(TIME).is_not_null(), column(NEAREST)).end()?.alias(NEAREST);
    let schema = windowed.schema().columns();
    let kept = schema.into_iter().filter(|column| ![TIME, SIDE, NEAREST].contains(&&*column.name));
    let outputs: Vec<Expr> = kept.map(Expr::Column).chain([nearest]).collect();
    windowed.project(outputs)?.build()
}

/// All rows from the first one to the current one.
fn rows_so_far() -> WindowFrame {
    let first = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
    WindowFrame::new_bounds(WindowFrameUnits::Rows, first, WindowFrameBound::CurrentRow)
}

/// One right row of each key and time.
fn candidates(right: LogicalPlan, condition: &Condition) -> Result<LogicalPlan> {
    let keys = condition.keys.iter().map(|(_, key)| key.clone());
    let partition: Vec<Expr> = keys.clone().chain([condition.right_time.clone()]).collect();
    let function = WindowFunctionDefinition::WindowUDF(row_number_udwf());
    let number = Expr::from(WindowFunction::new(function, Vec::new()))
        .partition_by(partition)
        .window_frame(WindowFrame::new(None))
        .build()?
        .alias(NUMBER);
    let mut outputs: Vec<Expr> = right.schema().columns().into_iter().map(Expr::Column).collect();
    for (at, key) in keys.enumerate() {
        outputs.push(key.alias(right_key_name(at)));
    }
    outputs.push(condition.right_time.clone().alias(RIGHT_TIME));
    LogicalPlanBuilder::from(right)
        .window(vec![number])?
        .filter(column(NUMBER).eq(lit(1_u64)))?
        .project(outputs)?
        .build()
}
