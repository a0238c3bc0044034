//! Small inserts of many clients become one block and one commit.
//!
//! ```text
//!   small insert ─┐                    ┌─ gather (while the last group commits, then a moment)
//!   small insert ─┼─► lane of a table ─┤
//!   small insert ─┘                    └─► one part per bucket ─► one commit of every token
//!                                                                      │
//!        each client's own answer ◄────────────────────────────────────┘
//! ```
//!
//! A lone insert does not wait: a lane gathers only while others are about, and for as long as they
//! keep coming until all of them are there. So it is the clients that shape groups, on a slow machine
//! as on a fast one. What all lanes hold is bounded by [`ROOM_BYTES`], not by the inserts that are
//! admitted: an insert that waits for its group gives its place to the next one, which may join it.

mod commit;
mod member;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select;
use granary_common::{Error, Result, TableId};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::Inserted;
use super::block::Block;
use crate::core::Coordinator;
use commit::commit_group;
pub(super) use member::Member;

/// Rows of an insert that is worth gathering; larger ones make parts of a good size themselves.
pub(super) const ROWS_MAX: u64 = 10_000;
/// Bytes of an insert that is worth gathering.
pub(super) const BYTES_MAX: u64 = 1 << 20;
/// Bytes at which a group is written at once.
const GROUP_BYTES_MAX: u64 = 64 << 20;
/// Bytes of what waits for groups, or is being committed by them; who comes then waits for room.
const ROOM_BYTES: u64 = 64 << 20;
/// An insert of one row takes so much beside the row, for its text, its settings and its answer.
const MEMBER_BYTES_MIN: u64 = 16 << 10;
/// The unit in which room is counted.
const ROOM_UNIT: u64 = 1 << 10;
/// A group may wait for the next insert so many times as long as its clients ask for, where commits
/// take that long.
const PAUSE_TIMES_MAX: u64 = 4;
/// While inserts keep coming a group may wait for as long as so many commits take, ...
const WAIT_COMMITS_MAX: u64 = 4;
/// ... for so long at most, and in any case for its longest pause.
const WAIT_MS_MAX: u64 = 1_000;

/// The lanes of a coordinator, by table. A table without inserts has none.
#[derive(Debug)]
pub struct InsertGroups {
    lanes: Mutex<Lanes>,
    room: Arc<Semaphore>,
}

impl Default for InsertGroups {
    fn default() -> Self {
        let room = Arc::new(Semaphore::new((ROOM_BYTES / ROOM_UNIT) as usize));
        Self { lanes: Mutex::default(), room }
    }
}

#[derive(Debug, Default)]
struct Lanes {
    by_table: HashMap<TableId, Lane>,
    /// Lanes made so far.
    made: u64,
}

#[derive(Debug)]
struct Lane {
    number: u64,
    waiting: Vec<Member>,
    arrived: Arc<Notify>,
}

/// How a lane looks at one moment.
struct Waiting {
    count: usize,
    bytes: u64,
    wait_ms: u64,
    arrived: Arc<Notify>,
}

impl InsertGroups {
    /// Waits until what is held for groups leaves room for `block`, which is of at most [`BYTES_MAX`].
    pub(super) async fn room_for(&self, block: &Block) -> Result<OwnedSemaphorePermit> {
        let bytes = block.bytes.clamp(MEMBER_BYTES_MIN, ROOM_BYTES);
        let units = bytes.div_ceil(ROOM_UNIT) as u32;
        let permit = Arc::clone(&self.room).acquire_many_owned(units).await;
        permit.map_err(|_| Error::unavailable("the coordinator is stopping"))
    }

    /// Adds an insert; gives the number of its lane when that is new and nobody drives it.
    fn add(&self, table: TableId, member: Member) -> Option<u64> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.by_table.get_mut(&table) {
            lane.waiting.push(member);
            lane.arrived.notify_one();
            return None;
        }
        lanes.made += 1;
        let number = lanes.made;
        let lane = Lane { number, waiting: vec![member], arrived: Arc::default() };
        lanes.by_table.insert(table, lane);
        Some(number)
    }

    fn look(&self, table: TableId) -> Option<Waiting> {
        let lanes = self.lanes.lock();
        let lane = lanes.by_table.get(&table)?;
        Some(Waiting {
            count: lane.waiting.len(),
            bytes: lane.waiting.iter().map(|member| member.block.bytes).sum(),
            wait_ms: lane.waiting.iter().map(Member::wait_ms).max().unwrap_or(0),
            arrived: Arc::clone(&lane.arrived),
        })
    }

    /// Takes what waits; the lane ends when nothing does.
    fn take(&self, table: TableId) -> Option<Vec<Member>> {
        let mut lanes = self.lanes.lock();
        let lane = lanes.by_table.get_mut(&table)?;
        if lane.waiting.is_empty() {
            lanes.by_table.remove(&table);
            return None;
        }
        Some(std::mem::take(&mut lane.waiting))
    }

    fn forget(&self, table: TableId, number: u64) {
        let mut lanes = self.lanes.lock();
        if lanes.by_table.get(&table).is_some_and(|lane| lane.number == number) {
            lanes.by_table.remove(&table);
        }
    }
}

