//! The catalog's own tables.

use std::borrow::Cow;
use std::collections::BTreeSet;

use granary_catalog::protocol::{release_of, spoken_by};
use granary_catalog::{
    Bucket, Column, Distribution, KeyExpression, Part, PartLocation, Table, TableState,
    View as ViewRow, ViewKind, Worker, WorkerState,
};
use granary_common::{BucketIndex, ColumnId, WorkerId};
use granary_sql::{dictionary_text, show_create_table, show_create_view};
use granary_storage::volume::tiers::disk_of;

use super::columns::Columns;
use super::damage::damage_text;
use super::partitions::partition_text;
use super::{SCHEMAS, View};
use crate::session::CATALOG_NAME;

impl View {
    /// The tables of users, by database.
    pub(super) fn tables(&self) -> Vec<(&str, &TableState)> {
        let databases = self.snapshot.databases.values();
        let of = |database: &'_ std::sync::Arc<granary_catalog::Database>| database.id;
        databases
            .flat_map(|database| {
                let tables = self.snapshot.tables_of(of(database));
                tables.map(move |state| (database.name.as_str(), state))
            })
            .collect()
    }

    /// The views of users, by database.
    pub(super) fn views(&self) -> Vec<(&str, &ViewRow)> {
        let databases = self.snapshot.databases.values();
        databases
            .flat_map(|database| {
                let views = self.snapshot.views_of(database.id);
                views.map(move |view| (database.name.as_str(), &**view))
            })
            .collect()
    }

    fn parts(&self) -> Vec<(&str, &Table, &Part)> {
        let version = self.snapshot.version;
        self.tables()
            .into_iter()
            .flat_map(|(database, state)| {
                let parts = state.visible_parts(version);
                parts.map(move |part| (database, &*state.table, &**part))
            })
            .collect()
    }

    /// Visible parts, detached ones, and those that no query will see but whose files are kept.
    fn all_parts(&self) -> Vec<(&str, &Table, &Part)> {
        let version = self.snapshot.version;
        self.tables()
            .into_iter()
            .flat_map(|(database, state)| {
                let parts = state.parts.values().filter(move |part| part.added <= version);
                parts.map(move |part| (database, &*state.table, &**part))
            })
            .collect()
    }

    /// Those that rows are inserted into, and those of before from which rows are still to move.
    pub(super) fn buckets(&self) -> Vec<(&str, &TableState, &Bucket)> {
        let version = self.snapshot.version;
        self.tables()
            .into_iter()
            .flat_map(|(database, state)| {
                let left: BTreeSet<BucketIndex> =
                    state.parts_to_split(version).map(|part| part.bucket).collect();
                let is_used = move |bucket: &&std::sync::Arc<Bucket>| {
                    state.table.takes_rows_in(bucket.index) || left.contains(&bucket.index)
                };
                let used = state.buckets.values().filter(is_used);
                used.map(move |bucket| (database, state, &**bucket))
            })
            .collect()
    }

    pub(super) fn address(&self, worker: WorkerId) -> String {
        self.snapshot.workers.get(&worker).map(|row| row.address.clone()).unwrap_or_default()
    }
}

pub(super) fn databases(view: &View) -> Columns {
    let own = view.snapshot.databases.values().map(|database| database.name.as_str());
    let names: Vec<&str> = own.chain(SCHEMAS).collect();
    let kinds = names.iter().map(|name| match SCHEMAS.contains(name) {
        true => "System",
        false => "Granary",
    });
    Columns::new().texts("name", &names).texts("engine", kinds)
}

