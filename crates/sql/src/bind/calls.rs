//! Function calls and other expressions in the words of DataFusion.

use granary_common::{Error, Result};
use sqlparser::ast::{
    BinaryOperator, DataType, DateTimeField, DuplicateTreatment, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Interval, Value, ValueWithSpan,
};

use super::{access, aggregates, json, lambdas, members, templates};

/// Rewrites one expression whose parts are rewritten already.
pub(super) fn rewrite(expression: &mut Expr) -> Result<()> {
    match expression {
        Expr::Function(function) => {
            if let Some(rewritten) = call(function)? {
                *expression = rewritten;
            }
            Ok(())
        }
        Expr::Interval(interval) => {
            if let Some(rewritten) = computed_interval(interval)? {
                *expression = rewritten;
            }
            Ok(())
        }
        Expr::Cast { data_type, expr, array: false, format: None, .. } if is_text(data_type) => {
            // Times have our own spelling as text, so every text goes one way.
            *expression = substitute("toString($1)", &[(**expr).clone()])?;
            Ok(())
        }
        Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
            if let Some(rewritten) = from_the_end(expr, from, substring_for.as_deref())? {
                *expression = rewritten;
            }
            Ok(())
        }
        Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. })
            if digits.contains(['e', 'E']) =>
        {
            // A number with an exponent is approximate, as the standard has it.
            *expression = templates::expression(&format!("CAST('{digits}' AS Float64)"))?;
            Ok(())
        }
        Expr::TypedString(literal) => {
            // A time without a fraction is one in seconds.
            let text = literal.value.clone().into_string().unwrap_or_default();
            if matches!(literal.data_type, DataType::Timestamp(None, _)) && !text.contains('.') {
                literal.data_type = DataType::Datetime(None);
            }
            Ok(())
        }
        Expr::RLike { negated, expr, pattern, .. } => {
            *expression = pattern_match(*negated, expr, pattern)?;
            Ok(())
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            access::settle(root, access_chain);
            Ok(())
        }
        Expr::InSubquery { expr, subquery, negated } => {
            if let Expr::Tuple(parts) = expr.as_ref() {
                *expression = members::rewrite(parts, subquery, *negated)?;
            }
            Ok(())
        }
        Expr::BinaryOp { op: op @ BinaryOperator::DuckIntegerDivide, .. } => {
            *op = BinaryOperator::MyIntegerDivide;
            Ok(())
        }
        Expr::Lambda(lambda) => {
            // DataFusion knows tuples of names and literals only.
            if let Expr::Tuple(parts) = lambda.body.as_mut() {
                let parts = std::mem::take(parts);
                *lambda.body = with_arguments(templates::expression("struct()")?, parts);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn pattern_match(negated: bool, text: &Expr, pattern: &Expr) -> Result<Expr> {
    let matched = substitute("regexp_like($1, $2)", &[text.clone(), pattern.clone()])?;
    match negated {
        true => substitute("NOT ($1)", &[matched]),
        false => Ok(matched),
    }
}

fn whole_division(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(Expr::Nested(Box::new(left))),
        op: BinaryOperator::MyIntegerDivide,
        right: Box::new(Expr::Nested(Box::new(right))),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::String(_) | DataType::Text | DataType::Varchar(_) | DataType::Char(_)
    )
}

fn call(function: &mut Function) -> Result<Option<Expr>> {
    let name = function.name.to_string();
    if let Some(rewritten) = aggregates::rewrite(function, &name)? {
        return Ok(Some(rewritten));
    }
    if !matches!(function.parameters, FunctionArguments::None) {
        return Err(Error::unsupported(format!(
            "'{function}' is not supported: unknown parameters"
        )));
    }
    if function.over.is_some() {
        return Ok(None);
    }
    let Some(mut arguments) = plain_arguments(function) else { return Ok(None) };
    if let Some(rewritten) = lambdas::rewrite(&name, &arguments)? {
        return Ok(Some(rewritten));
    }
    if let Some(rewritten) = json::rewrite(&name, &arguments)? {
        return Ok(Some(rewritten));
    }
    let lower = name.to_lowercase();
    if let Some(rewritten) = call_with_unit(&lower, &arguments)? {
        return Ok(Some(rewritten));
    }
    if let Some(rewritten) = array_call(&lower, &arguments)? {
        return Ok(Some(rewritten));
    }
    match (lower.as_str(), arguments.as_slice()) {
        ("multiif", _) => multi_if(arguments).map(Some),
        ("concat", [_, _, ..]) => concatenation(&arguments).map(Some),
        ("todecimal32", [value, scale]) => decimal(value, 9, scale).map(Some),
        ("todecimal64", [value, scale]) => decimal(value, 18, scale).map(Some),
        ("todecimal128", [value, scale]) => decimal(value, 38, scale).map(Some),
        ("todatetime64", [value, precision, ..]) => {
            let text = format!("CAST($1 AS DateTime64({precision}))");
            substitute(&text, std::slice::from_ref(value)).map(Some)
        }
        ("tuple", _) => {
            let rewritten = templates::expression("struct()")?;
            Ok(Some(with_arguments(rewritten, arguments)))
        }
        ("and" | "or", [_, _, ..]) => {
            let text = format!("($1) {lower} ($2)");
            let first = arguments[0].clone();
            let all = arguments[1..]
                .iter()
                .try_fold(first, |all, next| substitute(&text, &[all, next.clone()]))?;
            Ok(Some(all))
        }
        ("intdiv", [left, right]) => Ok(Some(whole_division(left.clone(), right.clone()))),
        ("intdivorzero", [left, right]) => {
            let divisor = substitute("nullIf($1, 0)", std::slice::from_ref(right))?;
            let divided = whole_division(left.clone(), divisor);
            substitute("coalesce($1, 0)", &[divided]).map(Some)
        }
        ("concatwithseparator", [_, _, ..]) => {
            let rewritten = templates::expression("concat_ws()")?;
            Ok(Some(with_arguments(rewritten, arguments)))
        }
        ("map", []) => templates::expression("map([], [])").map(Some),
        ("tupleelement", [tuple, element]) => access::tuple_element(tuple, element).map(Some),
        _ => {
            // `x / y` in a template must see the arguments as they are, so they go in as a whole.
            arguments.iter_mut().for_each(parenthesize);
            Ok(templates::expand(&name, &arguments))
        }
    }
}

/// Calls that make or combine arrays, in the engine's words.
fn array_call(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let named =
        |text: &str| Ok(Some(with_arguments(templates::expression(text)?, arguments.to_vec())));
    match (lower, arguments) {
        ("arrayconcat", _) => named("array_concat()"),
        ("array", _) => named("make_array()"),
        ("arrayzip", _) => named("arrays_zip()"),
        ("arrayreduce", [Expr::Value(function), array]) => {
            array_reduce(&function.value, array).map(Some)
        }
        ("arrayintersect", [first, rest @ ..]) if !rest.is_empty() => {
            let all = rest.iter().try_fold(first.clone(), |all, next| {
                substitute("array_intersect($1, $2)", &[all, next.clone()])
            })?;
            Ok(Some(all))
        }
        _ => Ok(None),
    }
}

/// Puts brackets around an operator, so that a template's own operators do not split it.
fn parenthesize(argument: &mut Expr) {
    if matches!(argument, Expr::BinaryOp { .. } | Expr::UnaryOp { .. } | Expr::Between { .. }) {
        *argument = Expr::Nested(Box::new(argument.clone()));
    }
}

/// The arguments when all are plain expressions without DISTINCT or clauses.
pub(crate) fn plain_arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    if is_distinct || !list.clauses.is_empty() {
        return None;
    }
    let plain = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
        _ => None,
    };
    list.args.iter().map(plain).collect()
}

