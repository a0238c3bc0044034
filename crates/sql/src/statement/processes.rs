//! KILL QUERY and KILL MUTATION.

use granary_common::Error;
use sqlparser::ast::{BinaryOperator, Expr};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;

use super::parse::{Failure, Parsed, is_next_word, on_cluster};
use super::{Statement, setting_text};
use crate::Notice;

/// `KILL QUERY 'id'` or `KILL QUERY WHERE query_id = 'id'`; `SYNC` and `ASYNC` are the same here.
pub(super) fn kill(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    if is_next_word(parser, "MUTATION") {
        let (mutation_id, notices) = killed(parser, &MUTATION)?;
        return Ok(Statement::KillMutation { mutation_id, notices });
    }
    let _ = parser.parse_keyword(Keyword::QUERY);
    let (query_id, notices) = killed(parser, &QUERY)?;
    Ok(Statement::KillQuery { query_id, notices })
}

/// What KILL ends: its word, the column of its ids, and the table that has them.
struct Killable {
    word: &'static str,
    id: &'static str,
    table: &'static str,
}

const QUERY: Killable = Killable { word: "QUERY", id: "query_id", table: "system.queries" };
const MUTATION: Killable =
    Killable { word: "MUTATION", id: "mutation_id", table: "system.mutations" };

/// The id that follows, and notices.
fn killed(parser: &mut Parser<'_>, what: &Killable) -> Parsed<(String, Vec<Notice>)> {
    let notices = on_cluster(parser)?;
    let id = match parser.parse_keyword(Keyword::WHERE) {
        true => id_of(parser.parse_expr()?, what)?,
        false => parser.parse_literal_string()?,
    };
    if is_next_word(parser, "TEST") {
        let Killable { word, table, .. } = what;
        let message = format!("KILL {word} ... TEST is not supported; look into {table}");
        return Err(Error::unsupported(message).into());
    }
    let _ = is_next_word(parser, "SYNC") || is_next_word(parser, "ASYNC");
    Ok((id, notices))
}

/// The text in `query_id = 'text'`. Ids are unique, so the table beside one says nothing more.
fn id_of(condition: Expr, what: &Killable) -> Parsed<String> {
    if let Expr::BinaryOp { left, op: BinaryOperator::And, right } = condition {
        return match names_table(&left) {
            true => id_of(*right, what),
            false if names_table(&right) => id_of(*left, what),
            false => Err(not_an_id(&Expr::BinaryOp { left, op: BinaryOperator::And, right }, what)),
        };
    }
    if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = &condition
        && let (Expr::Identifier(column), Expr::Value(_)) = (&**left, &**right)
        && column.value.eq_ignore_ascii_case(what.id)
    {
        return Ok(setting_text(right));
    }
    Err(not_an_id(&condition, what))
}

/// Whether this is `database = '...'`, `table = '...'` or both.
fn names_table(condition: &Expr) -> bool {
    let Expr::BinaryOp { left, op, right } = condition else { return false };
    if *op == BinaryOperator::And {
        return names_table(left) && names_table(right);
    }
    if *op != BinaryOperator::Eq {
        return false;
    }
    let is_name = |column: &str| ["database", "table"].contains(&column);
    matches!((&**left, &**right), (Expr::Identifier(column), Expr::Value(_))
        if is_name(&column.value.to_ascii_lowercase()))
}

fn not_an_id(condition: &Expr, Killable { word, id, table }: &Killable) -> Failure {
    Failure::from(Error::unsupported(format!(
        "KILL {word} takes WHERE {id} = '...', not {condition}; {table} has the ids"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn a_query_is_named_by_its_id() {
        for text in [
            "KILL QUERY 'ab'",
            "KILL QUERY WHERE query_id = 'ab'",
            "kill query where query_id = 'ab' SYNC",
            "KILL QUERY ON CLUSTER c WHERE query_id='ab' ASYNC",
        ] {
            let statements = parse(text).expect(text);
            let [Statement::KillQuery { query_id, .. }] = statements.as_slice() else {
                panic!("{text}: {statements:?}")
            };
            assert_eq!(query_id, "ab", "{text}");
        }
        for text in [
            "KILL MUTATION 'ab'",
            "KILL MUTATION WHERE mutation_id = 'ab' SYNC",
            "KILL MUTATION WHERE database = 'd' AND table = 't' AND mutation_id = 'ab'",
        ] {
            let statements = parse(text).expect(text);
            let [Statement::KillMutation { mutation_id, .. }] = statements.as_slice() else {
                panic!("{text}: {statements:?}")
            };
            assert_eq!(mutation_id, "ab", "{text}");
        }
        assert!(parse("KILL MUTATION WHERE table = 't'").is_err());
        for text in ["KILL QUERY WHERE user = 'ann'", "KILL QUERY", "KILL QUERY 'a' TEST"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
