//! The session settings that change what a statement means.

/// Settings of the dialect, a part of a session's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DialectSettings {
    /// Columns are nullable unless NOT NULL is written; otherwise they are not unless
    /// `Nullable(T)` or NULL is. Default: false.
    pub data_type_default_nullable: bool,
}

impl DialectSettings {
    /// Sets the setting `name` when it is one of the dialect's. Gives whether it is.
    ///
    /// # Errors
    /// InvalidInput when the value is not one that the setting takes.
    pub fn set(&mut self, name: &str, value: &str) -> granary_common::Result<bool> {
        match name {
            "data_type_default_nullable" => {
                self.data_type_default_nullable = boolean(name, value)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// The truth of a setting's text.
fn boolean(name: &str, value: &str) -> granary_common::Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" => Ok(true),
        "0" | "false" | "off" => Ok(false),
        _ => Err(granary_common::Error::invalid(format!(
            "setting '{name}' takes 0 or 1, not '{value}'"
        ))),
    }
}