/// Lets an insert become visible with others. Cancelled before its group is formed, it is left out.
pub(super) async fn join(
    core: &Arc<Coordinator>,
    member: impl FnOnce(oneshot::Sender<Result<Inserted>>) -> Member,
) -> Result<Inserted> {
    let (reply, answer) = oneshot::channel();
    let member = member(reply);
    let (table, token) = (member.target.table.id, member.token.clone());
    if let Some(number) = core.insert_groups.add(table, member) {
        let driver = Driver { core: Arc::clone(core), table, number };
        core.with.tasks.spawn(driver.run());
    }
    match answer.await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::deadline(format!(
            "the coordinator stopped before it answered; ask again with the insert token '{token}'"
        ))),
    }
}

/// Forms the groups of one lane, one after the other.
struct Driver {
    core: Arc<Coordinator>,
    table: TableId,
    number: u64,
}

impl Driver {
    async fn run(self) {
        let (mut last, mut wait_ms, mut commit_ms) = (0, 0, 0);
        loop {
            wait_ms = self.gather(last, wait_ms, commit_ms).await;
            let Some(members) = self.core.insert_groups.take(self.table) else { return };
            last = members.len();
            let begun_ms = self.core.with.clock.monotonic_ms();
            commit_group(&self.core, members).await;
            commit_ms = self.core.with.clock.monotonic_ms().saturating_sub(begun_ms);
        }
    }

    /// Waits until the clients of the last group are back beside those that came meanwhile, but
    /// not when there is only one, and not for long when no more of them come.
    async fn gather(&self, last: usize, last_wait_ms: u64, commit_ms: u64) -> u64 {
        let groups = &self.core.insert_groups;
        let Some(first) = groups.look(self.table) else { return 0 };
        let wait_ms = if first.count > 0 { first.wait_ms } else { last_wait_ms };
        let expected = first.count + last;
        if expected <= 1 || (first.count == 0 && last <= 1) {
            return wait_ms;
        }
        let clock = &self.core.with.clock;
        let begun_ms = clock.monotonic_ms();
        let mut seen = first;
        while seen.count < expected && seen.bytes < GROUP_BYTES_MAX {
            let waited_ms = clock.monotonic_ms().saturating_sub(begun_ms);
            let pause_ms = pause_ms(wait_ms, commit_ms, waited_ms);
            let arrived = Arc::clone(&seen.arrived);
            let pause = pin!(clock.sleep(Duration::from_millis(pause_ms)));
            let next = pin!(arrived.notified());
            if let futures::future::Either::Left(_) = select(pause, next).await {
                break;
            }
            match groups.look(self.table) {
                Some(now) => seen = now,
                None => break,
            }
        }
        wait_ms
    }
}

/// How long a group that has waited for `waited_ms` waits for the next insert. Where a commit takes
/// longer than clients ask to wait, they also take longer to come back: a group without them would
/// only be the first of two.
fn pause_ms(wait_ms: u64, commit_ms: u64, waited_ms: u64) -> u64 {
    let longest_ms = wait_ms.saturating_mul(PAUSE_TIMES_MAX);
    let pause_ms = commit_ms.clamp(wait_ms, longest_ms);
    let total_ms = commit_ms.saturating_mul(WAIT_COMMITS_MAX).min(WAIT_MS_MAX).max(longest_ms);
    pause_ms.min(total_ms.saturating_sub(waited_ms))
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Stopped in the middle: who waits is told, and the next insert begins a new lane.
        self.core.insert_groups.forget(self.table, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_wait_while_inserts_come() {
        for (wait_ms, commit_ms, waited_ms, expected_ms) in [
            (50, 0, 0, 50),
            (50, 20, 0, 50),
            (50, 120, 0, 120),
            (50, 120, 400, 80),
            (50, 120, 700, 0),
            (50, 5_000, 0, 200),
            (50, 5_000, 900, 100),
            (800, 0, 1_000, 800),
            (800, 0, 3_000, 200),
            (50, 0, 1_000, 0),
            (50, 0, 5_000, 0),
            (0, 300, 0, 0),
            (u64::MAX, 1, 1, u64::MAX - 1),
        ] {
            let found_ms = pause_ms(wait_ms, commit_ms, waited_ms);
            assert_eq!(found_ms, expected_ms, "{wait_ms} {commit_ms} {waited_ms}");
        }
    }
}
