//! The tables against the model, batch by batch, while nobody writes.

use std::collections::BTreeMap;

use super::Summary;
use super::model::{BATCH_ROWS, Model, WRITERS};
use crate::{SqlClient, TestResult};

const ROWS: &str = "SELECT writer, batch, count(*), count(DISTINCT id) FROM soak_rows \
     GROUP BY writer, batch";
const COUNTS: &str = "SELECT writer, batch, sum(n), sum(n) FROM soak_counts GROUP BY writer, batch";

/// (rows, distinct rows) by writer and batch.
type Found = BTreeMap<(u64, u64), (u64, u64)>;

/// Compares and adds what is wrong to `summary`.
pub async fn check(client: &mut SqlClient, model: &Model, summary: &mut Summary) -> TestResult {
    let rows = found(client, ROWS).await?;
    let counts = found(client, COUNTS).await?;
    let deleted = model.deleted();
    for writer in 0..WRITERS {
        for batch in 0..model.acknowledged(writer) {
            let key = (writer as u64, batch);
            let (count, distinct) = rows.get(&key).copied().unwrap_or_default();
            summary.rows_duplicated += count - distinct;
            match deleted.contains(&key) {
                true => summary.rows_undead += distinct,
                false => summary.rows_lost += BATCH_ROWS.saturating_sub(distinct),
            }
            // The view has what was inserted; deletes do not reach it.
            let counted = counts.get(&key).map_or(0, |(sum, _)| *sum);
            summary.view_differences += u64::from(counted != BATCH_ROWS);
        }
    }
    let unknown = |(writer, batch): &(u64, u64)| {
        *writer >= WRITERS as u64 || *batch >= model.acknowledged(*writer as usize)
    };
    let aliens = rows.iter().filter(|(key, _)| unknown(key)).map(|(_, (count, _))| count);
    summary.rows_undead += aliens.sum::<u64>();
    summary.view_differences += counts.keys().filter(|key| unknown(key)).count() as u64;
    Ok(())
}

async fn found(client: &mut SqlClient, sql: &str) -> TestResult<Found> {
    let mut found = Found::new();
    for line in client.lines(sql).await? {
        let numbers = line.split('\t').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [writer, batch, rows, distinct] = numbers.as_slice() else {
            return Err(format!("not four numbers: {line}").into());
        };
        found.insert((*writer, *batch), (*rows, *distinct));
    }
    Ok(found)
}
