//! Statements that take rows away and bring others, which were computed from them at one version.

use std::collections::BTreeSet;
use std::sync::Arc;

use granary_catalog::{
    Catalog, DeletionContent, Loss, NewDeletions, Part, Snapshot, TableState, TableWrite, codec,
    losses_by_bucket,
};
use granary_common::{Error, Result};

use crate::cluster::host_of;
use crate::coordinator::{ATTEMPTS, Coordinator, Done, RETRY, TABLES, earlier, table};
use crate::executor;
use crate::net::Host;
use crate::rows::{id_of, row, value_of};
use crate::upkeep::{deleted_at, is_far, known};
use crate::worker::answered;

/// What becomes of the rows that a mutation finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    Delete,
    /// Their value grows by 1.
    Update,
}

/// What a look for rows found: the rows, and what their parts lose with them.
type Found = (Vec<u64>, Vec<(Arc<Part>, Loss)>);

impl Coordinator {
    /// Deletes or updates rows of the first table, all of them at one version.
    pub async fn mutate(
        &self,
        token: &str,
        ids: &BTreeSet<u64>,
        mutation: Mutation,
    ) -> Result<Done> {
        let mut why = Error::unavailable("not tried");
        for _ in 0..ATTEMPTS {
            let snapshot = self.catalog.read_latest().await?;
            if let Some(done) = earlier(&snapshot, TABLES[0], token) {
                return Ok(done);
            }
            match self.mutation(&snapshot, ids, mutation).await {
                Ok(write) if write.buckets.is_empty() => {
                    return Ok(Done { version: snapshot.version, duplicate: false });
                }
                Ok(write) => match self.commit(token, &[], vec![write]).await {
                    Err(error) if error.kind().is_retryable() => why = error,
                    done => return done,
                },
                Err(error) => why = error,
            }
            executor::sleep(RETRY).await;
        }
        Err(why)
    }

    async fn mutation(
        &self,
        snapshot: &Snapshot,
        ids: &BTreeSet<u64>,
        mutation: Mutation,
    ) -> Result<TableWrite> {
        let state = table(snapshot, TABLES[0])?;
        let (found, losses) = self.find(snapshot, state, ids).await?;
        let mut write = TableWrite::of_nothing(&state.table);
        if mutation == Mutation::Update {
            let rows = found.iter().map(|found| row(id_of(*found), value_of(*found) + 1));
            write = self.write_rows(&state.table, rows.collect()).await?;
        }
        write.take_away(&losses_by_bucket(state, losses)?);
        Ok(write)
    }

    /// The rows of a table with these numbers.
    pub(crate) async fn find(
        &self,
        snapshot: &Snapshot,
        state: &TableState,
        ids: &BTreeSet<u64>,
    ) -> Result<Found> {
        let (mut found, mut losses) = (Vec::new(), Vec::new());
        for part in state.visible_parts(snapshot.version) {
            let mut deleted = deleted_at(&self.cluster.far, part, snapshot.version)?;
            let before = deleted.len();
            for held in self.read(snapshot, part).await? {
                if ids.contains(&id_of(held)) && deleted.insert(held) {
                    found.push(held);
                }
            }
            if deleted.len() > before {
                losses.push((Arc::clone(part), self.loss(snapshot, part, deleted).await?));
            }
        }
        Ok((found, losses))
    }

    async fn loss(&self, snapshot: &Snapshot, part: &Part, deleted: BTreeSet<u64>) -> Result<Loss> {
        let (known, rows) = (known(part), deleted.len() as u64);
        if rows >= part.rows {
            return Ok(Loss::Whole(known));
        }
        let content = match is_far(part) {
            true => self.written_far(snapshot, deleted).await?,
            false => DeletionContent::Inline(codec::encode(&deleted)?),
        };
        Ok(Loss::Rows(NewDeletions { known, rows, content, synced: Vec::new() }))
    }

    /// Lets some worker write deletions into a file where every worker reaches it.
    async fn written_far(
        &self,
        snapshot: &Snapshot,
        deleted: BTreeSet<u64>,
    ) -> Result<DeletionContent> {
        let workers: Vec<_> = snapshot.workers.keys().copied().collect();
        let turn = self.cluster.net.pick(0..workers.len().max(1) as u64) as usize;
        let number = workers.get(turn).and_then(|worker| host_of(snapshot, *worker));
        let number = number.ok_or_else(|| Error::unavailable("no worker is known"))?;
        let there = Arc::clone(&self.cluster);
        let serve = move || async move {
            match there.worker(number) {
                Some(worker) => worker.write_far_deletions(deleted).await,
                None => Err(Error::unavailable("the worker has not registered yet")),
            }
        };
        answered(self.cluster.net.call(self.host, Host::Worker(number), serve).await)
    }
}
