//! The statements that users bring with them, as they were written.

use crate::parse;

/// The statements of the first section, each with the line that says where it is from.
fn first_section() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/acceptance/seed_statements.sql");
    let text = std::fs::read_to_string(path).expect("the statements");
    let mut statements: Vec<(String, String)> = Vec::new();
    let lines = text.lines().skip_while(|line| !line.starts_with("-- Section 1: to be accepted"));
    for line in lines.skip(2).take_while(|line| !line.starts_with("-- ====")) {
        let is_place = line.starts_with("-- ") && line.contains(".txt:");
        match statements.last_mut() {
            _ if is_place => statements.push((line.to_owned(), String::new())),
            Some((_, statement)) => statement.extend([line, "\n"]),
            None => {}
        }
    }
    statements
}

#[test]
fn statements_of_the_seeds_are_read() {
    let statements = first_section();
    assert!(statements.len() > 200, "only {} statements were found", statements.len());
    let refused: Vec<String> = statements
        .iter()
        .filter_map(|(place, text)| {
            let error = parse(text).err()?;
            Some(format!("{place}: {error}"))
        })
        .collect();
    assert!(refused.is_empty(), "{} refused:\n{}", refused.len(), refused.join("\n"));
}
