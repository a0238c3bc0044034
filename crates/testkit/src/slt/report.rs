//! What became of a file.

use super::Outcome;

/// The records of one file, in its order.
#[derive(Clone, Debug)]
pub struct FileOutcome {
    /// The name of the file, without its folder.
    pub file: String,
    /// One entry for each statement and query.
    pub outcomes: Vec<Outcome>,
}

impl FileOutcome {
    /// The records that failed, with why.
    pub fn failures(&self) -> impl Iterator<Item = (u32, &str)> {
        self.outcomes.iter().filter_map(|outcome| Some((outcome.line, outcome.failure.as_deref()?)))
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let failed = self.failures().count();
        format!("{}: {} passed, {failed} failed", self.file, self.outcomes.len() - failed)
    }
}

/// Fails with every failure of `outcomes`: for files of which nothing is expected to fail.
pub fn all_pass(outcomes: &[FileOutcome]) -> Result<(), String> {
    let mut failures = Vec::new();
    for outcome in outcomes {
        for (line, why) in outcome.failures() {
            failures.push(format!("{}:{line}: {why}", outcome.file));
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(format!("{} records failed\n\n{}", failures.len(), failures.join("\n\n"))),
    }
}
