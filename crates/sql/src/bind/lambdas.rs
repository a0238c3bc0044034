//! Functions that take a function: `arrayMap(x -> ..., xs)`. DataFusion knows lambdas over one array,
//! so several arrays become one array of tuples, and maps become arrays of their entries.

use std::ops::ControlFlow;

use granary_common::{Error, Result};
use sqlparser::ast::{
    AccessExpr, Expr, Ident, LambdaFunction, LambdaFunctionParameter, OneOrManyWithParens,
    Subscript, Value, VisitorMut,
};

use super::calls::{substitute, with_arguments};
use super::templates;
use crate::walk::walk_mut;
use granary_functions::FOLD;

/// The variable that stands for the tuple of several elements.
const ELEMENTS: &str = "__granary_elements";

/// Name in lower case, and the meaning: `$1` is the function, `$2` the array, `$3` the first array as
/// it was written.
const FORMS: &[(&str, &str)] = &[
    // arrayMap(x -> y, xs): the results
    ("arraymap", "array_transform($2, $1)"),
    // arrayExists(x -> condition, xs): whether one element is so
    ("arrayexists", "coalesce(any_match($2, $1), false)"),
    // arrayCount(x -> condition, xs): how many elements are so
    ("arraycount", "length(array_filter($2, $1))"),
    // arraySum, arrayAvg, arrayMin, arrayMax, arrayProduct of the results
    ("arraysum", "arraySum(array_transform($2, $1))"),
    ("arrayavg", "valueOrDefault(array_avg(array_transform($2, $1)))"),
    ("arraymin", "valueOrDefault(array_min(array_transform($2, $1)))"),
    ("arraymax", "valueOrDefault(array_max(array_transform($2, $1)))"),
    ("arrayproduct", "arrayProduct(array_transform($2, $1))"),
    // arrayFill, arraySplit: by the conditions of the elements
    ("arrayfill", "__granaryFillForward($3, array_transform($2, $1))"),
    ("arrayreversefill", "__granaryFillBackward($3, array_transform($2, $1))"),
    ("arraysplit", "__granarySplitBefore($3, array_transform($2, $1))"),
    ("arrayreversesplit", "__granarySplitBehind($3, array_transform($2, $1))"),
    ("arraycumsumnonnegative", "arrayCumSumNonNegative(array_transform($2, $1))"),
    // Running sums and differences of the results
    ("arraycumsum", "arrayCumSum(array_transform($2, $1))"),
    ("arraydifference", "arrayDifference(array_transform($2, $1))"),
    // arraySort(x -> key, xs): the elements in the order of their keys
    ("arraysort", "arraySortBy($3, array_transform($2, $1))"),
    ("arrayreversesort", "arrayReverseSortBy($3, array_transform($2, $1))"),
    // arrayFirstIndex(x -> condition, xs): the place of the first one that is so, from 1; else 0
    ("arrayfirstindex", "coalesce(array_position(array_transform($2, $1), true), 0)"),
    (
        "arraylastindex",
        "coalesce(length($3) + 1 - array_position(array_reverse(array_transform($2, $1)), true), 0)",
    ),
];

/// Forms that pick elements of the first array: `$1` is the array of those that are picked.
const PICKS: &[(&str, &str)] = &[
    ("arrayfilter", "$1"),
    ("arrayfirst", "($1)[1]"),
    ("arraylast", "($1)[-1]"),
    ("arrayfirstornull", "array_element($1, 1)"),
    ("arraylastornull", "array_element($1, -1)"),
];

/// Functions over the entries of a map: `$1` is the function of an entry, `$2` are the entries.
const MAPS: &[(&str, &str)] = &[
    ("mapexists", "coalesce(any_match($2, $1), false)"),
    ("mapfilter", "mapFromEntries(array_filter($2, $1))"),
    ("mapapply", "mapFromEntries(array_transform($2, $1))"),
    ("mapsort", "mapFromEntries(arraySortBy($2, array_transform($2, $1)))"),
    ("mapreversesort", "mapFromEntries(arrayReverseSortBy($2, array_transform($2, $1)))"),
];

/// DataFusion knows tuples of names and literals only as what a function gives.
pub(super) fn settle_body(body: &mut Expr) -> Result<()> {
    if let Expr::Tuple(parts) = body {
        let parts = std::mem::take(parts);
        *body = with_arguments(templates::expression("struct()")?, parts);
    }
    Ok(())
}

