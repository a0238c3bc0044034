//! From a stream of rows to one commit.
//!
//! Blocks are written while the next one is gathered. A stream of one block is one commit. A longer
//! one stages its blocks, which are invisible, and its last commit publishes them all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::{BoxStream, StreamExt};
use granary_catalog::{CommandBody, CommitInsert, InsertToken, Outcome, TableWrite};
use granary_common::{Error, ErrorKind, Result};
use tokio_util::task::AbortOnDropHandle;

use super::block::Block;
use super::digest::ContentDigest;
use super::target::Target;
use super::{InsertRequest, Inserted};
use crate::core::Coordinator;
use crate::query::QueryHandle;

/// Blocks that are written while the next one is gathered.
const BLOCKS_IN_FLIGHT_MAX: usize = 2;
/// How long the first retry waits; each later one twice as long.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// One insert on its way.
pub(super) struct Writer<'a> {
    core: &'a Arc<Coordinator>,
    request: &'a InsertRequest,
    schema: SchemaRef,
    /// The table as the insert found it.
    target: Arc<Target>,
    token: String,
    digest: ContentDigest,
    rows: u64,
    staged: Option<Staged>,
}

/// A block that is being written.
struct InFlight {
    block: Arc<Block>,
    target: Arc<Target>,
    writing: AbortOnDropHandle<Option<Result<TableWrite>>>,
}

impl<'a> Writer<'a> {
    /// Finds the table and binds the columns.
    pub async fn begin(
        core: &'a Arc<Coordinator>,
        request: &'a InsertRequest,
        schema: SchemaRef,
    ) -> Result<Self> {
        let target = Target::find(core, request, &schema).await?;
        let token = match request.settings.insert.token.as_str() {
            "" => core.with.random.next_hex(),
            given => given.to_owned(),
        };
        let digest = ContentDigest::new(&schema);
        Ok(Self { core, request, schema, target, token, digest, rows: 0, staged: None })
    }

    /// Takes all rows and commits them.
    pub async fn write(
        mut self,
        mut batches: BoxStream<'_, Result<RecordBatch>>,
        handle: &QueryHandle,
    ) -> Result<Inserted> {
        if let Some(earlier) = self.target.earlier(&self.token) {
            return self.answer_again(&earlier, batches).await;
        }
        let settings = &self.request.settings.insert;
        let mut in_flight: VecDeque<InFlight> = VecDeque::new();
        let mut block = Block::starting_at(1);
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            self.digest.add(&batch)?;
            for piece in pieces(batch, settings.block_rows_max as usize) {
                if block.rows + piece.num_rows() as u64 > settings.block_rows_max
                    || block.bytes >= settings.block_bytes_max
                {
                    let next = Block::starting_at(block.first_row + block.rows);
                    let full = std::mem::replace(&mut block, next);
                    self.make_room(&mut in_flight).await?;
                    in_flight.push_back(self.start(Arc::new(full)));
                }
                self.rows += piece.num_rows() as u64;
                handle.add_rows(piece.num_rows() as u64);
                block.push(piece);
            }
        }
        if block.rows > 0 {
            self.make_room(&mut in_flight).await?;
            in_flight.push_back(self.start(Arc::new(block)));
        }
        let last = in_flight.pop_back();
        while let Some(earlier) = in_flight.pop_front() {
            self.stage(earlier).await?;
        }
        self.commit(last).await
    }

    /// The token was used: the same content gets the same answer.
    async fn answer_again(
        mut self,
        earlier: &InsertToken,
        mut batches: BoxStream<'_, Result<RecordBatch>>,
    ) -> Result<Inserted> {
        while let Some(batch) = batches.next().await {
            self.digest.add(&batch?)?;
        }
        if self.take_digest() != earlier.digest {
            return Err(Error::invalid(format!(
                "insert token '{}' was used before with other content; use a new token for new rows",
                self.token
            )));
        }
        Ok(Inserted {
            rows: earlier.rows,
            parts: earlier.parts,
            version: earlier.version,
            duplicate: true,
            token: self.token,
        })
    }

    fn take_digest(&mut self) -> String {
        let rows = std::mem::replace(&mut self.digest, ContentDigest::new(&self.schema));
        self.request.digest.clone().unwrap_or_else(|| rows.finish())
    }

    fn start(&self, block: Arc<Block>) -> InFlight {
        let (core, target) = (Arc::clone(self.core), Arc::clone(&self.target));
        let rows = Arc::clone(&block);
        let turn = self.core.rotation.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let writing =
            self.core.with.tasks.spawn(async move { target.write(&core, &rows, turn).await });
        InFlight {
            block,
            target: Arc::clone(&self.target),
            writing: AbortOnDropHandle::new(writing),
        }
    }

    async fn make_room(&mut self, in_flight: &mut VecDeque<InFlight>) -> Result<()> {
        while in_flight.len() >= BLOCKS_IN_FLIGHT_MAX {
            if let Some(oldest) = in_flight.pop_front() {
                self.stage(oldest).await?;
            }
        }
        Ok(())
    }

    /// Waits for a block's parts and stages them.
    async fn stage(&mut self, in_flight: InFlight) -> Result<()> {
        let transaction = match &self.staged {
            Some(staged) => staged.transaction.clone(),
            None => {
                let transaction = self.core.with.random.next_hex();
                let core = Arc::clone(self.core);
                self.staged = Some(Staged { core, transaction: transaction.clone() });
                transaction
            }
        };
        let (block, target) = (Arc::clone(&in_flight.block), Arc::clone(&in_flight.target));
        let mut write = Some(finished(in_flight).await);
        self.with_retries(block, target, move |prepared| {
            let write = write.take().filter(|_| prepared.is_none()).or(prepared);
            (write, transaction.clone())
        })
        .await
    }
}
