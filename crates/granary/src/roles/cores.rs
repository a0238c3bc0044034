//! The runtime that runs queries, and the small one beside it that must never wait for them.

use granary_common::{Error, Result};
use tokio::runtime::{Builder, Runtime};

/// Threads for leases, heartbeats and the catalog's changes.
const CONTROL_THREADS: usize = 1;

/// Stack of a thread that runs statements. Deep plans take much of it, and futures of builds that are
/// not optimised several times what they take in a release; only what is touched is memory.
const QUERY_STACK_BYTES: usize = 16 << 20;

/// Runs queries and inserts on `threads`, by default one for each core.
pub(super) fn query_runtime(threads: Option<usize>) -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    build(builder.thread_name("granary-query").thread_stack_size(QUERY_STACK_BYTES))
}

/// Keeps leases and follows the catalog while queries take all of the other threads.
pub(super) fn control_runtime() -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    build(builder.worker_threads(CONTROL_THREADS).thread_name("granary-control"))
}

fn build(builder: &mut Builder) -> Result<Runtime> {
    builder
        .enable_all()
        .build()
        .map_err(|error| Error::internal(format!("cannot start threads: {error}")))
}
