//! Which version of the protocol the nodes of a cluster speak, so that nodes of two builds work
//! together while the cluster is upgraded node by node.
//!
//! ```text
//!   every node says what it speaks ─► the leader takes the lowest ─► RaiseProtocol, for good
//!   a command ─► comes with at most what the cluster speaks ─► the log
//!              └► with more ─► refused: a member of the older build could not read it there
//! ```
//!
//! Messages and rows may gain fields at any time, as long as a node that does not know them does
//! right without. What a node must understand comes with a higher version: a new kind of command, a
//! new field of one that `apply` looks at, a new kind of row. `apply` does anything else than before
//! only where the cluster speaks the version that it came with; all members do it at the same time then.

use granary_common::{Error, Result};

use crate::command::{ClusterChange, CommandBody};
use crate::model::{IndexKind, TableOptions, TtlAction, TtlRule, WriteOrigin};
use crate::snapshot::Snapshot;

/// What this build speaks. Higher by one in each release that needs it.
pub const PROTOCOL_VERSION: u32 = 8;
/// What builds speak that say nothing of it.
pub const FIRST_PROTOCOL: u32 = 1;

/// Since when nodes know columns that are computed from others as rows are read.
pub const COMPUTED_COLUMNS: u32 = 6;
/// Since when nodes know that disks of workers can be full, and that a bucket may then be led by a
/// worker that is none of its replicas.
pub const FULL_DISKS: u32 = 7;
/// Since when a block that is staged already is taken again whoever leads by then, and one whose
/// predecessors have expired is refused.
pub const STAGED_AGAIN: u32 = 7;
/// Since when workers know the joins that spill.
pub const SPILLING_JOINS: u32 = 7;
/// Since when all partitions of a scan with FINAL may share what there is to read.
pub const SHARED_FINAL: u32 = 8;
/// Since when coordinators look at each row that they write for the constraints of its table.
pub const CONSTRAINTS: u32 = 8;

/// Before the number, behind a build's version: builds that do not know the number keep the text as
/// it is, so that every member of the metadata group has the same row of a worker.
const MARK: &str = "+protocol.";

/// The text by which a worker of this build, of the version `package`, registers.
pub fn software_version(package: &str) -> String {
    format!("{package}{MARK}{PROTOCOL_VERSION}")
}

/// What a worker speaks that registered as `software_version`.
pub fn spoken_by(software_version: &str) -> u32 {
    let number = software_version.rsplit_once(MARK).map(|(_, number)| number.parse());
    number.and_then(|number| number.ok()).unwrap_or(FIRST_PROTOCOL)
}

/// The build's version alone.
pub fn release_of(software_version: &str) -> &str {
    software_version.rsplit_once(MARK).map_or(software_version, |(release, _)| release)
}

pub(crate) fn first() -> u32 {
    FIRST_PROTOCOL
}

pub(crate) fn is_first(version: &u32) -> bool {
    *version == FIRST_PROTOCOL
}

impl Snapshot {
    /// What every node of the cluster speaks.
    pub fn protocol(&self) -> u32 {
        self.cluster.as_ref().map_or(FIRST_PROTOCOL, |cluster| cluster.protocol)
    }
}

