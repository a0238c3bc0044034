//! ALTER USER: the settings with which the sessions of a user begin.

use granary_common::Error;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::Statement;
use super::parse::{Parsed, is_ahead, is_next_word, on_cluster};
use super::setting_text;
use crate::Notice;

/// `ALTER USER name` with what becomes of its settings, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlterUser {
    pub user: String,
    /// All settings of before go.
    pub clear: bool,
    /// These go.
    pub reset: Vec<String>,
    /// These get values.
    pub set: Vec<(String, String)>,
    pub notices: Vec<Notice>,
}

/// Whether ALTER USER follows.
pub(super) fn is_alter_user(parser: &Parser<'_>) -> bool {
    is_ahead(parser, &[Keyword::ALTER, Keyword::USER])
}

/// `ALTER USER name SETTINGS a = 1, ...`, which replaces all that there were, or any of `ADD | MODIFY
/// SETTINGS a = 1, ...`, `DROP SETTINGS a, ...` and `DROP ALL SETTINGS`; the parser stands at ALTER.
pub(super) fn alter_user(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.next_token();
    parser.next_token();
    let user = match parser.peek_token_ref().token.clone() {
        Token::SingleQuotedString(name) => {
            parser.next_token();
            name
        }
        _ => parser.parse_identifier()?.value,
    };
    let mut alter = AlterUser { user, notices: on_cluster(parser)?, ..AlterUser::default() };
    loop {
        one_change(parser, &mut alter)?;
        let _ = parser.consume_token(&Token::Comma);
        if matches!(parser.peek_token_ref().token, Token::SemiColon | Token::EOF) {
            return Ok(Statement::AlterUser(Box::new(alter)));
        }
    }
}

fn one_change(parser: &mut Parser<'_>, alter: &mut AlterUser) -> Parsed<()> {
    let verb = ["ADD", "MODIFY", "DROP"].into_iter().find(|verb| is_next_word(parser, verb));
    let is_all = verb == Some("DROP") && is_next_word(parser, "ALL");
    if !is_next_word(parser, "SETTINGS") && !is_next_word(parser, "SETTING") {
        let message = "of ALTER USER, SETTINGS name = value, ADD | MODIFY SETTINGS name = value, DROP \
                       SETTINGS name and DROP ALL SETTINGS are supported: users have no passwords, \
                       roles and grants";
        return Err(Error::unsupported(message).into());
    }
    if is_all {
        alter.clear = true;
    } else if verb == Some("DROP") {
        alter.reset.extend(listed(parser, |parser| Ok(parser.parse_identifier()?.value))?);
    } else {
        alter.clear |= verb.is_none();
        if verb.is_none() && is_next_word(parser, "NONE") {
            return Ok(());
        }
        alter.set.extend(listed(parser, |parser| {
            let name = parser.parse_identifier()?.value;
            parser.expect_token(&Token::Eq)?;
            Ok((name, setting_text(&parser.parse_expr()?)))
        })?);
    }
    Ok(())
}

/// What stands between commas, up to a comma before the next change.
fn listed<T>(
    parser: &mut Parser<'_>,
    mut item: impl FnMut(&mut Parser<'_>) -> Parsed<T>,
) -> Parsed<Vec<T>> {
    let mut items = vec![item(parser)?];
    let is_change = |parser: &Parser<'_>| {
        let word = parser.peek_nth_token(1).token.to_string().to_uppercase();
        ["ADD", "MODIFY", "DROP"].contains(&word.as_str())
    };
    while parser.peek_token_ref().token == Token::Comma && !is_change(parser) {
        parser.next_token();
        items.push(item(parser)?);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use granary_common::ErrorKind;

    use super::*;
    use crate::parse;

    fn altered(rest: &str) -> AlterUser {
        let sql = format!("ALTER USER {rest}");
        let mut parsed = parse(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        match parsed.pop() {
            Some(Statement::AlterUser(alter)) => *alter,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn settings_of_users_are_read() {
        let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        for (rest, user, clear, reset, set) in [
            ("ann SETTINGS a = 1, b = 'x'", "ann", true, vec![], pairs(&[("a", "1"), ("b", "x")])),
            ("'an-n' MODIFY SETTING a = 2", "an-n", false, vec![], pairs(&[("a", "2")])),
            ("`x` DROP SETTINGS a, b", "x", false, vec!["a", "b"], vec![]),
            ("ann DROP ALL SETTINGS", "ann", true, vec![], vec![]),
            ("ann SETTINGS NONE", "ann", true, vec![], vec![]),
            (
                "ann DROP SETTINGS a, ADD SETTINGS b = 1 MODIFY SETTING c = -2",
                "ann",
                false,
                vec!["a"],
                pairs(&[("b", "1"), ("c", "-2")]),
            ),
        ] {
            let found = altered(rest);
            let reset: Vec<String> = reset.into_iter().map(str::to_owned).collect();
            let expected = AlterUser { user: user.into(), clear, reset, set, notices: vec![] };
            assert_eq!(found, expected, "{rest}");
        }
        assert_eq!(altered("ann ON CLUSTER c SETTINGS a = 1").notices.len(), 1);
        for (rest, kind) in [
            ("ann IDENTIFIED BY 'secret'", ErrorKind::Unsupported),
            ("ann", ErrorKind::Unsupported),
            ("ann SETTINGS a", ErrorKind::InvalidInput),
            ("ann SETTINGS a = 1 READONLY", ErrorKind::Unsupported),
        ] {
            let error = parse(&format!("ALTER USER {rest}")).expect_err(rest);
            assert_eq!(error.kind(), kind, "{rest}: {error}");
        }
    }
}
