//! ALTER TABLE MODIFY SETTING and RESET SETTING.

use sqlparser::ast::Expr;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::parse::Parsed;
use super::{AlterAction, setting_text};

/// `name = value, ...`, up to what is no further pair.
pub(super) fn modify_settings(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let mut settings = Vec::new();
    loop {
        let name = parser.parse_identifier()?.value;
        parser.expect_token(&Token::Eq)?;
        let value: Expr = parser.parse_expr()?;
        settings.push((name, setting_text(&value)));
        let more = parser.peek_token_ref().token == Token::Comma
            && parser.peek_nth_token(2).token == Token::Eq;
        if !more {
            return Ok(AlterAction::ModifySettings(settings));
        }
        parser.next_token();
    }
}

pub(super) fn reset_settings(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let mut names = vec![parser.parse_identifier()?.value];
    // Another action begins with two words.
    while parser.peek_token_ref().token == Token::Comma
        && !matches!(parser.peek_nth_token(2).token, Token::Word(_))
    {
        parser.next_token();
        names.push(parser.parse_identifier()?.value);
    }
    Ok(AlterAction::ResetSettings(names))
}
