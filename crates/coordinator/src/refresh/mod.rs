//! Refreshable views: their whole query runs on a schedule, each run by one coordinator.
//!
//! ```text
//!   catalog: ViewRefresh ──plan (pure)──► Begin ──► number of the run, a lease
//!                                                        │
//!            query at a pinned snapshot ─► rows ─► the way of every insert ─► commit ─► next time
//! ```
//!
//! The commit names the run. The catalog takes it only while no later run has begun and moves the
//! schedule on in the same command, so a run counts exactly once, whoever dies at whatever moment.

mod run;
mod schedule;
mod statement;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use granary_common::TableId;
use parking_lot::Mutex;

pub(crate) use statement::system_view;

use crate::core::Coordinator;

/// Refreshes that one coordinator makes at the same time.
const RUNNING_MAX: usize = 4;
/// The pause while nothing is due, at most: views may be created, and runs be asked for.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The pause between two looks, at least: others may have begun what looked due.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Views whose runs this coordinator is at.
type Busy = Arc<Mutex<BTreeSet<TableId>>>;

/// Begins what is due, for as long as the coordinator runs.
pub(crate) async fn keep_refreshing(core: Arc<Coordinator>) {
    let busy = Busy::default();
    loop {
        let pause = match core.check_accepting().is_ok() && core.holds_lease() {
            true => begin_due(&core, &busy),
            false => PAUSE_MAX,
        };
        core.with.clock.sleep(pause).await;
    }
}

/// Begins what is due and gives the pause until the next look.
fn begin_due(core: &Arc<Coordinator>, busy: &Busy) -> Duration {
    let snapshot = core.with.catalog.snapshot();
    let now_ms = core.with.clock.now_ms();
    let plan = schedule::plan(&snapshot, now_ms, &busy.lock(), RUNNING_MAX);
    for due in plan.begin {
        let place = Place::take(busy, due.view);
        let core = Arc::clone(core);
        core.with.tasks.clone().spawn(async move {
            run::run(&core, due).await;
            drop(place);
        });
    }
    let until_next = plan.next_ms.map(|next_ms| Duration::from_millis(next_ms - now_ms));
    until_next.unwrap_or(PAUSE_MAX).clamp(PAUSE_MIN, PAUSE_MAX)
}

/// A view's place among the busy ones, given back when its run has ended in whatever way.
struct Place {
    busy: Busy,
    view: TableId,
}

impl Place {
    fn take(busy: &Busy, view: TableId) -> Self {
        busy.lock().insert(view);
        Self { busy: Arc::clone(busy), view }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.view);
    }
}
