//! How many bytes of which parts are read, for whoever evens out the load of workers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use granary_common::{PartId, TableId};

use super::PartRef;

/// Parts that are counted between two looks; reads of more are not.
const PARTS_MAX: usize = 16_384;

/// Bytes by table and part since the last look.
#[derive(Debug, Default)]
pub struct Reads(Mutex<HashMap<(TableId, PartId), u64>>);

impl Reads {
    /// A scan reads `selected` of the `total` granules of `part`; all of it when there are none.
    pub fn note(&self, part: &PartRef, selected: u64, total: u64) {
        let bytes = match total {
            0 => part.bytes,
            total => (u128::from(part.bytes) * u128::from(selected) / u128::from(total)) as u64,
        };
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (part.table, part.id);
        if counted.len() < PARTS_MAX || counted.contains_key(&key) {
            *counted.entry(key).or_insert(0) += bytes;
        }
    }

    /// What was read since the last call.
    pub fn take(&self) -> HashMap<(TableId, PartId), u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
