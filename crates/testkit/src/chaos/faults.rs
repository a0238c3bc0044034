//! What goes wrong, with whom and for how long: chosen by a seed, then done and undone.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use granary::cluster::{Cluster, ProcessHandle};
use granary_common::Random;

use super::Hosts;
use super::hosts::SMALL_DISK;
use crate::TestResult;

const LENGTH_MS: std::ops::Range<u64> = 1_000..15_000;
/// One of so many turns has two faults at once, in different groups.
const TWO_AT_ONCE_EVERY: u64 = 4;
/// A host that loses packets loses one of so many.
const LOSES_ONE_OF: u32 = 10;
const FILLER: &str = "filler";

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Signal 9; started again on the same folder when it is over.
    Killed,
    /// Stopped in its tracks, then let go on as if nothing had been.
    Paused,
    /// Its host's cable is out.
    CutOff,
    /// Its host loses packets.
    Lossy,
    /// Its disk is full.
    DiskFull,
}

const KINDS: [FaultKind; 5] = [
    FaultKind::Killed,
    FaultKind::Paused,
    FaultKind::CutOff,
    FaultKind::Lossy,
    FaultKind::DiskFull,
];

/// A fault of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// The name of the process, for example `worker-2`.
    pub victim: String,
    /// For how long.
    pub length: Duration,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} for {} ms", self.victim, self.kind, self.length.as_millis())
    }
}

/// One fault, or two in different groups: one process of each group may fail at any time.
pub fn next_faults(random: &dyn Random, cluster: &Cluster) -> Vec<Fault> {
    let name = |process: &ProcessHandle| process.name().to_owned();
    let groups = [&cluster.metadata, &cluster.workers, &cluster.coordinators];
    choose(random, &groups.map(|group| group.iter().map(name).collect()))
}

fn choose(random: &dyn Random, groups: &[Vec<String>; 3]) -> Vec<Fault> {
    let below = |limit: usize| (random.next_u64() % limit as u64) as usize;
    let first = below(groups.len());
    let mut chosen = vec![first];
    if random.next_u64().is_multiple_of(TWO_AT_ONCE_EVERY) {
        chosen.push((first + 1 + below(groups.len() - 1)) % groups.len());
    }
    let fault = |group: usize| {
        let kind = KINDS[below(KINDS.len())];
        let victim = match kind {
            FaultKind::DiskFull => SMALL_DISK.to_owned(),
            _ => groups[group][below(groups[group].len())].clone(),
        };
        let span = LENGTH_MS.end - LENGTH_MS.start;
        let length = Duration::from_millis(LENGTH_MS.start + random.next_u64() % span);
        Fault { kind, victim, length }
    };
    let mut faults: Vec<Fault> = chosen.into_iter().map(fault).collect();
    // A full disk beside another worker that is away would be two of one group.
    let is_worker = |fault: &Fault| groups[1].contains(&fault.victim);
    if faults.iter().filter(|fault| is_worker(fault)).count() > 1 {
        faults.truncate(1);
    }
    faults
}

impl Fault {
    /// Lets it happen.
    pub fn begin(&self, cluster: &mut Cluster, hosts: &Hosts) -> TestResult {
        match self.kind {
            FaultKind::Killed => process(cluster, &self.victim)?.kill()?,
            FaultKind::Paused => process(cluster, &self.victim)?.pause(true)?,
            FaultKind::CutOff => hosts.cut(&self.victim, true)?,
            FaultKind::Lossy => hosts.lose(&self.victim, Some(LOSES_ONE_OF))?,
            FaultKind::DiskFull => fill(&process(cluster, &self.victim)?.spec().data_dir)?,
        }
        Ok(())
    }

    /// Ends it. A process that was killed is started, not waited for.
    pub fn end(&self, cluster: &mut Cluster, hosts: &Hosts) -> TestResult {
        match self.kind {
            FaultKind::Killed => process(cluster, &self.victim)?.respawn()?,
            FaultKind::Paused => process(cluster, &self.victim)?.pause(false)?,
            FaultKind::CutOff => hosts.cut(&self.victim, false)?,
            FaultKind::Lossy => hosts.lose(&self.victim, None)?,
            FaultKind::DiskFull => {
                let folder = &process(cluster, &self.victim)?.spec().data_dir;
                std::fs::remove_file(folder.join(FILLER))?;
            }
        }
        Ok(())
    }
}

fn process<'a>(cluster: &'a mut Cluster, name: &str) -> TestResult<&'a mut ProcessHandle> {
    let found = cluster.processes_mut().find(|process| process.name() == name);
    Ok(found.ok_or_else(|| format!("no process {name}"))?)
}

/// Fills a small disk of its own; on any other it would harm more than the cluster.
fn fill(folder: &Path) -> TestResult {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mounted = |line: &str| line.split(' ').nth(1).is_some_and(|at| Path::new(at) == folder);
    if !mounts.lines().any(mounted) {
        return Err(format!("{} is no disk of its own", folder.display()).into());
    }
    let mut file = std::fs::File::create(folder.join(FILLER))?;
    let zeros = vec![0; 1 << 20];
    loop {
        match file.write_all(&zeros) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use granary_common::random::SeededRandom;

    use super::*;

    #[test]
    fn every_fault_comes_up_and_no_group_has_two() {
        let names = |role: &str, count: usize| -> Vec<String> {
            (1..=count).map(|place| format!("{role}-{place}")).collect()
        };
        let groups = [names("metadata", 3), names("worker", 3), names("coordinator", 2)];
        let random = SeededRandom::new(1);
        let (mut kinds, mut victims, mut pairs) = (BTreeSet::new(), BTreeSet::new(), 0);
        for _ in 0..400 {
            let faults = choose(&random, &groups);
            let of_groups: BTreeSet<&str> =
                faults.iter().map(|fault| fault.victim.split('-').next().unwrap_or("")).collect();
            assert_eq!(of_groups.len(), faults.len(), "{faults:?}");
            pairs += usize::from(faults.len() == 2);
            for fault in faults {
                assert!(LENGTH_MS.contains(&(fault.length.as_millis() as u64)));
                assert!(fault.kind != FaultKind::DiskFull || fault.victim == SMALL_DISK);
                kinds.insert(fault.kind);
                victims.insert(fault.victim);
            }
        }
        assert_eq!(kinds.len(), KINDS.len());
        assert_eq!(victims.len(), 8);
        assert!((30..200).contains(&pairs), "{pairs} of 400 turns had two faults");
    }

    #[test]
    fn a_seed_chooses_the_same_faults() {
        let groups = [vec!["m".to_owned()], vec!["w".to_owned()], vec!["c".to_owned()]];
        let chosen = |seed| {
            let random = SeededRandom::new(seed);
            (0..20).map(|_| choose(&random, &groups)).collect::<Vec<_>>()
        };
        assert_eq!(chosen(7), chosen(7));
        assert_ne!(chosen(7), chosen(8));
    }

    #[test]
    fn only_a_disk_of_its_own_is_filled() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = fill(folder.path()).expect_err("the machine's disk").to_string();
        assert!(error.contains("no disk of its own"), "{error}");
    }
}