pub(super) fn tables(view: &View) -> Columns {
    let rows = view.tables();
    let views = view.views();
    let version = view.snapshot.version;
    // What a view has none of stands beside the table behind it.
    let table = |of: fn(&Table) -> String| {
        let own = rows.iter().map(move |(_, state)| of(&state.table));
        own.chain(views.iter().map(|_| String::new())).collect::<Vec<_>>()
    };
    let number = |of: &dyn Fn(&TableState) -> u64| {
        let own = rows.iter().map(|(_, state)| of(state));
        own.chain(views.iter().map(|_| 0)).collect::<Vec<u64>>()
    };
    let sum = |of: fn(&Part) -> u64| {
        number(&|state| state.visible_parts(version).map(|part| of(part)).sum())
    };
    // The same of a table and of a view.
    let text = |of: &dyn Fn(&str, &TableState) -> String, of_view: &dyn Fn(&ViewRow) -> String| {
        let own = rows.iter().map(|(database, state)| of(database, state));
        own.chain(views.iter().map(|(_, view)| of_view(view))).collect::<Vec<_>>()
    };
    let databases = rows.iter().map(|(database, _)| *database);
    let ids = rows.iter().map(|(_, state)| state.table.id.0);
    Columns::new()
        .texts("database", databases.chain(views.iter().map(|(database, _)| *database)))
        .texts("name", text(&|_, state| state.table.name.clone(), &|view| view.name.clone()))
        .texts(
            "engine",
            text(&|_, state| state.table.engine.kind.name().to_owned(), &|view| {
                view_engine(view).to_owned()
            }),
        )
        .numbers("id", ids.chain(views.iter().map(|(_, view)| view.id.0)))
        .numbers("total_rows", sum(|part| part.rows))
        .numbers("total_bytes", sum(|part| part.bytes))
        .numbers("parts", sum(|_| 1))
        .numbers("buckets", number(&|state| u64::from(state.table.buckets)))
        .texts("distribution_key", table(distribution_key))
        .texts("partition_key", table(|table| texts_of(&table.partition_by)))
        .texts("sorting_key", table(|table| texts_of(&table.order_by)))
        .texts(
            "primary_key",
            table(|table| {
                texts_of(&table.order_by[..table.primary_key_len.min(table.order_by.len())])
            }),
        )
        .optional_texts(
            "colocation_group",
            rows.iter()
                .map(|(_, state)| state.table.colocation_group.clone())
                .chain(views.iter().map(|_| None)),
        )
        .texts(
            "comment",
            text(&|_, state| state.table.comment.clone().unwrap_or_default(), &|view| {
                view.comment.clone().unwrap_or_default()
            }),
        )
        .texts(
            "create_table_query",
            text(&|database, state| show_create_table(&state.table, database), &|of| {
                show_create_view(of, &view.snapshot)
            }),
        )
}

/// The engine that a view shows as.
pub(super) fn view_engine(view: &ViewRow) -> &'static str {
    match view.kind {
        ViewKind::Plain if dictionary_text(view).is_some() => "Dictionary",
        ViewKind::Plain => "View",
        ViewKind::Materialized { .. } | ViewKind::Refreshable { .. } => "MaterializedView",
        ViewKind::Alias { .. } => "Distributed",
    }
}

fn texts_of(keys: &[KeyExpression]) -> String {
    keys.iter().map(|key| key.text.as_str()).collect::<Vec<_>>().join(", ")
}

fn distribution_key(table: &Table) -> String {
    match &table.distribution {
        Distribution::Rotation => "rand()".to_owned(),
        Distribution::Hash(columns) => {
            let name = |id| table.column(id).map(|column| column.name.as_str());
            columns.iter().filter_map(|id| name(*id)).collect::<Vec<_>>().join(", ")
        }
    }
}

pub(super) fn columns(view: &View) -> Columns {
    let rows = visible_columns(view);
    Columns::new()
        .texts("database", rows.iter().map(|row| row.database))
        .texts("table", rows.iter().map(|row| row.relation))
        .texts("name", rows.iter().map(|row| &row.column.name))
        .texts("type", rows.iter().map(|row| row.column.column_type.to_string()))
        .numbers("position", rows.iter().map(|row| row.position))
        .texts(
            "default_kind",
            rows.iter().map(|row| row.column.default.as_ref().map_or("", |of| of.keyword())),
        )
        .texts("default_expression", rows.iter().map(|row| default_text(&row.column)))
        .texts("comment", rows.iter().map(|row| row.column.comment.clone().unwrap_or_default()))
        .flags("is_in_partition_key", rows.iter().map(|row| row.is_in(|of| &of.partition_by)))
        .flags("is_in_sorting_key", rows.iter().map(|row| row.is_in(|of| &of.order_by)))
        .flags(
            "is_in_primary_key",
            rows.iter().map(|row| {
                row.is_in(|table| {
                    &table.order_by[..table.primary_key_len.min(table.order_by.len())]
                })
            }),
        )
}

