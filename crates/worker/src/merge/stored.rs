//! Merges of stored parts.

use std::sync::Arc;

use async_trait::async_trait;
use granary_catalog::NewPart;
use granary_common::{Error, Result};
use granary_storage::PartStore;

use super::book::Progress;
use super::job::{Job, Made, Merger};
use crate::part_ids::LeasedPartIds;

/// Merges parts of a worker's volumes.
#[derive(Debug)]
pub struct StoredParts {
    pub store: Arc<PartStore>,
    pub ids: Arc<LeasedPartIds>,
}

#[async_trait]
impl Merger for StoredParts {
    async fn merge(&self, _job: &Job, _progress: &Arc<Progress>) -> Result<Made> {
        Err(Error::unsupported("parts cannot be merged yet"))
    }
    async fn discard(&self, _part: &NewPart, _job: &Job) {}
}
