//! `format('{} has {1}', ...)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};

use crate::scalar::{Arity, Scalar};

pub(super) const FORMAT: Scalar = Scalar {
    name: "format",
    arity: Arity::AtLeastOne,
    returns: |_| Ok(DataType::Utf8),
    kernel: format_rows,
};

fn format_rows(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts: Vec<ArrayRef> =
        arguments.iter().map(|values| Ok(cast(values, &DataType::Utf8)?)).collect::<Result<_>>()?;
    let columns: Vec<&StringArray> = texts.iter().map(|values| values.as_string::<i32>()).collect();
    let [templates, values @ ..] = columns.as_slice() else {
        return exec_err!("format takes a template");
    };
    let rows: StringArray = (0..templates.len())
        .map(|row| {
            if columns.iter().any(|column| column.is_null(row)) {
                return Ok(None);
            }
            let values: Vec<&str> = values.iter().map(|column| column.value(row)).collect();
            filled(templates.value(row), &values).map(Some)
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(rows))
}

fn filled(template: &str, values: &[&str]) -> Result<String> {
    let mut text = String::with_capacity(template.len());
    let mut next = 0;
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(&before.replace("}}", "}"));
        if let Some(escaped) = after.strip_prefix('{') {
            text.push('{');
            rest = escaped;
            continue;
        }
        let Some((number, after)) = after.split_once('}') else {
            return exec_err!("format: '{template}' has a bracket that does not close");
        };
        let at = match number.is_empty() {
            true => next,
            false => match number.parse() {
                Ok(at) => at,
                Err(_) => return exec_err!("format: '{{{number}}}' is not a number"),
            },
        };
        next += 1;
        match values.get(at) {
            Some(value) => text.push_str(value),
            None => return exec_err!("format: there is no argument {at} for '{template}'"),
        }
        rest = after;
    }
    text.push_str(&rest.replace("}}", "}"));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for (template, values, expected) in [
            ("{} has {} spans", vec!["trace", "3"], "trace has 3 spans"),
            ("{1}-{0}", vec!["a", "b"], "b-a"),
            ("{{}} {}", vec!["x"], "{} x"),
        ] {
            assert_eq!(filled(template, &values).expect(template), expected);
        }
        assert!(filled("{", &[]).is_err());
        assert!(filled("{2}", &["a"]).is_err());
    }
}
