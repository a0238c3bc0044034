//! `$$text$$`, in which nothing has to be escaped, as `'text'`. The tokenizer takes two dollars for the
//! beginning of a placeholder's name, since `$1` is one. And lines that begin with `# ` or `#!` as
//! comments; further on in a line `#` is an operator.

use std::borrow::Cow;

const MARK: &str = "$$";

/// `text` with such literals in quotes; each keeps its place in its line as far as its letters do.
pub(super) fn quoted(text: &str) -> Cow<'_, str> {
    if !text.contains(MARK) && !text.contains('#') {
        return Cow::Borrowed(text);
    }
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '\'' | '"' | '`' => quoted_length(rest, next),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '#' if is_comment(&written, rest) => {
                written.push_str("--");
                rest = &rest[1..];
                rest.find('\n').unwrap_or(rest.len())
            }
            '/' if rest.starts_with("/*") => comment_length(rest),
            '$' if rest.starts_with(MARK) => {
                let inner = &rest[MARK.len()..];
                match inner.find(MARK) {
                    Some(end) => {
                        let literal = inner[..end].replace('\\', "\\\\").replace('\'', "''");
                        written.push_str(&format!(" '{literal}' "));
                        rest = &inner[end + MARK.len()..];
                        continue;
                    }
                    None => rest.len(),
                }
            }
            other => other.len_utf8(),
        };
        let (taken, left) = rest.split_at(length);
        written.push_str(taken);
        rest = left;
    }
    Cow::Owned(written)
}

/// Whether the line that `before` ends with has nothing else than the comment that begins `rest`.
fn is_comment(before: &str, rest: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    (rest.starts_with("# ") || rest.starts_with("#!") || rest.starts_with("#\n"))
        && line.trim().is_empty()
}

/// The bytes of what begins with `quote`, through its end.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The bytes of a comment, through its end; comments nest.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn literals_between_dollars_are_quoted() {
        for (text, expected) in [
            ("SELECT $$it's \\ all$$, 1", "SELECT  'it''s \\\\ all' , 1"),
            ("SELECT $$$$", "SELECT  '' "),
            ("SELECT $$a\nb$$", "SELECT  'a\nb' "),
            ("SELECT '$$a$$', \"$$b$$\", `$$c$$`", "SELECT '$$a$$', \"$$b$$\", `$$c$$`"),
            ("SELECT 'it''s $$' || $$x$$", "SELECT 'it''s $$' ||  'x' "),
            ("SELECT 1 -- $$\n, $$a$$", "SELECT 1 -- $$\n,  'a' "),
            ("SELECT /* $$ /* */ $$ */ $$a$$", "SELECT /* $$ /* */ $$ */  'a' "),
            ("#!it's\nSELECT 1\n  # it's\n, 2", "--!it's\nSELECT 1\n  -- it's\n, 2"),
            ("SELECT 6 # 3, '\n# ' #x", "SELECT 6 # 3, '\n# ' #x"),
            ("SELECT $1, $$open", "SELECT $1, $$open"),
            ("SELECT $1", "SELECT $1"),
        ] {
            assert_eq!(quoted(text), expected, "{text}");
        }
    }
}
