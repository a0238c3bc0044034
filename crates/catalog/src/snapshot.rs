//! An immutable state of the catalog at one version.

use std::sync::Arc;

use granary_common::{BucketIndex, CatalogVersion, DatabaseId, PartId, TableId, WorkerId};
use imbl::OrdMap;

use crate::model::{
    Bucket, Cluster, CopyId, Damage, Database, EarlierTable, InsertToken, Moment, Mutation, Part,
    PartIdRange, SqlFunction, StagedInsert, Table, TableHistory, UserSettings, View, ViewKind,
    ViewRefresh, Worker,
};
use crate::row::{Change, Row, RowKey};

/// A table with what belongs to it. Persistent maps: a clone shares everything.
#[derive(Clone, Debug)]
pub struct TableState {
    pub table: Arc<Table>,
    pub buckets: OrdMap<BucketIndex, Arc<Bucket>>,
    /// Every part whose files may still exist, removed ones included.
    pub parts: OrdMap<PartId, Arc<Part>>,
    /// Insert tokens by their text.
    pub tokens: OrdMap<String, Arc<InsertToken>>,
    /// The last mutations, by the version at which each took effect.
    pub mutations: OrdMap<CatalogVersion, Arc<Mutation>>,
    /// How far back it can be read; `None` for a table of an earlier build.
    pub history: Option<Arc<TableHistory>>,
    /// Earlier definitions, by the first version without each.
    pub earlier: OrdMap<CatalogVersion, Arc<EarlierTable>>,
}

impl TableState {
    fn of(table: Table) -> Self {
        Self {
            table: Arc::new(table),
            buckets: OrdMap::new(),
            parts: OrdMap::new(),
            tokens: OrdMap::new(),
            mutations: OrdMap::new(),
            history: None,
            earlier: OrdMap::new(),
        }
    }

    /// The parts that a query at `version` sees.
    pub fn visible_parts(&self, version: CatalogVersion) -> impl Iterator<Item = &Arc<Part>> {
        self.parts.values().filter(move |part| part.visible_at(version))
    }
}

/// What a name can mean: tables and views share one space of names.
#[derive(Clone, Copy, Debug)]
pub enum Relation<'a> {
    Table(&'a TableState),
    View(&'a Arc<View>),
}

impl Relation<'_> {
    /// Its name within the database.
    pub fn name(&self) -> &str {
        match self {
            Relation::Table(state) => &state.table.name,
            Relation::View(view) => &view.name,
        }
    }
}

/// The whole catalog at `version`. Cloning is cheap; nothing in it ever changes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub version: CatalogVersion,
    pub cluster: Option<Arc<Cluster>>,
    pub databases: OrdMap<DatabaseId, Arc<Database>>,
    pub tables: OrdMap<TableId, TableState>,
    pub workers: OrdMap<WorkerId, Arc<Worker>>,
    /// By their start.
    pub part_id_ranges: OrdMap<u64, Arc<PartIdRange>>,
    /// By transaction.
    pub staged: OrdMap<String, Arc<StagedInsert>>,
    pub views: OrdMap<TableId, Arc<View>>,
    /// The schedules of refreshable views, as they stand.
    pub refreshes: OrdMap<TableId, Arc<ViewRefresh>>,
    /// Copies of parts that were found damaged.
    pub damage: OrdMap<CopyId, Arc<Damage>>,
    /// When versions took effect, in milliseconds since the epoch; both ascend.
    pub moments: OrdMap<CatalogVersion, u64>,
    /// Functions that are written in SQL, by their names.
    pub functions: OrdMap<String, Arc<SqlFunction>>,
    /// Of the users that have settings of their own, by their names.
    pub user_settings: OrdMap<String, Arc<UserSettings>>,
    /// How many parts show the files of another part, by that part.
    shared_files: OrdMap<PartId, usize>,
}

impl Snapshot {
    /// The database of exactly this name, else the only one that matches without case.
    pub fn find_database(&self, name: &str) -> Option<&Arc<Database>> {
        find_by_name(self.databases.values(), name, |database| &database.name)
    }

    /// The table of exactly this name, else the only one that matches without case.
    pub fn find_table(&self, database: DatabaseId, name: &str) -> Option<&TableState> {
        find_by_name(self.tables_of(database), name, |state| &state.table.name)
    }

    /// The view of exactly this name, else the only one that matches without case.
    pub fn find_view(&self, database: DatabaseId, name: &str) -> Option<&Arc<View>> {
        find_by_name(self.views_of(database), name, |view| &view.name)
    }

