//! The house rules hold, but for what `tests/house_rules.txt` tolerates until it shrinks.

use granary_testkit::{TestResult, house_rules, paths};

#[test]
fn the_house_rules_hold() -> TestResult {
    let repository = paths::repository();
    let sources = house_rules::rust_sources(&repository)?;
    assert!(sources.len() > 100, "only {} files were found", sources.len());

    let mut violations: Vec<_> = sources.iter().flat_map(house_rules::limit_violations).collect();
    violations.extend(sources.iter().flat_map(house_rules::word_violations));
    violations.extend(house_rules::dependency_violations(&repository, &sources)?);
    violations.extend(house_rules::path_violations(&house_rules::text_files(&repository)?));

    let ratchet = house_rules::read_ratchet(&paths::in_repository("tests/house_rules.txt"))?;
    let differences = house_rules::differences(&violations, &ratchet);
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    Ok(())
}
