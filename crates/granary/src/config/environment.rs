//! The environment layer.

use granary_common::{Error, Result};

use super::nearest::{did_you_mean, nearest};
use super::{Layer, Settings};

const PREFIX: &str = "GRANARY_";
/// Names the file of settings.
pub(super) const CONFIG_VARIABLE: &str = "GRANARY_CONFIG";

/// Variables that are no settings of a role: the clients' and the build's.
const OTHERS: [&str; 6] = [
    CONFIG_VARIABLE,
    "GRANARY_URL",
    "GRANARY_USER",
    "GRANARY_PASSWORD",
    "GRANARY_HISTORY",
    "GRANARY_BUILD_DIR",
];

/// Reads the variables that begin with `GRANARY_`; the others are not looked at.
pub fn read_environment(variables: impl IntoIterator<Item = (String, String)>) -> Result<Layer> {
    let mut layer = Layer::default();
    for (variable, value) in variables {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if OTHERS.contains(&variable.as_str()) || is_foreign(name) {
            continue;
        }
        match layer.set(&name.to_ascii_lowercase(), &value) {
            Some(Ok(())) => {}
            Some(Err(reason)) => return Err(Error::invalid(format!("{variable}: {reason}"))),
            None => {
                let hint = nearest(name, Settings::NAMES.iter().copied())
                    .map(|name| format!("{PREFIX}{}", name.to_ascii_uppercase()));
                return Err(Error::invalid(format!(
                    "unknown environment variable {variable}{}",
                    did_you_mean(hint)
                )));
            }
        }
    }
    Ok(layer)
}

/// Whether somebody else put the variable there: Kubernetes describes each service of the
/// namespace this way, and a service may well be called "granary-coordinator".
fn is_foreign(name: &str) -> bool {
    name.starts_with("TEST_")
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name == "PORT"
        || name.starts_with("PORT_")
        || name.ends_with("_PORT")
        || name.contains("_PORT_")
}
