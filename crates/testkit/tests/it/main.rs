//! The tests of whole clusters and of the checkout, in one executable: linking is what takes long.

mod acceptance;
mod adbc;
mod backup;
mod backup_s3;
mod bad_input;
mod bad_starts;
mod buckets;
mod cancels;
mod chaos;
mod commands;
mod deploy;
mod differential;
mod drains;
mod elastic;
mod engines;
mod faults;
mod full_disk;
mod full_workers;
mod house_rules;
mod indexes;
mod integrity;
mod json_columns;
mod leases;
mod members;
mod memory;
mod outside;
mod pages;
mod past_readers;
mod projections;
mod pruning;
mod refreshes;
mod replication;
mod s3_server;
mod soak;
mod sql;
mod stale;
mod temporary;
mod tiers;
mod tiers_s3;
mod tiny_inserts;
mod tpch;
mod upgrade;
mod view_answers;
mod view_changes;
mod volume_s3;
mod writers;

use std::time::Duration;

use granary_testkit::{SqlClient, TestResult};

/// Asks again until the only cell is `want`.
async fn wait_for(client: &mut SqlClient, sql: &str, want: &str) -> TestResult {
    let mut got = String::new();
    for _ in 0..200 {
        got = client.value(sql).await?;
        if got == want {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("{sql}: {got} instead of {want}").into())
}
