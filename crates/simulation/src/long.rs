//! Long inserts: blocks are staged one by one, and the commit of the last one shows them all.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use granary_catalog::protocol::STAGED_AGAIN;
use granary_catalog::{Catalog, CommandBody, CommitWrite, Outcome, Snapshot, TableWrite};
use granary_common::{Error, ErrorKind, Result};

use crate::coordinator::{ATTEMPTS, Coordinator, Done, KEYED, RETRY, TABLES, earlier, table};
use crate::executor;
use crate::rows::row;

/// Until the client sends the next block.
const BLOCK_MS: std::ops::Range<u64> = 10..600;
/// Rows of a block.
const BLOCK_ROWS: usize = 2;

/// A long insert under way.
struct Long<'a> {
    coordinator: &'a Coordinator,
    transaction: String,
    /// The catalog that the rows are bound to.
    bound: Arc<Snapshot>,
    /// Whether anything is staged: from then on the tables must stay as they are.
    is_begun: bool,
}

/// What is done with written parts.
enum Step<'a> {
    Stage,
    /// With the insert's token and all of its rows.
    Commit(&'a str, &'a [u64]),
}

impl Coordinator {
    /// Inserts rows block by block. When the client `gives_up`, it goes away before the last block.
    ///
    /// Kind `Conflict` when a table changed meanwhile: nothing is visible, send it again.
    pub async fn insert_long(
        self: Arc<Coordinator>,
        token: String,
        ids: Vec<u64>,
        gives_up: bool,
    ) -> Result<Done> {
        let bound = self.catalog.snapshot();
        if let Some(done) = earlier(&bound, TABLES[0], &token) {
            return Ok(done);
        }
        let turn = self.turn.fetch_add(1, Ordering::SeqCst);
        let transaction = format!("{token} at {} turn {turn}", self.identity);
        let mut long = Long { coordinator: &self, transaction, bound, is_begun: false };
        let done = long.run(&token, &ids, gives_up).await;
        if !matches!(done, Ok(Done { duplicate: false, .. })) {
            // Failing that, the stage expires by itself.
            let abort = CommandBody::AbortStaged { transaction: long.transaction.clone() };
            let _ = self.catalog.execute(abort).await;
        }
        done
    }
}

impl Long<'_> {
    async fn run(&mut self, token: &str, ids: &[u64], gives_up: bool) -> Result<Done> {
        let rows: Vec<u64> = ids.iter().map(|id| row(*id, 0)).collect();
        let blocks = rows.len().div_ceil(BLOCK_ROWS);
        for (place, block) in rows.chunks(BLOCK_ROWS).enumerate() {
            let net = &self.coordinator.cluster.net;
            executor::sleep_ms(net.pick(BLOCK_MS)).await;
            net.breathe(self.coordinator.host).await;
            let is_last = place + 1 == blocks;
            if is_last && gives_up {
                break;
            }
            let step = if is_last { Step::Commit(token, &rows) } else { Step::Stage };
            if let Outcome::Inserted(receipt) = self.execute(block, &step).await? {
                return Ok(Done { version: receipt.version, duplicate: receipt.duplicate });
            }
            self.is_begun = true;
        }
        Err(Error::unavailable("the client went away"))
    }

    /// Writes a block and runs the command that it makes: a conflict writes it again, and a command
    /// whose outcome is unknown is repeated.
    async fn execute(&mut self, block: &[u64], step: &Step<'_>) -> Result<Outcome> {
        let mut why = Error::unavailable("not tried");
        let mut written: Option<Vec<TableWrite>> = None;
        for _ in 0..ATTEMPTS {
            let writes = match written.take() {
                Some(writes) => Ok(writes),
                None => self.coordinator.write(&self.bound, block).await,
            };
            match writes {
                Ok(writes) => {
                    let command = self.command(step, &writes);
                    match self.coordinator.catalog.execute(command).await {
                        Ok((_, outcome)) => return Ok(outcome),
                        Err(error) if error.kind() == ErrorKind::Conflict => why = error,
                        Err(error) if is_repeated(&error) => {
                            (why, written) = (error, Some(writes));
                        }
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => why = error,
            }
            executor::sleep(RETRY).await;
            if written.is_none() {
                self.refresh().await?;
            }
        }
        Err(why)
    }

    fn command(&self, step: &Step<'_>, writes: &[TableWrite]) -> CommandBody {
        let transaction = self.transaction.clone();
        match step {
            Step::Stage => CommandBody::StageParts {
                transaction,
                write: writes[0].clone(),
                views: writes[1..].to_vec(),
                continues: self.is_begun && self.bound.protocol() >= STAGED_AGAIN,
            },
            Step::Commit(token, rows) => CommandBody::CommitWrite(CommitWrite {
                tables: writes.to_vec(),
                staged: self.is_begun.then_some(transaction),
                token: (*token).to_owned(),
                digest: format!("{rows:?}"),
                rows: rows.len() as u64,
                others: Vec::new(),
                origin: Default::default(),
            }),
        }
    }

    /// Takes the tables as they are now. Kind `Conflict` when something is staged for others.
    async fn refresh(&mut self) -> Result<()> {
        let now = self.coordinator.catalog.read_latest().await?;
        if self.is_begun && versions(&now)? != versions(&self.bound)? {
            return Err(Error::conflict("a table changed while rows were inserted"));
        }
        self.bound = now;
        Ok(())
    }
}

fn is_repeated(error: &Error) -> bool {
    error.kind() == ErrorKind::DeadlineExceeded || error.kind().is_retryable()
}

/// What prepared writes depend on.
fn versions(snapshot: &Snapshot) -> Result<Vec<(u64, u64, u64)>> {
    let of = |name: &&str| {
        let table = &table(snapshot, name)?.table;
        Ok((table.schema_version, table.view_set_version, table.data_version))
    };
    TABLES[..KEYED].iter().map(of).collect()
}
