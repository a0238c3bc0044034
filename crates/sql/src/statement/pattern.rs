//! Patterns of SHOW.

/// A pattern of SHOW ... [NOT] [I]LIKE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LikePattern {
    pub pattern: String,
    pub negated: bool,
    pub ignore_case: bool,
}

impl LikePattern {
    /// Whether `name` is shown. `%` stands for any text, `_` for one character, a backslash takes
    /// the next character as it is.
    pub fn matches(&self, name: &str) -> bool {
        let fold = |text: &str| match self.ignore_case {
            true => text.to_lowercase(),
            false => text.to_owned(),
        };
        let pattern: Vec<char> = fold(&self.pattern).chars().collect();
        let name: Vec<char> = fold(name).chars().collect();
        like(&pattern, &name) != self.negated
    }
}

fn like(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|skipped| like(rest, &text[skipped..])),
        ['_', rest @ ..] => !text.is_empty() && like(rest, &text[1..]),
        ['\\', escaped, rest @ ..] => text.first() == Some(escaped) && like(rest, &text[1..]),
        [plain, rest @ ..] => text.first() == Some(plain) && like(rest, &text[1..]),
    }
}
