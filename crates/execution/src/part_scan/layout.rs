//! What a scan reads, as data: the parts, and how they are spread over output partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use granary_common::{BucketIndex, ColumnId, WorkerId};
use granary_storage::merge::{CollapseRule, Cutting};
use granary_storage::{Filter, PartRef, PartSchema, SkipHint};
use serde::{Deserialize, Serialize};

/// Rows of a work unit at most, so that no thread is left with one long unit.
const UNIT_ROWS_MAX: u64 = 1 << 20;
/// Rows of a work unit at least, so that opening it stays cheap beside reading it.
const UNIT_ROWS_MIN: u64 = 1 << 16;
/// Units that each partition gets on average, if rows allow.
const UNITS_PER_PARTITION: u64 = 4;

/// A part, its bucket, and who can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannedPart {
    pub part: PartRef,
    pub bucket: BucketIndex,
    /// Workers that can read it, the preferred one first.
    pub holders: Vec<WorkerId>,
    /// Parts of one bucket whose keys may meet have the same number; for scans that collapse.
    pub run: u32,
    /// Whether a merge wrote it, so that none of its own keys is there twice.
    pub merged: bool,
}

/// How parts become output partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// Any partition reads any rows; whoever is free takes the next unit.
    Spread { partitions: usize },
    /// Partition i reads the buckets of group i and no other, as colocated joins need it.
    Bucketed { groups: Vec<Vec<BucketIndex>> },
}

impl Layout {
    /// The number of output partitions.
    pub fn partitions(&self) -> usize {
        match self {
            Layout::Spread { partitions } => *partitions,
            Layout::Bucketed { groups } => groups.len(),
        }
    }
}

/// How parts whose keys meet are collapsed by several threads, a range of keys each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRanges {
    /// Threads that a node gives to the scan, shared by its partitions.
    pub threads: usize,
    /// Rows of a range, about, at least.
    pub rows_min: u64,
}

impl Default for KeyRanges {
    fn default() -> Self {
        KeyRanges { threads: 1, rows_min: Self::ROWS_MIN }
    }
}

impl KeyRanges {
    /// Rows that are worth a range of their own: all parts are opened for each, and a granule of
    /// each is read twice.
    pub const ROWS_MIN: u64 = 1 << 17;
    /// So that no thread is left with one long range.
    const PER_THREAD: usize = 2;

    /// The threads that work on what a partition begins: on all that there is where partitions share
    /// it.
    pub fn threads_of_partition(&self, layout: &Layout) -> usize {
        match layout {
            Layout::Spread { .. } => self.threads.max(1),
            Layout::Bucketed { groups } => (self.threads / groups.len().max(1)).max(1),
        }
    }

    /// How `threads` threads cut keys.
    pub fn cutting(&self, threads: usize) -> Cutting {
        let ranges_max = if threads > 1 { threads * Self::PER_THREAD } else { 1 };
        Cutting { ranges_max, rows_min: self.rows_min }
    }
}

/// A scan of a table's parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanSpec {
    /// `database.table`, for people.
    pub name: String,
    pub schema: Arc<PartSchema>,
    /// The columns of the output, in this order.
    pub columns: Vec<ColumnId>,
    /// In the order of their insertion when rows are collapsed.
    pub parts: Vec<ScannedPart>,
    /// Rows must pass this; the scan alone is responsible for it.
    pub filter: Option<Filter>,
    /// Rows that each partition gives at most.
    pub fetch: Option<usize>,
    /// How many leading columns of the sort key order each partition; 0: no order.
    pub ordered_by: usize,
    pub layout: Layout,
    /// What becomes of rows with equal sort keys, for FINAL. All parts of a bucket are there then, and
    /// the filter is only over the sort key.
    pub collapse: Option<CollapseRule>,
    /// How a scan that collapses cuts keys into ranges.
    #[serde(default)]
    pub key_ranges: KeyRanges,
    /// What skip indexes are asked; none of a scan that collapses.
    #[serde(default)]
    pub hints: Vec<SkipHint>,
}

