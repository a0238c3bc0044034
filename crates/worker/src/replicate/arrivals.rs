//! Parts whose files come in, for whoever deletes files: the catalog does not name them here yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use granary_common::{Error, PartId, Result};
use parking_lot::Mutex;

/// The parts that come in or go, by the part that files are named by. Bounded by what is copied
/// between two sweeps.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How often each is being copied.
    arriving: BTreeMap<PartId, usize>,
    /// Copied since the last sweep began: what it knows of the catalog may be older.
    arrived: BTreeSet<PartId>,
    leaving: BTreeSet<PartId>,
}

/// A part comes in as long as this lives.
#[derive(Debug)]
pub struct Arriving {
    arrivals: Arc<Arrivals>,
    part: PartId,
}

/// The files of a part are being deleted as long as this lives.
#[derive(Debug)]
pub struct Leaving {
    arrivals: Arc<Arrivals>,
    part: PartId,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut inner = self.arrivals.0.lock();
        inner.arrived.insert(self.part);
        match inner.arriving.get_mut(&self.part) {
            Some(times) if *times > 1 => *times -= 1,
            _ => {
                inner.arriving.remove(&self.part);
            }
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.arrivals.0.lock().leaving.remove(&self.part);
    }
}

impl Arrivals {
    /// A part begins to come in. Kind `Unavailable` while its files are being deleted.
    pub fn arrive(self: &Arc<Self>, part: PartId) -> Result<Arriving> {
        let mut inner = self.0.lock();
        if inner.leaving.contains(&part) {
            return Err(Error::unavailable(format!("files of part {part} are being deleted")));
        }
        *inner.arriving.entry(part).or_insert(0) += 1;
        Ok(Arriving { arrivals: Arc::clone(self), part })
    }

    /// Claims a part's files for deletion; `None` when they have just come in, or do.
    pub fn leave(self: &Arc<Self>, part: PartId) -> Option<Leaving> {
        let mut inner = self.0.lock();
        if inner.arriving.contains_key(&part) || inner.arrived.contains(&part) {
            return None;
        }
        inner.leaving.insert(part);
        Some(Leaving { arrivals: Arc::clone(self), part })
    }

    /// A sweep begins, and looks at the catalog only after this.
    pub fn begin_sweep(&self) {
        self.0.lock().arrived.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_is_not_taken_out() {
        let arrivals = Arc::new(Arrivals::default());
        let part = PartId(7);
        let (first, second) = (arrivals.arrive(part).unwrap(), arrivals.arrive(part).unwrap());
        drop(first);
        arrivals.begin_sweep();
        assert!(arrivals.leave(part).is_none(), "still coming in");
        drop(second);
        assert!(arrivals.leave(part).is_none(), "came in after the sweep began");
        arrivals.begin_sweep();
        let leaving = arrivals.leave(part).unwrap();
        assert!(arrivals.arrive(part).is_err());
        assert!(arrivals.arrive(PartId(8)).is_ok());
        drop(leaving);
        assert!(arrivals.arrive(part).is_ok());
    }
}
