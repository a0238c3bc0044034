//! The REFRESH clause of a materialized view, and SYSTEM REFRESH | WAIT | STOP | START VIEW.

use granary_catalog::RefreshSchedule;
use granary_common::Error;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::parse::{Parsed, is_next_word, on_cluster};
use super::{Statement, TableName};
use crate::Notice;

/// Units of an interval and their milliseconds; the longest first.
const UNITS: [(&str, u64); 5] = [
    ("WEEK", 604_800_000),
    ("DAY", 86_400_000),
    ("HOUR", 3_600_000),
    ("MINUTE", 60_000),
    ("SECOND", 1_000),
];
/// 100 years.
const INTERVAL_MS_MAX: u64 = 100 * 366 * 86_400_000;

/// `REFRESH EVERY | AFTER interval [OFFSET interval] [APPEND]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshClause {
    pub schedule: RefreshSchedule,
    /// Whether the rows of a run are added to those that are there.
    pub append: bool,
}

/// What SYSTEM does to a refreshable view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewAction {
    /// Asks for a run now.
    Refresh,
    /// Waits until no run goes on or is asked for.
    Wait,
    /// The one, then the other.
    RefreshAndWait,
    Stop,
    Start,
}

/// `SYSTEM REFRESH | WAIT | STOP | START VIEW v`.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemView {
    pub view: TableName,
    pub action: ViewAction,
    pub notices: Vec<Notice>,
}

/// What follows REFRESH.
pub(super) fn clause(parser: &mut Parser<'_>) -> Parsed<RefreshClause> {
    let after_end = is_next_word(parser, "AFTER");
    if !after_end && !is_next_word(parser, "EVERY") {
        let found = parser.peek_token();
        return Ok(parser.expected("EVERY or AFTER and an interval", found)?);
    }
    let every_ms = interval_ms(parser)?;
    if every_ms == 0 {
        return Err(Error::invalid("a view cannot be refreshed every 0 seconds").into());
    }
    let mut schedule = RefreshSchedule { every_ms, offset_ms: 0, after_end, starts_empty: false };
    if is_next_word(parser, "OFFSET") {
        schedule.offset_ms = interval_ms(parser)?;
        if after_end || schedule.offset_ms >= every_ms {
            let message = "OFFSET goes with REFRESH EVERY and is shorter than its interval";
            return Err(Error::invalid(message).into());
        }
    }
    for (words, hint) in [
        (["RANDOMIZE", "FOR"], "views that are due at the same time take turns"),
        (["DEPENDS", "ON"], "use OFFSET, or a view that reads what the other one reads"),
    ] {
        if is_next_word(parser, words[0]) {
            let message = format!("REFRESH ... {} is not supported; {hint}", words.join(" "));
            return Err(Error::unsupported(message).into());
        }
    }
    if parser.parse_keyword(Keyword::SETTINGS) {
        return Err(Error::unsupported("REFRESH ... SETTINGS is not supported").into());
    }
    Ok(RefreshClause { schedule, append: is_next_word(parser, "APPEND") })
}

/// `[INTERVAL] n unit [n unit ...]`.
fn interval_ms(parser: &mut Parser<'_>) -> Parsed<u64> {
    let _ = parser.parse_keyword(Keyword::INTERVAL);
    let mut total_ms = 0_u64;
    loop {
        let number = parser.parse_literal_uint()?;
        let unit_ms = unit_ms(parser)?;
        let more = number.checked_mul(unit_ms).and_then(|ms| total_ms.checked_add(ms));
        total_ms = more
            .filter(|ms| *ms <= INTERVAL_MS_MAX)
            .ok_or_else(|| Error::invalid("an interval of a refresh is at most 100 years"))?;
        if !matches!(parser.peek_token_ref().token, Token::Number(..)) {
            return Ok(total_ms);
        }
    }
}

fn unit_ms(parser: &mut Parser<'_>) -> Parsed<u64> {
    let found = parser.next_token();
    let word = found.token.to_string().to_uppercase();
    let singular = word.strip_suffix('S').unwrap_or(&word);
    if let Some((_, unit_ms)) = UNITS.iter().find(|(unit, _)| *unit == singular) {
        return Ok(*unit_ms);
    }
    if ["MONTH", "QUARTER", "YEAR"].contains(&singular) {
        let message =
            format!("a {singular} has no fixed length: write the interval in DAY or WEEK");
        return Err(Error::unsupported(message).into());
    }
    Ok(parser.expected("SECOND, MINUTE, HOUR, DAY or WEEK", found)?)
}

/// The clause as SQL.
pub fn refresh_text(schedule: &RefreshSchedule, append: bool) -> String {
    let kind = if schedule.after_end { "AFTER" } else { "EVERY" };
    let mut text = format!("REFRESH {kind} {}", interval_text(schedule.every_ms));
    if schedule.offset_ms > 0 {
        text.push_str(&format!(" OFFSET {}", interval_text(schedule.offset_ms)));
    }
    if append {
        text.push_str(" APPEND");
    }
    text
}

/// The interval in units of SQL; milliseconds that are no whole second were never accepted.
fn interval_text(mut ms: u64) -> String {
    let mut words = Vec::new();
    for (unit, unit_ms) in UNITS {
        if ms >= unit_ms {
            words.push(format!("{} {unit}", ms / unit_ms));
            ms %= unit_ms;
        }
    }
    words.join(" ")
}