/// The call with these arguments instead of its own.
pub(super) fn with_arguments(mut call: Expr, arguments: Vec<Expr>) -> Expr {
    if let Expr::Function(function) = &mut call
        && let FunctionArguments::List(list) = &mut function.args
    {
        let plain = |argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument));
        list.args = arguments.into_iter().map(plain).collect();
    }
    call
}

pub(super) fn substitute(text: &str, arguments: &[Expr]) -> Result<Expr> {
    Ok(templates::substitute(templates::expression(text)?, arguments))
}

fn multi_if(mut arguments: Vec<Expr>) -> Result<Expr> {
    if arguments.len() < 3 || arguments.len().is_multiple_of(2) {
        return Err(Error::invalid(
            "multiIf takes pairs of condition and value, and a last value for all other rows",
        ));
    }
    let mut result = arguments.remove(arguments.len() - 1);
    let template = templates::expression("CASE WHEN $1 THEN $2 ELSE $3 END")?;
    for pair in arguments.chunks(2).rev() {
        let [condition, value] = pair else { continue };
        result =
            templates::substitute(template.clone(), &[condition.clone(), value.clone(), result]);
    }
    Ok(result)
}

/// NULL in, NULL out, as `||` has it and DataFusion's concat has not.
fn concatenation(arguments: &[Expr]) -> Result<Expr> {
    let template = templates::expression("($1) || ($2)")?;
    let mut parts = arguments.iter();
    let first = parts.next().cloned().ok_or_else(|| Error::invalid("concat takes arguments"))?;
    Ok(parts
        .fold(first, |left, right| templates::substitute(template.clone(), &[left, right.clone()])))
}

