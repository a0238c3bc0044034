//! Calls of functions of time with a zone behind their arguments, and units that are words.

use granary_common::{Error, Result};
use sqlparser::ast::{DataType, Expr, Value, ValueWithSpan};

use super::calls::substitute;
use super::templates;

/// Functions that take a zone after their arguments, and how many those are.
const ZONED: &[(&str, usize)] = &[
    ("toyear", 1),
    ("toquarter", 1),
    ("tomonth", 1),
    ("todayofmonth", 1),
    ("todayofyear", 1),
    ("tohour", 1),
    ("tominute", 1),
    ("tosecond", 1),
    ("tomillisecond", 1),
    ("toisoyear", 1),
    ("toisoweek", 1),
    ("tostartofyear", 1),
    ("tostartofisoyear", 1),
    ("tostartofquarter", 1),
    ("tostartofmonth", 1),
    ("tolastdayofmonth", 1),
    ("tomonday", 1),
    ("tostartofday", 1),
    ("tostartofhour", 1),
    ("tostartofminute", 1),
    ("tostartofsecond", 1),
    ("tostartoffiveminutes", 1),
    ("tostartoftenminutes", 1),
    ("tostartoffifteenminutes", 1),
    ("timeslot", 1),
    ("toyyyymm", 1),
    ("toyyyymmdd", 1),
    ("toyyyymmddhhmmss", 1),
    ("todate", 1),
    ("todate32", 1),
    ("tostring", 1),
    ("tounixtimestamp", 1),
    ("fromunixtimestamp", 1),
    ("torelativeyearnum", 1),
    ("torelativemonthnum", 1),
    ("torelativedaynum", 1),
    ("torelativehournum", 1),
    ("monthname", 1),
    ("dayname", 1),
    ("formatdatetime", 2),
    ("formatdatetimeinjodasyntax", 2),
    ("date_format", 2),
    ("tostartofinterval", 2),
    ("toweek", 2),
    ("toyearweek", 2),
    ("tostartofweek", 2),
    ("tolastdayofweek", 2),
    ("todayofweek", 2),
    ("datename", 2),
    ("date_trunc", 2),
    ("datetrunc", 2),
];

/// Units whose borders are days: what is cut to them is a date.
const WHOLE_DAYS: [&str; 4] = ["week", "month", "quarter", "year"];

/// Takes the zone out: the arguments without it, the time shown in that zone. `None`: there is none.
pub(super) fn without_zone(lower: &str, arguments: &[Expr]) -> Result<Option<Vec<Expr>>> {
    let Some((_, count)) = ZONED.iter().find(|(name, _)| *name == lower) else { return Ok(None) };
    let [others @ .., zone] = arguments else { return Ok(None) };
    let is_zone = text_of(zone).is_some_and(|zone| zone.parse::<chrono_tz::Tz>().is_ok());
    if others.len() != *count {
        return Ok(None);
    }
    if !is_zone {
        return match text_of(zone) {
            Some(zone) => Err(Error::invalid(format!("unknown time zone '{zone}'"))),
            None => Ok(None),
        };
    }
    // The unit stands before the time.
    let at = usize::from(["datename", "date_trunc", "datetrunc"].contains(&lower));
    let mut moved = others.to_vec();
    moved[at] = match lower {
        "fromunixtimestamp" => substitute(
            "toTimeZone(CAST(CAST($1 AS Int64) AS DateTime), $2)",
            &[moved[at].clone(), zone.clone()],
        )?,
        _ => substitute("toTimeZone($1, $2)", &[moved[at].clone(), zone.clone()])?,
    };
    Ok(Some(moved))
}

pub(super) fn text_of(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text),
        _ => None,
    }
}

/// Conversions to times in a zone, and what is cut to whole days.
pub(super) fn rewrite(lower: &str, arguments: &[Expr]) -> Result<Option<Expr>> {
    match (lower, arguments) {
        ("todatetime" | "todatetime32", [_, _]) => {
            substitute("__granarySeconds(toTimeZone($1, $2))", arguments).map(Some)
        }
        ("todatetime64", [value, precision, zone]) => {
            let Some(name) = text_of(zone) else {
                return Err(Error::invalid("toDateTime64 takes the name of a zone as a text"));
            };
            let text =
                format!("CAST(toTimeZone($1, '{name}') AS DateTime64({precision}, '{name}'))");
            substitute(&text, std::slice::from_ref(value)).map(Some)
        }
        ("now64", [precision, rest @ ..]) => {
            let now = format!("CAST(current_timestamp AS DateTime64({precision}))");
            match rest {
                [] => templates::expression(&now).map(Some),
                [zone] => {
                    let text = format!("toTimeZone({now}, $1)");
                    substitute(&text, std::slice::from_ref(zone)).map(Some)
                }
                _ => Ok(None),
            }
        }
        ("tostartofinterval", [_, interval]) => {
            match unit_of(interval).is_some_and(|unit| WHOLE_DAYS.contains(&unit.as_str())) {
                true => dates(substitute("toStartOfInterval($1, $2)", arguments)?).map(Some),
                false => Ok(None),
            }
        }
        ("date_trunc" | "datetrunc", [unit, time]) if years_into(unit).is_some() => {
            let years = years_into(unit).unwrap_or_default();
            let text = format!("date_trunc('year', $1) - toInterval({years}, 'year')");
            dates(substitute(&text, std::slice::from_ref(time))?).map(Some)
        }
        ("date_trunc" | "datetrunc", [unit, _]) => {
            let cut = substitute("date_trunc($1, $2)", arguments)?;
            let unit = text_of(unit).map(str::to_lowercase);
            match unit.is_some_and(|unit| WHOLE_DAYS.contains(&unit.as_str())) {
                true => dates(cut).map(Some),
                false => Ok(Some(cut)),
            }
        }
        ("makedatetime", [_, _, _, _, _, _, zone]) if text_of(zone).is_some() => {
            let parts: Vec<Expr> = arguments[..6].to_vec();
            let wall =
                super::calls::with_arguments(templates::expression("makeDateTime()")?, parts);
            substitute("__granarySeconds(toTimeZone(toString($1), $2))", &[wall, zone.clone()])
                .map(Some)
        }
        _ => Ok(None),
    }
}

/// How many years a time lies behind the first one of its decade, century or millennium, which are counted
/// from the year 1.
fn years_into(unit: &Expr) -> Option<&'static str> {
    match text_of(unit)?.to_lowercase().as_str() {
        "decade" => Some("date_part('year', $1) % 10"),
        "century" => Some("(date_part('year', $1) + 99) % 100"),
        "millennium" => Some("(date_part('year', $1) + 999) % 1000"),
        _ => None,
    }
}

/// The unit of an interval that is written down.
fn unit_of(interval: &Expr) -> Option<String> {
    match interval {
        Expr::Interval(interval) => {
            let unit = interval.leading_field.as_ref().map(|unit| unit.to_string().to_lowercase());
            unit.or_else(|| {
                let text = text_of(&interval.value)?.to_lowercase();
                text.split_whitespace().nth(1).map(|unit| unit.trim_end_matches('s').to_owned())
            })
        }
        Expr::Function(function) if function.name.to_string() == "toInterval" => {
            let arguments = super::calls::plain_arguments(function)?;
            arguments.get(1).and_then(text_of).map(str::to_owned)
        }
        _ => None,
    }
}

fn dates(cut: Expr) -> Result<Expr> {
    let mut cast = templates::expression("CAST($1 AS Date)")?;
    if let Expr::Cast { data_type, .. } = &mut cast {
        *data_type = DataType::Date;
    }
    templates::substitute(cast, &[cut])
}
