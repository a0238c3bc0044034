//! Flight's session actions: their messages, which the Flight library does not bring, and how
//! options map to a session: `schema` is the current database, `catalog` is fixed, every other
//! name is a setting.

use std::collections::{BTreeMap, HashMap};

use granary_common::Error;
use prost::Message;

use super::{CATALOG_NAME, Session, settings};

/// The option that names the catalog.
pub const CATALOG_OPTION: &str = "catalog";
/// The option that names the current database.
pub const SCHEMA_OPTION: &str = "schema";

/// A list of texts.
#[derive(Clone, PartialEq, Message)]
pub struct StringListValue {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

/// A value of a session option.
#[derive(Clone, PartialEq, Message)]
pub struct SessionOptionValue {
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub option_value: Option<OptionValue>,
}

/// The types that a session option may have.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum OptionValue {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Int64(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    StringList(StringListValue),
}

/// Options to set; an empty value takes an option away.
#[derive(Clone, PartialEq, Message)]
pub struct SetSessionOptionsRequest {
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

/// Why an option was not set.
#[derive(Clone, PartialEq, Message)]
pub struct OptionError {
    #[prost(enumeration = "OptionErrorValue", tag = "1")]
    pub value: i32,
}

/// The reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum OptionErrorValue {
    Unspecified = 0,
    InvalidName = 1,
    InvalidValue = 2,
    Error = 3,
}

/// The options that were not set.
#[derive(Clone, PartialEq, Message)]
pub struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub errors: HashMap<String, OptionError>,
}

/// Every option of a session.
#[derive(Clone, PartialEq, Message)]
pub struct GetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    pub session_options: HashMap<String, SessionOptionValue>,
}

/// What became of a session that was closed.
#[derive(Clone, PartialEq, Message)]
pub struct CloseSessionResult {
    /// 1: closed.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

impl SessionOptionValue {
    /// A text.
    pub fn text(value: impl Into<String>) -> Self {
        Self { option_value: Some(OptionValue::String(value.into())) }
    }

    fn to_text(&self) -> Option<String> {
        match self.option_value.as_ref()? {
            OptionValue::String(text) if text.is_empty() => None,
            OptionValue::String(text) => Some(text.clone()),
            OptionValue::Bool(value) => Some(u8::from(*value).to_string()),
            OptionValue::Int64(value) => Some(value.to_string()),
            OptionValue::Double(value) => Some(value.to_string()),
            OptionValue::StringList(list) => Some(list.values.join(",")),
        }
    }
}

/// Sets options on `session`, each by itself, and says which ones were refused.
/// `find_database` gives a database its exact name.
pub fn set_options(
    session: &mut Session,
    request: &SetSessionOptionsRequest,
    find_database: impl Fn(&str) -> Option<String>,
) -> SetSessionOptionsResult {
    let mut errors = HashMap::new();
    for (name, value) in &request.session_options {
        if let Err(reason) = set_option(session, name, value, &find_database) {
            errors.insert(name.clone(), OptionError { value: reason as i32 });
        }
    }
    SetSessionOptionsResult { errors }
}

fn set_option(
    session: &mut Session,
    name: &str,
    value: &SessionOptionValue,
    find_database: &impl Fn(&str) -> Option<String>,
) -> Result<(), OptionErrorValue> {
    let text = value.to_text();
    match (name, text) {
        (CATALOG_OPTION, text) => match text.as_deref() {
            None | Some(CATALOG_NAME) => Ok(()),
            Some(_) => Err(OptionErrorValue::InvalidValue),
        },
        (SCHEMA_OPTION, None) => {
            session.database = super::DEFAULT_DATABASE.to_owned();
            Ok(())
        }
        (SCHEMA_OPTION, Some(database)) => {
            session.database = find_database(&database).ok_or(OptionErrorValue::InvalidValue)?;
            Ok(())
        }
        // Settings are kept as SET keeps them: in small letters, without those that change nothing.
        (name, None) if settings::is_known(name) => {
            session.settings.remove(&name.to_ascii_lowercase());
            Ok(())
        }
        (name, Some(value)) if settings::is_known(name) => {
            let name = name.to_ascii_lowercase();
            let refused = |_: Error| OptionErrorValue::InvalidValue;
            let notices = settings::StatementSettings::check(&name, &value).map_err(refused)?;
            let mut changed: BTreeMap<String, String> = session.settings.clone();
            if notices.is_empty() {
                changed.insert(name, value);
            }
            settings::parse_settings(&changed).map_err(refused)?;
            session.settings = changed;
            Ok(())
        }
        _ => Err(OptionErrorValue::InvalidName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_is_set_or_refused_by_itself() {
        let mut session = Session::new("id".into(), "ann".into(), 0);
        let options = [
            ("schema", SessionOptionValue::text("Sales")),
            ("catalog", SessionOptionValue::text("other")),
            ("no_such_setting", SessionOptionValue::text("1")),
            ("insert_block_rows_max", SessionOptionValue::text("many")),
            (
                "insert_block_bytes_max",
                SessionOptionValue { option_value: Some(OptionValue::Int64(1_048_576)) },
            ),
        ];
        let session_options = options.map(|(name, value)| (name.to_owned(), value)).into();
        let request = SetSessionOptionsRequest { session_options };
        let result = set_options(&mut session, &request, |name| {
            name.eq_ignore_ascii_case("sales").then(|| "sales".to_owned())
        });
        let error = |name: &str| result.errors.get(name).map(|error| error.value);
        assert_eq!(error("schema"), None);
        assert_eq!(error("catalog"), Some(OptionErrorValue::InvalidValue as i32));
        assert_eq!(error("no_such_setting"), Some(OptionErrorValue::InvalidName as i32));
        assert_eq!(error("insert_block_rows_max"), Some(OptionErrorValue::InvalidValue as i32));
        assert_eq!(session.database, "sales");
        assert_eq!(session.settings["insert_block_bytes_max"], "1048576");
    }
}
