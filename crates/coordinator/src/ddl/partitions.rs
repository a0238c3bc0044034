//! ALTER TABLE ... PARTITION: whole partitions, without touching their files.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::execution::SessionState;
use granary_catalog::{
    CommandBody, CopyPartitions, PartitionChange, PartitionValue, Partitions, Scalar, Snapshot,
    Table,
};
use granary_common::{Error, Result};
use granary_sql::{
    AlterPartition, PartitionClause, PartitionCommand, TableName, partition_values, resolve_table,
};
use granary_storage::scalar_at;

use super::tiers::relocate;
use crate::core::Coordinator;
use crate::query::StatementRequest;
use crate::session::parse_settings;

/// Changes partitions of a table at one version. A partition that is not there is no error.
pub(super) async fn alter(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    alter: &AlterPartition,
) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let database = &request.session.database;
    let table = resolve_table(&snapshot, database, &alter.table)?;
    let settings = parse_settings(&request.session.settings)?;
    let state = core.session_state(&snapshot, &request.session, &settings)?;
    let partitions = partitions_of(&snapshot, &table, &alter.partition, &state)?;
    let other = |name: &TableName| {
        let other = resolve_table(&snapshot, database, name)?;
        match other.id == table.id {
            true => Err(Error::invalid(format!("'{name}' is the table itself"))),
            false => Ok(other.id),
        }
    };
    let change = |change| CommandBody::ChangePartitions { table: table.id, change };
    let copy = |from, to, partitions, replace, remove| {
        CommandBody::CopyPartitions(CopyPartitions { from, to, partitions, replace, remove })
    };
    if let PartitionCommand::Relocate { part, place } = &alter.command {
        return relocate(core, &table, partitions, *part, place).await;
    }
    let command = match &alter.command {
        PartitionCommand::Drop => change(PartitionChange::Drop(partitions)),
        PartitionCommand::Detach => change(PartitionChange::Detach(partitions)),
        PartitionCommand::Attach => change(PartitionChange::Attach(partitions)),
        PartitionCommand::DropDetached => change(PartitionChange::DropDetached(partitions)),
        PartitionCommand::ReplaceFrom(from) => {
            copy(other(from)?, table.id, partitions, true, false)
        }
        PartitionCommand::AttachFrom(from) => {
            copy(other(from)?, table.id, partitions, false, false)
        }
        PartitionCommand::Relocate { .. } => {
            return Err(Error::internal("a move to a disk is no change of the catalog"));
        }
        PartitionCommand::MoveTo(to) => copy(table.id, other(to)?, partitions, false, true),
    };
    core.with.catalog.execute(command).await.map(drop)
}

/// The partitions that a clause names. Kind `InvalidInput` for values that are none of the key's.
pub(crate) fn partitions_of(
    snapshot: &Snapshot,
    table: &Table,
    clause: &PartitionClause,
    state: &SessionState,
) -> Result<Partitions> {
    let values = match clause {
        PartitionClause::All => return Ok(Partitions::All),
        PartitionClause::Id(id) => return Ok(Partitions::These(of_id(snapshot, table, id))),
        PartitionClause::Values(values) => partition_values(table, values, state)?,
    };
    let scalars = values.iter().map(|value| scalar_at(value, 0)).collect::<Result<_>>()?;
    Ok(Partitions::These(vec![PartitionValue(scalars)]))
}

/// Those that have parts, also detached ones, and are shown under this id.
fn of_id(snapshot: &Snapshot, table: &Table, id: &str) -> Vec<PartitionValue> {
    let parts = snapshot.tables.get(&table.id).into_iter().flat_map(|state| state.parts.values());
    let known: BTreeSet<&PartitionValue> = parts.map(|part| &part.partition).collect();
    let named = known.into_iter().filter(|value| value.to_string() == id || joined(value) == id);
    named.cloned().collect()
}

/// ClickHouse's spelling of the id of a partition with several values.
fn joined(value: &PartitionValue) -> String {
    value.0.iter().map(Scalar::to_string).collect::<Vec<_>>().join("-")
}
