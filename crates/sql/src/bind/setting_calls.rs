//! `getSetting('name')`: the value that a setting has for the statement.

use std::fmt;
use std::sync::Arc;

use granary_common::{Error, Result};
use sqlparser::ast::{Expr, Value};

use super::calls::plain_arguments;
use super::names::Names;
use super::zoned::text_of;

/// Gives the value of a setting by its name, as an extension of the session's configuration.
pub struct SessionSettings(pub SettingOf);

/// From a name in lower case to the value as a text.
type SettingOf = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl fmt::Debug for SessionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSettings")
    }
}

/// The value in the place of what asks for it: a number, true or false, else a text.
pub(super) fn rewrite(expression: &Expr, names: &Names<'_>) -> Result<Option<Expr>> {
    let Expr::Function(call) = expression else { return Ok(None) };
    let name = call.name.to_string().to_lowercase();
    let or_default = match name.as_str() {
        "getsetting" => false,
        "getsettingordefault" => true,
        _ => return Ok(None),
    };
    let arguments = plain_arguments(call).unwrap_or_default();
    let (setting, default) = match (arguments.as_slice(), or_default) {
        ([setting], false) => (setting, None),
        ([setting, default], true) => (setting, Some(default)),
        _ => return Err(Error::invalid(format!("{} takes the name of a setting", call.name))),
    };
    let Some(setting) = text_of(setting) else {
        return Err(Error::invalid(format!("{} takes a name that is written out", call.name)));
    };
    match (names.setting(&setting.to_lowercase()), default) {
        (Some(text), _) => Ok(Some(value(text))),
        (None, Some(default)) => Ok(Some(default.clone())),
        (None, None) => Err(Error::invalid(format!(
            "unknown setting '{setting}'; system.settings has them all"
        ))),
    }
}

fn value(text: String) -> Expr {
    let value = match text.as_str() {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        digits if digits.parse::<u64>().is_ok() => Value::Number(text, false),
        _ => Value::SingleQuotedString(text),
    };
    Expr::Value(value.into())
}
