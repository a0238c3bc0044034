//! One form for expressions that mean the same, so that what a table keeps of an expression is found
//! again in a query. For expressions that give the same for the same row at all times.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

fn simplifier(schema: &DFSchema, options: &Arc<ConfigOptions>) -> ExprSimplifier {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(Arc::clone(options))
        .build();
    ExprSimplifier::new(context)
}

/// The expression over `schema` with its types settled and its constants computed.
///
/// # Errors
/// Those of planning.
pub fn settled(expression: Expr, schema: &DFSchema, options: &Arc<ConfigOptions>) -> Result<Expr> {
    let simplifier = simplifier(schema, options);
    simplifier.simplify(simplifier.coerce(expression, schema)?)
}

/// The same of a call of an aggregate function. A count of what is never NULL counts rows.
///
/// # Errors
/// Those of planning; Internal for what is no such call.
pub fn settled_aggregate(
    call: Expr,
    schema: &DFSchema,
    options: &Arc<ConfigOptions>,
) -> Result<AggregateFunction> {
    let simplifier = simplifier(schema, options);
    let Expr::AggregateFunction(mut call) = simplifier.coerce(call, schema)? else {
        return internal_err!("this is no call of an aggregate function");
    };
    let simple = |expression| simplifier.simplify(expression);
    call.params.args = call.params.args.into_iter().map(simple).collect::<Result<_>>()?;
    call.params.filter =
        call.params.filter.map(|filter| simple(*filter).map(Box::new)).transpose()?;
    if call.func.name() == "count"
        && !call.params.distinct
        && let [argument] = call.params.args.as_mut_slice()
    {
        let counted = without_widening(argument.clone(), schema)?;
        *argument = match counted.nullable(schema)? {
            true => counted,
            false => Expr::Literal(ScalarValue::Int64(Some(1)), None),
        };
    }
    Ok(call)
}

/// Without a cast that makes no value NULL.
fn without_widening(expression: Expr, schema: &DFSchema) -> Result<Expr> {
    match expression {
        Expr::Cast(Cast { expr, field })
            if *field.data_type() == DataType::Float64 && expr.get_type(schema)?.is_numeric() =>
        {
            Ok(*expr)
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::functions_aggregate::expr_fn::{avg, count, sum};
    use datafusion::logical_expr::{cast, col, lit};

    use super::*;

    fn schema() -> DFSchema {
        let field = |name: &str, nullable| Field::new(name, DataType::Int32, nullable);
        DFSchema::try_from(Schema::new(vec![field("a", false), field("b", true)])).unwrap()
    }

    #[test]
    fn counts_of_what_is_there_are_alike() {
        let options = Arc::new(ConfigOptions::default());
        for (argument, expected) in [
            (lit(1_i64), lit(1_i64)),
            (lit(7_i32), lit(1_i64)),
            (col("a"), lit(1_i64)),
            (col("a") + lit(1_i32), lit(1_i64)),
            (cast(col("a"), DataType::Float64), lit(1_i64)),
            (col("b"), col("b")),
            (cast(col("b"), DataType::Float64), col("b")),
        ] {
            let found = settled_aggregate(count(argument.clone()), &schema(), &options).unwrap();
            assert_eq!(found.params.args, [expected], "{argument}");
        }
    }

    #[test]
    fn arguments_get_their_types() {
        let options = Arc::new(ConfigOptions::default());
        let whole = settled_aggregate(sum(col("a")), &schema(), &options).unwrap();
        let mean = settled_aggregate(avg(col("a")), &schema(), &options).unwrap();
        for (call, data_type) in [(whole, DataType::Int64), (mean, DataType::Float64)] {
            assert_eq!(call.params.args[0].get_type(&schema()).unwrap(), data_type);
            let again = Expr::AggregateFunction(call.clone());
            assert_eq!(settled_aggregate(again, &schema(), &options).unwrap(), call);
        }
    }
}