    /// The table or view of exactly this name, else the only one that matches without case.
    pub fn find_relation(&self, database: DatabaseId, name: &str) -> Option<Relation<'_>> {
        let tables = self.tables_of(database).map(Relation::Table);
        let relations: Vec<Relation<'_>> =
            tables.chain(self.views_of(database).map(Relation::View)).collect();
        find_by_name(relations.iter(), name, Relation::name).copied()
    }

    /// The function in SQL of exactly this name, else the only one that matches without case.
    pub fn find_function(&self, name: &str) -> Option<&Arc<SqlFunction>> {
        find_by_name(self.functions.values(), name, |function| &function.name)
    }

    /// The table that is read and written in place of `view`, unless it has none or the table was
    /// dropped.
    pub fn table_behind(&self, view: &View) -> Option<&TableState> {
        let state = self.tables.get(&view.kind.target()?)?;
        state.table.dropped.is_none().then_some(state)
    }

    /// The views of a database.
    pub fn views_of(&self, database: DatabaseId) -> impl Iterator<Item = &Arc<View>> {
        self.views.values().filter(move |view| view.database == database)
    }

    /// The materialized views that take what is inserted into `source`, the oldest first.
    pub fn materialized_views_of(&self, source: TableId) -> impl Iterator<Item = &Arc<View>> {
        self.views.values().filter(move |view| {
            matches!(view.kind, ViewKind::Materialized { source: of, .. } if of == source)
        })
    }

    /// The tables of a database, dropped ones excluded.
    pub fn tables_of(&self, database: DatabaseId) -> impl Iterator<Item = &TableState> {
        self.tables
            .values()
            .filter(move |state| state.table.database == database && state.table.dropped.is_none())
    }

    /// Whether the incarnation that leased this id may still commit it.
    pub fn is_leased(&self, part: PartId) -> bool {
        let range = self.part_id_ranges.range(..=part.0).next_back();
        range.is_some_and(|(_, range)| range.contains(part.0))
    }

    /// Whether files of this part must be kept somewhere: it is in the catalog, or staged, or its id
    /// may still be committed by the incarnation that leased it.
    pub fn may_reference_part(&self, part: PartId) -> bool {
        self.is_leased(part)
            || self.tables.values().any(|state| state.parts.contains_key(&part))
            || self.shared_files.contains_key(&part)
            || self.staged.values().any(|insert| insert.parts.iter().any(|p| p.id == part))
    }

    /// Whether a part shows the files of `owner` that is not `owner` itself.
    pub(crate) fn shows_files_of(&self, owner: PartId) -> bool {
        self.shared_files.contains_key(&owner)
    }

    /// This snapshot after `changes`, at `version`. Rows of a table that is not there are ignored,
    /// since a table's deletion deletes what belongs to it.
    pub fn with_changes(&self, version: CatalogVersion, changes: &[Change]) -> Snapshot {
        let mut next = self.clone();
        next.version = version;
        for change in changes {
            next.make(change);
        }
        next
    }

    /// Applies one change in place.
    pub(crate) fn make(&mut self, change: &Change) {
        match change {
            Change::Put(row) => self.put(row.clone()),
            Change::Delete(key) => self.delete(key),
        }
    }

    fn put(&mut self, row: Row) {
        match row {
            Row::Cluster(row) => self.cluster = Some(Arc::new(row)),
            Row::Database(row) => {
                self.databases.insert(row.id, Arc::new(row));
            }
            Row::Table(row) => match self.tables.get_mut(&row.id) {
                Some(state) => state.table = Arc::new(row),
                None => {
                    self.tables.insert(row.id, TableState::of(row));
                }
            },
            Row::Bucket(row) => self.in_table(row.table, |state| {
                state.buckets.insert(row.index, Arc::new(row));
            }),
            Row::Part(row) => self.put_part(row),
            Row::InsertToken(row) => self.in_table(row.table, |state| {
                state.tokens.insert(row.token.clone(), Arc::new(row));
            }),
            Row::Worker(row) => {
                self.workers.insert(row.id, Arc::new(row));
            }
            Row::PartIdRange(row) => {
                self.part_id_ranges.insert(row.start, Arc::new(row));
            }
            Row::StagedInsert(row) => {
                self.staged.insert(row.transaction.clone(), Arc::new(row));
            }
            Row::View(row) => {
                self.views.insert(row.id, Arc::new(row));
            }
            Row::ViewRefresh(row) => {
                self.refreshes.insert(row.view, Arc::new(row));
            }
            Row::Mutation(row) => self.in_table(row.table, |state| {
                state.mutations.insert(row.version, Arc::new(row));
            }),
            Row::Damage(row) => {
                self.damage.insert(row.copy, Arc::new(row));
            }
            Row::TableHistory(row) => self.in_table(row.table, |state| {
                state.history = Some(Arc::new(row));
            }),
            Row::EarlierTable(row) => self.in_table(row.definition.id, |state| {
                state.earlier.insert(row.until, Arc::new(row));
            }),
            Row::Moment(row) => {
                self.moments.insert(row.version, row.time_ms);
            }
            Row::Function(row) => {
                self.functions.insert(row.name.clone(), Arc::new(row));
            }
            Row::UserSettings(row) => {
                self.user_settings.insert(row.user.clone(), Arc::new(row));
            }
        }
    }

    fn delete(&mut self, key: &RowKey) {
        match key {
            RowKey::Cluster => self.cluster = None,
            RowKey::Database(id) => {
                self.databases.remove(id);
            }
            RowKey::Table(id) => {
                for part in self.tables.remove(id).into_iter().flat_map(|state| state.parts) {
                    self.unshare(&part.1);
                }
            }
            RowKey::Bucket(table, index) => self.in_table(*table, |state| {
                state.buckets.remove(index);
            }),
            RowKey::Part(table, part) => self.remove_part(*table, *part),
            RowKey::InsertToken(table, token) => self.in_table(*table, |state| {
                state.tokens.remove(token);
            }),
            RowKey::Worker(id) => {
                self.workers.remove(id);
            }
            RowKey::PartIdRange(start) => {
                self.part_id_ranges.remove(start);
            }
            RowKey::StagedInsert(transaction) => {
                self.staged.remove(transaction);
            }
            RowKey::View(id) => {
                self.views.remove(id);
            }
            RowKey::ViewRefresh(view) => {
                self.refreshes.remove(view);
            }
            RowKey::Mutation(table, version) => self.in_table(*table, |state| {
                state.mutations.remove(version);
            }),
            RowKey::Damage(copy) => {
                self.damage.remove(copy);
            }
            RowKey::TableHistory(table) => self.in_table(*table, |state| state.history = None),
            RowKey::EarlierTable(table, until) => self.in_table(*table, |state| {
                state.earlier.remove(until);
            }),
            RowKey::Moment(version) => {
                self.moments.remove(version);
            }
            RowKey::Function(name) => {
                self.functions.remove(name);
            }
            RowKey::UserSettings(user) => {
                self.user_settings.remove(user);
            }
        }
    }

    fn put_part(&mut self, part: Part) {
        self.remove_part(part.table, part.id);
        let Some(state) = self.tables.get_mut(&part.table) else { return };
        if let Some(owner) = part.foreign_owner() {
            *self.shared_files.entry(owner).or_insert(0) += 1;
        }
        state.parts.insert(part.id, Arc::new(part));
    }

    fn remove_part(&mut self, table: TableId, part: PartId) {
        let removed = self.tables.get_mut(&table).and_then(|state| state.parts.remove(&part));
        if let Some(part) = removed {
            self.unshare(&part);
        }
    }

    fn unshare(&mut self, part: &Part) {
        let Some(owner) = part.foreign_owner() else { return };
        match self.shared_files.get_mut(&owner) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.shared_files.remove(&owner);
            }
        }
    }

    fn in_table(&mut self, table: TableId, change: impl FnOnce(&mut TableState)) {
        if let Some(state) = self.tables.get_mut(&table) {
            change(state);
        }
    }

    /// Every row, in an order in which they can be put one by one.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        rows.extend(self.cluster.iter().map(|row| Row::Cluster((**row).clone())));
        rows.extend(self.databases.values().map(|row| Row::Database((**row).clone())));
        for state in self.tables.values() {
            rows.push(Row::Table((*state.table).clone()));
            rows.extend(state.buckets.values().map(|row| Row::Bucket((**row).clone())));
            rows.extend(state.parts.values().map(|row| Row::Part((**row).clone())));
            rows.extend(state.tokens.values().map(|row| Row::InsertToken((**row).clone())));
            rows.extend(state.mutations.values().map(|row| Row::Mutation((**row).clone())));
            rows.extend(state.history.iter().map(|row| Row::TableHistory(**row)));
            rows.extend(state.earlier.values().map(|row| Row::EarlierTable((**row).clone())));
        }
        rows.extend(self.workers.values().map(|row| Row::Worker((**row).clone())));
        rows.extend(self.part_id_ranges.values().map(|row| Row::PartIdRange((**row).clone())));
        rows.extend(self.staged.values().map(|row| Row::StagedInsert((**row).clone())));
        rows.extend(self.views.values().map(|row| Row::View((**row).clone())));
        rows.extend(self.refreshes.values().map(|row| Row::ViewRefresh((**row).clone())));
        rows.extend(self.damage.values().map(|row| Row::Damage((**row).clone())));
        let moments = self.moments.iter();
        rows.extend(moments.map(|(version, time_ms)| {
            Row::Moment(Moment { version: *version, time_ms: *time_ms })
        }));
        rows.extend(self.functions.values().map(|row| Row::Function((**row).clone())));
        rows.extend(self.user_settings.values().map(|row| Row::UserSettings((**row).clone())));
        rows
    }
}

fn find_by_name<'a, T>(
    items: impl Iterator<Item = &'a T>,
    name: &str,
    name_of: impl Fn(&T) -> &str,
) -> Option<&'a T> {
    let mut alike = Vec::new();
    for item in items {
        if name_of(item) == name {
            return Some(item);
        }
        if name_of(item).eq_ignore_ascii_case(name) {
            alike.push(item);
        }
    }
    match alike.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}