/// A column that users see, with where it stands.
pub(super) struct ColumnRow<'a> {
    pub database: &'a str,
    /// The name of the table or view.
    pub relation: &'a str,
    /// The table, or the one behind the view.
    pub table: Option<&'a Table>,
    pub column: Cow<'a, Column>,
    /// From 1.
    pub position: u64,
}

impl ColumnRow<'_> {
    fn is_in(&self, key: impl Fn(&Table) -> &[KeyExpression]) -> bool {
        let keys = self.table.map(key).unwrap_or_default();
        keys.iter().any(|key| key.column == self.column.id)
    }
}

/// The columns of every table, then those of every view.
pub(super) fn visible_columns(view: &View) -> Vec<ColumnRow<'_>> {
    let mut rows = Vec::new();
    for (database, state) in view.tables() {
        rows.extend(columns_of(database, &state.table.name, &state.table));
    }
    for (database, named) in view.views() {
        if let Some(state) = view.snapshot.table_behind(named) {
            rows.extend(columns_of(database, &named.name, &state.table));
            continue;
        }
        for (at, (name, column_type)) in named.columns.iter().enumerate() {
            let column = Column::new(ColumnId(at as u32), name, column_type.clone());
            rows.push(ColumnRow {
                database,
                relation: &named.name,
                table: None,
                column: Cow::Owned(column),
                position: at as u64 + 1,
            });
        }
    }
    rows
}

fn columns_of<'a>(
    database: &'a str,
    relation: &'a str,
    table: &'a Table,
) -> impl Iterator<Item = ColumnRow<'a>> {
    table.visible_columns().enumerate().map(move |(at, column)| ColumnRow {
        database,
        relation,
        table: Some(table),
        column: Cow::Borrowed(column),
        position: at as u64 + 1,
    })
}

pub(super) fn default_text(column: &Column) -> String {
    column.default.as_ref().map(|default| default.text().to_owned()).unwrap_or_default()
}

