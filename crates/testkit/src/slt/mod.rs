//! Runs `.slt` files over Flight SQL and says for each record whether it passed.
//!
//! `sqllogictest` parses the files and drives the connections; the comparison is ours, because the
//! files separate cells by tabs and compare numbers with a tolerance (see
//! `tests/acceptance/README.md`).

mod compare;
mod expected_failures;
mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use sqllogictest::{
    AsyncDB, DBOutput, DefaultColumnType, QueryExpect, Record, RecordOutput, Runner,
    StatementExpect,
};

use crate::client::has_rows;
use crate::{Mode, SqlClient, SqlError, TestResult, format};

pub use expected_failures::{Blessing, ExpectedFailures};
pub use report::{FileOutcome, all_pass};

/// What became of one record.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The line of the file at which the record begins, from 1.
    pub line: u32,
    /// Why it failed; `None` when it passed.
    pub failure: Option<String>,
}

/// The connection that the runner drives.
struct Session(SqlClient);

#[async_trait]
impl AsyncDB for Session {
    type Error = SqlError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, SqlError> {
        if !has_rows(sql) {
            let rows = self.0.update(sql).await?;
            return Ok(DBOutput::StatementComplete(u64::try_from(rows).unwrap_or(0)));
        }
        let batches = self.0.query(sql).await?;
        let columns = batches.first().map_or(0, |batch| batch.num_columns());
        let rows =
            format::rows(&batches).map_err(|error| SqlError::Transport(error.to_string()))?;
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "granary"
    }
}

/// A session with the settings of `mode`.
async fn connect(url: &str, mode: Mode) -> Result<Session, SqlError> {
    let mut client = SqlClient::connect(url).await?;
    for setting in mode.settings() {
        client.update(setting).await?;
    }
    Ok(Session(client))
}

/// Runs every record of `file` in a session of its own with the coordinator at `url`, also after
/// one has failed.
pub async fn run_file(file: &Path, url: &str, mode: Mode) -> TestResult<FileOutcome> {
    let records = sqllogictest::parse_file::<DefaultColumnType>(file)
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let mut runner = Runner::new(|| connect(url, mode));
    let mut outcomes = Vec::new();
    for record in records {
        if let Record::Halt { .. } = record {
            break;
        }
        let line = line_of(&record);
        let mut output = runner.apply_record(record.clone()).await;
        // What comes about in the background is waited for.
        let (attempts, pause) = retry(&record);
        for _ in 0..attempts {
            if !matches!(judge(&record, &output), Some(Some(_))) {
                break;
            }
            tokio::time::sleep(pause).await;
            output = runner.apply_record(record.clone()).await;
        }
        let Some(line) = line else { continue };
        if let Some(failure) = judge(&record, &output) {
            let failure = failure.map(|why| format!("{why}\n{}", statement_of(&record)));
            outcomes.push(Outcome { line, failure });
        }
    }
    runner.shutdown_async().await;
    Ok(FileOutcome { file: file_name(file), outcomes })
}

/// Runs the files of `folder` one after the other (they use the same names) and prints a line for
/// each.
pub async fn run_folder(folder: &Path, url: &str, mode: Mode) -> TestResult<Vec<FileOutcome>> {
    let mut outcomes = Vec::new();
    for file in files(folder)? {
        let outcome = run_file(&file, url, mode).await?;
        println!("{}", outcome.summary());
        outcomes.push(outcome);
    }
    match outcomes.is_empty() {
        true => Err(format!("no .slt files in {}", folder.display()).into()),
        false => Ok(outcomes),
    }
}

fn files(folder: &Path) -> TestResult<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "slt") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn file_name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn line_of(record: &Record<DefaultColumnType>) -> Option<u32> {
    match record {
        Record::Statement { loc, .. } | Record::Query { loc, .. } => Some(loc.line()),
        _ => None,
    }
}

/// How often a record with `retry` is run again while it fails, and after which pause.
fn retry(record: &Record<DefaultColumnType>) -> (usize, Duration) {
    match record {
        Record::Statement { retry: Some(retry), .. } | Record::Query { retry: Some(retry), .. } => {
            (retry.attempts, retry.backoff)
        }
        _ => (0, Duration::ZERO),
    }
}

fn statement_of(record: &Record<DefaultColumnType>) -> &str {
    match record {
        Record::Statement { sql, .. } | Record::Query { sql, .. } => sql,
        _ => "",
    }
}

/// `None` when the record does not apply, else its verdict.
fn judge(
    record: &Record<DefaultColumnType>,
    output: &RecordOutput<DefaultColumnType>,
) -> Option<Option<String>> {
    let (rows, count, error) = match output {
        RecordOutput::Query { rows, error, .. } => (Some(rows), None, error.as_ref()),
        RecordOutput::Statement { count, error } => (None, Some(*count), error.as_ref()),
        _ => return None,
    };
    let error = error.map(|error| error.to_string());
    Some(match record {
        Record::Statement { expected, .. } => judge_statement(expected, count, error),
        Record::Query { expected: QueryExpect::Error(expected), .. } => {
            judge_statement(&StatementExpect::Error(expected.clone()), count, error)
        }
        Record::Query {
            expected: QueryExpect::Results { types, sort_mode, results, .. }, ..
        } => match (error, rows) {
            (Some(error), _) => Some(format!("failed: {error}")),
            (None, None) => Some("returned no result set".to_owned()),
            (None, Some(rows)) => compare::results(types, sort_mode.is_some(), rows, results).err(),
        },
        _ => return None,
    })
}

fn judge_statement(
    expected: &StatementExpect,
    count: Option<u64>,
    error: Option<String>,
) -> Option<String> {
    match (expected, error) {
        (StatementExpect::Ok, None) => None,
        (StatementExpect::Count(want), None) if count == Some(*want) => None,
        (StatementExpect::Count(want), None) => {
            Some(format!("changed {} rows instead of {want}", count.unwrap_or(0)))
        }
        (StatementExpect::Error(_), None) => Some("succeeded, but must fail".to_owned()),
        (StatementExpect::Error(want), Some(got)) if want.is_match(&got, None) => None,
        (StatementExpect::Error(want), Some(got)) => {
            Some(format!("failed with another error than /{want:?}/: {got}"))
        }
        (_, Some(got)) => Some(format!("failed: {got}")),
    }
}
