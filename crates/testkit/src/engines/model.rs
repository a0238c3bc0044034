//! What each engine means, on plain rows.

use std::collections::{BTreeMap, BTreeSet};

/// The engines that are compared with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineUnderTest {
    Plain,
    Replacing,
    Summing,
    Aggregating,
    Collapsing,
    VersionedCollapsing,
    Coalescing,
    UniqueKey,
}

impl EngineUnderTest {
    /// All of them.
    pub const ALL: [EngineUnderTest; 8] = [
        EngineUnderTest::Plain,
        EngineUnderTest::Replacing,
        EngineUnderTest::Summing,
        EngineUnderTest::Aggregating,
        EngineUnderTest::Collapsing,
        EngineUnderTest::VersionedCollapsing,
        EngineUnderTest::Coalescing,
        EngineUnderTest::UniqueKey,
    ];

    /// The table's name.
    pub fn table(self) -> &'static str {
        match self {
            EngineUnderTest::Plain => "plain",
            EngineUnderTest::Replacing => "replacing",
            EngineUnderTest::Summing => "summing",
            EngineUnderTest::Aggregating => "aggregating",
            EngineUnderTest::Collapsing => "collapsing",
            EngineUnderTest::VersionedCollapsing => "versioned_collapsing",
            EngineUnderTest::Coalescing => "coalescing",
            EngineUnderTest::UniqueKey => "unique_key",
        }
    }

    /// The statement that creates the table.
    pub fn create(self) -> String {
        let (engine, rest) = match self {
            EngineUnderTest::Plain => ("MergeTree", "ORDER BY k DISTRIBUTED BY (k)"),
            EngineUnderTest::Replacing => ("ReplacingMergeTree(version)", "ORDER BY k"),
            EngineUnderTest::Summing => ("SummingMergeTree(v)", "ORDER BY k"),
            EngineUnderTest::Aggregating => ("AggregatingMergeTree", "ORDER BY k"),
            EngineUnderTest::Collapsing => ("CollapsingMergeTree(sign)", "ORDER BY k"),
            EngineUnderTest::VersionedCollapsing => {
                ("VersionedCollapsingMergeTree(sign, version)", "ORDER BY k")
            }
            EngineUnderTest::Coalescing => ("CoalescingMergeTree(v)", "ORDER BY k"),
            EngineUnderTest::UniqueKey => ("MergeTree", "ORDER BY k UNIQUE KEY (k)"),
        };
        // Only sums need a number in every row.
        let value = if self == EngineUnderTest::Summing { "Int64" } else { "Nullable(Int64)" };
        let columns = match self {
            EngineUnderTest::Aggregating => AGGREGATED.to_owned(),
            _ => format!("version UInt64, sign Int8, v {value}"),
        };
        format!(
            "CREATE TABLE {} (k Int64, {columns}) ENGINE = {engine} {rest} \
             SETTINGS index_granularity = 2",
            self.table()
        )
    }

    /// The statement that inserts rows; for states each key is there once.
    pub fn insert(self, rows: &[Row]) -> String {
        let table = self.table();
        let is_aggregating = self == EngineUnderTest::Aggregating;
        let text = |row: &Row| {
            let v = row.v.map_or("NULL".to_owned(), |v| v.to_string());
            let number = if is_aggregating { format!(", {}", row.number) } else { String::new() };
            format!("({}, {}, {}, {v}{number})", row.k, row.version, row.sign)
        };
        let values = rows.iter().map(text).collect::<Vec<_>>().join(", ");
        match is_aggregating {
            true => format!(
                "INSERT INTO {table} (k, version, sign, v, total, seen, latest) SELECT k, \
                 max(version), sum(sign), max(v), sumState(number), uniqExactState(number), \
                 argMaxState(number, version) FROM values('k Int64, version UInt64, sign Int64, \
                 v Nullable(Int64), number Int64', {values}) GROUP BY k"
            ),
            false => format!("INSERT INTO {table} (k, version, sign, v) VALUES {values}"),
        }
    }

    /// What shows the rows that count, in an order of their own: as it comes, by several threads, each
    /// with ranges of a few keys, and folded by the query where the engine's rows can be.
    pub fn queries(self) -> Vec<String> {
        let query = self.query();
        let mut queries =
            vec![format!("{query} SETTINGS max_threads = 64, final_range_rows_min = 4"), query];
        if self == EngineUnderTest::Aggregating {
            queries.push(format!(
                "SELECT k, max(v), max(version), sum(sign), sumMerge(total), uniqExactMerge(seen), \
                 argMaxMerge(latest) FROM {} GROUP BY k ORDER BY k",
                self.table()
            ));
        }
        queries
    }

    fn query(self) -> String {
        let table = self.table();
        match self {
            EngineUnderTest::Plain | EngineUnderTest::UniqueKey => {
                format!("SELECT k, v FROM {table} ORDER BY k, v NULLS LAST")
            }
            EngineUnderTest::Aggregating => format!(
                "SELECT k, v, version, sign, finalizeAggregation(total), finalizeAggregation(seen), \
                 finalizeAggregation(latest) FROM {table} FINAL ORDER BY k"
            ),
            _ => format!("SELECT k, v FROM {table} FINAL ORDER BY k, v NULLS LAST"),
        }
    }
}

