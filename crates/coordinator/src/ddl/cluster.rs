//! ALTER SYSTEM: workers and metadata nodes.

use granary_catalog::{ClusterChange, CommandBody, MemberChange, departure, protocol};
use granary_common::{NodeId, Result, WorkerId};
use granary_sql::ClusterStatement;

use super::execute;
use crate::core::Coordinator;

pub(super) async fn change(core: &Coordinator, statement: ClusterStatement) -> Result<()> {
    let drain = |worker, drained| {
        execute(core, CommandBody::DrainWorker { worker: WorkerId(worker), drained })
    };
    let member = |change| core.with.catalog.change_member(change);
    match statement {
        ClusterStatement::Drain { worker } => drain(worker, true).await,
        ClusterStatement::Undrain { worker } => drain(worker, false).await,
        ClusterStatement::DropWorker { worker } => drop_worker(core, WorkerId(worker)).await,
        ClusterStatement::AddMetadataNode { node, address } => {
            member(MemberChange::Add { node: NodeId(node), address }).await
        }
        ClusterStatement::DropMetadataNode { node } => {
            member(MemberChange::Remove { node: NodeId(node) }).await
        }
    }
}

/// Each step may be the last one that is done: copies that were given up are copies that others have.
async fn drop_worker(core: &Coordinator, worker: WorkerId) -> Result<()> {
    let snapshot = core.with.catalog.read_latest().await?;
    let last = CommandBody::Cluster(ClusterChange::DropWorker { worker });
    protocol::check(&last, &snapshot)?;
    for step in departure::steps(&snapshot, worker)? {
        execute(core, step).await?;
    }
    Ok(())
}