/// The names, for suggestions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    [
        "arrayMap",
        "arrayFilter",
        "arrayExists",
        "arrayAll",
        "arrayCount",
        "arrayFirst",
        "arrayLast",
        "arrayFirstIndex",
        "arrayLastIndex",
        "arrayFirstOrNull",
        "arrayLastOrNull",
        "arrayFill",
        "arrayReverseFill",
        "arraySplit",
        "arrayReverseSplit",
        "arrayFold",
        "mapFilter",
        "mapApply",
        "mapExists",
        "mapAll",
        "mapSort",
        "mapReverseSort",
    ]
    .into_iter()
}

/// The call of `name` in other words; `None` when it takes no function.
pub(super) fn rewrite(name: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let [Expr::Lambda(lambda), arrays @ ..] = arguments else {
        return array_first(name, arguments);
    };
    let lower = name.to_lowercase();
    let form_of = |forms: &[(&str, &'static str)]| {
        forms.iter().find(|(known, _)| *known == lower).map(|(_, text)| *text)
    };
    if lower == "arrayfold" {
        return fold(name, lambda, arrays).map(Some);
    }
    if lower == "mapall" {
        let mut lambda = lambda.clone();
        *lambda.body = substitute("NOT ($1)", &[(*lambda.body).clone()])?;
        let text = "NOT coalesce(any_match($2, $1), false)";
        return over_entries(name, &lambda, arrays, text).map(Some);
    }
    if let Some(text) = form_of(MAPS) {
        return over_entries(name, lambda, arrays, text).map(Some);
    }
    let Some(first) = arrays.first() else {
        return Err(Error::invalid(format!("{name} takes a function and an array")));
    };
    if lower == "arrayall" {
        let (mut lambda, array) = over_one(name, lambda, arrays)?;
        let body = (*lambda.body).clone();
        *lambda.body = substitute("NOT ($1)", &[body])?;
        let arguments = [array, Expr::Lambda(lambda)];
        return substitute("NOT coalesce(any_match($1, $2), false)", &arguments).map(Some);
    }
    if let Some(text) = form_of(PICKS) {
        let (lambda, array) = over_one(name, lambda, arrays)?;
        let mut picked = substitute("array_filter($1, $2)", &[array, Expr::Lambda(lambda)])?;
        if arrays.len() > 1 {
            let text = format!("array_transform($1, {ELEMENTS} -> {ELEMENTS}['1'])");
            picked = substitute(&text, &[picked])?;
        }
        return substitute(text, &[picked]).map(Some);
    }
    let Some(text) = form_of(FORMS) else { return Ok(None) };
    let (lambda, array) = over_one(name, lambda, arrays)?;
    substitute(text, &[Expr::Lambda(lambda), array, first.clone()]).map(Some)
}

/// The same functions as Trino, Spark and DuckDB have them, with the array before the function.
fn array_first(name: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    let (known, ordered) = match (name.to_lowercase().as_str(), arguments) {
        ("transform", [array, function @ Expr::Lambda(_)]) => ("arrayMap", vec![function, array]),
        ("filter", [array, function @ Expr::Lambda(_)]) => ("arrayFilter", vec![function, array]),
        ("all_match", [array, function @ Expr::Lambda(_)]) => ("arrayAll", vec![function, array]),
        ("none_match", [array, function @ Expr::Lambda(_)]) => {
            let arguments = [function.clone(), array.clone()];
            return match rewrite("arrayExists", &arguments)? {
                Some(found) => substitute("NOT ($1)", &[found]).map(Some),
                None => Ok(None),
            };
        }
        ("map_filter", [map, function @ Expr::Lambda(_)]) => ("mapFilter", vec![function, map]),
        ("zip_with", [one, other, function @ Expr::Lambda(_)]) => {
            ("arrayMap", vec![function, one, other])
        }
        ("reduce", [array, first, Expr::Lambda(step), end @ ..]) => {
            let folded = fold(name, step, &[array.clone(), first.clone()])?;
            return match end {
                [] => Ok(Some(folded)),
                [Expr::Lambda(last)] => applied(last, &folded).map(Some),
                _ => Err(Error::invalid("reduce takes an array, a first value and two functions")),
            };
        }
        ("reduce" | "list_reduce", [array, Expr::Lambda(step), first]) => {
            return fold(name, step, &[array.clone(), first.clone()]).map(Some);
        }
        // Without a first value it is the first element; of an empty list there is none.
        ("list_reduce", [array, Expr::Lambda(step)]) => {
            let array = std::slice::from_ref(array);
            let first = substitute("array_element($1, 1)", array)?;
            let others = substitute("array_pop_front($1)", array)?;
            return fold(name, step, &[others, first]).map(Some);
        }
        _ => return Ok(None),
    };
    let ordered: Vec<Expr> = ordered.into_iter().cloned().collect();
    rewrite(known, &ordered)
}

/// One function of one variable over one array.
fn over_one(
    name: &str,
    lambda: &LambdaFunction,
    arrays: &[Expr],
) -> Result<(LambdaFunction, Expr)> {
    let variables = variables(lambda);
    if variables.len() != arrays.len() {
        return Err(Error::invalid(format!(
            "{name}: the function has {} variables, the arrays are {}",
            variables.len(),
            arrays.len()
        )));
    }
    if let [array] = arrays {
        let variable = Expr::Identifier(Ident::new(variables[0].clone()));
        let body = replaced(lambda, &variables, &[variable]);
        return Ok((arrow(&variables[0], body), array.clone()));
    }
    let zipped = with_arguments(templates::expression("arrays_zip()")?, arrays.to_vec());
    let elements: Vec<Expr> = (1..=arrays.len()).map(|place| element(&place.to_string())).collect();
    let body = replaced(lambda, &variables, &elements);
    Ok((arrow(ELEMENTS, body), zipped))
}

/// `arrayFold((acc, x, ...) -> ..., xs, ..., first)`.
fn fold(name: &str, lambda: &LambdaFunction, arguments: &[Expr]) -> Result<Expr> {
    let variables = variables(lambda);
    let (Some((accumulated, elements)), Some((first, arrays))) =
        (variables.split_first(), arguments.split_last())
    else {
        return Err(Error::invalid(format!("{name} takes a function, arrays and a first value")));
    };
    if elements.len() != arrays.len() || arrays.is_empty() {
        return Err(Error::invalid(format!(
            "{name}: the function has {} variables for {} arrays",
            elements.len(),
            arrays.len()
        )));
    }
    let (array, values) = match arrays {
        [array] => (array.clone(), vec![Expr::Identifier(Ident::new(ELEMENTS))]),
        _ => (
            with_arguments(templates::expression("arrays_zip()")?, arrays.to_vec()),
            (1..=arrays.len()).map(|place| element(&place.to_string())).collect(),
        ),
    };
    let body = replaced(lambda, elements, &values);
    let parameter =
        |name: &str| LambdaFunctionParameter { name: Ident::new(name), data_type: None };
    let step = LambdaFunction {
        params: OneOrManyWithParens::Many(vec![parameter(accumulated), parameter(ELEMENTS)]),
        body: Box::new(body),
        syntax: sqlparser::ast::LambdaSyntax::Arrow,
    };
    let text = format!("{FOLD}($1, $2, $3)");
    substitute(&text, &[array, first.clone(), Expr::Lambda(step)])
}

fn over_entries(name: &str, lambda: &LambdaFunction, maps: &[Expr], text: &str) -> Result<Expr> {
    let variables = variables(lambda);
    let ([map], [_, _]) = (maps, variables.as_slice()) else {
        return Err(Error::invalid(format!("{name} takes a function of key and value, and a map")));
    };
    let body = replaced(lambda, &variables, &[element("key"), element("value")]);
    let entries = substitute("mapEntries($1)", std::slice::from_ref(map))?;
    substitute(text, &[Expr::Lambda(arrow(ELEMENTS, body)), entries])
}

/// The body with `value` in the place of the one variable.
pub(super) fn applied(lambda: &LambdaFunction, value: &Expr) -> Result<Expr> {
    let variables = variables(lambda);
    match variables.len() {
        1 => Ok(replaced(lambda, &variables, std::slice::from_ref(value))),
        _ => Err(Error::invalid("the function of APPLY has one variable")),
    }
}

fn variables(lambda: &LambdaFunction) -> Vec<String> {
    match &lambda.params {
        OneOrManyWithParens::One(parameter) => vec![parameter.name.value.clone()],
        OneOrManyWithParens::Many(parameters) => {
            parameters.iter().map(|parameter| parameter.name.value.clone()).collect()
        }
    }
}

fn arrow(variable: &str, body: Expr) -> LambdaFunction {
    let parameter = LambdaFunctionParameter { name: Ident::new(variable), data_type: None };
    LambdaFunction {
        params: OneOrManyWithParens::One(parameter),
        body: Box::new(body),
        syntax: sqlparser::ast::LambdaSyntax::Arrow,
    }
}

/// A part of the tuple of elements.
fn element(name: &str) -> Expr {
    access(Expr::Identifier(Ident::new(ELEMENTS)), [name])
}

/// `root['a']['b']`.
pub(super) fn access<'n>(root: Expr, names: impl IntoIterator<Item = &'n str>) -> Expr {
    let part = |name: &str| {
        let index = Expr::Value(Value::SingleQuotedString(name.to_owned()).into());
        AccessExpr::Subscript(Subscript::Index { index })
    };
    let access_chain: Vec<AccessExpr> = names.into_iter().map(part).collect();
    Expr::CompoundFieldAccess { root: Box::new(root), access_chain }
}

