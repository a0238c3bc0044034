//! Calls that are another expression in standard SQL: each is one line of text with `$1`, `$2` for
//! its arguments, parsed once.

mod arrays;
mod conditions;
mod conversions;
mod foreign;
mod numbers;
mod others;
mod texts;
mod times;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::LazyLock;

use granary_common::{Error, Result};
use sqlparser::ast::{CastKind, DataType, Expr, Query, Value, ValueWithSpan};
use sqlparser::parser::Parser;

use crate::dialect::{GranaryDialect, REREAD_NESTING_MAX, tokenize};
use crate::walk::{has_more_expressions, visit_expressions_mut};

/// Name, number of arguments, meaning. Names are matched without case.
type Call = (&'static str, usize, &'static str);

const FAMILIES: [&[Call]; 7] = [
    conditions::CALLS,
    times::CALLS,
    numbers::CALLS,
    texts::CALLS,
    arrays::CALLS,
    others::CALLS,
    foreign::CALLS,
];

static TEMPLATES: LazyLock<HashMap<(String, usize), Option<Expr>>> = LazyLock::new(|| {
    let parsed = |name: &str, arguments: usize, text: &str| {
        ((name.to_lowercase(), arguments), expression(text).ok())
    };
    let written = calls().map(|(name, arguments, text)| parsed(name, *arguments, text));
    let made = conversions::all();
    let made = made.iter().map(|(name, arguments, text)| parsed(name, *arguments, text));
    written.chain(made).collect()
});

/// Expressions in an argument that a template takes more than once. Calls within calls would double
/// what they are given at each level.
const REPEATED_MAX: usize = 100_000;

/// What the call of `name` with `arguments` means; `None` when it is no such call.
pub(super) fn expand(name: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let template = TEMPLATES.get(&(name.to_lowercase(), arguments.len()));
    template.cloned().flatten().map(|template| substitute(template, arguments)).transpose()
}

/// The template of a word of another dialect, whose calls are ClickHouse's and want rewriting too.
pub(super) fn of_other_dialect(name: &str, arguments: usize) -> Option<Expr> {
    let is_one = |call: &&Call| call.0.eq_ignore_ascii_case(name) && call.1 == arguments;
    others::CALLS.iter().chain(foreign::CALLS).find(is_one)?;
    TEMPLATES.get(&(name.to_lowercase(), arguments))?.clone()
}

/// Whether the call of this name in lower case takes texts.
pub(super) fn is_of_texts(lower: &str) -> bool {
    static NAMES: LazyLock<HashSet<String>> =
        LazyLock::new(|| texts::CALLS.iter().map(|(name, ..)| name.to_lowercase()).collect());
    NAMES.contains(lower)
}

/// Puts the arguments in the place of `$1`, `$2`.
///
/// # Errors
/// Exhausted when calls within calls have made something too long to be repeated.
pub(super) fn substitute(mut template: Expr, arguments: &[Expr]) -> Result<Expr> {
    let mut taken = vec![false; arguments.len()];
    let replaced = visit_expressions_mut(&mut template, |expression| {
        let place = placeholder(expression).map(|number| number - 1);
        let Some((place, argument)) = place.and_then(|at| Some((at, arguments.get(at)?))) else {
            return ControlFlow::Continue(());
        };
        if std::mem::replace(&mut taken[place], true)
            && has_more_expressions(argument, REPEATED_MAX)
        {
            return ControlFlow::Break(Error::exhausted(format!(
                "calls within calls stand for more than {REPEATED_MAX} expressions"
            )));
        }
        *expression = argument.clone();
        ControlFlow::Continue(())
    });
    match replaced {
        ControlFlow::Continue(()) => Ok(template),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The number of a placeholder, from 1.
fn placeholder(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(text), .. }) => {
            text.strip_prefix('$')?.parse().ok().filter(|number| *number > 0)
        }
        _ => None,
    }
}

/// The names that are rewritten.
pub(super) fn names() -> impl Iterator<Item = String> {
    let made = conversions::all().into_iter().map(|(name, ..)| name);
    calls().map(|(name, ..)| (*name).to_owned()).chain(made)
}

fn calls() -> impl Iterator<Item = &'static Call> {
    FAMILIES.iter().flat_map(|family| family.iter())
}

/// Parses one of our own texts, or one that a table keeps.
pub(crate) fn expression(text: &str) -> Result<Expr> {
    let mut parsed = parser(text)?.parse_expr().map_err(|error| mistake(text, &error))?;
    approximate(&mut parsed);
    Ok(parsed)
}

/// A number with an exponent is approximate, as the standard has it.
pub(super) fn approximate(expression: &mut Expr) {
    let _ = visit_expressions_mut(expression, |part| {
        if let Expr::Value(ValueWithSpan { value: Value::Number(digits, _), span }) = part
            && digits.contains(['e', 'E'])
        {
            let text = Value::SingleQuotedString(digits.clone()).with_span(*span);
            *part = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(Expr::Value(text)),
                data_type: DataType::Float64,
                array: false,
                format: None,
            };
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Parses one of our own texts.
pub(crate) fn query(text: &str) -> Result<Query> {
    let query = parser(text)?.parse_query().map_err(|error| mistake(text, &error))?;
    Ok(*query)
}

fn parser(text: &str) -> Result<Parser<'static>> {
    static DIALECT: GranaryDialect = GranaryDialect;
    let tokens = tokenize(text).map_err(|error| mistake(text, &error))?;
    Ok(Parser::new(&DIALECT)
        .with_recursion_limit(REREAD_NESTING_MAX)
        .with_tokens_with_locations(tokens))
}

/// The templates themselves are tested; what is wrong came from the statement, as a parameter or a name.
fn mistake(text: &str, error: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("cannot understand '{text}': {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_sql() {
        for (name, arguments, text) in calls() {
            let parsed = expression(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            for number in 1..=*arguments {
                let marker = format!("${number}");
                assert!(text.contains(&marker), "{name}: {marker} is missing in {parsed}");
            }
        }
    }

    #[test]
    fn arguments_take_their_places() {
        for (name, arguments, expected) in [
            ("IF", vec!["a > 1", "b", "0"], "CASE WHEN a > 1 THEN b ELSE 0 END"),
            ("addDays", vec!["d", "2"], "d + toInterval(2, 'day')"),
        ] {
            let arguments: Vec<Expr> =
                arguments.iter().map(|text| expression(text).expect("an argument")).collect();
            let expanded = expand(name, &arguments).expect(name).expect(name);
            assert_eq!(expanded.to_string(), expected);
        }
    }
}