pub(super) fn parts(view: &View) -> Columns {
    let rows = view.all_parts();
    let version = view.snapshot.version;
    let part = |of: fn(&Part) -> u64| rows.iter().map(move |(_, _, part)| of(part));
    let bounds = |largest: bool| {
        rows.iter().map(move |(_, _, part)| {
            let range = part.key_range.as_ref()?;
            let values = if largest { range.max.as_ref()? } else { &range.min };
            Some(values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        })
    };
    Columns::new()
        .texts("database", rows.iter().map(|(database, ..)| database))
        .texts("table", rows.iter().map(|(_, table, _)| &table.name))
        .numbers("id", part(|part| part.id.0))
        .texts("name", rows.iter().map(|(_, _, part)| part.id.0.to_string()))
        .numbers("bucket", part(|part| u64::from(part.bucket.0)))
        .texts("partition", rows.iter().map(|(_, of, part)| partition_text(of, &part.partition)))
        .flags("active", rows.iter().map(|(_, _, part)| part.visible_at(version)))
        .flags("detached", rows.iter().map(|(_, _, part)| part.detached))
        .numbers("rows", part(|part| part.rows))
        .numbers("deleted_rows", rows.iter().map(|(_, _, part)| part.rows - part.rows_at(version)))
        .numbers("bytes", part(|part| part.bytes))
        .numbers("bytes_on_disk", part(|part| part.bytes))
        .numbers("level", part(|part| u64::from(part.level)))
        .optional_texts("min_key", bounds(false))
        .optional_texts("max_key", bounds(true))
        .texts("location", rows.iter().map(|(_, _, part)| location_text(&part.location)))
        .numbers("copies", rows.iter().map(|(_, _, part)| copies(view, part, false)))
        .numbers("live_copies", rows.iter().map(|(_, _, part)| copies(view, part, true)))
        .texts("disk_name", rows.iter().map(|(_, _, part)| disk_of(part)))
        .numbers("schema_version", part(|part| part.schema_version))
        .numbers("added_version", part(|part| part.added.0))
        .optional_texts("damage", rows.iter().map(|(_, _, part)| damage_text(view, part)))
}

/// Copies of a part; `live`: on workers that are alive, and not damaged.
fn copies(view: &View, part: &Part, live: bool) -> u64 {
    let is_alive = |worker: &&WorkerId| {
        let row = view.snapshot.workers.get(*worker);
        row.is_some_and(|row| row.state == WorkerState::Alive)
            && !view.snapshot.is_damaged(part, **worker)
    };
    match &part.location {
        PartLocation::Local { copies, .. } if live => copies.iter().filter(is_alive).count() as u64,
        PartLocation::Local { copies, .. } => copies.len() as u64,
        PartLocation::Shared { .. } => 1,
    }
}

fn location_text(location: &PartLocation) -> String {
    match location {
        PartLocation::Local { copies, .. } => {
            let workers: Vec<String> = copies.iter().map(ToString::to_string).collect();
            format!("local: {}", workers.join(", "))
        }
        PartLocation::Shared { volume } => format!("shared: {volume}"),
    }
}

pub(super) fn workers(view: &View) -> Columns {
    let rows: Vec<&Worker> = view.snapshot.workers.values().map(|row| &**row).collect();
    let buckets = view.buckets();
    let parts = view.parts();
    let leads = |worker: WorkerId| {
        buckets.iter().filter(|(_, _, bucket)| bucket.leader == worker).count() as u64
    };
    let holds = |worker: WorkerId, of: fn(&Part) -> u64| {
        let held = parts.iter().filter(|(_, _, part)| match &part.location {
            PartLocation::Local { copies, .. } => copies.contains(&worker),
            PartLocation::Shared { .. } => false,
        });
        held.map(|(_, _, part)| of(part)).sum::<u64>()
    };
    Columns::new()
        .numbers("id", rows.iter().map(|row| row.id.0))
        .texts("address", rows.iter().map(|row| &row.address))
        .texts("zone", rows.iter().map(|row| &row.zone))
        .texts("state", rows.iter().map(|row| state_text(row.state)))
        .flags("drained", rows.iter().map(|row| row.drained))
        .flags("takes_writes", rows.iter().map(|row| row.takes_writes()))
        .numbers("incarnation", rows.iter().map(|row| row.incarnation))
        .texts("version", rows.iter().map(|row| release_of(&row.software_version)))
        .numbers("protocol", rows.iter().map(|row| u64::from(spoken_by(&row.software_version))))
        .numbers("leads_buckets", rows.iter().map(|row| leads(row.id)))
        .numbers("parts", rows.iter().map(|row| holds(row.id, |_| 1)))
        .numbers("bytes", rows.iter().map(|row| holds(row.id, |part| part.bytes)))
}

/// The one cluster, a row for each worker, in ClickHouse's words.
pub(super) fn clusters(view: &View) -> Columns {
    let rows: Vec<&Worker> = view.snapshot.workers.values().map(|row| &**row).collect();
    let place = |row: &Worker| match row.address.rsplit_once(':') {
        Some((host, port)) => (host.to_owned(), port.parse().unwrap_or_default()),
        None => (row.address.clone(), 0),
    };
    let places: Vec<(String, u64)> = rows.iter().map(|row| place(row)).collect();
    Columns::new()
        .texts("cluster", rows.iter().map(|_| "default"))
        .numbers("shard_num", (1..).take(rows.len()))
        .numbers("replica_num", rows.iter().map(|_| 1))
        .texts("host_name", places.iter().map(|(host, _)| host))
        .numbers("port", places.iter().map(|(_, port)| *port))
        .texts("zone", rows.iter().map(|row| &row.zone))
        .texts("state", rows.iter().map(|row| state_text(row.state)))
}

fn state_text(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Alive => "alive",
        WorkerState::Dead => "dead",
        WorkerState::Draining => "draining",
    }
}

/// The catalog's name for every row.
pub(super) fn catalog_of<T>(rows: &[T]) -> impl Iterator<Item = &'static str> {
    std::iter::repeat_n(CATALOG_NAME, rows.len())
}
