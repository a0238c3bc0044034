//! The list of records that are still expected to fail. It only shrinks: a listed record that
//! passes fails the run as an unlisted one that fails does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::FileOutcome;
use crate::{Mode, TestResult};

const HEADER: &str = "\
# Records of tests/acceptance that are still expected to fail, as <file>:<line of the record>, with
# the mode behind it where only one of both fails. The run fails when one of them passes.
# GRANARY_BLESS=1 removes those that pass; nothing is ever added unless GRANARY_BLESS=grow says so.
";

/// Whether the list is rewritten after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blessing {
    /// It stays.
    None,
    /// Records that pass are taken off.
    Shrink,
    /// It becomes what failed.
    Grow,
}

impl Blessing {
    /// What `GRANARY_BLESS` asks for.
    pub fn from_environment() -> Blessing {
        match std::env::var("GRANARY_BLESS").as_deref() {
            Err(_) | Ok("" | "0") => Blessing::None,
            Ok("grow") => Blessing::Grow,
            Ok(_) => Blessing::Shrink,
        }
    }
}

type RecordId = (String, u32);

/// The list, as its file has it.
#[derive(Clone, Debug)]
pub struct ExpectedFailures {
    path: PathBuf,
    records: BTreeMap<RecordId, BTreeSet<Mode>>,
}

impl ExpectedFailures {
    /// Reads the list; a missing file is an empty one.
    pub fn read(path: &Path) -> TestResult<ExpectedFailures> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        let mut records: BTreeMap<RecordId, BTreeSet<Mode>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (record, modes) =
                parse(line).ok_or_else(|| format!("{}: not a record: {line}", path.display()))?;
            records.entry(record).or_default().extend(modes);
        }
        Ok(ExpectedFailures { path: path.to_owned(), records })
    }

    /// Compares a run with the list, after having blessed it as asked.
    ///
    /// Fails with every difference.
    pub fn check(&mut self, mode: Mode, run: &[FileOutcome], blessing: Blessing) -> TestResult {
        let failed: BTreeMap<RecordId, String> = run
            .iter()
            .flat_map(|file| {
                file.failures().map(|(line, why)| ((file.file.clone(), line), why.to_owned()))
            })
            .collect();
        if blessing != Blessing::None {
            self.bless(mode, &failed.keys().cloned().collect(), blessing);
            std::fs::write(&self.path, self.to_text())?;
        }
        let differences = self.differences(mode, &failed);
        match differences.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{} records differ from {} ({})\n\n{}",
                differences.len(),
                self.path.display(),
                mode.name(),
                differences.join("\n\n")
            )
            .into()),
        }
    }

    fn differences(&self, mode: Mode, failed: &BTreeMap<RecordId, String>) -> Vec<String> {
        let unlisted = failed
            .iter()
            .filter(|(record, _)| !self.lists(mode, record))
            .map(|((file, line), why)| format!("{file}:{line} fails: {why}"));
        let listed = self.records.iter().filter(|(_, modes)| modes.contains(&mode));
        let passing =
            listed.filter(|(record, _)| !failed.contains_key(*record)).map(|((file, line), _)| {
                format!("{file}:{line} is listed but passes (or is gone): take it off the list")
            });
        unlisted.chain(passing).collect()
    }

    fn lists(&self, mode: Mode, record: &RecordId) -> bool {
        self.records.get(record).is_some_and(|modes| modes.contains(&mode))
    }

    fn bless(&mut self, mode: Mode, failed: &BTreeSet<RecordId>, blessing: Blessing) {
        for (record, modes) in &mut self.records {
            if !failed.contains(record) {
                modes.remove(&mode);
            }
        }
        if blessing == Blessing::Grow {
            for record in failed {
                self.records.entry(record.clone()).or_default().insert(mode);
            }
        }
        self.records.retain(|_, modes| !modes.is_empty());
    }

    fn to_text(&self) -> String {
        let mut text = HEADER.to_owned();
        for ((file, line), modes) in &self.records {
            let only = match modes.len() == Mode::ALL.len() {
                true => None,
                false => modes.first().map(|mode| mode.name()),
            };
            text += &match only {
                Some(mode) => format!("{file}:{line} {mode}\n"),
                None => format!("{file}:{line}\n"),
            };
        }
        text
    }
}

fn parse(line: &str) -> Option<(RecordId, Vec<Mode>)> {
    let mut words = line.split_whitespace();
    let (file, number) = words.next()?.rsplit_once(':')?;
    let modes = match words.next() {
        None => Mode::ALL.to_vec(),
        Some(word) => vec![Mode::ALL.into_iter().find(|mode| mode.name() == word)?],
    };
    Some(((file.to_owned(), number.parse().ok()?), modes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slt::Outcome;

    fn run(failing: &[u32]) -> Vec<FileOutcome> {
        let outcomes = (1..=5)
            .map(|line| Outcome {
                line,
                failure: failing.contains(&line).then(|| "why".to_owned()),
            })
            .collect();
        vec![FileOutcome { file: "a.slt".to_owned(), outcomes }]
    }

    fn list(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list.txt");
        std::fs::write(&path, text).expect("writable");
        (folder, path)
    }

    #[test]
    fn only_what_is_listed_may_and_must_fail() {
        for (text, failing, passes) in [
            ("a.slt:2\n", &[2][..], true),
            ("a.slt:2\n", &[][..], false),
            ("a.slt:2\n", &[2, 3][..], false),
            ("a.slt:2 cluster\n", &[][..], true),
            ("a.slt:2 cluster\n", &[2][..], false),
            ("a.slt:9\n", &[][..], false),
        ] {
            let (_folder, path) = list(text);
            let mut expected = ExpectedFailures::read(&path).expect("readable");
            let verdict = expected.check(Mode::Embedded, &run(failing), Blessing::None);
            assert_eq!(verdict.is_ok(), passes, "{text:?} {failing:?}");
        }
    }

    #[test]
    fn blessing_shrinks_but_grows_only_when_told() {
        let (_folder, path) = list("a.slt:1\na.slt:2\n");
        let mut expected = ExpectedFailures::read(&path).expect("readable");
        assert!(expected.check(Mode::Embedded, &run(&[2, 3]), Blessing::Shrink).is_err());
        let text = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(text, format!("{HEADER}a.slt:1 cluster\na.slt:2\n"));
        assert!(expected.check(Mode::Embedded, &run(&[2, 3]), Blessing::Grow).is_ok());
        assert!(expected.check(Mode::Cluster, &run(&[2, 3]), Blessing::Grow).is_ok());
        let text = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(text, format!("{HEADER}a.slt:2\na.slt:3\n"));
    }
}