/// `REFRESH MATERIALIZED VIEW v`, as other databases spell it, which returns when it is done.
pub(super) fn refresh_view(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.expect_keyword(Keyword::REFRESH)?;
    parser.expect_keyword(Keyword::MATERIALIZED)?;
    parser.expect_keyword(Keyword::VIEW)?;
    let view = TableName::of(&parser.parse_object_name(false)?)?;
    let notices = on_cluster(parser)?;
    let action = ViewAction::RefreshAndWait;
    Ok(Statement::SystemView(SystemView { view, action, notices }))
}

/// `REFRESH | WAIT | STOP | START VIEW v` after SYSTEM; `None`, with nothing taken, when another
/// statement follows.
pub(super) fn system_view(parser: &mut Parser<'_>) -> Parsed<Option<Statement>> {
    let word = |ahead: usize| match parser.peek_nth_token(ahead).token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_uppercase(),
        _ => String::new(),
    };
    if word(1) != "VIEW" {
        return Ok(None);
    }
    let action = match word(0).as_str() {
        "REFRESH" => ViewAction::Refresh,
        "WAIT" => ViewAction::Wait,
        "STOP" => ViewAction::Stop,
        "START" => ViewAction::Start,
        _ => return Ok(None),
    };
    parser.next_token();
    parser.next_token();
    let mut notices = on_cluster(parser)?;
    let view = TableName::of(&parser.parse_object_name(false)?)?;
    notices.extend(on_cluster(parser)?);
    Ok(Some(Statement::SystemView(SystemView { view, action, notices })))
}

#[cfg(test)]
mod tests {
    use granary_common::ErrorKind;

    use super::*;
    use crate::parse;

    fn parsed(clause: &str) -> granary_common::Result<(RefreshClause, bool)> {
        let sql = format!("CREATE MATERIALIZED VIEW v REFRESH {clause} TO t AS SELECT 1 AS a");
        let statements = parse(&sql)?;
        let [Statement::CreateView(create)] = statements.as_slice() else { panic!("{sql}") };
        let materialized = create.materialized.as_ref().expect("materialized");
        let refresh = materialized.refresh.expect("a schedule");
        Ok((refresh, refresh.schedule.starts_empty))
    }

    #[test]
    fn intervals_are_read_and_written() {
        // (clause, its text, milliseconds, offset)
        for (clause, text, every_ms, offset_ms) in [
            ("EVERY 1 HOUR", "EVERY 1 HOUR", 3_600_000, 0),
            ("every 90 minutes", "EVERY 1 HOUR 30 MINUTE", 5_400_000, 0),
            ("AFTER INTERVAL 1 SECOND", "AFTER 1 SECOND", 1_000, 0),
            (
                "EVERY 1 DAY OFFSET 2 HOURS 5 SECONDS",
                "EVERY 1 DAY OFFSET 2 HOUR 5 SECOND",
                86_400_000,
                7_205_000,
            ),
            ("EVERY 2 WEEK APPEND", "EVERY 2 WEEK APPEND", 1_209_600_000, 0),
        ] {
            let (found, starts_empty) = parsed(clause).expect(clause);
            assert_eq!(found.schedule.every_ms, every_ms, "{clause}");
            assert_eq!(found.schedule.offset_ms, offset_ms, "{clause}");
            assert!(!starts_empty);
            assert_eq!(refresh_text(&found.schedule, found.append), format!("REFRESH {text}"));
        }
        assert!(parsed("EVERY 1 MINUTE EMPTY").expect("a clause").1);
    }

    #[test]
    fn what_no_schedule_is_gets_an_error() {
        use ErrorKind::{InvalidInput, Unsupported};
        for (clause, kind) in [
            ("EVERY", InvalidInput),
            ("1 HOUR", InvalidInput),
            ("EVERY 0 SECOND", InvalidInput),
            ("EVERY 1 HOUR OFFSET 1 HOUR", InvalidInput),
            ("AFTER 1 HOUR OFFSET 1 MINUTE", InvalidInput),
            ("EVERY 1 FORTNIGHT", InvalidInput),
            ("EVERY 99999999999 DAY", InvalidInput),
            ("EVERY 1 MONTH", Unsupported),
            ("EVERY 1 HOUR RANDOMIZE FOR 1 MINUTE", Unsupported),
            ("EVERY 1 HOUR DEPENDS ON w", Unsupported),
            ("EVERY 1 HOUR POPULATE", InvalidInput),
        ] {
            assert_eq!(parsed(clause).expect_err(clause).kind(), kind, "{clause}");
        }
    }

    #[test]
    fn system_statements_name_a_view() {
        for (sql, action) in [
            ("SYSTEM REFRESH VIEW db.v", ViewAction::Refresh),
            ("system wait view on cluster c db.v", ViewAction::Wait),
            ("REFRESH MATERIALIZED VIEW db.v", ViewAction::RefreshAndWait),
            ("SYSTEM STOP VIEW db.v", ViewAction::Stop),
            ("SYSTEM START VIEW db.v ON CLUSTER c", ViewAction::Start),
        ] {
            let statements = parse(sql).expect(sql);
            let [Statement::SystemView(found)] = statements.as_slice() else { panic!("{sql}") };
            assert_eq!((found.action, found.view.to_string().as_str()), (action, "db.v"), "{sql}");
        }
        assert!(parse("SYSTEM REFRESH v").is_err());
    }
}
