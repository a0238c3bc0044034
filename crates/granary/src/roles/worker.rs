//! `granary worker`.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::Catalog;
use granary_common::units::MIB;
use granary_common::{Result, SystemClock, SystemRandom, TaskOwner};
use granary_sql::GranaryFunctions;
use granary_worker::{MergeSettings, Reserves, ScrubSettings, WorkerConfig, WorkerNode};

use super::member::{Member, advertise_host};
use super::{STOP_LIMIT, memory};
use crate::cluster::ReadyLine;
use crate::config::{Settings, configured_tiers};

/// Bytes of spilled files, in multiples of the memory.
const SPILL_FACTOR: u64 = 16;

pub(super) struct Worker {
    node: WorkerNode,
    member: Member,
}

impl Worker {
    pub(super) async fn start(settings: &Settings, tasks: &TaskOwner) -> Result<Worker> {
        let member = Member::join(settings).await?;
        let node = start_node(settings, member.catalog(), tasks).await?;
        Ok(Worker { node, member })
    }

    pub(super) fn announce(&self, line: ReadyLine) -> ReadyLine {
        line.with("internal", self.node.listen_addr())
    }

    pub(super) async fn drain(self, limit: Duration) -> bool {
        let in_time = self.node.drain(limit).await;
        self.member.leave(STOP_LIMIT).await;
        in_time
    }
}

/// Starts the worker of this process over `catalog`.
pub(super) async fn start_node(
    settings: &Settings,
    catalog: Arc<dyn Catalog>,
    tasks: &TaskOwner,
) -> Result<WorkerNode> {
    let memory_bytes_max = memory::query_bytes(settings.memory_mib);
    let config = WorkerConfig {
        data_dir: settings.data_dir.clone(),
        listen: settings.internal_listen,
        advertise_host: advertise_host(settings, settings.internal_listen)?,
        zone: settings.zone.clone().unwrap_or_default(),
        volume_url: settings.volume.as_ref().map(|volume| volume.0.clone()),
        memory_bytes_max,
        spill_bytes_max: spill_bytes(memory_bytes_max),
        sweep_interval: Duration::from_secs(settings.sweep_interval_s),
        merges: merge_settings(settings)?,
        copy_bytes_per_s: settings.copy_mib_s * MIB,
        read_cache_bytes_max: settings.read_cache_mib * MIB,
        reserves: Reserves {
            each: settings.keep_free.unwrap_or_default(),
            of: settings.keep_free_of.clone().unwrap_or_default().0,
        },
        scrub: ScrubSettings {
            bytes_per_s: settings.scrub_mib_s * MIB,
            period: Duration::from_secs(settings.scrub_period_s),
        },
    };
    WorkerNode::start(
        config,
        catalog,
        Arc::new(GranaryFunctions),
        SystemClock::shared(),
        SystemRandom::shared(),
        tasks.clone(),
    )
    .await
}

/// One thread of two merges, unless the settings say it.
fn merge_settings(settings: &Settings) -> Result<MergeSettings> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = settings.threads.unwrap_or(cores);
    Ok(MergeSettings {
        merges_max: settings.merge_threads.unwrap_or((threads / 2).max(1)),
        memory_bytes_max: settings.merge_memory_mib * MIB,
        merge_bytes_max: settings.merge_mib_max * MIB,
        bytes_per_s_max: settings.merge_mib_s * MIB,
        threads,
        tiers: Arc::new(configured_tiers(settings)?),
    })
}

/// Bytes of spilled files for `memory_bytes` of memory.
pub(super) fn spill_bytes(memory_bytes: u64) -> u64 {
    memory_bytes.saturating_mul(SPILL_FACTOR)
}
