//! What is settled on the tokens, before the grammar: spellings that need no look at the tree.

mod aliases;
mod apply;
mod braces;
mod brackets;
mod casts;
mod comprehensions;
mod dollars;
mod finals;
mod foreign;
mod frames;
mod joins;
mod kinds;
mod limits;
mod past;
mod pivots;
mod spelling;
mod standard;
mod types;
mod unions;

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError, Word};

pub(crate) use kinds::ANY_MARK;
pub(crate) use limits::TOO_DEEP;

use super::GranaryDialect;

/// The tokens of `text` without blanks, ready for the parser.
///
/// # Errors
/// What the tokenizer reports, for example a string without its closing quote, and brackets that are
/// nested too deeply.
pub(crate) fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, TokenizerError> {
    let dialect = GranaryDialect;
    // Our own unescape keeps the backslash of an unknown escape, as in a regular expression.
    let mut tokens: Vec<TokenWithSpan> = Tokenizer::new(&dialect, &dollars::quoted(text))
        .with_unescape(false)
        .tokenize_with_location()?
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .collect();
    for token in &mut tokens {
        match &mut token.token {
            Token::SingleQuotedString(value) => *value = unescape(value),
            // Every text has escapes here, so that `E'...'` is one like others.
            Token::EscapedStringLiteral(value) => {
                token.token = Token::SingleQuotedString(std::mem::take(value));
            }
            // With unescape off the tokenizer leaves doubled quotes inside quoted names.
            Token::Word(Word { value, quote_style: Some(quote), .. }) => {
                let doubled: String = [*quote, *quote].iter().collect();
                *value = value.replace(&doubled, &quote.to_string());
            }
            _ => {}
        }
    }
    limits::check(&tokens)?;
    split_short_intervals(&mut tokens);
    free_function_names(&mut tokens);
    types::settle(&mut tokens);
    braces::settle(&mut tokens);
    casts::settle(&mut tokens)?;
    comprehensions::settle(&mut tokens);
    frames::settle(&mut tokens)?;
    unions::settle(&mut tokens);
    // USING is enclosed in brackets by the next one.
    pivots::settle(&mut tokens)?;
    spelling::settle(&mut tokens);
    standard::settle(&mut tokens);
    foreign::settle(&mut tokens);
    apply::settle(&mut tokens);
    joins::settle(&mut tokens);
    kinds::settle(&mut tokens)?;
    past::settle(&mut tokens);
    finals::settle(&mut tokens);
    Ok(replace_placeholders(aliases::expand(tokens)?))
}

fn unescape(raw: &str) -> String {
    if !raw.contains(['\\', '\'']) {
        return raw.to_owned();
    }
    let mut value = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                // A quote inside is doubled; keep one.
                chars.next_if_eq(&'\'');
                value.push('\'');
            }
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some('0') => value.push('\0'),
                Some('a') => value.push('\x07'),
                Some('b') => value.push('\x08'),
                Some('f') => value.push('\x0c'),
                Some('v') => value.push('\x0b'),
                Some(quoted @ ('\\' | '\'' | '"' | '`' | '/')) => value.push(quoted),
                Some(other) => {
                    value.push('\\');
                    value.push(other);
                }
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    value
}

/// `INTERVAL 1h` is `INTERVAL 1 HOUR`.
fn split_short_intervals(tokens: &mut [TokenWithSpan]) {
    for at in 2..tokens.len() {
        let is_interval = matches!(&tokens[at - 2].token,
            Token::Word(word) if word.keyword == Keyword::INTERVAL);
        if !is_interval || !matches!(tokens[at - 1].token, Token::Number(..)) {
            continue;
        }
        let Token::Word(unit) = &tokens[at].token else { continue };
        let long = match unit.value.as_str() {
            "s" => "SECOND",
            "m" => "MINUTE",
            "h" => "HOUR",
            "d" => "DAY",
            "w" => "WEEK",
            "ms" => "MILLISECOND",
            _ => continue,
        };
        tokens[at].token = Token::make_keyword(long);
    }
}

