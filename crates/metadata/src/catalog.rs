//! The catalog inside the member's own process.

use std::sync::Arc;

use async_trait::async_trait;
use granary_catalog::remote::members::change_request;
use granary_catalog::{
    BucketPlacement, Catalog, CommandBody, Heartbeat, HeartbeatReply, MemberChange, MetadataMember,
    Outcome, SharedRound, Snapshot,
};
use granary_common::{CatalogVersion, Result};
use tokio::sync::watch;

use crate::group::{Group, Hop};

/// A [`Catalog`] on a member of the group, without a network in between.
#[derive(Debug)]
pub(crate) struct MemberCatalog {
    pub group: Group,
    pub reads: SharedRound,
}

#[async_trait]
impl Catalog for MemberCatalog {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.group.feed.snapshot()
    }

    async fn read_latest(&self) -> Result<Arc<Snapshot>> {
        let version = self.reads.join().await?;
        Ok(self.group.feed.reached(version).await)
    }

    async fn execute(&self, command: CommandBody) -> Result<(CatalogVersion, Outcome)> {
        let (version, outcome) = self.group.execute(command, Hop::First).await?;
        self.group.feed.reached(version).await;
        Ok((version, outcome))
    }

    async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatReply> {
        self.group.heartbeat(heartbeat, Hop::First).await
    }

    async fn planned_placements(&self) -> Result<Vec<BucketPlacement>> {
        self.group.planned_placements(Hop::First).await
    }

    async fn metadata_members(&self) -> Result<Vec<MetadataMember>> {
        Ok(self.group.member_reports().await)
    }

    async fn change_member(&self, change: MemberChange) -> Result<()> {
        let request = change_request(change);
        self.group.change_membership(request, Hop::First).await.map(drop)
    }

    fn watch(&self) -> watch::Receiver<CatalogVersion> {
        self.group.feed.watch()
    }
}
