//! `printf('%05.2f|%d|%s', ...)`, with the conversions of C.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};

use crate::scalar::{Arity, Scalar};

/// Characters of one value at most: a width is a number in a text that anybody writes.
const WIDTH_MAX: usize = 10_000;

pub(super) const PRINTF: Scalar = Scalar {
    name: "printf",
    arity: Arity::AtLeastOne,
    returns: |_| Ok(DataType::Utf8),
    kernel: rows,
};

fn rows(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let texts: Vec<ArrayRef> =
        arguments.iter().map(|values| Ok(cast(values, &DataType::Utf8)?)).collect::<Result<_>>()?;
    let columns: Vec<&StringArray> = texts.iter().map(|values| values.as_string::<i32>()).collect();
    let [templates, values @ ..] = columns.as_slice() else {
        return exec_err!("printf takes a template");
    };
    let rows: StringArray = (0..templates.len())
        .map(|row| {
            if columns.iter().any(|column| column.is_null(row)) {
                return Ok(None);
            }
            let values: Vec<&str> = values.iter().map(|column| column.value(row)).collect();
            printed(templates.value(row), &values).map(Some)
        })
        .collect::<Result<_>>()?;
    Ok(Arc::new(rows))
}

/// What stands between the percent sign and the letter.
#[derive(Default)]
struct Form {
    left: bool,
    plus: bool,
    blank: bool,
    zeros: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

fn printed(template: &str, values: &[&str]) -> Result<String> {
    let mut text = String::with_capacity(template.len());
    let mut values = values.iter();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        if let Some(escaped) = after.strip_prefix('%') {
            text.push('%');
            rest = escaped;
            continue;
        }
        let (form, after) = form(after)?;
        let Some(letter) = after.chars().next() else {
            return exec_err!("printf: '{template}' ends within a conversion");
        };
        rest = &after[letter.len_utf8()..];
        let Some(value) = values.next() else {
            return exec_err!("printf: '{template}' takes more arguments");
        };
        text.push_str(&converted(&form, letter, value)?);
    }
    text.push_str(rest);
    Ok(text)
}

fn form(text: &str) -> Result<(Form, &str)> {
    let mut form = Form::default();
    let mut rest = text;
    while let Some(flag) = rest.chars().next().filter(|flag| "-+ 0#".contains(*flag)) {
        match flag {
            '-' => form.left = true,
            '+' => form.plus = true,
            ' ' => form.blank = true,
            '0' => form.zeros = true,
            _ => form.alternate = true,
        }
        rest = &rest[1..];
    }
    (form.width, rest) = number(rest)?;
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = number(after)?;
        (form.precision, rest) = (Some(precision), after);
    }
    // How wide the number is in memory does not matter here.
    Ok((form, rest.trim_start_matches(['l', 'h'])))
}

fn number(text: &str) -> Result<(usize, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    match digits.parse::<usize>() {
        Ok(number) if number <= WIDTH_MAX => Ok((number, rest)),
        Err(_) if digits.is_empty() => Ok((0, rest)),
        _ => exec_err!("printf: {digits} is more than {WIDTH_MAX}"),
    }
}

fn converted(form: &Form, letter: char, value: &str) -> Result<String> {
    let no_number = || format!("printf: '{value}' is no number for %{letter}");
    match letter {
        's' => {
            let kept = form.precision.unwrap_or(usize::MAX);
            Ok(padded(form, "", &value.chars().take(kept).collect::<String>(), false))
        }
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' | 'c' => {
            let Ok(number) = value.parse::<i128>() else { return exec_err!("{}", no_number()) };
            if letter == 'c' {
                let Some(one) = u32::try_from(number).ok().and_then(char::from_u32) else {
                    return exec_err!("printf: {value} is no character");
                };
                return Ok(padded(form, "", &one.to_string(), false));
            }
            Ok(whole(form, letter, number))
        }
        'f' | 'F' | 'e' | 'E' | 'g' | 'G' => {
            let Ok(number) = value.parse::<f64>() else { return exec_err!("{}", no_number()) };
            let digits = match (number.is_finite(), letter.to_ascii_lowercase()) {
                (false, _) => number.abs().to_string().to_lowercase(),
                (true, 'f') => format!("{:.*}", form.precision.unwrap_or(6), number.abs()),
                (true, 'e') => scientific(number.abs(), form.precision.unwrap_or(6)),
                _ => shortest(number.abs(), form),
            };
            let digits = if letter.is_uppercase() { digits.to_uppercase() } else { digits };
            Ok(padded(form, sign(form, number.is_sign_negative()), &digits, number.is_finite()))
        }
        other => exec_err!("printf does not know %{other}"),
    }
}

