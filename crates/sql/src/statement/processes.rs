//! KILL QUERY and SHOW PROCESSLIST.

use granary_common::Error;
use sqlparser::ast::{BinaryOperator, Expr};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;

use super::parse::{Failure, Parsed, is_next_word, on_cluster};
use super::{Statement, setting_text};
use crate::dialect::{GranaryDialect, tokenize};

/// What SHOW PROCESSLIST stands for.
const PROCESSLIST: &str = "SELECT query_id, user, database, elapsed_ms, rows, query, coordinator \
     FROM system.queries WHERE state = 'running' ORDER BY elapsed_ms DESC";

/// `SHOW PROCESSLIST`, after its last word.
pub(super) fn processlist() -> Parsed<Statement> {
    let tokens = tokenize(PROCESSLIST).map_err(|error| Error::internal(error.to_string()))?;
    let dialect = GranaryDialect;
    let query = Parser::new(&dialect).with_tokens_with_locations(tokens).parse_query()?;
    Ok(Statement::Query(query))
}

/// `KILL QUERY 'id'` or `KILL QUERY WHERE query_id = 'id'`; `SYNC` and `ASYNC` are the same here.
pub(super) fn kill(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    if is_next_word(parser, "MUTATION") {
        return Err(Error::unsupported("KILL MUTATION is not supported").into());
    }
    let _ = parser.parse_keyword(Keyword::QUERY);
    let notices = on_cluster(parser)?;
    let query_id = match parser.parse_keyword(Keyword::WHERE) {
        true => id_of(parser.parse_expr()?)?,
        false => parser.parse_literal_string()?,
    };
    if is_next_word(parser, "TEST") {
        let message = "KILL QUERY ... TEST is not supported; look into system.queries";
        return Err(Error::unsupported(message).into());
    }
    let _ = is_next_word(parser, "SYNC") || is_next_word(parser, "ASYNC");
    Ok(Statement::KillQuery { query_id, notices })
}

/// The text in `query_id = 'text'`.
fn id_of(condition: Expr) -> Parsed<String> {
    if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = &condition
        && let (Expr::Identifier(column), Expr::Value(_)) = (&**left, &**right)
        && column.value.eq_ignore_ascii_case("query_id")
    {
        return Ok(setting_text(right));
    }
    Err(Failure::from(Error::unsupported(format!(
        "KILL QUERY takes WHERE query_id = '...', not {condition}; system.queries has the ids"
    ))))
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
        for text in ["KILL QUERY WHERE user = 'ann'", "KILL QUERY", "KILL QUERY 'a' TEST"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_processlist_is_a_query() {
        for text in ["SHOW PROCESSLIST", "show full processlist"] {
            let statements = parse(text).expect(text);
            assert!(matches!(statements.as_slice(), [Statement::Query(_)]), "{text}");
        }
    }
}
