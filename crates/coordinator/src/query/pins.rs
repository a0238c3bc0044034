//! Versions that running queries read, so that nothing they need is collected.

use std::collections::BTreeMap;
use std::sync::Arc;

use granary_common::CatalogVersion;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// The pinned versions of a coordinator; heartbeats report the lowest.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    counts: Arc<Mutex<BTreeMap<CatalogVersion, usize>>>,
    beats: Arc<Beats>,
}

/// What the heartbeats have carried.
#[derive(Debug)]
struct Beats {
    /// The lowest version of the last one that was answered.
    lowest: watch::Sender<CatalogVersion>,
    /// Rings when the next one should not wait.
    wanted: Notify,
}

impl Default for Beats {
    fn default() -> Self {
        Beats { lowest: watch::channel(CatalogVersion(u64::MAX)).0, wanted: Notify::new() }
    }
}

impl Pins {
    /// Pins `version` until the pin is dropped.
    pub fn pin(&self, version: CatalogVersion) -> Pin {
        *self.counts.lock().entry(version).or_default() += 1;
        Pin { version, counts: Arc::clone(&self.counts) }
    }

    /// The lowest pinned version.
    pub fn lowest(&self) -> Option<CatalogVersion> {
        self.counts.lock().first_key_value().map(|(version, _)| *version)
    }

    /// Notes that a heartbeat which carried `lowest` was answered.
    pub fn note_beat(&self, lowest: CatalogVersion) {
        self.beats.lowest.send_replace(lowest);
    }

    /// Waits until somebody waits for a heartbeat.
    pub async fn beat_wanted(&self) {
        self.beats.wanted.notified().await;
    }

    /// Does not let the next heartbeat wait.
    pub fn want_beat(&self) {
        self.beats.wanted.notify_one();
    }

    /// Waits until the last heartbeat protects `version`, which is pinned; every later one does, too.
    pub async fn reported(&self, version: CatalogVersion) {
        let mut lowest = self.beats.lowest.subscribe();
        if *lowest.borrow_and_update() > version {
            self.beats.wanted.notify_one();
        }
        // The sender lives as long as this does.
        let _ = lowest.wait_for(|lowest| *lowest <= version).await;
    }
}

/// One reader of a version.
#[derive(Debug)]
pub struct Pin {
    version: CatalogVersion,
    counts: Arc<Mutex<BTreeMap<CatalogVersion, usize>>>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&self.version) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.version);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_pin_counts_until_its_last_reader_goes() {
        let pins = Pins::default();
        let (first, second) = (pins.pin(CatalogVersion(7)), pins.pin(CatalogVersion(7)));
        let later = pins.pin(CatalogVersion(9));
        drop(first);
        assert_eq!(pins.lowest(), Some(CatalogVersion(7)));
        drop(second);
        assert_eq!(pins.lowest(), Some(CatalogVersion(9)));
        drop(later);
        assert_eq!(pins.lowest(), None);
    }
}
