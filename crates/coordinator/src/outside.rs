//! What `file(...)`, `s3(...)` and `url(...)` name: their arguments as a scan of files, or as a file
//! that is written.
//!
//! ```text
//!   file('path' [, format [, structure [, compression]]])
//!   url('http://...' [, format [, structure [, compression]]])
//!   s3('url' [, NOSIGN | key, secret [, token]] [, format [, structure [, compression]]])
//! ```

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use granary_common::{Error, Result};
use granary_outside::{Access, Compression, FileScan, FileTarget, Format, Place, check_structure};
use granary_planner::OutsideTable;
use granary_sql::{InsertOutside, OutsideCall, OutsideTables, bind_insert_source};

use crate::core::Coordinator;
use crate::ddl::Done;
use crate::insert::rows_of;
use crate::query::{StatementRequest, hold_past, snapshot_at};
use crate::session::parse_settings;

/// Tokens of sessions are longer than the name of any format.
const TOKEN_CHARS_MIN: usize = 32;

/// Opens files for the queries of a coordinator.
#[derive(Debug)]
pub struct Outside {
    /// The folder whose files may be read.
    user_files_path: Option<PathBuf>,
}

impl Outside {
    /// With `user_files_path` as the only folder of this machine that is read.
    pub fn new(user_files_path: Option<PathBuf>) -> Self {
        Self { user_files_path }
    }

    /// The file that a call names to be written.
    async fn target(&self, call: OutsideCall) -> Result<FileTarget> {
        let Arguments { location, access, format, compression, .. } =
            Arguments::of(call.function, call.arguments)?;
        let (place, path) = self.place(call.function, &location, access)?;
        FileTarget::new(place, &path, format, compression).await
    }

    fn place(&self, function: &str, location: &str, access: Access) -> Result<(Place, String)> {
        match function {
            "file" => match &self.user_files_path {
                Some(folder) => Place::folder(folder, location),
                None => Err(Error::denied(
                    "file() reads files of the folder user_files_path, which is not set; start the \
                     server, or each coordinator, with --user-files-path",
                )),
            },
            "url" => Place::web(location),
            _ => Place::bucket(location, access),
        }
    }
}

/// Writes the rows of a query to a file.
pub async fn insert_outside(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    insert: &InsertOutside,
) -> Result<Done> {
    let mut settings = parse_settings(&request.session.settings)?;
    settings.set_all(&insert.settings)?;
    let call = OutsideCall::of(&insert.function)?;
    let (snapshot, _pin) = snapshot_at(core, request.version).await?;
    let state = core.session_state(&snapshot, &request.session, &settings)?;
    let plan = bind_insert_source(&state, &insert.source, &request.sql).await?;
    let _past = hold_past(core, &plan).await?;
    let _permit = core.query_admission.admit().await?;
    let target = Outside::new(core.config.user_files_path.clone()).target(call).await?;
    let (schema, rows) = rows_of(core, &state, plan, request)?;
    let rows = target.write(&schema, rows).await?;
    Ok(Done { rows, notices: settings.notices, ..Done::default() })
}

#[async_trait]
impl OutsideTables for Outside {
    async fn open(&self, call: OutsideCall) -> Result<Arc<dyn TableProvider>> {
        let virtual_columns = call.virtual_columns;
        let Arguments { location, access, format, structure, compression } =
            Arguments::of(call.function, call.arguments)?;
        let (place, pattern) = self.place(call.function, &location, access)?;
        let scan = FileScan::find(place, &pattern, format, compression, structure).await?;
        let scan = if virtual_columns { scan.with_virtual_columns() } else { scan };
        Ok(Arc::new(OutsideTable::new(scan)))
    }
}

/// The arguments of a call, each in its place.
struct Arguments {
    location: String,
    access: Access,
    format: Option<Format>,
    structure: Option<arrow::datatypes::Schema>,
    compression: Option<Compression>,
}