fn decimal(value: &Expr, precision: u8, scale: &Expr) -> Result<Expr> {
    substitute(&format!("CAST($1 AS Decimal({precision}, {scale}))"), std::slice::from_ref(value))
}

/// Calls whose first argument is a unit of time.
fn call_with_unit(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let [unit, first, second] = arguments else { return Ok(None) };
    let form = match lower {
        "timestampdiff" | "datediff" => "date_diff('{}', $1, $2)",
        "age" => "age('{}', $1, $2)",
        "dateadd" | "date_add" | "timestampadd" | "timestamp_add" => "($2) + toInterval($1, '{}')",
        "datesub" | "date_sub" | "timestampsub" | "timestamp_sub" => "($2) - toInterval($1, '{}')",
        _ => return Ok(None),
    };
    let text = form.replace("{}", &unit_text(unit)?);
    substitute(&text, &[first.clone(), second.clone()]).map(Some)
}

/// `arrayReduce('sum', xs)`: the aggregate of one array.
fn array_reduce(function: &Value, array: &Expr) -> Result<Expr> {
    let Value::SingleQuotedString(name) = function else {
        return Err(Error::invalid("arrayReduce takes the name of an aggregate as a text"));
    };
    let text = match name.to_lowercase().as_str() {
        "sum" => "arraySum($1)",
        "avg" => "array_avg($1)",
        "min" => "array_min($1)",
        "max" => "array_max($1)",
        "count" => "length($1)",
        "uniq" | "uniqexact" => "arrayUniq($1)",
        "any" => "($1)[1]",
        "anylast" => "($1)[-1]",
        "grouparray" => "$1",
        "groupuniqarray" => "array_distinct($1)",
        other => {
            return Err(Error::unsupported(format!(
                "arrayReduce knows sum, avg, min, max, count, uniq, any, anyLast, groupArray and \
                 groupUniqArray, not '{other}'"
            )));
        }
    };
    substitute(text, std::slice::from_ref(array))
}

/// A unit, written as a word or as a text.
fn unit_text(unit: &Expr) -> Result<String> {
    let text = match unit {
        Expr::Identifier(ident) => ident.value.clone(),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    };
    match text.chars().all(|c| c.is_ascii_alphabetic()) {
        true => Ok(text.to_lowercase()),
        false => Err(Error::invalid(format!("'{text}' is not a unit of time"))),
    }
}

/// `INTERVAL (expression) SECOND`; intervals of literals are DataFusion's.
fn computed_interval(interval: &Interval) -> Result<Option<Expr>> {
    let Some(unit) = &interval.leading_field else { return Ok(None) };
    match interval.value.as_ref() {
        // DataFusion knows no quarters.
        Expr::Value(_) | Expr::UnaryOp { .. } if *unit != DateTimeField::Quarter => Ok(None),
        value => {
            let text = format!("toInterval($1, '{}')", unit.to_string().to_lowercase());
            substitute(&text, std::slice::from_ref(value)).map(Some)
        }
    }
}

/// `substring(s, -n)` counts from the end.
fn from_the_end(text: &Expr, from: &Expr, length: Option<&Expr>) -> Result<Option<Expr>> {
    let Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Minus, expr } = from else {
        return Ok(None);
    };
    let end = substitute("right($1, $2)", &[text.clone(), (**expr).clone()])?;
    match length {
        Some(length) => substitute("left($1, $2)", &[end, length.clone()]).map(Some),
        None => Ok(Some(end)),
    }
}
