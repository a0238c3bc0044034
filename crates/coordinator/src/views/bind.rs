//! The views of one statement's session.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionState;
use granary_catalog::{Snapshot, View};
use granary_common::{Error, Result, TableId};
use granary_planner::{SessionInputs, ViewBinder};
use granary_sql::{SessionTables, SessionUser, register_outside, view_plan};

use crate::core::Coordinator;
use crate::outside::Outside;
use crate::session::{Session, StatementSettings};
use crate::system;

/// Views within views within views.
const DEPTH_MAX: usize = 16;

/// Binds views as one statement sees them: at its snapshot and with its settings.
#[derive(Clone, Debug)]
pub struct SessionViews {
    core: Arc<Coordinator>,
    snapshot: Arc<Snapshot>,
    session: Session,
    settings: StatementSettings,
    /// How many views the current one is within.
    depth: usize,
    /// Rows that are read in place of a table.
    rows: Option<(TableId, Arc<dyn TableProvider>)>,
}

impl SessionViews {
    /// The views of a statement.
    pub fn new(
        core: &Arc<Coordinator>,
        snapshot: &Arc<Snapshot>,
        session: &Session,
        settings: &StatementSettings,
    ) -> Self {
        Self {
            core: Arc::clone(core),
            snapshot: Arc::clone(snapshot),
            session: session.clone(),
            settings: settings.clone(),
            depth: 0,
            rows: None,
        }
    }

    /// The same, with another current database.
    pub fn in_database(mut self, database: &str) -> Self {
        self.session.database = database.to_owned();
        self
    }

    /// The same, with times without a zone in UTC.
    pub fn in_utc(mut self) -> Self {
        self.settings.query.session_timezone = "UTC".to_owned();
        self
    }

    /// The same, with `rows` in place of those of `table`.
    pub fn with_rows(mut self, table: TableId, rows: Arc<dyn TableProvider>) -> Self {
        self.rows = Some((table, rows));
        self
    }

    /// The engine's session, in which these views are known.
    pub fn session_state(&self) -> Result<SessionState> {
        let Self { core, snapshot, session, settings, .. } = self;
        let mut state = core.with.engine.session_state(SessionInputs {
            snapshot: Arc::clone(snapshot),
            settings: &settings.query,
            current_database: &session.database,
            functions: Arc::clone(&core.with.functions),
            extra_schemas: system::schemas(core, snapshot, session, settings),
            views: Some(Arc::new(self.clone())),
        })?;
        let config = state.config_mut();
        config.set_extension(Arc::new(SessionUser(session.user.clone())));
        config.set_extension(Arc::new(SessionTables(Arc::clone(snapshot))));
        let outside = Outside::new(core.config.user_files_path.clone());
        register_outside(&mut state, Arc::new(outside));
        Ok(state)
    }
}

#[async_trait]
impl ViewBinder for SessionViews {
    async fn bind(&self, view: &View) -> Result<Arc<dyn TableProvider>> {
        if self.depth >= DEPTH_MAX {
            return Err(Error::invalid(format!(
                "view '{}' lies within more than {DEPTH_MAX} other views",
                view.name
            )));
        }
        let mut within = self.clone().in_database(&view.query_database);
        within.depth += 1;
        let plan = view_plan(&within.session_state()?, view).await?;
        Ok(Arc::new(ViewTable::new(plan, Some(view.query.clone()))))
    }

    fn stand_in(&self, table: TableId) -> Option<Arc<dyn TableProvider>> {
        let (of, rows) = self.rows.as_ref()?;
        (*of == table).then(|| Arc::clone(rows))
    }
}