impl ScanSpec {
    /// Rows of all parts that are not deleted, before any filter.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.part.rows_visible()).sum()
    }

    /// Whether statistics of the parts' files are those of the rows.
    pub fn shows_every_row(&self) -> bool {
        let deletions = self.parts.iter().any(|part| part.part.deletions.is_some());
        !deletions && self.collapse.is_none()
    }

    /// Whether a condition over `column` may be decided row by row before rows are collapsed.
    pub fn decides_early(&self, column: ColumnId) -> bool {
        self.collapse.is_none() || self.schema.sort_key.contains(&column)
    }

    /// Bytes of all parts, of all columns.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.part.bytes).sum()
    }

    /// The buckets that have parts.
    pub fn buckets(&self) -> BTreeSet<BucketIndex> {
        self.parts.iter().map(|part| part.bucket).collect()
    }

    /// The scan of only those parts for which `keep` holds, laid out as `layout`.
    pub fn narrowed(&self, layout: Layout, keep: impl Fn(&ScannedPart) -> bool) -> ScanSpec {
        let parts = self.parts.iter().filter(|part| keep(part)).cloned().collect();
        ScanSpec { parts, layout, ..self.clone() }
    }
}

/// A run of rows of one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Position in [`ScanSpec::parts`].
    pub part: usize,
    pub rows: Range<u64>,
}

/// The units of each partition. With a spread layout without order, all of them are in the first
/// list, for everyone to take from; parts whose rows are collapsed are whole.
pub fn units(spec: &ScanSpec) -> Vec<Vec<Unit>> {
    match &spec.layout {
        Layout::Bucketed { groups } => bucketed_units(spec, groups),
        Layout::Spread { .. } if spec.collapse.is_some() => {
            vec![(0..spec.parts.len()).map(|part| whole(spec, part)).collect()]
        }
        Layout::Spread { partitions } if spec.ordered_by > 0 => ordered_units(spec, *partitions),
        Layout::Spread { partitions } => vec![spread_units(spec, *partitions)],
    }
}

fn whole(spec: &ScanSpec, part: usize) -> Unit {
    Unit { part, rows: 0..spec.parts[part].part.rows }
}

fn bucketed_units(spec: &ScanSpec, groups: &[Vec<BucketIndex>]) -> Vec<Vec<Unit>> {
    let mut group_of = BTreeMap::new();
    for (group, buckets) in groups.iter().enumerate() {
        group_of.extend(buckets.iter().map(|bucket| (*bucket, group)));
    }
    let mut units = vec![Vec::new(); groups.len()];
    for (index, part) in spec.parts.iter().enumerate() {
        if let Some(group) = group_of.get(&part.bucket) {
            units[*group].push(whole(spec, index));
        }
    }
    units
}

/// Cuts every part into runs of about equal rows, the largest parts first.
fn spread_units(spec: &ScanSpec, partitions: usize) -> Vec<Unit> {
    let wanted = spec.rows() / (partitions.max(1) as u64 * UNITS_PER_PARTITION).max(1);
    let unit_rows = wanted.clamp(UNIT_ROWS_MIN, UNIT_ROWS_MAX);
    let mut order: Vec<usize> = (0..spec.parts.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(spec.parts[*index].part.rows));
    order.into_iter().flat_map(|part| cut_rows(spec, part, unit_rows)).collect()
}

/// Cuts `part` into runs of about `unit_rows` rows, at granules.
fn cut_rows(spec: &ScanSpec, part: usize, unit_rows: u64) -> Vec<Unit> {
    let granularity = spec.schema.granularity.max(1) as u64;
    let unit_rows = unit_rows.max(1).next_multiple_of(granularity);
    let rows = spec.parts[part].part.rows;
    let runs = (rows / unit_rows).max(1);
    let run_rows = rows.div_ceil(runs).max(1).next_multiple_of(granularity);
    let starts = (0..rows).step_by(run_rows as usize);
    starts.map(|start| Unit { part, rows: start..(start + run_rows).min(rows) }).collect()
}

/// Cuts `part` so that of `rows_total` rows each of `threads` gets several runs.
pub fn cut_part(spec: &ScanSpec, part: usize, rows_total: u64, threads: usize) -> Vec<Unit> {
    let wanted = rows_total / (threads.max(1) as u64 * UNITS_PER_PARTITION);
    let least = spec.key_ranges.rows_min.min(UNIT_ROWS_MIN);
    cut_rows(spec, part, wanted.clamp(least, UNIT_ROWS_MAX))
}

