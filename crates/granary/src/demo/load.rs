//! Loads the generated tables through BulkInsert.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use granary_common::{Clock, Result, SystemClock, TaskOwner};
use granary_proto::v1::InsertHeader;

use super::generate::Table;
use crate::client::Client;
use crate::load::progress::{Meter, Progress, Unit, thousands};

/// Loads all eight tables, `parallel` pieces at a time.
pub(super) async fn all(client: &Client, scale: f64, parallel: usize) -> Result<()> {
    println!("\nGenerating TPC-H at scale {scale} and loading it through BulkInsert");
    let start_ms = SystemClock.monotonic_ms();
    let tasks = TaskOwner::current();
    let mut rows = 0;
    for table in Table::ALL {
        rows += load_table(client, &tasks, table, scale, parallel).await?;
    }
    let elapsed_ms = (SystemClock.monotonic_ms() - start_ms).max(1);
    println!(
        "Loaded {} rows in {}.{} s, {} rows/s",
        thousands(rows),
        elapsed_ms / 1000,
        elapsed_ms % 1000 / 100,
        thousands(rows * 1000 / elapsed_ms)
    );
    Ok(())
}

async fn load_table(
    client: &Client,
    tasks: &TaskOwner,
    table: Table,
    scale: f64,
    parallel: usize,
) -> Result<u64> {
    let progress = Progress::start(tasks, table.name(), Unit::Rows, table.rows(scale));
    let pieces = (1..=table.pieces(scale)).map(|piece| {
        let meter = progress.meter();
        async move { load_piece(client, tasks, table, scale, piece, meter).await }
    });
    let rows: u64 = futures::stream::iter(pieces)
        .buffer_unordered(parallel)
        .try_fold(0, |sum, rows| async move { Ok(sum + rows) })
        .await?;
    progress.finish();
    Ok(rows)
}

async fn load_piece(
    client: &Client,
    tasks: &TaskOwner,
    table: Table,
    scale: f64,
    piece: i32,
    meter: Arc<Meter>,
) -> Result<u64> {
    let (schema, batches) = table.piece(scale, piece);
    let token = format!("tpch-{scale}-{}-{piece}-of-{}", table.name(), table.pieces(scale));
    let header = InsertHeader { table: table.name().to_owned(), token, ..InsertHeader::default() };
    let sent = Box::new(move |rows, bytes| {
        meter.add_rows(rows);
        meter.add_bytes(bytes);
    });
    let response = client
        .insert(tasks, header, schema, batches, sent)
        .await
        .map_err(|error| error.context(format!("loading {}", table.name())))?;
    Ok(response.rows)
}
