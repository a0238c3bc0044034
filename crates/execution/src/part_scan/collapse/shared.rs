//! What the partitions of one scan share: runs that are cut into pieces one after the other, by
//! whichever partition is polled, so that none waits for one that nobody asks for rows.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use super::pieces::Piece;
use super::{Collapsing, runs};
use crate::part_scan::layout::Unit;
use crate::part_scan::stream::UnitQueue;

/// Pieces of one run of the plan. Clones share them.
#[derive(Clone, Default)]
pub struct SharedPieces(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    runs: VecDeque<Vec<Unit>>,
    /// The run that is being cut.
    cutting: Option<Cutting>,
    ready: VecDeque<Piece>,
}

type Cutting = Shared<BoxFuture<'static, Result<Cut, Arc<DataFusionError>>>>;
/// What a run was cut into, until somebody has taken it.
type Cut = Arc<Mutex<Option<Vec<Piece>>>>;

impl fmt::Debug for SharedPieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedPieces")
    }
}

impl SharedPieces {
    /// The next piece of the units that were in `queue`; `None` after the last.
    pub(super) async fn next(
        &self,
        collapsing: &Arc<Collapsing>,
        queue: &UnitQueue,
    ) -> Option<Result<Piece, DataFusionError>> {
        loop {
            let cutting = {
                let mut state = self.0.lock();
                let units: Vec<Unit> = queue.lock().drain(..).collect();
                state.runs.extend(runs(&collapsing.spec, units));
                if let Some(piece) = state.ready.pop_front() {
                    return Some(Ok(piece));
                }
                match state.cutting.clone() {
                    Some(cutting) => cutting,
                    None => {
                        let begun = begin(Arc::clone(collapsing), state.runs.pop_front()?);
                        state.cutting = Some(begun.clone());
                        begun
                    }
                }
            };
            let cut = match cutting.await {
                Ok(cut) => cut,
                Err(error) => return Some(Err(DataFusionError::Shared(error))),
            };
            let mut state = self.0.lock();
            if let Some(pieces) = cut.lock().take() {
                state.ready.extend(pieces);
                state.cutting = None;
            }
        }
    }
}

fn begin(collapsing: Arc<Collapsing>, run: Vec<Unit>) -> Cutting {
    let cut = async move {
        let pieces = collapsing.pieces(run).await.map_err(Arc::new)?;
        Ok(Arc::new(Mutex::new(Some(pieces))))
    };
    cut.boxed().shared()
}
