//! Settings of a query, of a session or of a user.

use std::collections::BTreeMap;

use arrow_ipc::CompressionType;
use granary_common::{Error, Result};
use granary_execution::KeyRanges;
use serde::{Deserialize, Serialize};

/// Threads that one node gives to one query at most, whatever is asked for.
const MAX_THREADS_LIMIT: usize = 1024;
/// Rows of a batch at most.
const MAX_BLOCK_SIZE_LIMIT: usize = 1 << 20;

/// What `SET` changes. Unknown names are refused; each has a default and bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerySettings {
    /// Partitions that each node works on at the same time; 0: as many as it has cores.
    /// Default 0, at most 1024.
    pub max_threads: usize,
    /// Rows of a batch. Default 8192, 1 to 1048576.
    pub max_block_size: usize,
    /// Bytes that a query may hold on each node before it spills; 0: only the node's own limit.
    /// Default 0.
    pub max_memory_usage: u64,
    /// Whether a column declared without `NULL` or `NOT NULL` may hold NULL. Default false, as in
    /// ClickHouse.
    pub data_type_default_nullable: bool,
    /// Decoded bytes of a scan from which it is distributed over the workers, or an eighth of that
    /// after its filter; below, one task reads all of it. Default 32 MiB.
    pub distributed_scan_bytes_min: u64,
    /// Whether every table is read as with FINAL. Default false.
    #[serde(rename = "final")]
    pub collapses: bool,
    /// Rows of a range of keys, at least, that FINAL collapses on a thread of its own. Default 131072,
    /// at least 1.
    pub final_range_rows_min: u64,
    /// Whether tables that are distributed alike are joined without exchange. Default true.
    pub colocated_joins: bool,
    /// Whether small join inputs are copied to every worker. Default true.
    pub broadcast_joins: bool,
    /// Whether aggregations are answered by projections where that is exact. Default true.
    pub optimize_use_projections: bool,
    /// Whether aggregations are answered by the tables of materialized views: 0 never, 1 where these
    /// are known to stand for every row of their source, 2 also where only the user knows it.
    /// Default 1, at most 2.
    pub optimize_use_views: usize,
    /// How rows are compressed between nodes: `none`, `lz4` or `zstd`. Default `none`: compressing
    /// takes more time than a fast network saves.
    pub network_compression_method: String,
    /// Partitions that one inserted block may touch in one bucket. Default 100, at least 1.
    pub max_partitions_per_insert_block: usize,
    /// Seconds after which a query is stopped; 0: never. Default 0.
    pub max_execution_time: u64,
    /// The time zone of `now()` and of texts without one. Default `UTC`.
    pub session_timezone: String,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            max_threads: 0,
            max_block_size: 8192,
            max_memory_usage: 0,
            data_type_default_nullable: false,
            distributed_scan_bytes_min: 32 << 20,
            collapses: false,
            final_range_rows_min: KeyRanges::ROWS_MIN,
            colocated_joins: true,
            broadcast_joins: true,
            optimize_use_projections: true,
            optimize_use_views: 1,
            network_compression_method: "none".to_owned(),
            max_partitions_per_insert_block: 100,
            max_execution_time: 0,
            session_timezone: "UTC".to_owned(),
        }
    }
}

impl QuerySettings {
    /// These settings with `name` changed. Kind `InvalidInput` for an unknown name, a value of
    /// another type or one out of bounds.
    pub fn with(&self, name: &str, value: &str) -> Result<QuerySettings> {
        let mut all = self.as_json()?;
        let name = name.to_ascii_lowercase();
        let old = all.get(&name).ok_or_else(|| unknown(&name))?;
        let value = typed(&name, value, old)?;
        all.insert(name, value);
        let changed: QuerySettings = serde_json::from_value(serde_json::Value::Object(all))
            .map_err(|error| Error::invalid(format!("settings: {error}")))?;
        changed.check()?;
        Ok(changed)
    }

