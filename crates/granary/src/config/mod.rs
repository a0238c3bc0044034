//! The settings of a role, and the layers that they come from.
//!
//! ```text
//!   built-in defaults  <  file (--config)  <  flags  <  GRANARY_* environment
//! ```
//!
//! The last layer that names a setting wins. Every layer is the same [`Layer`] of optional values,
//! so a setting that exists in one exists in all three, under the same name: `grpc_listen` in the
//! file, `--grpc-listen` as a flag, `GRANARY_GRPC_LISTEN` in the environment.

mod environment;
mod file;
mod nearest;
mod settings;
mod tiers;
mod validate;
mod values;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use granary_common::Result;

pub use environment::read_environment;
pub use file::read_file;
pub use nearest::nearest;
pub use settings::{Layer, Origin, Role, Settings};
pub use tiers::{Disks, Policies};
pub(crate) use validate::tiers as configured_tiers;
pub use values::{Addresses, LogFormat, Secret, VolumeUrl};

/// The settings of `role`, and remarks on what was set in vain.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Whom they are for.
    pub role: Role,
    /// One value per setting.
    pub settings: Settings,
    /// Settings of the file or the environment that the role has no use for.
    pub remarks: Vec<String>,
    origins: Vec<(&'static str, Origin)>,
}

impl Effective {
    /// Merges the three layers for `role`. The path of the file is `--config`, or `GRANARY_CONFIG`
    /// where the environment names one.
    ///
    /// Kind `InvalidInput` for unknown keys, unreadable values, values outside their bounds and
    /// flags that the role has no use for; `NotFound` when the file is missing.
    pub fn resolve(
        role: Role,
        config: Option<&Path>,
        flags: Layer,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Effective> {
        let variables: Vec<(String, String)> = environment.into_iter().collect();
        let named = variables.iter().find(|(name, _)| name == environment::CONFIG_VARIABLE);
        let path = named.map(|(_, value)| PathBuf::from(value));
        let file = match path.as_deref().or(config) {
            Some(path) => read_file(path)?,
            None => Layer::default(),
        };
        let environment = read_environment(variables)?;

        validate::flags_of_role(role, &flags)?;
        let mut remarks = validate::unused(role, &file, "the file sets");
        remarks.extend(validate::unused(role, &environment, "the environment sets"));
        let (settings, origins) = Settings::merge(file, flags, environment);
        validate::bounds(role, &settings)?;
        Ok(Effective { role, settings, remarks, origins })
    }

    /// The settings as a TOML file that would give them, each with where its value comes from. Secrets
    /// are not shown, and so not given.
    pub fn to_toml(&self) -> String {
        let mut text = format!("# Effective settings of `granary {}`\n", self.role.name());
        for (name, value) in self.settings.rendered() {
            if !self.role.uses(name) {
                continue;
            }
            let origin = self.origins.iter().find(|(of, _)| *of == name);
            let origin = origin.map_or(Origin::Default, |(_, origin)| *origin);
            // Writing to a String cannot fail.
            let _ = match value {
                Some(_) if Settings::is_secret(name) => {
                    writeln!(text, "# {name} is set, and not shown  # {}", origin.name())
                }
                Some(value) => writeln!(text, "{name} = {value}  # {}", origin.name()),
                None => writeln!(text, "# {name} is not set"),
            };
        }
        text
    }
}

#[cfg(test)]
mod tests;
