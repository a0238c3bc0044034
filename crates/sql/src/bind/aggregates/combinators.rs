//! Combinators behind the names of aggregates: `sumIf`, `uniqState`, `avgMergeState`, `maxOrDefault`.

use granary_common::{Error, Result};
use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectName, ObjectNamePart, Value,
};

use super::{condition_to_filter, merge_arguments, parameters};
use crate::bind::{calls, templates};
use granary_functions::SEPARATOR;
use granary_functions::states::{Input, Output, Split, canonical, combined_name, takes_text};

/// What the combinators of a call ask for.
pub(super) struct Form {
    input: Input,
    output: Output,
    /// The values go to several accumulators.
    split: Option<Split>,
    pub(super) or_default: bool,
}

impl Form {
    /// Whether values go in and a value comes out.
    pub(super) fn is_plain(&self) -> bool {
        self.input == Input::Values && self.output == Output::Value && self.split.is_none()
    }
}

/// Takes the combinators in, the last one first; conditions become filters.
pub(super) fn apply(function: &mut Function, combinators: &[&str], name: &str) -> Result<Form> {
    let (input, output) = (Input::Values, Output::Value);
    let mut form = Form { input, output, split: None, or_default: false };
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
            "foreach" if form.split.is_none() => form.split = Some(Split::Positions),
            "resample" if form.split.is_none() => form.split = Some(Split::Buckets),
            "map" if form.split.is_none() => form.split = Some(Split::Keys),
            other => {
                return Err(Error::unsupported(format!(
                    "the combinator -{other} of '{name}' is not supported yet"
                )));
            }
        }
    }
    if form.split.is_some() && (form.input != Input::Values || form.output != Output::Value) {
        return Err(Error::unsupported(format!(
            "'{name}': -ForEach, -Resample and -Map do not go together with -State, -Merge and \
             -Array yet"
        )));
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

/// Parameters as one text.
pub(super) fn text_of(parameters: &[Expr]) -> Result<Expr> {
    let text = |parameter: &Expr| match parameter {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.to_string(),
    };
    let texts: Vec<String> = parameters.iter().map(text).collect();
    let text = Value::SingleQuotedString(texts.join(&SEPARATOR.to_string()));
    Ok(Expr::Value(text.into()))
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
        // A count of rows counts something, beside the key by which they are split.
        let own = usize::from(form.split == Some(Split::Buckets));
        if base == "count" && list.args.len() == own {
            list.args.insert(0, plain(templates::expression("1")?));
        }
        match base {
            "quantile" | "quantiles" | "quantileexact" => {
                list.args.extend(parameters.into_iter().map(plain));
            }
            "grouparray" | "groupuniqarray" if form.split.is_none() => {
                most = parameters.into_iter().next();
            }
            base if takes_text(base) => {
                let own = match form.split {
                    Some(Split::Buckets) => parameters.len().saturating_sub(3),
                    _ => parameters.len(),
                };
                list.args.push(plain(text_of(&parameters[..own])?));
                list.args.extend(parameters[own..].iter().cloned().map(plain));
            }
            _ if form.split == Some(Split::Buckets) => {
                list.args.extend(parameters.into_iter().map(plain));
            }
            _ if !parameters.is_empty() => {
                return Err(Error::invalid(format!(
                    "{name} takes no parameters before its arguments"
                )));
            }
            _ => {}
        }
    }
    let name = match form.split {
        Some(split) => format!("{known}{}", split.suffix()),
        None => combined_name(known, form.input, form.output),
    };
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
