//! Words that must not stand in the project.

use super::{SourceFile, Violation};

/// In production code.
const IN_CODE: [&str; 5] = ["todo!(", "unimplemented!(", "dbg!(", "panic!(", "#[allow(dead_code"];

/// Anywhere: paths that exist on one machine only. Spelled in pieces, so that this file passes.
fn machine_paths() -> [String; 4] {
    ["/ro|ot/", "/ho|me/", "/wo|rk/", "/Us|ers/"].map(|pieces| pieces.replace('|', ""))
}

/// Banned words of the production code of `file`.
pub fn word_violations(file: &SourceFile) -> Vec<Violation> {
    if file.is_test() {
        return Vec::new();
    }
    let count = |word: &str| file.code.iter().filter(|line| line.contains(word)).count();
    IN_CODE
        .iter()
        .map(|word| Violation { key: format!("word {}:{word}", file.path), size: count(word) })
        .filter(|violation| violation.size > 0)
        .collect()
}

/// Files that name a machine's path. Home folders inside a container image are fine, as are
/// addresses, where something other than a blank or a quote stands before the slash.
pub fn path_violations(files: &[(String, String)]) -> Vec<Violation> {
    let paths = machine_paths();
    let names_path = |line: &&str| {
        paths.iter().any(|path| {
            line.match_indices(path.as_str()).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|letter| !letter.is_alphanumeric() && !"._-}~$*".contains(letter))
            })
        })
    };
    files
        .iter()
        .map(|(path, text)| Violation {
            key: format!("machine_path {path}"),
            size: text.lines().filter(names_path).count(),
        })
        .filter(|violation| violation.size > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_strings_and_comments_are_fine() {
        let check = |text: &str, expected: usize| {
            let file = SourceFile::new("crates/a/src/b.rs".to_owned(), text.to_owned());
            assert_eq!(word_violations(&file).len(), expected, "{text}");
        };
        check("fn f() { todo!() }", 1);
        check("// todo!()\nconst A: &str = \"dbg!(\";", 0);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let check = |line: String, expected: usize| {
            let files = [("a.txt".to_owned(), line.clone())];
            assert_eq!(path_violations(&files).len(), expected, "{line}");
        };
        let [home, ..] = machine_paths();
        check(format!("cd {home}x"), 1);
        check(format!("cd a{home}x"), 0);
        check("cd ~/.cache".to_owned(), 0);
    }
}