fn sign(form: &Form, is_negative: bool) -> &'static str {
    match (is_negative, form.plus, form.blank) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    }
}

fn whole(form: &Form, letter: char, number: i128) -> String {
    // Below zero, the bits of 64.
    let bits = number as u64;
    let (sign, digits) = match letter {
        'x' => (if form.alternate && bits != 0 { "0x" } else { "" }, format!("{bits:x}")),
        'X' => (if form.alternate && bits != 0 { "0X" } else { "" }, format!("{bits:X}")),
        'o' => (if form.alternate { "0" } else { "" }, format!("{bits:o}")),
        _ => (sign(form, number < 0), number.unsigned_abs().to_string()),
    };
    let least = form.precision.unwrap_or(1);
    padded(form, sign, &format!("{digits:0>least$}"), form.precision.is_none())
}

/// C writes the exponent with its sign and two digits.
fn scientific(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

/// `%g`: so many digits that count, whichever form is shorter.
fn shortest(number: f64, form: &Form) -> String {
    let digits = form.precision.unwrap_or(6).max(1);
    let text = scientific(number, digits - 1);
    let exponent: i64 = text.rsplit_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let is_plain = (-4..digits as i64).contains(&exponent);
    let (digits, tail) = match is_plain {
        true => (format!("{:.*}", (digits as i64 - 1 - exponent) as usize, number), String::new()),
        false => match text.split_once('e') {
            Some((digits, exponent)) => (digits.to_owned(), format!("e{exponent}")),
            None => (text, String::new()),
        },
    };
    let kept = match digits.contains('.') && !form.alternate {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits.as_str(),
    };
    format!("{kept}{tail}")
}

fn padded(form: &Form, sign: &str, digits: &str, with_zeros: bool) -> String {
    let length = sign.chars().count() + digits.chars().count();
    let missing = form.width.saturating_sub(length);
    match (form.left, form.zeros && with_zeros) {
        (true, _) => format!("{sign}{digits}{}", " ".repeat(missing)),
        (false, true) => format!("{sign}{}{digits}", "0".repeat(missing)),
        (false, false) => format!("{}{sign}{digits}", " ".repeat(missing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_of_c() {
        for (template, values, expected) in [
            ("%05.2f|%d|%s", vec!["3.14159", "5", "x"], "03.14|5|x"),
            ("%-5s|%5s|%.2s", vec!["a", "b", "xyz"], "a    |    b|xy"),
            ("%+d %d % d", vec!["5", "-5", "7"], "+5 -5  7"),
            ("%x %X %#x %o", vec!["255", "255", "255", "8"], "ff FF 0xff 10"),
            ("%05d %.3d", vec!["-42", "7"], "-0042 007"),
            ("%e %.2E", vec!["12345.678", "0.00012"], "1.234568e+04 1.20E-04"),
            ("%g %g %g", vec!["0.0001", "1234567", "100"], "0.0001 1.23457e+06 100"),
            ("100%% %c", vec!["65"], "100% A"),
            ("%ld", vec!["9"], "9"),
        ] {
            assert_eq!(printed(template, &values).expect(template), expected, "{template}");
        }
        for (template, values) in [
            ("%d", vec![]),
            ("%d", vec!["x"]),
            ("%", vec!["1"]),
            ("%q", vec!["1"]),
            ("%99999d", vec!["1"]),
        ] {
            assert!(printed(template, &values).is_err(), "{template}");
        }
    }
}