/// The version that a command came with, its kind or a field of it that is used.
///
/// Every kind is named here, so that a new one is not forgotten.
pub fn needed(command: &CommandBody) -> u32 {
    match command {
        CommandBody::Cluster(change) => match change {
            ClusterChange::DropWorker { .. } => 2,
            ClusterChange::ChangeRoom { .. } => FULL_DISKS,
            // The leader proposes it when all nodes speak that version, and not before.
            ClusterChange::RaiseProtocol { .. } => FIRST_PROTOCOL,
        },
        CommandBody::Function(_) => 4,
        CommandBody::User(_) => 5,
        CommandBody::Buckets(_) => 6,
        CommandBody::StageParts { continues, .. } => match continues {
            true => STAGED_AGAIN,
            false => FIRST_PROTOCOL,
        },
        // Somebody leads who is no replica, while none of these takes rows.
        CommandBody::PlaceBucket(placed) => match placed.replicas.contains(&placed.leader) {
            true => FIRST_PROTOCOL,
            false => FULL_DISKS,
        },
        CommandBody::CreateTable { table, .. } => needed_by(&table.options),
        CommandBody::AlterTable(alter) => {
            let is_computed = alter.columns.iter().any(|column| column.computed.is_some());
            match alter.appended_keys == 0 && !is_computed {
                true => needed_by(&alter.options),
                false => COMPUTED_COLUMNS,
            }
        }
        CommandBody::CommitWrite(commit) => match &commit.origin {
            WriteOrigin::Populate { .. } => 3,
            _ => FIRST_PROTOCOL,
        },
        CommandBody::CreateView { view, .. } => {
            view.inner.as_ref().map_or(FIRST_PROTOCOL, |inner| needed_by(&inner.options))
        }
        CommandBody::InitCluster { .. }
        | CommandBody::CreateDatabase { .. }
        | CommandBody::DropDatabase { .. }
        | CommandBody::DropTable { .. }
        | CommandBody::RenameTable { .. }
        | CommandBody::ExchangeTables { .. }
        | CommandBody::TruncateTable { .. }
        | CommandBody::RegisterWorker { .. }
        | CommandBody::SetWorkerState { .. }
        | CommandBody::LeasePartIds { .. }
        | CommandBody::ReleasePartIds { .. }
        | CommandBody::MergeParts(_)
        | CommandBody::ChangePartitions { .. }
        | CommandBody::CopyPartitions(_)
        | CommandBody::DropView { .. }
        | CommandBody::RenameView { .. }
        | CommandBody::Refresh { .. }
        | CommandBody::SetMerges { .. }
        | CommandBody::MarkDamage { .. }
        | CommandBody::AbortStaged { .. }
        | CommandBody::Expire { .. }
        | CommandBody::AdvanceHorizon { .. }
        | CommandBody::ChangeCopies(_)
        | CommandBody::DrainWorker { .. }
        | CommandBody::RestoreTable { .. }
        | CommandBody::UndropTable { .. }
        | CommandBody::CloneTable(_) => FIRST_PROTOCOL,
    }
}

/// The version that what is said of a table came with.
fn needed_by(options: &TableOptions) -> u32 {
    if !options.constraints.is_empty() {
        return CONSTRAINTS;
    }
    let names_codecs = |rule: &TtlRule| matches!(rule.action, TtlAction::RecompressWith(_));
    if options.rules.iter().any(names_codecs) {
        return 6;
    }
    let mut bound = options.indexes.iter().filter_map(|index| index.bound.as_ref());
    match bound.any(|bound| bound.kind == IndexKind::Words) {
        true => 3,
        false => FIRST_PROTOCOL,
    }
}

/// Refuses a command that some node of the cluster could not read. Kind `Unsupported`.
pub fn check(command: &CommandBody, snapshot: &Snapshot) -> Result<()> {
    let (needed, spoken) = (needed(command), snapshot.protocol());
    if needed <= spoken {
        return Ok(());
    }
    let behind = snapshot.workers.values().filter(|row| spoken_by(&row.software_version) < needed);
    let behind: Vec<String> = behind.map(|row| format!("{} at {}", row.id, row.address)).collect();
    let who = match behind.is_empty() {
        true => String::new(),
        false => format!(" (workers that do not: {})", behind.join(", ")),
    };
    Err(Error::unsupported(format!(
        "this needs protocol version {needed} and the cluster speaks {spoken} until all of its nodes \
         run a newer build{who}; upgrade them and run it again; system.workers and \
         system.metadata_nodes show what each speaks"
    )))
}

