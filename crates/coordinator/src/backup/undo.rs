//! What a restoration has made so far, so that it can be taken back.

use std::sync::Arc;

use granary_catalog::{CommandBody, FunctionChange, Snapshot, UserChange};
use granary_common::{ErrorKind, TableId};

use crate::core::Coordinator;

/// Tables, views and databases of a restoration. Those that are left when this is dropped go, whether
/// it failed or was cancelled.
pub(super) struct Made {
    core: Arc<Coordinator>,
    pub databases: Vec<String>,
    pub tables: Vec<TableId>,
    pub views: Vec<TableId>,
    /// By their names.
    pub functions: Vec<String>,
    /// Users that got settings.
    pub users: Vec<String>,
}

impl Made {
    /// Nothing yet.
    pub fn new(core: &Arc<Coordinator>) -> Made {
        let (databases, tables, views, functions, users) = Default::default();
        Made { core: Arc::clone(core), databases, tables, views, functions, users }
    }

    /// Everything stays.
    pub fn keep(mut self) {
        self.take();
    }

    /// Everything goes.
    pub async fn undo(mut self) {
        let core = Arc::clone(&self.core);
        drop_all(core, self.take()).await;
    }

    fn take(&mut self) -> Vec<Step> {
        let views = self.views.drain(..).rev().map(Step::View);
        let tables = self.tables.drain(..).map(Step::Table);
        let databases = self.databases.drain(..).map(Step::Database);
        let functions = self.functions.drain(..).map(Step::Function);
        let users = self.users.drain(..).map(Step::User);
        views.chain(functions).chain(users).chain(tables).chain(databases).collect()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let steps = self.take();
        if !steps.is_empty() {
            let core = Arc::clone(&self.core);
            // It goes on by itself; the coordinator's end ends it.
            drop(self.core.with.tasks.spawn(drop_all(core, steps)));
        }
    }
}

enum Step {
    View(TableId),
    Table(TableId),
    Database(String),
    Function(String),
    User(String),
}

/// What cannot be dropped can be dropped by its name.
async fn drop_all(core: Arc<Coordinator>, steps: Vec<Step>) {
    for step in steps {
        let command = match step {
            // It takes its own table along.
            Step::View(view) => CommandBody::DropView { view },
            Step::Table(table) => CommandBody::DropTable { table },
            Step::Function(name) => {
                CommandBody::Function(FunctionChange::Drop { name, if_exists: true })
            }
            Step::User(user) => {
                let (reset, set) = Default::default();
                CommandBody::User(UserChange { user, clear: true, reset, set })
            }
            Step::Database(name) => match is_empty(&core.with.catalog.snapshot(), &name) {
                true => CommandBody::DropDatabase { name, if_exists: true },
                false => continue,
            },
        };
        match core.execute_until_known(command).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, "a part of a restoration that failed was not dropped");
            }
            _ => {}
        }
    }
}

/// Whether nobody has made anything in a database meanwhile.
fn is_empty(snapshot: &Snapshot, name: &str) -> bool {
    snapshot.find_database(name).is_some_and(|database| {
        snapshot.tables_of(database.id).next().is_none()
            && snapshot.views_of(database.id).next().is_none()
    })
}
