//! `AggregateFunction(f, T...)` and `SimpleAggregateFunction(f, T)`. The tokens have made one text of
//! what stands in their brackets.

use arrow::datatypes::DataType as ArrowType;
use granary_catalog::{AggregateType, ColumnType};
use granary_common::{Error, Result};
use granary_functions::{column_type_from_arrow, states};
use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::type_from_sql;
use crate::GranaryDialect;
use crate::dialect::tokenize;

/// A function, its parameters and the types after it.
struct Inside {
    function: String,
    parameters: Vec<String>,
    types: Vec<ColumnType>,
}

fn inside(arguments: &[String]) -> Result<Inside> {
    let text = arguments.join(", ");
    let tokens = tokenize(&text).map_err(|error| crate::error::from_tokenizer(error, &text))?;
    let dialect = GranaryDialect;
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let failed = |error| crate::error::from_parser(error, &text);
    let function = parser.parse_expr().map_err(failed)?;
    let mut types = Vec::new();
    while parser.consume_token(&Token::Comma) {
        types.push(type_from_sql(&parser.parse_data_type().map_err(failed)?)?);
    }
    parser.expect_token(&Token::EOF).map_err(failed)?;
    let (function, parameters) = match function {
        Expr::Identifier(name) => (name.value, Vec::new()),
        Expr::Function(call) => {
            let parameters = match &call.args {
                FunctionArguments::List(list) => list.args.iter().map(parameter).collect(),
                _ => Vec::new(),
            };
            (call.name.to_string(), parameters)
        }
        other => return Err(Error::invalid(format!("'{other}' is no aggregate function"))),
    };
    Ok(Inside { function, parameters, types })
}

fn parameter(argument: &FunctionArg) -> String {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => expression.to_string(),
        other => other.to_string(),
    }
}

/// States of a function that the dialect knows, over types that it takes.
pub(super) fn state(arguments: &[String]) -> Result<ColumnType> {
    let Inside { function, parameters, types } = inside(arguments)?;
    let state = AggregateType { function, parameters, arguments: types };
    states::check(&state)?;
    Ok(ColumnType::AggregateFunction(Box::new(state)))
}

/// Values of a function whose results are merged by the function itself.
pub(super) fn simple(arguments: &[String]) -> Result<ColumnType> {
    let Inside { function, parameters, mut types } = inside(arguments)?;
    let (Some(inner), true, true) = (types.pop(), types.is_empty(), parameters.is_empty()) else {
        return Err(Error::invalid(
            "SimpleAggregateFunction takes a function and a type, as in \
             SimpleAggregateFunction(sum, UInt64)",
        ));
    };
    let result = states::simple_result(&function, &inner)?;
    let fits = states::alike(&result, &inner.arrow())
        // The sum of narrow floats cannot leave their range by much.
        || (inner.arrow() == ArrowType::Float32 && result == ArrowType::Float64);
    match fits {
        true => Ok(ColumnType::SimpleAggregateFunction(function, Box::new(inner))),
        false => {
            let wanted = column_type_from_arrow(&result, inner.is_nullable())?;
            Err(Error::invalid(format!(
                "type SimpleAggregateFunction({function}, {inner}): {function}s are of type \
                 {wanted}, which {inner} need not hold; write \
                 SimpleAggregateFunction({function}, {wanted})"
            )))
        }
    }
}
