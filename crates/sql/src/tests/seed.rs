//! The statements that users bring with them, as they were written.

use crate::parse;

/// Statements whose clauses do not exist yet, by the line that says where they are from.
const NOT_YET: [&str; 0] = [];

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
    let refused: Vec<(&str, String)> = statements
        .iter()
        .filter_map(|(place, text)| {
            let error = parse(text).err()?;
            Some((place.as_str(), error.to_string()))
        })
        .collect();
    let places: Vec<&str> = refused.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, NOT_YET, "{refused:#?}");
}
