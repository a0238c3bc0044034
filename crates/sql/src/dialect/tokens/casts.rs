//! `CAST(value, 'Type')` is `CAST(value AS Type)`.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, TokenizerError};

use super::tokenize;

/// Rewrites all of them, in place.
///
/// # Errors
/// What the tokenizer reports about the text of a type.
pub(super) fn settle(tokens: &mut Vec<TokenWithSpan>) -> Result<(), TokenizerError> {
    let mut at = 0;
    while at + 1 < tokens.len() {
        let is_cast = matches!(&tokens[at].token, Token::Word(word)
            if matches!(word.keyword, Keyword::CAST | Keyword::TRY_CAST));
        if is_cast && let Some((comma, text)) = type_as_text(&tokens[at + 1..]) {
            let comma = at + 1 + comma;
            let span = tokens[comma].span;
            let mut of = tokenize(&text)?;
            of.iter_mut().for_each(|token| token.span = span);
            of.insert(0, TokenWithSpan { token: Token::make_keyword("AS"), span });
            tokens.splice(comma..comma + 2, of);
        }
        at += 1;
    }
    Ok(())
}

/// Where the comma before the type stands and what the type is, when the brackets that `rest` begins
/// with end with a comma and a text.
fn type_as_text(rest: &[TokenWithSpan]) -> Option<(usize, String)> {
    let mut depth = 0_usize;
    for (at, token) in rest.iter().enumerate() {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth == 1 => {
                let before = rest.get(..at)?;
                return match before {
                    [.., comma, text] if comma.token == Token::Comma => match &text.token {
                        Token::SingleQuotedString(text) => Some((at - 2, text.clone())),
                        _ => None,
                    },
                    _ => None,
                };
            }
            Token::RParen | Token::RBracket => depth -= 1,
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}