/// Gives whole parts to partitions, so that each merges few streams.
fn ordered_units(spec: &ScanSpec, partitions: usize) -> Vec<Vec<Unit>> {
    let mut units = vec![Vec::new(); partitions];
    let mut loads = vec![0_u64; partitions];
    let mut order: Vec<usize> = (0..spec.parts.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(spec.parts[*index].part.rows));
    for part in order {
        let lightest = (0..partitions).min_by_key(|partition| loads[*partition]);
        let Some(lightest) = lightest else { break };
        loads[lightest] += spec.parts[part].part.rows;
        units[lightest].push(whole(spec, part));
    }
    units
}

/// Splits `items` into `groups` runs of about equal length, some of them empty when there are fewer
/// items.
pub fn chunked<T: Clone>(items: &[T], groups: usize) -> Vec<Vec<T>> {
    let groups = groups.max(1);
    let bound = |group: usize| items.len() * group / groups;
    (0..groups).map(|group| items[bound(group)..bound(group + 1)].to_vec()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use granary_catalog::{ColumnType, PartLocation};
    use granary_common::{PartId, TableId};
    use granary_storage::PartColumn;

    pub(crate) fn spec(rows: &[u64], layout: Layout) -> ScanSpec {
        let column = |id: u32, name: &str, of| PartColumn::new(ColumnId(id), name, of);
        let schema = PartSchema {
            table: TableId(1),
            schema_version: 1,
            columns: vec![
                column(0, "k", ColumnType::Int64),
                column(1, "s", ColumnType::Nullable(Box::new(ColumnType::String))),
                column(2, "d", ColumnType::Decimal(15, 2)),
                column(3, "u", ColumnType::Uuid),
                column(4, "b", ColumnType::Bool),
                column(5, "k2", ColumnType::Int64),
            ],
            sort_key: vec![ColumnId(0)],
            primary_key_len: 1,
            partition: vec![],
            granularity: 8192,
            document_paths_max: 0,
        };
        let part = |(index, rows): (usize, &u64)| ScannedPart {
            part: PartRef {
                id: PartId(index as u64),
                table: TableId(1),
                files: (TableId(1), PartId(index as u64)),
                rows_deleted: 0,
                deletions: None,
                location: PartLocation::Local { copies: vec![WorkerId(1)], disk: None },
                rows: *rows,
                bytes: rows * 8,
                schema_version: 1,
                projection: None,
            },
            bucket: BucketIndex(index as u32),
            holders: vec![WorkerId(1)],
            run: 0,
            merged: false,
        };
        ScanSpec {
            name: "db.t".to_owned(),
            columns: schema.columns.iter().map(|column| column.id).collect(),
            schema: Arc::new(schema),
            parts: rows.iter().enumerate().map(part).collect(),
            filter: None,
            fetch: None,
            ordered_by: 0,
            layout,
            collapse: None,
            key_ranges: KeyRanges::default(),
            hints: Vec::new(),
        }
    }

    #[test]
    fn spread_units_cover_every_row_once() {
        for rows in [&[][..], &[1], &[8192, 8193], &[5_000_000, 3, 700_000]] {
            let spec = spec(rows, Layout::Spread { partitions: 2 });
            let [units] = units(&spec).try_into().unwrap();
            let mut next = vec![0; rows.len()];
            for Unit { part, rows } in units {
                assert_eq!(rows.start, next[part]);
                assert!(rows.start.is_multiple_of(8192) && rows.start < rows.end);
                assert!(rows.end - rows.start <= 2 * UNIT_ROWS_MAX);
                next[part] = rows.end;
            }
            assert_eq!(next, rows);
        }
    }

    #[test]
    fn bucketed_units_stay_in_their_group() {
        let groups = vec![vec![BucketIndex(0), BucketIndex(2)], vec![], vec![BucketIndex(1)]];
        let spec = spec(&[10, 20, 30], Layout::Bucketed { groups });
        let parts: Vec<Vec<usize>> =
            units(&spec).iter().map(|units| units.iter().map(|unit| unit.part).collect()).collect();
        assert_eq!(parts, [vec![0, 2], vec![], vec![1]]);
    }

    #[test]
    fn chunks_are_even() {
        assert_eq!(chunked(&[1, 2, 3, 4, 5], 2), [vec![1, 2], vec![3, 4, 5]]);
        assert_eq!(chunked(&[1], 3), [vec![], vec![], vec![1]]);
        assert_eq!(chunked::<u8>(&[], 2), [Vec::<u8>::new(), Vec::new()]);
    }
}
