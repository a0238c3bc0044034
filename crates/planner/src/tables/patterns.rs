//! What a regular expression requires of a text, as far as a LIKE pattern can say it.

use regex_syntax::hir::{Hir, HirKind, Look};

/// A pattern that every text is like in which `expression` finds something; `None` for one that
/// cannot be read. The pattern may be like more: whatever is no literal in it stands for any text.
pub(super) fn regex_as_like(expression: &str) -> Option<String> {
    let found = regex_syntax::Parser::new().parse(expression).ok()?;
    let mut terms = Vec::new();
    flatten(&found, &mut terms);
    let mut terms = terms.as_slice();
    let mut pattern = String::new();
    match terms {
        [first, rest @ ..] if matches!(first.kind(), HirKind::Look(Look::Start)) => terms = rest,
        _ => pattern.push('%'),
    }
    let mut is_open = true;
    if let [rest @ .., last] = terms
        && matches!(last.kind(), HirKind::Look(Look::End))
    {
        (terms, is_open) = (rest, false);
    }
    for term in terms {
        match term.kind() {
            HirKind::Literal(literal) => {
                escape(std::str::from_utf8(&literal.0).ok()?, &mut pattern)
            }
            _ if pattern.ends_with('%') && !pattern.ends_with("\\%") => {}
            _ => pattern.push('%'),
        }
    }
    if is_open {
        pattern.push('%');
    }
    Some(pattern)
}

/// What follows each other in a text, groups opened.
fn flatten<'a>(found: &'a Hir, terms: &mut Vec<&'a Hir>) {
    match found.kind() {
        HirKind::Concat(parts) => parts.iter().for_each(|part| flatten(part, terms)),
        HirKind::Capture(group) => flatten(&group.sub, terms),
        HirKind::Empty => {}
        _ => terms.push(found),
    }
}

fn escape(literal: &str, pattern: &mut String) {
    for character in literal.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_become_patterns() {
        for (expression, expected) in [
            ("error", "%error%"),
            ("^error", "error%"),
            ("error$", "%error"),
            ("^a b$", "a b"),
            ("GET /x .* 50[0-9] ", "%GET /x % 50% %"),
            ("(user) (left|came) (now)", "%user % now%"),
            ("100% a_b", "%100\\% a\\_b%"),
            ("a+ b", "% b%"),
            ("(?i)abc d", "% %%"),
            ("(?m)^a b$", "%a b%%"),
            ("a|b", "%%"),
            ("", "%%"),
            ("\\bword\\b", "%word%%"),
        ] {
            let found = regex_as_like(expression).expect(expression);
            assert_eq!(found, expected, "{expression}");
        }
        assert_eq!(regex_as_like("(a"), None);
    }
}