/// The columns of the aggregating table beside its key.
const AGGREGATED: &str = "version SimpleAggregateFunction(max, UInt64), \
    sign SimpleAggregateFunction(sum, Int64), v SimpleAggregateFunction(max, Nullable(Int64)), \
    total AggregateFunction(sum, Int64), seen AggregateFunction(uniqExact, Int64), \
    latest AggregateFunction(argMax, Int64, UInt64)";

/// A row as it is inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub k: i64,
    pub version: u64,
    pub sign: i8,
    pub v: Option<i64>,
    /// What states are made of; updates leave it as it is.
    pub number: i64,
}

/// The rows of a table in the order in which they were inserted.
#[derive(Clone, Debug)]
pub struct Model {
    engine: EngineUnderTest,
    rows: Vec<Row>,
    next_version: u64,
}

impl Model {
    /// An empty table.
    pub fn new(engine: EngineUnderTest) -> Model {
        Model { engine, rows: Vec::new(), next_version: 1 }
    }

    /// A row of key `k` as somebody who uses the engine rightly inserts it: the collapsing engines
    /// get the row that cancels the state that they have first.
    pub fn insert(&mut self, k: i64, v: Option<i64>) -> Vec<Row> {
        let version = self.next_version;
        self.next_version += 1;
        let v = match self.engine {
            EngineUnderTest::Summing => Some(v.unwrap_or(0)),
            _ => v,
        };
        let mut new = Vec::new();
        if matches!(self.engine, EngineUnderTest::Collapsing | EngineUnderTest::VersionedCollapsing)
            && let Some(state) = self.rows.iter().rev().find(|row| row.k == k)
        {
            new.push(Row { sign: -1, ..*state });
        }
        new.push(Row { k, version, sign: 1, v, number: v.unwrap_or(0) });
        self.rows.extend(&new);
        new
    }

    /// Deletes the rows whose key is `rest` modulo `of`.
    pub fn delete(&mut self, of: i64, rest: i64) {
        self.rows.retain(|row| row.k % of != rest);
    }

    /// Sets `v` of every row of key `k`; whether the engine's answer is then determined.
    pub fn update(&mut self, k: i64, v: i64) -> bool {
        // Sums depend on how many rows merges have left, and cancelling rows must stay alike.
        if !matches!(
            self.engine,
            EngineUnderTest::Plain
                | EngineUnderTest::Replacing
                | EngineUnderTest::Aggregating
                | EngineUnderTest::Coalescing
                | EngineUnderTest::UniqueKey
        ) {
            return false;
        }
        let rows = self.rows.iter_mut().filter(|row| row.k == k);
        rows.for_each(|row| row.v = Some(v));
        true
    }

    /// The lines that each of [`EngineUnderTest::queries`] gives.
    pub fn lines(&self) -> Vec<String> {
        if self.engine == EngineUnderTest::Aggregating {
            return self.by_key().iter().map(|(k, rows)| aggregated(*k, rows)).collect();
        }
        let mut shown: Vec<(i64, Option<i64>)> = match self.engine {
            EngineUnderTest::Plain => self.rows.iter().map(|row| (row.k, row.v)).collect(),
            _ => {
                self.by_key().into_iter().filter_map(|(k, rows)| self.collapse(k, &rows)).collect()
            }
        };
        shown.sort_by_key(|(k, v)| (*k, v.is_none(), *v));
        shown.into_iter().map(|(k, v)| format!("{k}\t{}", text(v))).collect()
    }

    fn by_key(&self) -> BTreeMap<i64, Vec<Row>> {
        let mut by_key: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        for row in &self.rows {
            by_key.entry(row.k).or_default().push(*row);
        }
        by_key
    }

    fn collapse(&self, k: i64, rows: &[Row]) -> Option<(i64, Option<i64>)> {
        let last = rows.last()?;
        match self.engine {
            EngineUnderTest::Replacing => {
                // Of equal versions the last inserted one, which `max_by_key` gives.
                rows.iter().max_by_key(|row| row.version).map(|row| (k, row.v))
            }
            EngineUnderTest::Summing => {
                let sum: i64 = rows.iter().filter_map(|row| row.v).sum();
                (sum != 0).then_some((k, Some(sum)))
            }
            EngineUnderTest::Coalescing => Some((k, rows.iter().rev().find_map(|row| row.v))),
            // The last row is the state that nothing has cancelled yet.
            EngineUnderTest::Plain
            | EngineUnderTest::Aggregating
            | EngineUnderTest::Collapsing
            | EngineUnderTest::VersionedCollapsing
            | EngineUnderTest::UniqueKey => Some((k, last.v)),
        }
    }
}

fn text(v: Option<i64>) -> String {
    v.map_or("NULL".to_owned(), |v| v.to_string())
}

/// All aggregates of the rows of a key, which come in the order of their versions.
fn aggregated(k: i64, rows: &[Row]) -> String {
    let v = rows.iter().filter_map(|row| row.v).max();
    let version = rows.iter().map(|row| row.version).max().unwrap_or(0);
    let count = rows.len();
    let total: i64 = rows.iter().map(|row| row.number).sum();
    let seen: BTreeSet<i64> = rows.iter().map(|row| row.number).collect();
    let latest = rows.last().map_or(0, |row| row.number);
    format!("{k}\t{}\t{version}\t{count}\t{total}\t{}\t{latest}", text(v), seen.len())
}
