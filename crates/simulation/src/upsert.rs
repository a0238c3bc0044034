//! Upserts into the table with a UNIQUE KEY: rows take the place of those that have their keys.

use std::collections::BTreeSet;

use granary_catalog::{Catalog, Snapshot, TableWrite, losses_by_bucket};
use granary_common::{Error, ErrorKind, Result};

use crate::coordinator::{ATTEMPTS, Coordinator, Done, KEYED, RETRY, TABLES, earlier, table};
use crate::executor;
use crate::rows::id_of;

impl Coordinator {
    /// Writes rows, each of another key, over those that are there, all of them at one version.
    pub async fn upsert(&self, token: &str, rows: &[u64]) -> Result<Done> {
        let mut snapshot = self.catalog.snapshot();
        let mut why = Error::unavailable("not tried");
        for _ in 0..ATTEMPTS {
            if let Some(done) = earlier(&snapshot, TABLES[KEYED], token) {
                return Ok(done);
            }
            match self.upserted(&snapshot, rows).await {
                Ok(write) => match self.commit(token, rows, vec![write]).await {
                    Err(error) if error.kind() == ErrorKind::Conflict => why = error,
                    done => return done,
                },
                Err(error) => why = error,
            }
            executor::sleep(RETRY).await;
            snapshot = self.catalog.read_latest().await?;
        }
        Err(why)
    }

    async fn upserted(&self, snapshot: &Snapshot, rows: &[u64]) -> Result<TableWrite> {
        let state = table(snapshot, TABLES[KEYED])?;
        let keys: BTreeSet<u64> = rows.iter().map(|row| id_of(*row)).collect();
        let (_, losses) = self.find(snapshot, state, &keys).await?;
        let mut write = self.write_rows(&state.table, rows.to_vec()).await?;
        for bucket in &mut write.buckets {
            // Keys were looked up in the snapshot that the rows are bound to.
            let then = state.buckets.get(&bucket.bucket);
            bucket.upsert_version = then.map(|then| then.upsert_version);
        }
        write.take_away(&losses_by_bucket(state, losses)?);
        Ok(write)
    }
}
