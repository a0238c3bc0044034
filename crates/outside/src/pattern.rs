//! Patterns of paths: `*` and `?` within a part of a path, `**` over parts, `{a,b}` and `{1..9}`.

use granary_common::{Error, Result};

/// Paths that the braces of one pattern stand for, at most.
const ALTERNATIVES_MAX: usize = 10_000;

/// What `{a,b}` and `{1..9}` of `text` stand for; `text` itself without braces.
pub(crate) fn alternatives(text: &str) -> Result<Vec<String>> {
    let mut done = Vec::new();
    let mut open = vec![text.to_owned()];
    while let Some(current) = open.pop() {
        let Some((before, inner, after)) = first_braces(&current) else {
            done.push(current);
            continue;
        };
        let choices = choices(inner)?;
        if done.len() + open.len() + choices.len() > ALTERNATIVES_MAX {
            return Err(Error::invalid(format!(
                "the braces of '{text}' stand for more than {ALTERNATIVES_MAX} paths"
            )));
        }
        open.extend(choices.into_iter().rev().map(|choice| format!("{before}{choice}{after}")));
    }
    Ok(done)
}

/// The first pair of braces that has no braces within.
fn first_braces(text: &str) -> Option<(&str, &str, &str)> {
    let close = text.find('}')?;
    let open = text[..close].rfind('{')?;
    Some((&text[..open], &text[open + 1..close], &text[close + 1..]))
}

fn choices(inner: &str) -> Result<Vec<String>> {
    let Some((first, last)) = inner.split_once("..") else {
        return Ok(inner.split(',').map(str::to_owned).collect());
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let (Some(from), Some(to)) = (number(first), number(last)) else {
        return Err(Error::invalid(format!("'{{{inner}}}' is no range of whole numbers")));
    };
    // `{01..10}` keeps the zeros.
    let width = if first.starts_with('0') && first.len() > 1 { first.len() } else { 0 };
    if to < from || to - from >= ALTERNATIVES_MAX as u64 {
        return Err(Error::invalid(format!(
            "the range '{{{inner}}}' is empty or longer than {ALTERNATIVES_MAX}"
        )));
    }
    Ok((from..=to).map(|number| format!("{number:0width$}")).collect())
}

/// Whether `text` may stand for several paths.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The parts of a path before the first that is a pattern.
pub(crate) fn fixed_folder(text: &str) -> &str {
    let Some(first) = text.find(['*', '?']) else { return text };
    text[..first].rfind('/').map_or("", |end| &text[..end])
}

/// Whether `pattern`, whose braces are replaced, names `path`.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let patterns: Vec<&str> = pattern.split('/').collect();
    let parts: Vec<&str> = path.split('/').collect();
    // Which beginnings of the path the patterns so far can name.
    let mut reached = vec![false; parts.len() + 1];
    reached[0] = true;
    for pattern in patterns {
        let mut next = vec![false; parts.len() + 1];
        for at in 0..=parts.len() {
            if pattern == "**" {
                next[at] = reached[at] || (at > 0 && next[at - 1]);
            } else if at > 0 && reached[at - 1] {
                next[at] = part_matches(pattern, parts[at - 1]);
            }
        }
        reached = next;
    }
    reached[parts.len()]
}

/// Goes back to the last `*` only, which is enough since what it takes grows.
fn part_matches(pattern: &str, part: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let part: Vec<char> = part.chars().collect();
    let (mut in_pattern, mut in_part) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_part < part.len() {
        match pattern.get(in_pattern) {
            Some('*') => {
                star = Some((in_pattern, in_part));
                in_pattern += 1;
            }
            Some(letter) if *letter == '?' || *letter == part[in_part] => {
                in_pattern += 1;
                in_part += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (in_pattern, in_part) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_paths() {
        for (pattern, path, expected) in [
            ("a.csv", "a.csv", true),
            ("*.csv", "a.csv", true),
            ("*.csv", "x/a.csv", false),
            ("*/*.csv", "x/a.csv", true),
            ("a?.csv", "a1.csv", true),
            ("a?.csv", "a.csv", false),
            ("**/*.csv", "a.csv", true),
            ("**/*.csv", "x/y/a.csv", true),
            ("x/**", "x/y/a.csv", true),
            ("x/**/z/*", "x/z/a", true),
            ("x/**/z/*", "x/y/a", false),
            ("*a*a*b", "aaaaaaaaaaaaaaaaaaaaab", true),
            ("*a*a*c", "aaaaaaaaaaaaaaaaaaaaab", false),
            ("ä*", "äö", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        assert_eq!(fixed_folder("a/b/c*.csv"), "a/b");
        assert_eq!(fixed_folder("*.csv"), "");
        assert_eq!(fixed_folder("a/**/c.csv"), "a");
    }

    #[test]
    fn braces_stand_for_several_paths() {
        for (text, expected) in [
            ("a.csv", &["a.csv"][..]),
            ("{a,b}.csv", &["a.csv", "b.csv"]),
            ("f{1..3}", &["f1", "f2", "f3"]),
            ("f{08..10}", &["f08", "f09", "f10"]),
            ("{a,b}{1..2}", &["a1", "a2", "b1", "b2"]),
            ("{a,b{1,2}}", &["a", "b1", "a", "b2"]),
            ("a}b", &["a}b"]),
        ] {
            assert_eq!(alternatives(text).unwrap(), expected, "{text}");
        }
        for wrong in ["{1..x}", "{3..1}", "{1..99999999}", "{1..5000}{1..5000}"] {
            assert!(alternatives(wrong).is_err(), "{wrong}");
        }
    }
}