    /// Every setting as text, by name.
    pub fn to_texts(&self) -> Result<BTreeMap<String, String>> {
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            serde_json::Value::Bool(on) => u8::from(on).to_string(),
            other => other.to_string(),
        };
        Ok(self.as_json()?.into_iter().map(|(name, value)| (name, text(value))).collect())
    }

    fn as_json(&self) -> Result<serde_json::Map<String, serde_json::Value>> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(all)) => Ok(all),
            _ => Err(Error::internal("settings are not a map")),
        }
    }

    /// The compression that `network_compression_method` names. Kind `InvalidInput`.
    pub fn network_compression(&self) -> Result<Option<CompressionType>> {
        match self.network_compression_method.to_ascii_lowercase().as_str() {
            "none" => Ok(None),
            "lz4" => Ok(Some(CompressionType::LZ4_FRAME)),
            "zstd" => Ok(Some(CompressionType::ZSTD)),
            other => Err(Error::invalid(format!(
                "setting network_compression_method is none, lz4 or zstd, not '{other}'"
            ))),
        }
    }

    /// Kind `InvalidInput` names the setting that is out of bounds.
    pub fn check(&self) -> Result<()> {
        let in_bounds = |name: &str, value: usize, from: usize, to: usize| {
            if (from..=to).contains(&value) {
                return Ok(());
            }
            Err(Error::invalid(format!("setting {name} is {from} to {to}, not {value}")))
        };
        in_bounds("max_threads", self.max_threads, 0, MAX_THREADS_LIMIT)?;
        in_bounds("optimize_use_views", self.optimize_use_views, 0, 2)?;
        if self.final_range_rows_min == 0 {
            return Err(Error::invalid("setting final_range_rows_min is at least 1, not 0"));
        }
        in_bounds("max_block_size", self.max_block_size, 1, MAX_BLOCK_SIZE_LIMIT)?;
        self.network_compression()?;
        let partitions = self.max_partitions_per_insert_block;
        in_bounds("max_partitions_per_insert_block", partitions, 1, 1 << 20)
    }
}

fn unknown(name: &str) -> Error {
    let known = QuerySettings::default().as_json().unwrap_or_default();
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    Error::invalid(format!("there is no setting '{name}'; known ones: {}", names.join(", ")))
}

/// `value` in the type of `old`.
fn typed(name: &str, value: &str, old: &serde_json::Value) -> Result<serde_json::Value> {
    let wrong =
        |wanted: &str| Error::invalid(format!("setting {name} takes {wanted}, not '{value}'"));
    match old {
        serde_json::Value::Bool(_) => match value.to_ascii_lowercase().as_str() {
            "1" | "true" | "on" => Ok(true.into()),
            "0" | "false" | "off" => Ok(false.into()),
            _ => Err(wrong("0 or 1")),
        },
        serde_json::Value::Number(_) => {
            value.parse::<u64>().map(Into::into).map_err(|_| wrong("a number that is not negative"))
        }
        _ => Ok(value.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_typed_and_bounded() {
        let settings = QuerySettings::default();
        assert_eq!(settings.with("MAX_THREADS", "4").unwrap().max_threads, 4);
        assert!(
            settings.with("data_type_default_nullable", "1").unwrap().data_type_default_nullable
        );
        for (name, value) in [
            ("max_thread", "1"),
            ("max_threads", "many"),
            ("max_threads", "-1"),
            ("max_threads", "100000"),
            ("max_block_size", "0"),
            ("optimize_use_views", "3"),
            ("final_range_rows_min", "0"),
            ("network_compression_method", "gzip"),
            ("colocated_joins", "perhaps"),
        ] {
            let error = settings.with(name, value).unwrap_err();
            assert_eq!(error.kind(), granary_common::ErrorKind::InvalidInput, "{name}={value}");
            assert!(error.message().contains(name), "{error}");
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(serde_json::from_str::<QuerySettings>(r#"{"max_threads": 2}"#).is_ok());
        assert!(serde_json::from_str::<QuerySettings>(r#"{"max_treads": 2}"#).is_err());
    }
}
