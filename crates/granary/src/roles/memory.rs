//! How much memory queries may take when nobody says.

use granary_common::units::MIB;

/// Taken when the system does not tell.
const FALLBACK: u64 = 1024 * MIB;
const MINIMUM: u64 = 64 * MIB;

/// Bytes that queries may take: `memory_mib`, or half of what is free now.
pub(super) fn query_bytes(memory_mib: Option<u64>) -> u64 {
    match memory_mib {
        Some(mib) => mib * MIB,
        None => (free_bytes().unwrap_or(2 * FALLBACK) / 2).max(MINIMUM),
    }
}

/// What the machine has free, or the container's limit when that is less.
fn free_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.as_deref().and_then(available_of);
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse().ok());
    [machine, container].into_iter().flatten().min()
}

fn available_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_understood() {
        let text = "MemTotal:  100 kB\nMemAvailable:      16 kB\n";
        assert_eq!(available_of(text), Some(16 * 1024));
        assert_eq!(available_of("nothing"), None);
        assert_eq!(query_bytes(Some(64)), 64 * MIB);
        assert!(query_bytes(None) >= MINIMUM);
    }
}