/// `extract(text, pattern)` and `position(text, part)` are calls, not the standard's own grammar
/// with FROM and IN.
fn free_function_names(tokens: &mut [TokenWithSpan]) {
    for at in 0..tokens.len() {
        let Token::Word(word) = &tokens[at].token else { continue };
        let separator = match word.keyword {
            Keyword::EXTRACT => Keyword::FROM,
            Keyword::POSITION => Keyword::IN,
            _ => continue,
        };
        if separator_of_call(&tokens[at + 1..]) == Some(separator) {
            // `EXTRACT('year' FROM t)`: the field is a word, whatever stands around it.
            if separator == Keyword::FROM
                && let Some(field) = tokens.get_mut(at + 2)
                && let Token::SingleQuotedString(text)
                | Token::Word(Word { value: text, quote_style: Some(_), .. }) = &field.token
            {
                field.token = Token::make_word(text, None);
            }
            continue;
        }
        if let Token::Word(word) = &mut tokens[at].token {
            word.keyword = Keyword::NoKeyword;
        }
    }
}

/// The keyword or comma that ends the first argument of the call that begins with `rest`.
fn separator_of_call(rest: &[TokenWithSpan]) -> Option<Keyword> {
    let mut depth = 0_usize;
    for token in rest {
        match &token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket if depth <= 1 => return None,
            Token::RParen | Token::RBracket => depth -= 1,
            Token::Comma if depth == 1 => return None,
            Token::Word(word)
                if depth == 1 && matches!(word.keyword, Keyword::FROM | Keyword::IN) =>
            {
                return Some(word.keyword);
            }
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Numbers `?` and turns `{name:Type}` into `CAST($name AS Type)`.
fn replace_placeholders(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut replaced: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut number = 0;
    let mut at = 0;
    while at < tokens.len() {
        if let Some((name, type_tokens, end)) = named_placeholder(&tokens, at) {
            let span = tokens[at].span;
            let put = |token| TokenWithSpan { token, span };
            replaced.push(put(Token::make_keyword("CAST")));
            replaced.push(put(Token::LParen));
            replaced.push(put(Token::Placeholder(format!("${name}"))));
            replaced.push(put(Token::make_keyword("AS")));
            replaced.extend(tokens[type_tokens].iter().cloned());
            replaced.push(put(Token::RParen));
            at = end;
            continue;
        }
        let mut token = tokens[at].clone();
        let is_mark = matches!(&token.token, Token::Placeholder(text) if text == "?");
        if is_mark && !replaced.last().is_some_and(|last| ends_operand(&last.token)) {
            number += 1;
            token.token = Token::Placeholder(format!("${number}"));
        }
        replaced.push(token);
        at += 1;
    }
    replaced
}

/// `{name:Type}` at `at`: its name, the tokens of its type, and where it ends.
fn named_placeholder(tokens: &[TokenWithSpan], at: usize) -> Option<(String, Range<usize>, usize)> {
    let [open, name, colon, ..] = tokens.get(at..)? else { return None };
    let Token::Word(name) = &name.token else { return None };
    if open.token != Token::LBrace || colon.token != Token::Colon {
        return None;
    }
    let length = tokens[at..].iter().position(|token| token.token == Token::RBrace)?;
    let is_map = at > 0 && spelling::keyword(tokens.get(at - 1)) == Some(Keyword::MAP);
    if is_map || !braces::is_type(&tokens[at + 3..at + length]) {
        return None;
    }
    Some((name.value.clone(), at + 3..at + length, at + length + 1))
}

/// Whether an expression can end with `token`, so that a `?` after it is an operator.
fn ends_operand(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::NoKeyword | Keyword::NULL | Keyword::TRUE | Keyword::FALSE | Keyword::END
        ),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::RParen
        | Token::RBracket
        | Token::Placeholder(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> String {
        let tokens = tokenize(sql).expect(sql);
        let texts: Vec<String> = tokens.iter().map(|token| token.token.to_string()).collect();
        texts.join(" ")
    }

    #[test]
    fn tokens_are_settled() {
        for (sql, expected) in [
            ("SELECT 1 -- note\n, 2", "SELECT 1 , 2"),
            ("INTERVAL 15m", "INTERVAL 15 MINUTE"),
            ("SELECT * FROM a.t FINAL WHERE x", "SELECT * FROM a . `t FINAL` `t` WHERE x"),
            ("SELECT * FROM t AS x FINAL", "SELECT * FROM `t FINAL` AS x"),
            ("SELECT * FROM t FINAL AS x", "SELECT * FROM `t FINAL` AS x"),
            (
                "SELECT * FROM t x FINAL JOIN u FINAL ON y",
                "SELECT * FROM `t FINAL` x JOIN `u FINAL` `u` ON y",
            ),
            (
                "SELECT a, b FROM (SELECT 1, x) AS y, t FINAL, u AS z FINAL",
                "SELECT a , b FROM ( SELECT 1 , x ) AS y , `t FINAL` `t` , `u FINAL` AS z",
            ),
            (
                "SELECT * FROM t AS OF VERSION 5 JOIN u TIMESTAMP AS OF now() - INTERVAL 1 DAY AS x ON y",
                "SELECT * FROM t AT ( VERSION => 5 ) JOIN u AT ( TIMESTAMP => now ( ) - INTERVAL 1 DAY ) AS x ON y",
            ),
            (
                "FROM t FOR SYSTEM_TIME AS OF TIMESTAMP '2024' x, v FOR VERSION AS OF (SELECT 1)",
                "FROM t AT ( TIMESTAMP => TIMESTAMP '2024' ) x , v AT ( VERSION => ( SELECT 1 ) )",
            ),
            (
                "FROM t FINAL AS OF VERSION 5, u BEFORE(TIMESTAMP => now()) FINAL AS x",
                "FROM `t FINAL` AT ( VERSION => 5 ) `t` , `u FINAL` BEFORE ( TIMESTAMP => now ( ) ) AS x",
            ),
            (
                "FROM t VERSION AS OF 1 HOUR AGO WHERE c",
                "FROM t AT ( TIMESTAMP => now ( ) - INTERVAL 1 HOUR ) WHERE c",
            ),
            ("SELECT timestamp AS of FROM t at", "SELECT timestamp AS of FROM t at"),
            ("SELECT a, b final FROM t", "SELECT a , b final FROM t"),
            ("SELECT final FROM t", "SELECT final FROM t"),
            ("SELECT 1 FROM t WHERE a OR final", "SELECT 1 FROM t WHERE a OR final"),
            ("x = ? AND y = ?", "x = $1 AND y = $2"),
            ("a = 4 ? 'ok' : 'no'", "a = 4 ? 'ok' : 'no'"),
            ("{id:UInt64} + 1", "CAST ( $id AS UInt64 ) + 1"),
            ("a JOIN b USING id WHERE c", "a JOIN b USING ( id ) WHERE c"),
            ("x GLOBAL IN (1)", "x IN ( 1 )"),
            ("LIMIT 1 BY a, b LIMIT 4", "LIMIT 1 BY a , b FETCH FIRST 4 ROWS ONLY"),
            ("LIMIT 1, 2 BY a", "OFFSET 1 LIMIT 2 BY a"),
            ("CAST(f(a, 'b'), 'Array(Int8)')", "CAST ( f ( a , 'b' ) AS Array ( Int8 ) )"),
            ("t.1 + items[1].2 + .5", "t [ '1' ] + items [ 1 ] [ '2' ] + .5"),
            (
                "FROM t LEFT ARRAY JOIN a AS x, left(b, 2) WHERE c",
                "FROM t LEFT ARRAY JOIN ( SELECT a AS x , left ( b , 2 ) ) WHERE c",
            ),
            ("(SELECT 1 FROM t ARRAY JOIN a)", "( SELECT 1 FROM t ARRAY JOIN ( SELECT a ) )"),
            (
                "t ASOF JOIN q USING (a, b)",
                "t ASOF JOIN q MATCH_CONDITION ( FALSE ) USING ( a , b )",
            ),
            (
                "t LEFT ASOF JOIN (SELECT 1) AS q ON a AND b",
                "t ASOF JOIN ( SELECT 1 ) AS q MATCH_CONDITION ( TRUE ) ON a AND b",
            ),
            (
                "WITH x -> x + 1 AS f SELECT f(f(2)), t.f(1), arrayMap(f, a)",
                "SELECT ( ( ( ( 2 ) + 1 ) ) + 1 ) , t . f ( 1 ) , arrayMap ( x -> x + 1 , a )",
            ),
            (
                "WITH 2 AS n, (x, y) -> x * y + n AS f SELECT f(a, b), f(1)",
                "SELECT ( ( a ) * ( b ) + ( 2 ) ) , f ( 1 )",
            ),
            ("WITH 5 AS n SELECT n + t.n", "SELECT ( 5 ) + t . n"),
            ("WITH 5 AS n, x AS (SELECT 1) SELECT n", "WITH x AS ( SELECT 1 ) SELECT ( 5 )"),
            (
                "CREATE VIEW v AS WITH 5 AS n, x AS (SELECT 1) SELECT n",
                "CREATE VIEW v AS WITH x AS ( SELECT 1 ) SELECT ( 5 )",
            ),
            ("INSERT INTO t WITH 5 AS n SELECT n", "INSERT INTO t SELECT ( 5 )"),
            ("FROM (WITH 5 AS n SELECT n), n", "FROM ( SELECT ( 5 ) ) , n"),
            (
                "SELECT a ORDER BY a LIMIT 1 UNION ALL SELECT b ORDER BY b",
                "( SELECT a ORDER BY a LIMIT 1 ) UNION ALL SELECT b ORDER BY b",
            ),
            ("SELECT * EXCEPT (a) FROM t LIMIT 1", "SELECT * EXCEPT ( a ) FROM t LIMIT 1"),
            ("x / any(y), x > any(y)", "x / any_value ( y ) , x > any ( y )"),
            ("x::INT[]", "x :: Array ( Nullable ( INT ) )"),
            ("x::decimal(9, 2)[][]", "x :: Array ( Array ( Nullable ( decimal ( 9 , 2 ) ) ) )"),
            ("CASE WHEN a THEN [] END", "CASE WHEN a THEN [ ] END"),
            (
                "l array<array<int>>, s struct<a INT, b Array(String)>",
                "l Array ( Array ( Nullable ( int ) ) ) , s Tuple ( a Nullable ( INT ) , b Array ( String ) )",
            ),
            ("m MAP<TEXT, INT>", "m Map ( TEXT , Nullable ( INT ) )"),
            ("WHERE array < x AND y > 3", "WHERE array < x AND y > 3"),
            ("SELECT struct(a, b), struct(f(x))", "SELECT struct ( a , b ) , struct ( f ( x ) )"),
            (
                "struct(1 AS a, struct(2 AS 'b'))",
                "named_struct ( 'a' , 1 , 'c1' , named_struct ( 'b' , 2 ) )",
            ),
            ("FROM VALUES (1), (2) t(a)", "FROM ( VALUES ( 1 ) , ( 2 ) ) t ( a )"),
            ("FROM values(1, 2), (SELECT 1)", "FROM values ( 1 , 2 ) , ( SELECT 1 )"),
            ("{a: 1}, {x: UInt8}", "{ a : 1 } , CAST ( $x AS UInt8 )"),
            ("MAP {a: b}, {a: x, b: 2}", "MAP { a : b } , { a : x , b : 2 }"),
            ("{p: Array(UInt8)}, {p: f(1)}", "CAST ( $p AS Array ( UInt8 ) ) , { p : f ( 1 ) }"),
            ("EXTRACT('year' FROM t), E'a'", "EXTRACT ( year FROM t ) , 'a'"),
            ("WITH x AS NOT MATERIALIZED (SELECT 1)", "WITH x AS ( SELECT 1 )"),
            ("a IN [1, 2] OR a IN tuple(3)", "a IN ( 1 , 2 ) OR a IN ( 3 )"),
            (
                "count(*) FILTER (a > 1), filter(xs, x -> x)",
                "count ( * ) FILTER ( WHERE a > 1 ) , filter ( xs , x -> x )",
            ),
            ("SELECT !a FROM view(SELECT 1)", "SELECT NOT a FROM ( SELECT 1 )"),
            (
                "SELECT j -> 'a', f(j -> 'b'), arrayMap(x -> 'c', y)",
                "SELECT j #> 'a' , f ( j #> 'b' ) , arrayMap ( x -> 'c' , y )",
            ),
            (
                "[f(x) for x in [1, 2] if x > 1]",
                "arrayMap ( x -> ( f ( x ) ) , arrayFilter ( x -> ( x > 1 ) , ( [ 1 , 2 ] ) ) )",
            ),
            (
                "OVER (ROWS UNBOUNDED PRECEDING EXCLUDE NO OTHERS)",
                "OVER ( ROWS UNBOUNDED PRECEDING )",
            ),
            (
                "OVER (ORDER BY a GROUPS 1 PRECEDING EXCLUDE TIES)",
                "OVER ( PARTITION BY upper ( '\u{1}EXCLUDE TIES' ) ORDER BY a GROUPS 1 PRECEDING )",
            ),
            (
                "OVER (w PARTITION BY f(p) ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW)",
                "OVER ( w PARTITION BY upper ( '\u{1}EXCLUDE CURRENT ROW' ) , f ( p ) ROWS BETWEEN 1 PRECEDING AND CURRENT ROW )",
            ),
            (
                "OVER (w ROWS CURRENT ROW EXCLUDE GROUP)",
                "OVER ( w PARTITION BY upper ( '\u{1}EXCLUDE GROUP' ) ROWS CURRENT ROW )",
            ),
            ("[1, 2], [x for x in y]", "[ 1 , 2 ] , arrayMap ( x -> ( x ) , ( y ) )"),
            ("INSERT INTO t (a) FORMAT Values (1)", "INSERT INTO t ( a ) Values ( 1 )"),
            (
                "PIVOT t ON c IN (1, 2) USING sum(x) ORDER BY a",
                "SELECT * FROM t PIVOT ( sum ( x ) FOR c IN ( 1 , 2 ) ) ORDER BY a",
            ),
            (
                "(PIVOT t ON c USING sum(x) AS s GROUP BY g)",
                "( SELECT * FROM ( SELECT g , c , x FROM t ) PIVOT ( sum ( x ) AS s FOR c IN ( SELECT DISTINCT c FROM t ) ) )",
            ),
            (
                "UNPIVOT t ON a, b INTO NAME k VALUE v LIMIT 3",
                "SELECT * FROM t UNPIVOT ( v FOR k IN ( a , b ) ) LIMIT 3",
            ),
            ("FROM t PIVOT (sum(x) FOR c IN (1))", "FROM t PIVOT ( sum ( x ) FOR c IN ( 1 ) )"),
            ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH x AS ( SELECT 1 ) SELECT * FROM x"),
        ] {
            assert_eq!(texts(sql), expected, "{sql}");
        }
    }

    #[test]
    fn unknown_escapes_keep_their_backslash() {
        for (raw, value) in
            [("it''s", "it's"), (r"\d+\.", r"\d+\."), (r"a\n\'b\\", "a\n'b\\"), (r"\1", r"\1")]
        {
            assert_eq!(unescape(raw), value);
        }
    }
}
