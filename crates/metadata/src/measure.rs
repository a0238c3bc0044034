//! What a member of the metadata group tells Prometheus, beside the commands that it counts.

use metrics::{describe_counter, describe_gauge, gauge};

use crate::group::Group;

const IS_LEADER: &str = "granary_metadata_is_leader_ratio";
const APPLIED: &str = "granary_metadata_applied_version_number";
pub(crate) const COMMANDS: &str = "granary_metadata_commands_total";

/// Follows the group until it stops.
pub(crate) async fn follow(group: Group) {
    describe_gauge!(IS_LEADER, "1 on the member that leads the metadata group, 0 on the others.");
    describe_gauge!(APPLIED, "The catalog's version that this member has applied.");
    describe_counter!(COMMANDS, "Commands that this member has applied, by their result.");
    let mut raft = group.raft.metrics();
    loop {
        let leads = raft.borrow_and_update().current_leader == Some(group.node.0);
        gauge!(IS_LEADER).set(if leads { 1.0 } else { 0.0 });
        gauge!(APPLIED).set(group.feed.snapshot().version.0 as f64);
        if raft.changed().await.is_err() {
            return;
        }
    }
}
