//! The TOML layer.

use std::path::Path;

use granary_common::{Error, Result};

use super::nearest::{did_you_mean, nearest};
use super::{Layer, Settings};

/// Reads the file at `path`.
pub fn read_file(path: &Path) -> Result<Layer> {
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::not_found(format!("configuration file {} does not exist", path.display()))
        }
        _ => Error::invalid(format!("cannot read configuration {}: {error}", path.display())),
    })?;
    parse(&text).map_err(|error| error.context(path.display()))
}

pub(super) fn parse(text: &str) -> Result<Layer> {
    let table: toml::Table = toml::from_str(text)
        .map_err(|error| Error::invalid(format!("not valid TOML: {}", error.to_string().trim())))?;
    for key in table.keys() {
        if !Settings::NAMES.contains(&key.as_str()) {
            let hint = nearest(key, Settings::NAMES.iter().copied()).map(str::to_owned);
            return Err(Error::invalid(format!("unknown setting \"{key}\"{}", did_you_mean(hint))));
        }
    }
    // Parsed from the text again, since only that knows lines and columns of bad values.
    toml::from_str(text).map_err(|error| Error::invalid(error.to_string().trim().to_owned()))
}
