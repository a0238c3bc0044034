//! From a stream of rows to one commit.
//!
//! Blocks are written while the next one is gathered. A stream of one block is one commit. A longer
//! one stages its blocks, which are invisible, and its last commit publishes them all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::stream::{BoxStream, StreamExt};
use granary_catalog::protocol::STAGED_AGAIN;
use granary_catalog::{CommandBody, CommitWrite, InsertToken, Outcome, TableWrite};
use granary_common::{Error, ErrorKind, Result};
use tokio_util::task::AbortOnDropHandle;

use super::block::Block;
use super::digest::ContentDigest;
use super::effect::Effect;
use super::staged::Staged;
use super::target::Target;
use super::upsert::check_stageable;
use super::{InsertRequest, Inserted, group};
use crate::core::Coordinator;
use crate::query::{Place, QueryHandle};

/// Blocks that are written while the next one is gathered: as many that the processors have work while
/// some of them wait for the disk.
const BLOCKS_IN_FLIGHT_MAX: usize = 3;

/// One insert on its way.
pub(super) struct Writer<'a> {
    core: &'a Arc<Coordinator>,
    request: &'a InsertRequest,
    effect: Effect,
    schema: SchemaRef,
    /// The table as the insert found it.
    target: Arc<Target>,
    token: String,
    digest: ContentDigest,
    rows: u64,
    staged: Option<Staged>,
    /// Its place among the inserts that run, until it waits for a group.
    place: Option<Place>,
}

/// A block whose parts are there.
struct Written {
    block: Arc<Block>,
    /// To the table, then to its views' targets.
    writes: Vec<TableWrite>,
}

/// A block that is being written.
struct InFlight {
    block: Arc<Block>,
    writing: AbortOnDropHandle<Option<Result<Vec<TableWrite>>>>,
}

impl<'a> Writer<'a> {
    /// Finds the table and binds the columns.
    pub async fn begin(
        core: &'a Arc<Coordinator>,
        request: &'a InsertRequest,
        effect: Effect,
        schema: SchemaRef,
        place: Option<Place>,
    ) -> Result<Self> {
        let target = match effect.removals() {
            Some(removals) => Target::replaced(core, request, &schema, removals)?,
            None => Target::find(core, request, &schema).await?.with_keys_under(&effect),
        };
        let token = match request.settings.insert.token.as_str() {
            "" => core.with.random.next_hex(),
            given => given.to_owned(),
        };
        let digest = ContentDigest::new(&schema);
        let (rows, staged) = (0, None);
        Ok(Self { core, request, effect, schema, target, token, digest, rows, staged, place })
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
                    self.target.keys.check_one_block(&self.target.table)?;
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
        // A client that gives up looks like one that is done. The server notices it, and drops this
        // call, at the first pause; so there is one before anything is committed.
        tokio::task::yield_now().await;
        if in_flight.is_empty() && self.staged.is_none() && self.is_worth_gathering(&block) {
            return self.join_group(block).await;
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

    /// Whether the insert is better written together with others: each by itself would leave a
    /// small part. Views handle each insert by itself, and so do keys that are there once.
    fn is_worth_gathering(&self, block: &Block) -> bool {
        matches!(self.effect, Effect::Add)
            && self.request.settings.insert.coalesce_ms > 0
            && (1..=group::ROWS_MAX).contains(&block.rows)
            && block.bytes < group::BYTES_MAX
            && self.target.table.unique_key.is_empty()
            && !self.target.has_views()
    }

    async fn join_group(mut self, block: Block) -> Result<Inserted> {
        let digest = self.take_digest();
        let room = self.core.insert_groups.room_for(&block).await?;
        // Who only waits for others keeps nobody from joining them.
        self.place = None;
        let Self { core, request, schema, target, token, .. } = self;
        group::join(core, |reply| group::Member {
            request: request.clone(),
            schema,
            target,
            block: Arc::new(block),
            token,
            digest,
            reply,
            room,
        })
        .await
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
            notices: Vec::new(),
        })
    }

    fn take_digest(&mut self) -> String {
        let rows = std::mem::replace(&mut self.digest, ContentDigest::new(&self.schema));
        self.request.digest.clone().unwrap_or_else(|| rows.finish())
    }

    fn start(&self, block: Arc<Block>) -> InFlight {
        let (core, target) = (Arc::clone(self.core), Arc::clone(&self.target));
        let rows = Arc::clone(&block);
        let turn = self.turn();
        let writing =
            self.core.with.tasks.spawn(async move { target.write(&core, &rows, turn).await });
        InFlight { block, writing: AbortOnDropHandle::new(writing) }
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
        let written = self.written(in_flight).await?;
        if self.effect.removals().is_none() {
            check_stageable(&written.writes)?;
        }
        let transaction = match &self.staged {
            Some(staged) => staged.transaction.clone(),
            None => {
                let transaction = self.core.with.random.next_hex();
                let core = Arc::clone(self.core);
                let staged = Staged {
                    core,
                    transaction: transaction.clone(),
                    is_begun: false,
                    published: false,
                };
                self.staged = Some(staged);
                transaction
            }
        };
        let continues = self.continues();
        let command = |writes: &[TableWrite]| {
            let (write, views) = writes
                .split_first()
                .ok_or_else(|| Error::internal("a block was written to no table"))?;
            Ok(CommandBody::StageParts {
                transaction: transaction.clone(),
                write: write.clone(),
                views: views.to_vec(),
                continues,
            })
        };
        self.execute(written, command).await?;
        self.begun().await
    }

