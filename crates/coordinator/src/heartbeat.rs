//! The lease of a coordinator: it protects the versions that running queries read. On a thread of
//! its own, so that no query, however heavy, costs it.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::protocol::PROTOCOL_VERSION;
use granary_catalog::{Heartbeat, LeaseHolder};
use granary_common::{CatalogVersion, Error, Result};
use tokio_util::sync::CancellationToken;

use crate::core::Coordinator;

/// The pause until the first answer says how long a lease holds, and the longest one after it.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The longest that one heartbeat may take; after it the lease is looked at and the next one sent.
const BEAT_MAX: Duration = Duration::from_secs(5);

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
        let pause = match beat_in_time(&core, &address).await {
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
        tokio::select! {
            () = core.with.clock.sleep(pause) => {}
            () = core.pins.beat_wanted() => {}
        }
    }
}

/// A heartbeat that ends before the lease does: who waits for an answer cannot cancel queries.
async fn beat_in_time(core: &Coordinator, address: &str) -> Result<Duration> {
    let limit = core.lease_left().map_or(BEAT_MAX, |left| left.min(BEAT_MAX));
    tokio::select! {
        done = beat(core, address) => done,
        () = core.with.clock.sleep(limit) => {
            Err(Error::unavailable("the metadata group did not answer in time"))
        }
    }
}

/// What a heartbeat protects: everything that is pinned, and what a query may pin before the next
/// one, which is nothing older than the snapshot at hand.
fn lowest_pinned(pins: Option<CatalogVersion>, at_hand: CatalogVersion) -> CatalogVersion {
    pins.map_or(at_hand, |lowest| lowest.min(at_hand))
}

async fn beat(core: &Coordinator, address: &str) -> Result<Duration> {
    let sent_ms = core.with.clock.monotonic_ms();
    let holder = LeaseHolder::Coordinator { identity: core.identity.clone() };
    // The snapshot is read first: a query that pins in between pins this one or a newer one.
    let at_hand = core.with.catalog.snapshot().version;
    let lowest = lowest_pinned(core.pins.lowest(), at_hand);
    let heartbeat = Heartbeat {
        holder,
        address: address.to_owned(),
        lowest_pinned: Some(lowest),
        protocol: PROTOCOL_VERSION,
        loads: Vec::new(),
        is_full: false,
    };
    let reply = core.with.catalog.heartbeat(heartbeat).await?;
    let lease = Duration::from_millis(reply.lease_ms);
    core.pins.note_beat(lowest);
    core.renew_lease(sent_ms, lease);
    let mut others = reply.coordinators;
    others.retain(|other| other != address);
    core.learn_other_coordinators(others);
    Ok(lease)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_pinned_before_the_next_heartbeat_is_protected() {
        for (pins, at_hand, expected) in [(None, 7, 7), (Some(3), 7, 3), (Some(9), 7, 7)] {
            let lowest = lowest_pinned(pins.map(CatalogVersion), CatalogVersion(at_hand));
            assert_eq!(lowest, CatalogVersion(expected), "{pins:?}");
        }
    }
}
