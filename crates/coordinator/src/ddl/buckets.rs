//! ALTER TABLE ... MODIFY BUCKETS.
//!
//! One command: from its version on, rows are inserted into the new buckets. The leaders of the buckets of
//! before then move what is in them, part by part; see `granary_catalog::layout`.

use std::sync::Arc;

use granary_catalog::{BucketChange, CommandBody, Distribution, Table};
use granary_common::{Error, ErrorKind, Result};
use granary_sql::{Notice, TableName, resolve_table};

use crate::core::Coordinator;
use crate::query::StatementRequest;

/// Gives a table `buckets` buckets. Kind `Conflict`: others changed the table again and again, or a long
/// insert into it did not come to its end; nothing happened.
pub(super) async fn modify_buckets(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    name: &TableName,
    buckets: u32,
    notices: &mut Vec<Notice>,
) -> Result<()> {
    let mut backoff = core.backoff();
    loop {
        let snapshot = core.with.catalog.read_latest().await?;
        let table = resolve_table(&snapshot, &request.session.database, name)?;
        check(&table, buckets)?;
        let schema_version = table.schema_version;
        let change = BucketChange::Count { table: table.id, schema_version, buckets };
        match core.with.catalog.execute(CommandBody::Buckets(change)).await {
            Ok(_) => {
                notices.extend(notice(core, &table));
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Conflict && backoff.wait().await => {
                tracing::debug!(%error, "changing the buckets of a table again");
            }
            Err(error) => return Err(error),
        }
    }
}

fn check(table: &Table, buckets: u32) -> Result<()> {
    let keeps_together = table.engine.kind.collapses() || !table.unique_key.is_empty();
    match table.distribution {
        Distribution::Rotation if keeps_together && buckets > 1 => Err(Error::invalid(format!(
            "table '{}' has no key that its rows could be distributed by, so it has 1 bucket",
            table.name
        ))),
        _ => Ok(()),
    }
}

/// What the client is told when rows are on their way now.
fn notice(core: &Arc<Coordinator>, table: &Table) -> Option<Notice> {
    let snapshot = core.with.catalog.snapshot();
    let state = snapshot.tables.get(&table.id)?;
    let (parts, bytes) = state
        .parts_to_split(snapshot.version)
        .fold((0_u64, 0_u64), |(parts, bytes), part| (parts + 1, bytes + part.bytes));
    (parts > 0).then(|| {
        Notice::new(format!(
            "{parts} parts with {bytes} bytes move to the new buckets in the background; \
             system.bucket_changes shows what is left"
        ))
    })
}
