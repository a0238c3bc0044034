//! Combinators behind the names of aggregates: `sumIf`, `uniqState`, `avgMergeState`, `maxOrDefault`.

use granary_common::{Error, Result};
use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, ObjectNamePart,
};

use super::{condition_to_filter, merge_arguments, parameters};
use crate::bind::{calls, templates};
use crate::functions::states::{Input, Output, canonical, combined_name};

/// The combinators, those that end like another one before it.
pub(super) const SUFFIXES: [&str; 9] =
    ["simplestate", "state", "merge", "ornull", "ordefault", "distinct", "array", "if", "foreach"];

/// What the combinators of a call ask for.
pub(super) struct Form {
    input: Input,
    output: Output,
    pub(super) or_default: bool,
}

impl Form {
    /// Whether values go in and a value comes out.
    pub(super) fn is_plain(&self) -> bool {
        self.input == Input::Values && self.output == Output::Value
    }
}

/// Takes the combinators in, the last one first; conditions become filters.
pub(super) fn apply(function: &mut Function, combinators: &[&str], name: &str) -> Result<Form> {
    let mut form = Form { input: Input::Values, output: Output::Value, or_default: false };
    for combinator in combinators {
        // What made the states is done.
        if form.input == Input::States {
            continue;
        }
        match *combinator {
            "if" => condition_to_filter(function, name)?,
            // Aggregates of no rows are NULL anyway; a simple state is the value.
            "ornull" | "simplestate" => {}
            "ordefault" => form.or_default = form.output == Output::Value,
            "distinct" => distinct(function, name)?,
            "array" => form.input = Input::Arrays,
            "state" if form.output == Output::Value => form.output = Output::State,
            "merge" => form.input = Input::States,
            other => {
                return Err(Error::unsupported(format!(
                    "the combinator -{other} of '{name}' is not supported yet"
                )));
            }
        }
    }
    let is_distinct = matches!(&function.args, FunctionArguments::List(list)
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
    match is_distinct && !form.is_plain() {
        true => Err(Error::unsupported(format!(
            "'{name}': equal values cannot be left out together with -State, -Merge or -Array; \
             uniqState counts different values"
        ))),
        false => Ok(form),
    }
}

fn distinct(function: &mut Function, name: &str) -> Result<()> {
    let FunctionArguments::List(list) = &mut function.args else {
        return Err(Error::invalid(format!("{name} takes arguments")));
    };
    list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
    Ok(())
}

/// The call of the combination that the sessions know.
pub(super) fn rewrite(
    function: &mut Function,
    base: &str,
    form: &Form,
    name: &str,
) -> Result<Option<Expr>> {
    let Some(known) = canonical(base) else {
        return Err(Error::unsupported(format!("'{name}': {base} has no states")));
    };
    if base == "uniq" && form.input == Input::Values {
        merge_arguments(function)?;
    }
    let mut most = None;
    let parameters = parameters(function)?;
    if let FunctionArguments::List(list) = &mut function.args {
        let plain = |argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument));
        match base {
            "quantile" | "quantiles" | "quantileexact" => {
                list.args.extend(parameters.into_iter().map(plain));
            }
            "grouparray" | "groupuniqarray" => most = parameters.into_iter().next(),
            _ if !parameters.is_empty() => {
                return Err(Error::invalid(format!(
                    "{name} takes no parameters before its arguments"
                )));
            }
            _ => {}
        }
        // A count of rows counts something.
        if base == "count" && list.args.is_empty() {
            list.args.push(plain(templates::expression("1")?));
        }
    }
    let name = combined_name(known, form.input, form.output);
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]);
    function.parameters = FunctionArguments::None;
    match most {
        Some(most) if form.output == Output::Value => {
            let all = Expr::Function(function.clone());
            calls::substitute("array_slice($1, 1, $2)", &[all, most]).map(Some)
        }
        _ => Ok(None),
    }
}
