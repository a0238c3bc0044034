//! What a worker does without being asked: sweeps, copies that are missing or damaged, notes of damage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use granary_catalog::Catalog;
use granary_common::{Clock, TaskOwner, WorkerId};
use granary_execution::{ActiveWork, CatalogDirectory, WorkerApi, WorkerDirectory};
use granary_storage::PartStore;
use tokio_util::sync::CancellationToken;

use crate::local::LocalWorker;
use crate::merge::Merges;
use crate::node::WorkerConfig;
use crate::part_ids::LeasedPartIds;
use crate::quarantine::Found;
use crate::replicate::{Arrivals, CatchUp, Healer, Pace, Receiver, Shipper};
use crate::sweep::{SharedSweeper, Sweeper};

/// What stands on the worker's volumes.
pub struct Parts {
    pub local: Arc<LocalWorker>,
    pub ids: Arc<LeasedPartIds>,
    pub store: Arc<PartStore>,
    pub directory: Arc<dyn WorkerDirectory>,
    pub active: ActiveWork,
    pub merges: Arc<Merges>,
}

/// The ways of copies to the other workers and from them.
pub struct Copies {
    peers: Arc<dyn WorkerDirectory>,
    pub shipper: Arc<Shipper>,
    arrivals: Arc<Arrivals>,
    pub receiver: Arc<Receiver>,
}

/// What the worker does without being asked.
pub struct Background {
    sweeper: Sweeper,
    shared_sweeper: SharedSweeper,
    catch_up: CatchUp,
    healer: Healer,
    damage: Found,
}

impl Copies {
    /// Those of `worker`.
    pub fn of(
        worker: WorkerId,
        catalog: &Arc<dyn Catalog>,
        clock: &Arc<dyn Clock>,
        store: &Arc<PartStore>,
    ) -> Copies {
        let peers: Arc<dyn WorkerDirectory> =
            Arc::new(CatalogDirectory::new(Arc::clone(catalog), BTreeMap::new()));
        let shipper = Arc::new(Shipper::new(worker, Arc::clone(&peers), Arc::clone(clock)));
        let arrivals = Arc::<Arrivals>::default();
        let receiver = Arc::new(Receiver {
            store: Arc::clone(store),
            workers: Arc::clone(&peers),
            arrivals: Arc::clone(&arrivals),
        });
        Copies { peers, shipper, arrivals, receiver }
    }
}

impl Background {
    /// With `damage` that reads of the parts meet.
    pub fn of(
        config: &WorkerConfig,
        catalog: &Arc<dyn Catalog>,
        clock: &Arc<dyn Clock>,
        parts: &Parts,
        copies: Copies,
        damage: Found,
    ) -> Background {
        let worker = parts.local.worker();
        let sweeper = Sweeper::new(
            Arc::clone(catalog),
            Arc::clone(&parts.ids),
            worker,
            parts.store.volumes().own().map(Arc::clone).collect(),
            parts.merges.replaced(),
            copies.arrivals,
        );
        let shared_sweeper = SharedSweeper::new(
            Arc::clone(catalog),
            worker,
            parts.store.volumes().shared().map(Arc::clone).collect(),
        );
        let catch_up = CatchUp {
            worker,
            catalog: Arc::clone(catalog),
            clock: Arc::clone(clock),
            receiver: copies.receiver,
            pace: Pace::new(Arc::clone(clock), config.copy_bytes_per_s),
        };
        let healer = Healer {
            worker,
            catalog: Arc::clone(catalog),
            clock: Arc::clone(clock),
            local: Arc::clone(&parts.local) as Arc<dyn WorkerApi>,
            workers: copies.peers,
        };
        Background { sweeper, shared_sweeper, catch_up, healer, damage }
    }

    /// Until `leaving`; sweeps and notes of damage until the owner stops.
    pub fn spawn(
        self,
        tasks: &TaskOwner,
        clock: &Arc<dyn Clock>,
        sweep_interval: Duration,
        leaving: &CancellationToken,
    ) {
        tasks.spawn(self.sweeper.run(Arc::clone(clock), sweep_interval));
        tasks.spawn(self.shared_sweeper.run(Arc::clone(clock), sweep_interval));
        tasks.spawn(self.catch_up.run(leaving.clone()));
        tasks.spawn(self.healer.run(leaving.clone()));
        tasks.spawn(self.damage.run(Arc::clone(clock)));
    }
}