/// The body with `values` in the place of the variables, except where a function inside has variables
/// of the same names.
fn replaced(lambda: &LambdaFunction, variables: &[String], values: &[Expr]) -> Expr {
    let mut body = (*lambda.body).clone();
    let mut replacement = Replacement { variables, values, hidden: Vec::new() };
    let _ = walk_mut(&mut body, &mut replacement);
    body
}

struct Replacement<'a> {
    variables: &'a [String],
    values: &'a [Expr],
    hidden: Vec<String>,
}

impl Replacement<'_> {
    fn value_of(&self, name: &Ident) -> Option<&Expr> {
        let place = self.variables.iter().position(|variable| *variable == name.value)?;
        (!self.hidden.contains(&name.value)).then(|| &self.values[place])
    }
}

impl VisitorMut for Replacement<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Lambda(lambda) = expression {
            self.hidden.extend(variables(lambda));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let replaced = match expression {
            Expr::Lambda(lambda) => {
                let kept = self.hidden.len() - variables(lambda).len();
                self.hidden.truncate(kept);
                None
            }
            Expr::Identifier(name) => self.value_of(name).cloned(),
            Expr::CompoundIdentifier(names) => match names.split_first() {
                Some((first, rest)) => self.value_of(first).map(|value| {
                    access(value.clone(), rest.iter().map(|name| name.value.as_str()))
                }),
                None => None,
            },
            Expr::CompoundFieldAccess { root, access_chain } => {
                // A variable's parts are no columns of a table.
                if is_variable(root, self) {
                    super::access::dots_as_subscripts(access_chain);
                }
                None
            }
            _ => None,
        };
        if let Some(replaced) = replaced {
            *expression = replaced;
        }
        ControlFlow::Continue(())
    }
}