    /// Whether something is staged without which a block must not be taken.
    fn continues(&self) -> bool {
        let is_begun = self.staged.as_ref().is_some_and(|staged| staged.is_begun);
        is_begun && self.core.with.catalog.snapshot().protocol() >= STAGED_AGAIN
    }

    /// Something is staged. It may have been dealt out to other buckets, or have other columns, than the
    /// table had when the insert began; from now on the table must stay as it is.
    async fn begun(&mut self) -> Result<()> {
        let is_first = match &mut self.staged {
            Some(staged) => !std::mem::replace(&mut staged.is_begun, true),
            None => false,
        };
        if is_first {
            let target = self.target.refreshed(self.core, self.request, &self.schema).await?;
            if target.versions() != self.target.versions() {
                self.target = target;
            }
        }
        Ok(())
    }

    /// Commits the last block, with everything that was staged before it.
    async fn commit(mut self, last: Option<InFlight>) -> Result<Inserted> {
        let written = match last {
            Some(last) => self.written(last).await?,
            None => Written { block: Arc::default(), writes: vec![self.target.nothing()] },
        };
        let removed = self.effect.removed(self.core).await?;
        if self.effect.removals().is_some() && removed.is_empty() && self.rows == 0 {
            return Ok(self.nothing_done());
        }
        let digest = self.take_digest();
        let staged = self.staged.as_ref().map(|staged| staged.transaction.clone());
        let command = |writes: &[TableWrite]| {
            Ok(CommandBody::CommitWrite(CommitWrite {
                tables: self.effect.applied(writes, &removed),
                staged: staged.clone(),
                token: self.token.clone(),
                digest: digest.clone(),
                rows: self.rows,
                others: Vec::new(),
                origin: self.effect.origin(),
            }))
        };
        let Outcome::Inserted(receipt) = self.execute(written, command).await? else {
            return Err(Error::internal("a commit was answered with something else"));
        };
        if let Some(staged) = &mut self.staged {
            // A duplicate leaves what this attempt staged behind.
            staged.published = !receipt.duplicate;
        }
        Ok(Inserted {
            rows: receipt.rows,
            parts: receipt.parts,
            version: receipt.version,
            duplicate: receipt.duplicate,
            notices: self.target.slowdown(),
            token: self.token,
        })
    }

    /// The answer of a statement that found no row.
    fn nothing_done(self) -> Inserted {
        Inserted {
            rows: 0,
            parts: 0,
            version: self.target.snapshot.version,
            duplicate: false,
            token: self.token,
            notices: Vec::new(),
        }
    }

    /// Waits until a block's parts are there; when a leader was lost, writes it to the next one.
    async fn written(&self, in_flight: InFlight) -> Result<Written> {
        let InFlight { block, writing } = in_flight;
        let outcome = match writing.await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(Error::unavailable("the coordinator is shutting down; send it again")),
            Err(error) => Err(Error::internal(format!("writing a block failed: {error}"))),
        };
        match outcome {
            Ok(writes) => self.effect.check(&writes).map(|()| Written { block, writes }),
            Err(error) if error.kind().is_retryable() && self.effect.removals().is_none() => {
                tracing::warn!(%error, "a block was not written; writing it again");
                self.rewrite(block).await
            }
            Err(error) => Err(error),
        }
    }

    /// Writes a block again, as the catalog is now.
    async fn rewrite(&self, block: Arc<Block>) -> Result<Written> {
        let mut backoff = self.core.backoff();
        loop {
            let target = self.target.refreshed(self.core, self.request, &self.schema).await?;
            let is_begun = self.staged.as_ref().is_some_and(|staged| staged.is_begun);
            if is_begun && target.versions() != self.target.versions() {
                return Err(Error::conflict(format!(
                    "table '{}' changed while rows were inserted; nothing of them is visible, \
                     send them again",
                    target.table.name
                )));
            }
            match target.write(self.core, &block, self.turn()).await {
                Ok(writes) => {
                    return self.effect.check(&writes).map(|()| Written { block, writes });
                }
                Err(error) if error.kind().is_retryable() && backoff.wait().await => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs the command that a written block makes. A conflict writes the block again; a command
    /// whose outcome is unknown is repeated, since parts and tokens make it idempotent.
    async fn execute(
        &self,
        mut written: Written,
        command: impl Fn(&[TableWrite]) -> Result<CommandBody>,
    ) -> Result<Outcome> {
        let mut backoff = self.core.backoff();
        loop {
            let done = self.core.with.catalog.execute(command(&written.writes)?).await;
            let error = match done {
                Ok((_, outcome)) => return Ok(outcome),
                Err(error) => error,
            };
            let is_unknown = error.kind() == ErrorKind::DeadlineExceeded;
            // Rows that were computed from others have to be computed again.
            let is_stale = error.kind() == ErrorKind::Conflict && self.effect.removals().is_some();
            if is_stale || !(is_unknown || error.kind().is_retryable()) {
                return Err(error);
            }
            if !backoff.wait().await {
                let hint = format!("ask again with the insert token '{}'", self.token);
                return Err(if is_unknown { error.context(hint) } else { error });
            }
            if error.kind() == ErrorKind::Conflict {
                written = self.rewrite(written.block).await?;
            }
        }
    }

    fn turn(&self) -> u64 {
        self.core.rotation.fetch_add(1, Ordering::Relaxed)
    }
}

/// Cuts a batch that is larger than a block.
fn pieces(batch: RecordBatch, rows_max: usize) -> impl Iterator<Item = RecordBatch> {
    let rows = batch.num_rows();
    (0..rows).step_by(rows_max.max(1)).map(move |from| batch.slice(from, rows_max.min(rows - from)))
}
