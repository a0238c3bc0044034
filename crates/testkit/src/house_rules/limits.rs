//! Sizes: lines of files and functions, methods of traits, fields of structs.

use super::{SourceFile, Violation};

/// A rule with the most that it allows.
pub const LIMITS: [(&str, usize); 4] =
    [("file_lines", 400), ("function_lines", 70), ("trait_methods", 12), ("struct_fields", 15)];

fn limit(rule: &str) -> usize {
    LIMITS.iter().find(|(name, _)| *name == rule).map_or(usize::MAX, |(_, limit)| *limit)
}

/// Everything in `file` that is larger than it should be. Tests may list as many cases as they like.
pub fn limit_violations(file: &SourceFile) -> Vec<Violation> {
    let mut violations = Vec::new();
    if file.is_test() {
        return violations;
    }
    let mut note = |rule: &str, place: String, size: usize| {
        if size > limit(rule) {
            violations.push(Violation { key: format!("{rule} {place}"), size });
        }
    };
    note("file_lines", file.path.clone(), file.code.len());
    for block in blocks(&file.code) {
        let place = format!("{}:{}", file.path, block.name);
        match block.kind {
            "fn" => note("function_lines", place, block.lines.len()),
            "trait" => note("trait_methods", place, count_top(block.lines, starts_fn)),
            "struct" => note("struct_fields", place, count_top(block.lines, is_field)),
            _ => {}
        }
    }
    violations
}

struct Block<'a> {
    kind: &'static str,
    name: String,
    lines: &'a [String],
}

/// Functions, traits and structs with braces, from the line that names them to the closing brace.
fn blocks(code: &[String]) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    for (at, line) in code.iter().enumerate() {
        let Some((kind, name)) = opening(line) else { continue };
        if let Some(length) = block_length(&code[at..]) {
            found.push(Block { kind, name, lines: &code[at..at + length] });
        }
    }
    found
}

fn opening(line: &str) -> Option<(&'static str, String)> {
    let mut words = line.split_whitespace().skip_while(|word| {
        word.starts_with("pub")
            || ["async", "const", "unsafe", "default"].contains(word)
            || word.ends_with("crate)")
            || word.ends_with("super)")
    });
    let keyword = words.next()?;
    let kind = ["fn", "trait", "struct"].into_iter().find(|kind| *kind == keyword)?;
    let name: String =
        words.next()?.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some((kind, name))
}

/// Lines until the braces that open first are closed; `None` when a semicolon comes before them.
fn block_length(code: &[String]) -> Option<usize> {
    let (mut depth, mut opened, mut brackets) = (0_i32, false, 0_i32);
    for (at, line) in code.iter().enumerate() {
        for letter in line.chars() {
            match letter {
                '{' => (depth, opened) = (depth + 1, true),
                '}' => depth -= 1,
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                ';' if !opened && brackets == 0 => return None,
                _ => {}
            }
            if opened && depth == 0 {
                return Some(at + 1);
            }
        }
    }
    None
}

/// Lines directly inside the braces of a block for which `wanted` holds.
fn count_top(lines: &[String], wanted: impl Fn(&str) -> bool) -> usize {
    let mut depth = 0_i32;
    let mut count = 0;
    for line in lines {
        if depth == 1 && wanted(line.trim()) {
            count += 1;
        }
        for letter in line.chars() {
            match letter {
                '{' | '(' => depth += 1,
                '}' | ')' => depth -= 1,
                _ => {}
            }
        }
    }
    count
}

fn starts_fn(line: &str) -> bool {
    opening(line).is_some_and(|(kind, _)| kind == "fn")
}

fn is_field(line: &str) -> bool {
    let name = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
    let name = name.trim_start_matches("pub(super) ");
    let end = name.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    end.is_some_and(|end| end > 0 && name[end..].trim_start().starts_with(':'))
        && !name.contains("::<")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str, usize)]) {
        let file = SourceFile::new("crates/a/src/b.rs".to_owned(), text.to_owned());
        let found: Vec<(&str, String, usize)> = blocks(&file.code)
            .into_iter()
            .map(|block| {
                let size = match block.kind {
                    "trait" => count_top(block.lines, starts_fn),
                    "struct" => count_top(block.lines, is_field),
                    _ => block.lines.len(),
                };
                (block.kind, block.name, size)
            })
            .collect();
        let found: Vec<(&str, &str, usize)> =
            found.iter().map(|(kind, name, size)| (*kind, name.as_str(), *size)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn sizes_are_counted() {
        check("pub(crate) async fn f(\n    a: u8,\n) {\n    g();\n}\n", &[("fn", "f", 5)]);
        check(
            "trait T {\n    fn a(&self);\n    fn b(&self) {\n        c();\n    }\n}\n",
            &[("trait", "T", 2), ("fn", "b", 3)],
        );
        check(
            "pub struct S {\n    pub a: u8,\n    /// {\n    b: Vec<u8>,\n}\n",
            &[("struct", "S", 2)],
        );
        check("struct U;\nfn x() {}\n", &[("fn", "x", 1)]);
    }

    #[test]
    fn tests_do_not_count() {
        let text = format!("fn f() {{}}\n\n#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(500));
        let file = SourceFile::new("crates/a/src/b.rs".to_owned(), text);
        assert!(limit_violations(&file).is_empty());
    }
}
