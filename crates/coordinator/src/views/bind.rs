//! The views of one statement's session.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use granary_catalog::{Snapshot, View};
use granary_common::{Error, Result, TableId, did_you_mean};
use granary_planner::{SessionInputs, ViewBinder};
use granary_sql::{
    ParameterViews, SessionSettings, SessionTables, SessionUser, SessionViewCalls, parameter_types,
    register_outside, view_plan, with_named_parameters,
};

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
            snapshot: snapshot.without_temporary_of_others(session.temporary.as_deref()),
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
        config.set_extension(Arc::new(SessionViewCalls(Arc::new(self.clone()))));
        let of_statement = settings.clone();
        config.set_extension(Arc::new(SessionSettings(Arc::new(move |name: &str| {
            of_statement.to_texts().ok()?.remove(name)
        }))));
        let outside = Outside::new(core.config.user_files_path.clone());
        register_outside(&mut state, Arc::new(outside));
        Ok(state)
    }

    /// The plan of a view's query, and the names of its parameters.
    async fn plan(&self, view: &View) -> Result<(LogicalPlan, Vec<String>)> {
        if self.depth >= DEPTH_MAX {
            return Err(Error::invalid(format!(
                "view '{}' lies within more than {DEPTH_MAX} other views",
                view.name
            )));
        }
        let mut within = self.clone().in_database(&view.query_database);
        within.depth += 1;
        let plan = view_plan(&within.session_state()?, view).await?;
        let names = parameter_types(&plan)?.into_iter();
        let names = names.map(|(name, _)| name.trim_start_matches('$').to_owned()).collect();
        Ok((plan, names))
    }
}

#[async_trait]
impl ViewBinder for SessionViews {
    async fn bind(&self, view: &View) -> Result<Arc<dyn TableProvider>> {
        let (plan, parameters) = self.plan(view).await?;
        match parameters.is_empty() {
            true => Ok(Arc::new(ViewTable::new(plan, Some(view.query.clone())))),
            false => Err(lacks(view, &parameters)),
        }
    }

    fn stand_in(&self, table: TableId) -> Option<Arc<dyn TableProvider>> {
        let (of, rows) = self.rows.as_ref()?;
        (*of == table).then(|| Arc::clone(rows))
    }
}

#[async_trait]
impl ParameterViews for SessionViews {
    async fn bind_with(
        &self,
        view: &View,
        values: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn TableProvider>> {
        let (plan, parameters) = self.plan(view).await?;
        let is_known = |name: &String| parameters.iter().any(|of| of.to_lowercase() == *name);
        if let Some(unknown) = values.keys().find(|name| !is_known(name)) {
            let hint = did_you_mean(unknown, parameters.iter().map(String::as_str));
            return Err(Error::invalid(format!(
                "view '{}' has no parameter '{unknown}'{hint}",
                view.name
            )));
        }
        let missing = |name: &&String| !values.contains_key(&name.to_lowercase());
        let missing: Vec<String> = parameters.iter().filter(missing).cloned().collect();
        if !missing.is_empty() {
            return Err(lacks(view, &missing));
        }
        let plan = with_named_parameters(plan, values)
            .map_err(|error| error.context(format!("view '{}'", view.name)))?;
        Ok(Arc::new(ViewTable::new(plan, Some(view.query.clone()))))
    }
}

fn lacks(view: &View, parameters: &[String]) -> Error {
    let written: Vec<String> = parameters.iter().map(|name| format!("{name} = ...")).collect();
    Error::invalid(format!(
        "view '{}' takes parameters: write {}({})",
        view.name,
        view.name,
        written.join(", ")
    ))
}
