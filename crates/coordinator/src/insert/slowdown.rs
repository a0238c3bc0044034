//! Inserts make room for merges: the more parts wait to be merged, the longer a block is held up,
//! and at a hard limit it is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use granary_catalog::{PartitionValue, Snapshot, Table, TableState};
use granary_common::{BucketIndex, Error, Result, TableId};
use granary_sql::Notice;

use crate::core::Coordinator;

/// Parts of one bucket and partition from which on inserts are held up, unless the table says it.
const PARTS_TO_DELAY: u64 = 1000;
/// Parts from which on they are refused.
const PARTS_TO_THROW: u64 = 3000;
/// How long a block is held up just below the limit, in milliseconds.
const DELAY_MS_MAX: f64 = 1000.0;
/// What merges are taken to get through, to estimate how long they need.
const MERGE_BYTES_PER_S: u64 = 20 << 20;
/// What one merge takes away, and takes at least.
const MERGE_PARTS: u64 = 64;
const MERGE_MS: u64 = 250;

/// What becomes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Free,
    Delay(Duration),
    Refuse,
}

/// The bucket and partition of a table with the most parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Debt {
    parts: u64,
    bytes: u64,
}

/// Holds a block of `table` up as its merge debt asks, and returns for how long.
///
/// Kind `ResourceExhausted` when there are too many parts; it says how long merges may need.
pub(super) async fn make_room(core: &Coordinator, table: TableId) -> Result<Duration> {
    let snapshot = core.with.catalog.snapshot();
    let Some(state) = snapshot.tables.get(&table) else { return Ok(Duration::ZERO) };
    let (delay_from, throw_from) = limits(&state.table);
    if (state.parts.len() as u64) < delay_from.min(throw_from) {
        return Ok(Duration::ZERO);
    }
    let debt = largest_debt(&snapshot, state);
    match pace(debt.parts, delay_from, throw_from) {
        Pace::Free => Ok(Duration::ZERO),
        Pace::Delay(delay) => {
            core.with.clock.sleep(delay).await;
            Ok(delay)
        }
        Pace::Refuse => Err(refusal(&snapshot, &state.table, debt, throw_from)),
    }
}

/// What the client is told about an insert that was held up for `waited_ms` altogether.
pub(super) fn slowdown_notice(waited_ms: u64) -> Option<Notice> {
    let text = format!(
        "the insert was held up for {waited_ms} ms because its table has many unmerged parts; insert \
         larger blocks less often"
    );
    (waited_ms > 0).then(|| Notice::new(text))
}

fn limits(table: &Table) -> (u64, u64) {
    let number = |name: &str| table.settings.get(name).and_then(|text| text.parse().ok());
    (
        number("parts_to_delay_insert").unwrap_or(PARTS_TO_DELAY),
        number("parts_to_throw_insert").unwrap_or(PARTS_TO_THROW),
    )
}

fn largest_debt(snapshot: &Snapshot, state: &TableState) -> Debt {
    let mut debts: BTreeMap<(BucketIndex, &PartitionValue), Debt> = BTreeMap::new();
    for part in state.visible_parts(snapshot.version) {
        let debt = debts.entry((part.bucket, &part.partition)).or_default();
        debt.parts += 1;
        debt.bytes += part.bytes;
    }
    debts.into_values().max_by_key(|debt| debt.parts).unwrap_or_default()
}

/// The delay grows with the square of the way between the two limits: hardly felt at first.
fn pace(parts: u64, delay_from: u64, throw_from: u64) -> Pace {
    if parts >= throw_from {
        return Pace::Refuse;
    }
    if parts < delay_from {
        return Pace::Free;
    }
    let way = (parts - delay_from + 1) as f64 / (throw_from - delay_from) as f64;
    Pace::Delay(Duration::from_millis((DELAY_MS_MAX * way * way).ceil() as u64))
}

/// How long merges need to get below `throw_from` parts, about.
fn expected_wait(debt: Debt, throw_from: u64) -> Duration {
    let excess = debt.parts.saturating_sub(throw_from) + 1;
    let merges = excess.div_ceil(MERGE_PARTS - 1);
    let bytes = debt.bytes / debt.parts.max(1) * merges * MERGE_PARTS;
    let ms = merges * MERGE_MS + bytes.saturating_mul(1000) / MERGE_BYTES_PER_S;
    Duration::from_secs(ms.div_ceil(1000))
}

fn refusal(snapshot: &Snapshot, table: &Table, debt: Debt, throw_from: u64) -> Error {
    let all_stopped = snapshot.cluster.as_ref().is_some_and(|cluster| cluster.merges_stopped);
    let hint = match all_stopped || table.merges_stopped {
        true => "merges are stopped, so waiting does not help: run SYSTEM START MERGES".to_owned(),
        false => format!(
            "try again in about {} s, and insert larger blocks less often",
            expected_wait(debt, throw_from).as_secs()
        ),
    };
    Error::exhausted(format!(
        "table '{}' has {} parts in one bucket and partition that wait for merges, and \
         parts_to_throw_insert is {throw_from}; {hint}",
        table.name, debt.parts
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_smoothly_up_to_the_limit() {
        let delay = |ms| Pace::Delay(Duration::from_millis(ms));
        for (parts, delay_from, throw_from, expected) in [
            (0, 1000, 3000, Pace::Free),
            (999, 1000, 3000, Pace::Free),
            (1000, 1000, 3000, delay(1)),
            (1199, 1000, 3000, delay(10)),
            (1999, 1000, 3000, delay(250)),
            (2999, 1000, 3000, delay(1000)),
            (3000, 1000, 3000, Pace::Refuse),
            (9999, 1000, 3000, Pace::Refuse),
            // Refused before it would be held up.
            (10, 20, 10, Pace::Refuse),
            (9, 20, 10, Pace::Free),
        ] {
            assert_eq!(pace(parts, delay_from, throw_from), expected, "{parts} parts");
        }
    }

    #[test]
    fn the_wait_follows_what_merges_must_read() {
        for (parts, bytes, expected_s) in
            [(3000, 3000 << 10, 1), (3000, 3000 << 20, 4), (4000, 4000 << 20, 56)]
        {
            let wait = expected_wait(Debt { parts, bytes }, 3000);
            assert_eq!(wait.as_secs(), expected_s, "{parts} parts of {bytes} bytes");
        }
    }
}