/// Refuses a node that speaks less than the cluster. Kind `Unsupported`.
pub fn check_node(who: &str, speaks: u32, snapshot: &Snapshot) -> Result<()> {
    let spoken = snapshot.protocol();
    match speaks >= spoken {
        true => Ok(()),
        false => Err(Error::unsupported(format!(
            "{who} speaks protocol version {speaks} and the cluster {spoken}, since all of its nodes \
             did; start a build that is as new as the others"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use granary_common::{CatalogVersion, ClusterId, ErrorKind, WorkerId};

    use super::*;
    use crate::apply::apply;
    use crate::command::Command;
    use crate::model::{BoundIndex, Constraint, RowExpression, SkipIndex};

    fn run(state: &Snapshot, body: CommandBody) -> Result<Snapshot> {
        let version = CatalogVersion(state.version.0 + 1);
        apply(state, version, &Command { time_ms: 0, body }).map(|transition| transition.next)
    }

    fn formed() -> Snapshot {
        let cluster = ClusterId("c".into());
        run(&Snapshot::default(), CommandBody::InitCluster { cluster }).expect("formed")
    }

    fn raise(version: u32) -> CommandBody {
        CommandBody::Cluster(ClusterChange::RaiseProtocol { version })
    }

    fn register(identity: &str, software_version: &str) -> CommandBody {
        CommandBody::RegisterWorker {
            identity: identity.into(),
            address: format!("{identity}:7422"),
            zone: String::new(),
            software_version: software_version.into(),
        }
    }

    #[test]
    fn a_worker_says_what_it_speaks() {
        for (text, speaks, release) in [
            ("", 1, ""),
            ("0.1.0", 1, "0.1.0"),
            ("0.1.0+protocol.2", 2, "0.1.0"),
            ("0.2.0-rc.1+protocol.17", 17, "0.2.0-rc.1"),
            ("0.1.0+protocol.x", 1, "0.1.0"),
        ] {
            assert_eq!((spoken_by(text), release_of(text)), (speaks, release), "{text}");
        }
        assert_eq!(spoken_by(&software_version("0.1.0")), PROTOCOL_VERSION);
    }

    #[test]
    fn commands_wait_for_the_oldest_node() {
        let drop = CommandBody::Cluster(ClusterChange::DropWorker { worker: WorkerId(1) });
        let drain = CommandBody::DrainWorker { worker: WorkerId(1), drained: true };
        for (spoken, command, accepted) in [
            (1, &drain, true),
            (1, &raise(2), true),
            (1, &drop, false),
            (2, &drain, true),
            (2, &drop, true),
            (3, &drop, true),
        ] {
            let state = run(&formed(), register("w1", "0.1.0")).expect("registers");
            let state = run(&state, raise(spoken)).expect("raises");
            let checked = check(command, &state);
            assert_eq!(checked.is_ok(), accepted, "{spoken} {command:?}");
            if let Err(error) = checked {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.message().contains("w1:7422"), "{error}");
            }
        }
    }

    #[test]
    fn full_text_indexes_wait_for_the_oldest_node() {
        let options = |kind: IndexKind| {
            let expression = RowExpression { plan: vec![], columns: vec![] };
            let bound = Some(BoundIndex { expression, kind, granularity: 1 });
            let (name, written) = ("i".into(), "k".into());
            let index =
                SkipIndex { name, expression: "s".into(), kind: written, granularity: 1, bound };
            TableOptions { indexes: vec![index], ..TableOptions::default() }
        };
        assert_eq!(needed_by(&TableOptions::default()), FIRST_PROTOCOL);
        assert_eq!(needed_by(&options(IndexKind::MinMax)), FIRST_PROTOCOL);
        assert_eq!(needed_by(&options(IndexKind::Words)), 3);
    }

    #[test]
    fn constraints_wait_for_the_oldest_node() {
        let constraint = Constraint { name: "c".into(), condition: "a > 0".into() };
        let options = TableOptions { constraints: vec![constraint], ..TableOptions::default() };
        assert_eq!(needed_by(&options), CONSTRAINTS);
    }

    #[test]
    fn what_a_cluster_speaks_only_rises() {
        let mut state = formed();
        for (version, expected) in [(1, 1), (2, 2), (1, 2), (2, 2), (5, 5)] {
            state = run(&state, raise(version)).expect("applies");
            assert_eq!(state.protocol(), expected);
        }
    }

    #[test]
    fn older_builds_stay_out_of_a_cluster_that_has_gone_on() {
        let old = register("w1", "0.1.0");
        let new = register("w1", "0.2.0+protocol.2");
        let state = formed();
        run(&state, old.clone()).expect("both builds work together");
        let state = run(&state, new.clone()).expect("registers");
        let state = run(&state, raise(2)).expect("raises");
        let refused = run(&state, old).expect_err("too old");
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        run(&state, new).expect("registers again");
        for (speaks, accepted) in [(1, false), (2, true), (3, true)] {
            assert_eq!(check_node("it", speaks, &state).is_ok(), accepted, "{speaks}");
        }
    }
}
