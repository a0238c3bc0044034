//! ALTER USER: the settings with which the sessions of a user begin.

use granary_catalog::{CommandBody, UserChange};
use granary_common::{Error, Result};
use granary_sql::AlterUser;

use super::{Done, execute};
use crate::core::Coordinator;
use crate::session::{StatementSettings, TOKEN_SETTING, known_settings, parse_settings};

/// Kind `InvalidInput` names the setting that does not exist or a value that does not fit.
pub(super) async fn alter(core: &Coordinator, alter: AlterUser, done: &mut Done) -> Result<()> {
    let lower = |name: String| name.to_ascii_lowercase();
    let reset: Vec<String> = alter.reset.into_iter().map(lower).collect();
    let mut change =
        UserChange { user: alter.user, clear: alter.clear, reset, set: Default::default() };
    for (name, value) in alter.set {
        let name = lower(name);
        if name == TOKEN_SETTING {
            return Err(Error::invalid(format!(
                "{TOKEN_SETTING} belongs to one insert; a user cannot have it for all of them"
            )));
        }
        let notices = StatementSettings::check(&name, &value)?;
        if notices.is_empty() {
            change.set.insert(name, value);
        }
        done.notices.extend(notices);
    }
    parse_settings(&change.set)?;
    let snapshot = core.with.catalog.read_latest().await?;
    let kept = snapshot.user_settings.get(&change.user);
    let known = known_settings()?;
    for name in &change.reset {
        // One of an older build may be kept still.
        let is_kept = kept.is_some_and(|row| row.settings.contains_key(name));
        if !known.contains_key(name) && !is_kept {
            return Err(Error::invalid(format!("there is no setting '{name}'")));
        }
    }
    execute(core, CommandBody::User(change)).await
}
