//! The lease of a coordinator: it protects the versions that running queries read. On a thread of
//! its own, so that no query, however heavy, costs it.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::{Heartbeat, LeaseHolder};
use granary_common::{Error, Result};
use tokio_util::sync::CancellationToken;

use crate::core::Coordinator;

/// The pause until the first answer says how long a lease holds, and the longest one after it.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Starts the thread; it ends when `stop` is cancelled.
pub fn start(core: Arc<Coordinator>, address: String, stop: CancellationToken) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal(format!("cannot start the heartbeat: {error}")))?;
    let beat = move || {
        let _stopped = runtime.block_on(stop.run_until_cancelled(run(core, address)));
    };
    std::thread::Builder::new()
        .name("coordinator-heartbeat".to_owned())
        .spawn(beat)
        .map_err(|error| Error::internal(format!("cannot start the heartbeat: {error}")))?;
    Ok(())
}

async fn run(core: Arc<Coordinator>, address: String) {
    loop {
        let pause = match beat(&core, &address).await {
            Ok(lease) => (lease / 4).min(PAUSE_MAX),
            Err(error) => {
                tracing::warn!(%error, "a heartbeat failed");
                PAUSE_MAX / 4
            }
        };
        if !core.holds_lease() {
            let why = Error::unavailable(
                "this coordinator lost the metadata group, so what the query reads is not \
                 protected any more; run it again",
            );
            let stopped = core.queries.cancel_pinned(&why);
            if stopped > 0 {
                tracing::error!(stopped, "the lease ran out; queries were cancelled");
            }
        }
        let idle = core.config.limits.result_idle_max;
        let why = Error::cancelled(format!(
            "its client took nothing for {} s; fetch faster or ask for less",
            idle.as_secs()
        ));
        core.queries.cancel_idle(idle.as_millis() as u64, &why);
        core.pending.forget_old();
        core.with.clock.sleep(pause).await;
    }
}

async fn beat(core: &Coordinator, address: &str) -> Result<Duration> {
    let sent_ms = core.with.clock.monotonic_ms();
    let holder = LeaseHolder::Coordinator { identity: core.identity.clone() };
    let lowest_pinned = core.pins.lowest();
    let heartbeat = Heartbeat { holder, address: address.to_owned(), lowest_pinned };
    let reply = core.with.catalog.heartbeat(heartbeat).await?;
    let lease = Duration::from_millis(reply.lease_ms);
    core.renew_lease(sent_ms, lease);
    Ok(lease)
}
