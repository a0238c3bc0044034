//! `apply`: a state and a command give the next state, the changed rows and an outcome. Pure and
//! deterministic: every member of the metadata group computes the same.

mod alter;
mod buckets;
mod cluster;
mod damage;
mod database;
mod expire;
mod filled;
mod function;
mod history;
mod insert;
mod leased;
mod merge;
mod origin;
mod partitions;
mod placement;
mod refresh;
mod replicas;
mod staged;
mod table;
mod user;
mod view;
mod worker;

use granary_common::{CatalogVersion, Error, Result};

use crate::command::{Command, CommandBody, Outcome};
use crate::model::Cluster;
use crate::row::{Change, Row, RowKey};
use crate::snapshot::Snapshot;

/// The result of a command that was accepted. A refused command changes nothing.
#[derive(Clone, Debug)]
pub struct Transition {
    pub next: Snapshot,
    pub changes: Vec<Change>,
    pub outcome: Outcome,
}

/// A state under construction that remembers what changed.
struct Draft {
    next: Snapshot,
    changes: Vec<Change>,
    time_ms: u64,
}

impl Draft {
    fn put(&mut self, row: Row) {
        let change = Change::Put(row);
        self.next.make(&change);
        self.changes.push(change);
    }

    fn delete(&mut self, key: RowKey) {
        let change = Change::Delete(key);
        self.next.make(&change);
        self.changes.push(change);
    }

    fn version(&self) -> CatalogVersion {
        self.next.version
    }

    fn cluster(&self) -> Result<Cluster> {
        let cluster = self.next.cluster.as_ref();
        cluster.map(|cluster| (**cluster).clone()).ok_or_else(|| {
            Error::unavailable("the cluster has not been initialised yet; try again")
        })
    }
}

/// Applies `command` to `state`; the result holds at `version`.
pub fn apply(state: &Snapshot, version: CatalogVersion, command: &Command) -> Result<Transition> {
    let mut next = state.clone();
    next.version = version;
    let mut draft = Draft { next, changes: Vec::new(), time_ms: command.time_ms };
    let outcome = dispatch(&mut draft, &command.body)?;
    filled::note(&mut draft, state, &command.body);
    history::note_moment(&mut draft, &command.body);
    Ok(Transition { next: draft.next, changes: draft.changes, outcome })
}

fn dispatch(draft: &mut Draft, body: &CommandBody) -> Result<Outcome> {
    match body {
        CommandBody::InitCluster { cluster } => database::init_cluster(draft, cluster),
        CommandBody::CreateDatabase { name, if_not_exists } => {
            database::create(draft, name, *if_not_exists)
        }
        CommandBody::DropDatabase { name, if_exists } => database::drop(draft, name, *if_exists),
        CommandBody::CreateTable { table, if_not_exists } => {
            table::create(draft, table, *if_not_exists)
        }
        CommandBody::DropTable { table } => table::drop(draft, *table),
        CommandBody::RenameTable { table, database, name } => {
            table::rename(draft, *table, *database, name)
        }
        CommandBody::ExchangeTables { first, second } => table::exchange(draft, *first, *second),
        CommandBody::TruncateTable { table } => table::truncate(draft, *table),
        CommandBody::AlterTable(alter) => alter::alter(draft, alter),
        CommandBody::RegisterWorker { identity, address, zone, software_version } => {
            worker::register(draft, identity, address, zone, software_version)
        }
        CommandBody::SetWorkerState { worker, incarnation, state } => {
            worker::set_state(draft, *worker, *incarnation, *state)
        }
        CommandBody::LeasePartIds { worker, incarnation, count } => {
            worker::lease_part_ids(draft, *worker, *incarnation, *count)
        }
        CommandBody::ReleasePartIds { worker, incarnation, start } => {
            worker::release_part_ids(draft, *worker, *incarnation, *start)
        }
        CommandBody::CommitWrite(commit) => insert::commit(draft, commit),
        CommandBody::MergeParts(merge) => merge::commit(draft, merge),
        CommandBody::ChangePartitions { table, change } => {
            partitions::change(draft, *table, change)
        }
        CommandBody::CopyPartitions(copy) => partitions::copy(draft, copy),
        CommandBody::CreateView { view, existing } => view::create(draft, view, *existing),
        CommandBody::DropView { view } => view::drop(draft, *view),
        CommandBody::RenameView { view, database, name } => {
            view::rename(draft, *view, *database, name)
        }
        CommandBody::Refresh { view, step } => refresh::step(draft, *view, step),
        CommandBody::SetMerges { table, stopped } => merge::set_stopped(draft, *table, *stopped),
        CommandBody::MarkDamage { copy, reason } => damage::mark(draft, *copy, reason.as_deref()),
        CommandBody::StageParts { transaction, write, views, continues } => {
            staged::check(draft, transaction, *continues)?;
            staged::stage(draft, transaction, write, views)
        }
        CommandBody::AbortStaged { transaction } => staged::abort(draft, transaction),
        CommandBody::Expire { staged_before_ms, tokens_before_ms, tokens_per_table } => {
            expire::expire(draft, *staged_before_ms, *tokens_before_ms, *tokens_per_table)
        }
        CommandBody::AdvanceHorizon { horizon } => expire::advance_horizon(draft, *horizon),
        CommandBody::PlaceBucket(placement) => replicas::place(draft, placement),
        CommandBody::ChangeCopies(change) => replicas::change_copies(draft, change),
        CommandBody::DrainWorker { worker, drained } => worker::drain(draft, *worker, *drained),
        CommandBody::RestoreTable { table, version } => history::restore(draft, *table, *version),
        CommandBody::UndropTable { table } => history::undrop(draft, *table),
        CommandBody::CloneTable(clone) => history::clone_table(draft, clone),
        CommandBody::Cluster(change) => cluster::change(draft, change),
        CommandBody::Function(change) => function::change(draft, change),
        CommandBody::User(change) => user::change(draft, change),
        CommandBody::Buckets(change) => buckets::change(draft, change),
    }
}
