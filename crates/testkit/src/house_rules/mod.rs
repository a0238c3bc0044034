//! The house rules as checks of the source text. They only ratchet: what breaks a rule today is on
//! a list with its size, may shrink, and may not grow.

mod dependencies;
mod limits;
mod locks;
mod source;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use crate::TestResult;

pub use dependencies::dependency_violations;
pub use limits::{LIMITS, limit_violations};
pub use source::{SourceFile, rust_sources, text_files};
pub use words::{path_violations, word_violations};

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule and the place, the key of the ratchet's list: `file_lines crates/a/src/b.rs`.
    pub key: String,
    /// How far it goes; 1 where there is nothing to measure.
    pub size: usize,
}

/// Sizes that are tolerated until they shrink, by key.
pub type Ratchet = BTreeMap<String, usize>;

/// Reads the list: `<rule> <place> <size>` a line, `#` begins a comment.
pub fn read_ratchet(path: &Path) -> TestResult<Ratchet> {
    let mut ratchet = Ratchet::new();
    let text = std::fs::read_to_string(path)?;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let entry = line.rsplit_once(' ').and_then(|(key, size)| Some((key, size.parse().ok()?)));
        let (key, size) = entry.ok_or_else(|| format!("not an entry: {line}"))?;
        ratchet.insert(key.to_owned(), size);
    }
    Ok(ratchet)
}

/// What differs from the list: new violations, grown ones, and entries that can shrink.
pub fn differences(violations: &[Violation], ratchet: &Ratchet) -> Vec<String> {
    let mut found = Vec::new();
    for violation in violations {
        match ratchet.get(&violation.key) {
            None => found.push(format!("{} {}", violation.key, violation.size)),
            Some(tolerated) if violation.size > *tolerated => {
                found.push(format!("{} grew from {tolerated} to {}", violation.key, violation.size))
            }
            Some(_) => {}
        }
    }
    for (key, tolerated) in ratchet {
        let now = violations.iter().find(|violation| violation.key == *key);
        let now = now.map_or(0, |violation| violation.size);
        if now < *tolerated {
            found.push(format!("{key} shrank from {tolerated} to {now}: tighten the list"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_only_shrinks() {
        let at = |size| vec![Violation { key: "rule place".to_owned(), size }];
        let listed = Ratchet::from([("rule place".to_owned(), 10)]);
        assert!(differences(&at(10), &listed).is_empty());
        assert_eq!(differences(&at(11), &listed).len(), 1);
        assert_eq!(differences(&at(9), &listed).len(), 1);
        assert_eq!(differences(&[], &listed).len(), 1);
        assert_eq!(differences(&at(1), &Ratchet::new()).len(), 1);
    }
}