/// Whether `root` is a variable, or the value that has taken its place.
fn is_variable(root: &Expr, replacement: &Replacement<'_>) -> bool {
    match root {
        Expr::Identifier(name) => replacement.value_of(name).is_some(),
        other => replacement.values.contains(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_take_one_array() {
        for (name, arguments, expected) in [
            ("arrayMap", vec!["x -> x + 1", "xs"], "array_transform(xs, x -> x + 1)"),
            (
                "arrayMap",
                vec!["(x, y) -> x + y.a", "xs", "ys"],
                "array_transform(arrays_zip(xs, ys), __granary_elements -> \
                 __granary_elements['1'] + __granary_elements['2']['a'])",
            ),
            (
                "arrayFilter",
                vec!["(x, y) -> y", "xs", "ys"],
                "array_transform(array_filter(arrays_zip(xs, ys), __granary_elements -> \
                 __granary_elements['2']), __granary_elements -> __granary_elements['1'])",
            ),
            ("arraySort", vec!["x -> -x", "xs"], "arraySortBy(xs, array_transform(xs, x -> -x))"),
            (
                "mapFilter",
                vec!["(k, v) -> v > 1", "m"],
                "mapFromEntries(array_filter(mapEntries(m), __granary_elements -> \
                 __granary_elements['value'] > 1))",
            ),
        ] {
            let arguments: Vec<Expr> = arguments
                .iter()
                .map(|text| templates::expression(text).expect("an argument"))
                .collect();
            let rewritten = rewrite(name, &arguments).expect(name).expect(name);
            assert_eq!(rewritten.to_string(), expected);
        }
    }

    #[test]
    fn variables_and_arrays_match() {
        let arguments: Vec<Expr> = ["(x, y) -> x", "xs"]
            .iter()
            .map(|text| templates::expression(text).expect("an argument"))
            .collect();
        let error = rewrite("arrayMap", &arguments).expect_err("two variables, one array");
        assert!(error.to_string().contains("2 variables"), "{error}");
    }
}
