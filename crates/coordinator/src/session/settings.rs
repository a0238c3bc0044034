//! Every setting of a statement: those of the query engine, those of inserts, and ClickHouse's
//! that have no effect here, which are accepted with a notice.

use std::collections::BTreeMap;

use granary_common::{Error, Result};
use granary_planner::QuerySettings;
use granary_sql::{DialectSettings, Notice, did_you_mean};

/// Settings of inserts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsertSettings {
    /// Rows of a block: what is cut into buckets and written at once. 1024 to 16777216.
    pub block_rows_max: u64,
    /// Bytes of a block in memory. 1 MiB to 1 GiB.
    pub block_bytes_max: u64,
    /// How long a group of small inserts waits for the next one when several clients insert, in
    /// milliseconds; 0: each is written by itself. 0 to 1000.
    pub coalesce_ms: u64,
    /// The token that identifies the insert; empty: one is drawn.
    pub token: String,
    /// An insert that names some columns keeps the others of the rows with the same unique key.
    pub partial_update: bool,
}

impl Default for InsertSettings {
    fn default() -> Self {
        Self {
            block_rows_max: 1 << 20,
            block_bytes_max: 128 << 20,
            coalesce_ms: 50,
            token: String::new(),
            partial_update: false,
        }
    }
}

/// What a statement runs under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementSettings {
    pub query: QuerySettings,
    pub insert: InsertSettings,
    /// Values of `{name:Type}` in statements, set as `param_name`.
    pub parameters: BTreeMap<String, String>,
    /// Queries are answered from the catalog as it was last known when the metadata group is away.
    pub allow_stale_reads: bool,
    /// What was accepted without effect.
    pub notices: Vec<Notice>,
}

impl StatementSettings {
    /// The settings that change what a statement means.
    pub fn dialect(&self) -> DialectSettings {
        DialectSettings { data_type_default_nullable: self.query.data_type_default_nullable }
    }

    /// Sets one setting. Kind `InvalidInput` for an unknown name or a value that does not fit.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let bounded = |from: u64, to: u64| {
            let number = value.parse::<u64>().ok().filter(|n| (from..=to).contains(n));
            number.ok_or_else(|| {
                Error::invalid(format!("setting {name} is {from} to {to}, not '{value}'"))
            })
        };
        match name.to_ascii_lowercase().as_str() {
            BLOCK_ROWS => self.insert.block_rows_max = bounded(1 << 10, 1 << 24)?,
            BLOCK_BYTES => self.insert.block_bytes_max = bounded(1 << 20, 1 << 30)?,
            COALESCE => self.insert.coalesce_ms = bounded(0, 1000)?,
            TOKEN_SETTING => self.insert.token = value.to_owned(),
            PARTIAL => self.insert.partial_update = bounded(0, 1)? == 1,
            parameter if parameter.starts_with(PARAMETER) => {
                let name = parameter.trim_start_matches(PARAMETER).to_owned();
                self.parameters.insert(name, value.to_owned());
            }
            STALE => self.allow_stale_reads = bounded(0, 1)? == 1,
            name if is_without_effect(name) => {
                self.notices.push(Notice::new(format!("setting {name} has no effect here")));
            }
            name if is_known(name) => self.query = self.query.with(name, value)?,
            _ => {
                let known: Vec<String> = known_settings()?.into_keys().collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let nearest = did_you_mean(name, known.iter().copied());
                let hint = match nearest.is_empty() {
                    true => format!("; known ones: {}", known.join(", ")),
                    false => nearest,
                };
                return Err(Error::invalid(format!("there is no setting '{name}'{hint}")));
            }
        }
        Ok(())
    }

    /// Checks one setting by itself; the notices say that it has no effect, so that there is nothing to
    /// remember. Kind as of [`Self::set`].
    pub fn check(name: &str, value: &str) -> Result<Vec<Notice>> {
        let mut alone = Self::default();
        alone.set(name, value)?;
        Ok(alone.notices)
    }

    /// Sets what a statement brings along, `SETTINGS name = value`. Kinds as of [`Self::set`].
    pub fn set_all(&mut self, settings: &[(String, String)]) -> Result<()> {
        settings.iter().try_for_each(|(name, value)| self.set(name, value))
    }

    /// Every setting with its value as text.
    pub fn to_texts(&self) -> Result<BTreeMap<String, String>> {
        let mut texts = self.query.to_texts()?;
        texts.insert(BLOCK_ROWS.to_owned(), self.insert.block_rows_max.to_string());
        texts.insert(BLOCK_BYTES.to_owned(), self.insert.block_bytes_max.to_string());
        texts.insert(COALESCE.to_owned(), self.insert.coalesce_ms.to_string());
        texts.insert(TOKEN_SETTING.to_owned(), self.insert.token.clone());
        texts.insert(PARTIAL.to_owned(), u8::from(self.insert.partial_update).to_string());
        texts.insert(STALE.to_owned(), u8::from(self.allow_stale_reads).to_string());
        Ok(texts)
    }
}

/// The token of one insert.
pub const TOKEN_SETTING: &str = "insert_deduplication_token";
/// What the names of values for `{name:Type}` begin with.
const PARAMETER: &str = "param_";
const BLOCK_ROWS: &str = "insert_block_rows_max";
const BLOCK_BYTES: &str = "insert_block_bytes_max";
const COALESCE: &str = "insert_coalesce_ms";
const PARTIAL: &str = "partial_update";
const STALE: &str = "allow_stale_reads";

/// Settings of ClickHouse that scripts carry along. Either Granary always behaves as they ask, or
/// they tune what it does not have.
const WITHOUT_EFFECT: &str = include_str!("foreign_settings.txt");

fn is_without_effect(name: &str) -> bool {
    WITHOUT_EFFECT.lines().any(|known| known == name) || name.starts_with("allow_experimental_")
}

/// The settings of a session. Kind `InvalidInput` names the setting that does not fit.
pub fn parse_settings(texts: &BTreeMap<String, String>) -> Result<StatementSettings> {
    let mut settings = StatementSettings::default();
    for (name, value) in texts {
        settings.set(name, value)?;
    }
    Ok(settings)
}

/// Every setting with its default.
pub fn known_settings() -> Result<BTreeMap<String, String>> {
    StatementSettings::default().to_texts()
}

/// Whether there is such a setting.
pub fn is_known(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    is_without_effect(&name) || known_settings().is_ok_and(|known| known.contains_key(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_and_those_without_effect_say_so() {
        let mut settings = StatementSettings::default();
        settings.set("INSERT_BLOCK_ROWS_MAX", "4096").unwrap();
        settings.set("max_threads", "2").unwrap();
        settings.set("join_use_nulls", "1").unwrap();
        assert_eq!(settings.insert.block_rows_max, 4096);
        assert_eq!(settings.query.max_threads, 2);
        assert_eq!(settings.notices.len(), 1);
        for (name, value) in
            [("insert_block_rows_max", "1"), ("insert_block_bytes_max", "x"), ("no_such", "1")]
        {
            let error = settings.set(name, value).unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
        let error = settings.set("max_thread", "1").unwrap_err();
        assert!(error.message().ends_with("did you mean 'max_threads'?"), "{error}");
    }

    #[test]
    fn every_setting_takes_its_default() {
        let mut settings = StatementSettings::default();
        for (name, value) in known_settings().unwrap() {
            assert!(is_known(&name));
            settings.set(&name, &value).unwrap();
        }
        assert_eq!(settings, StatementSettings::default());
    }
}
