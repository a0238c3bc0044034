//! One insert of a group.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use granary_catalog::{InsertReceipt, InsertToken};
use granary_common::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::insert::block::Block;
use crate::insert::target::Target;
use crate::insert::{InsertRequest, Inserted};

/// An insert that waits for its group.
#[derive(Debug)]
pub(in crate::insert) struct Member {
    pub request: InsertRequest,
    /// Of the rows as the client sent them.
    pub schema: SchemaRef,
    pub target: Arc<Target>,
    pub block: Arc<Block>,
    pub token: String,
    pub digest: String,
    pub reply: oneshot::Sender<Result<Inserted>>,
    /// What it takes of what groups may hold, until it is answered.
    #[expect(dead_code, reason = "held, not read")]
    pub room: OwnedSemaphorePermit,
}

impl Member {
    /// How long it waits for another one, in milliseconds.
    pub fn wait_ms(&self) -> u64 {
        self.request.settings.insert.coalesce_ms
    }

    /// Answers that it is committed.
    pub fn done(self, receipt: &InsertReceipt) {
        let inserted = Inserted {
            rows: receipt.rows,
            parts: receipt.parts,
            version: receipt.version,
            duplicate: receipt.duplicate,
            token: self.token,
            notices: Vec::new(),
        };
        // A client that is gone wants no answer.
        let _ = self.reply.send(Ok(inserted));
    }

    /// Answers that it failed.
    pub fn failed(self, error: Error) {
        let _ = self.reply.send(Err(error));
    }

    /// Answers from the insert that used its token before.
    pub fn answer_from(self, digest: &str, receipt: &InsertReceipt) {
        match digest == self.digest {
            true => self.done(&InsertReceipt { duplicate: true, ..receipt.clone() }),
            false => {
                let error = Error::invalid(format!(
                    "insert token '{}' was used before with other content; use a new token for \
                     new rows",
                    self.token
                ));
                self.failed(error);
            }
        }
    }
}

/// The answer that a used token gave.
pub(super) fn receipt_of(earlier: &InsertToken) -> InsertReceipt {
    InsertReceipt {
        rows: earlier.rows,
        parts: earlier.parts,
        version: earlier.version,
        duplicate: true,
    }
}
