//! Runs the queries and prints what came of each.

use std::path::Path;

use granary_common::{Clock, Error, Result, SystemClock};

use super::answers;
use super::queries::Query;
use crate::client::{Client, ConnectOptions};
use crate::load::progress::thousands;

enum Verdict {
    Right,
    NotCompared,
    Wrong(String),
    Failed(Error),
}

impl Verdict {
    fn text(&self) -> String {
        match self {
            Verdict::Right => "ok".to_owned(),
            Verdict::NotCompared => "no stored answer".to_owned(),
            Verdict::Wrong(difference) => format!("WRONG: {difference}"),
            Verdict::Failed(error) => format!("FAILED: [{}] {error}", error.kind().code()),
        }
    }

    fn is_good(&self) -> bool {
        matches!(self, Verdict::Right | Verdict::NotCompared)
    }
}

/// Runs every query, in turn on each coordinator, and compares it with the stored answer in
/// `answers`. Returns whether all were right.
pub(super) async fn run(
    urls: &[String],
    queries: &[Query],
    answers: Option<&Path>,
) -> Result<bool> {
    let mut clients = Vec::new();
    for url in urls {
        clients.push(Client::connect(&ConnectOptions::to_url(url)).await?);
    }
    println!("query        rows        ms  verdict");
    println!("-----  ----------  --------  -------");
    let (mut good, mut total_ms) = (0, 0);
    for (turn, query) in queries.iter().enumerate() {
        let client_at = turn % clients.len();
        let (rows, elapsed_ms, verdict) = one(&mut clients[client_at], query, answers).await;
        let name = format!("Q{}", query.number);
        println!("{name:<5}  {:>10}  {elapsed_ms:>8}  {}", thousands(rows), verdict.text());
        good += usize::from(verdict.is_good());
        total_ms += elapsed_ms;
    }
    let all = if answers.is_some() { "right" } else { "done" };
    println!(
        "\n{good} of {} queries {all}, {}.{:03} s in total",
        queries.len(),
        total_ms / 1000,
        total_ms % 1000
    );
    Ok(good == queries.len())
}

async fn one(client: &mut Client, query: &Query, answers: Option<&Path>) -> (u64, u64, Verdict) {
    let start_ms = SystemClock.monotonic_ms();
    let result = client.query(&query.text).await;
    let elapsed_ms = SystemClock.monotonic_ms() - start_ms;
    match result.and_then(|(_, batches)| answers::rows_of(&batches)) {
        Err(error) => (0, elapsed_ms, Verdict::Failed(error)),
        Ok(got) => (got.len() as u64, elapsed_ms, judge(&got, query, answers)),
    }
}

fn judge(got: &answers::Rows, query: &Query, answers: Option<&Path>) -> Verdict {
    let Some(folder) = answers else { return Verdict::NotCompared };
    match answers::read(&folder.join(format!("q{:02}.csv", query.number))) {
        Err(error) => Verdict::Failed(error),
        Ok(expected) => match answers::difference(got, &expected) {
            None => Verdict::Right,
            Some(difference) => Verdict::Wrong(difference),
        },
    }
}
