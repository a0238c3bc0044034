//! What sessions get from their users.

use std::collections::BTreeMap;

use super::{Session, settings};
use crate::core::Coordinator;

impl Coordinator {
    /// A new session of `user`, with the settings that ALTER USER gave it.
    pub fn open_session(&self, user: &str) -> Session {
        let mut session = self.sessions.open(user);
        session.settings = self.settings_of(user);
        session
    }

    /// Takes a setting of a session back to what its user begins with.
    pub fn reset_setting(&self, session: &mut Session, name: &str) {
        session.settings.remove(name);
        session.settings.extend(self.settings_of(&session.user).remove_entry(name));
    }

    /// The settings with which the sessions of a user begin, as far as this build knows them: a user
    /// must not be kept out by one that an older build had.
    fn settings_of(&self, user: &str) -> BTreeMap<String, String> {
        let snapshot = self.with.catalog.snapshot();
        let kept = snapshot.user_settings.get(user).map(|row| row.settings.clone());
        let is_good = |name: &String, value: &String| {
            let alone = BTreeMap::from([(name.clone(), value.clone())]);
            let checked = settings::parse_settings(&alone);
            if let Err(error) = &checked {
                tracing::warn!(user, %error, "a setting of a user is left out");
            }
            checked.is_ok()
        };
        let kept = kept.unwrap_or_default().into_iter();
        kept.filter(|(name, value)| is_good(name, value)).collect()
    }
}