impl Arguments {
    fn of(function: &str, arguments: Vec<String>) -> Result<Arguments> {
        let mut rest = VecDeque::from(arguments);
        let location = rest
            .pop_front()
            .filter(|location| !location.is_empty())
            .ok_or_else(|| Error::invalid(format!("{function} takes a location first")))?;
        let mut access = Access::Environment;
        if function == "s3" {
            access = keys(&mut rest)?;
        }
        let format = match rest.pop_front() {
            Some(name) if !name.eq_ignore_ascii_case("auto") => Some(Format::named(&name)?),
            _ => None,
        };
        let structure = match rest.pop_front() {
            Some(text) if !text.eq_ignore_ascii_case("auto") && !text.is_empty() => {
                let structure = OutsideCall::structure(&text)?;
                check_structure(&structure)?;
                Some(structure)
            }
            _ => None,
        };
        let compression = match rest.pop_front() {
            Some(name) => Compression::named(&name)?,
            None => None,
        };
        match rest.is_empty() {
            true => Ok(Arguments { location, access, format, structure, compression }),
            false => Err(Error::invalid(format!(
                "{function} takes a location, a format, a structure and a compression"
            ))),
        }
    }
}

/// The keys at the beginning of the arguments behind a location.
fn keys(rest: &mut VecDeque<String>) -> Result<Access> {
    let Some(first) = rest.front() else { return Ok(Access::Environment) };
    if first.eq_ignore_ascii_case("nosign") {
        rest.pop_front();
        return Ok(Access::Nobody);
    }
    if Format::is_name(first) {
        return Ok(Access::Environment);
    }
    let (Some(id), Some(secret)) = (rest.pop_front(), rest.pop_front()) else {
        // What was written is not repeated: it may be a key.
        return Err(Error::invalid(
            "s3 takes NOSIGN, a format, or a key and its secret behind the location",
        ));
    };
    let is_token = |text: &String| text.len() >= TOKEN_CHARS_MIN && !Format::is_name(text);
    let token = if rest.front().is_some_and(is_token) { rest.pop_front() } else { None };
    Ok(Access::Keys { id, secret, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(function: &str, arguments: &[&str]) -> Result<Arguments> {
        Arguments::of(function, arguments.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn arguments_are_told_apart() {
        let token = "a token that is long enough to be one";
        let keys = |token: Option<&str>| Access::Keys {
            id: "k".to_owned(),
            secret: "s".to_owned(),
            token: token.map(str::to_owned),
        };
        for (arguments, access, format) in [
            (&["u"][..], Access::Environment, None),
            (&["u", "CSV"], Access::Environment, Some("CSV")),
            (&["u", "NOSIGN"], Access::Nobody, None),
            (&["u", "nosign", "CSV", "a Int8"], Access::Nobody, Some("CSV")),
            (&["u", "k", "s"], keys(None), None),
            (&["u", "k", "s", "Parquet"], keys(None), Some("Parquet")),
            (&["u", "k", "s", token, "CSV", "auto", "gzip"], keys(Some(token)), Some("CSV")),
        ] {
            let read = read("s3", arguments).unwrap();
            assert_eq!(read.access, access, "{arguments:?}");
            assert_eq!(read.format.map(Format::name), format, "{arguments:?}");
        }
        let read = read("file", &["f", "auto", "a Int64, b Nullable(String)", "zstd"]).unwrap();
        let structure = read.structure.unwrap();
        assert_eq!(read.compression, Some(Compression::Zstd));
        let nullable: Vec<bool> =
            structure.fields().iter().map(|field| field.is_nullable()).collect();
        assert_eq!(nullable, [false, true]);
    }

    #[test]
    fn what_is_wrong_is_said_without_keys() {
        for (function, arguments, complaint) in [
            ("file", &[][..], "takes a location"),
            ("file", &["f", "Parket"], "unknown format 'Parket'"),
            ("file", &["f", "CSV", "a Int64 b"], "structure"),
            ("file", &["f", "CSV", "a Int64", "none", "more"], "takes a location, a format"),
            ("s3", &["u", "the secret"], "a key and its secret"),
        ] {
            let error = read(function, arguments).err().unwrap();
            assert!(error.message().contains(complaint), "{error}");
            assert!(!error.message().contains("the secret"), "{error}");
        }
    }
}
