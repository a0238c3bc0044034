//! The settings of users.

use granary_common::{Error, Result};

use super::Draft;
use crate::command::{Outcome, UserChange};
use crate::model::UserSettings;
use crate::row::{Row, RowKey};

/// Every coordinator keeps them all.
const USERS_MAX: usize = 10_000;

pub(super) fn change(draft: &mut Draft, change: &UserChange) -> Result<Outcome> {
    draft.cluster()?;
    let known = draft.next.user_settings.get(&change.user);
    let mut settings = match (known, change.clear) {
        (Some(row), false) => row.settings.clone(),
        _ => Default::default(),
    };
    change.reset.iter().for_each(|name| drop(settings.remove(name)));
    settings.extend(change.set.clone());
    match (settings.is_empty(), known.is_some()) {
        (true, true) => draft.delete(RowKey::UserSettings(change.user.clone())),
        (true, false) => {}
        (false, false) if draft.next.user_settings.len() >= USERS_MAX => {
            return Err(Error::exhausted(format!(
                "{USERS_MAX} users have settings of their own already; drop those of some with \
                 ALTER USER ... DROP ALL SETTINGS"
            )));
        }
        (false, _) => {
            draft.put(Row::UserSettings(UserSettings { user: change.user.clone(), settings }));
        }
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use granary_common::{CatalogVersion, ClusterId};

    use super::*;
    use crate::apply::apply;
    use crate::command::{Command, CommandBody};
    use crate::row::Change;
    use crate::snapshot::Snapshot;

    type Pairs = &'static [(&'static str, &'static str)];

    fn run(state: &Snapshot, body: CommandBody) -> Snapshot {
        let version = CatalogVersion(state.version.0 + 1);
        apply(state, version, &Command { time_ms: 0, body }).expect("applies").next
    }

    /// What is kept of "ann", as `name=value`.
    fn kept(state: &Snapshot) -> Vec<String> {
        let row = state.user_settings.get("ann");
        let pairs = row.iter().flat_map(|row| &row.settings);
        pairs.map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn settings_are_replaced_changed_and_dropped() {
        let cluster = ClusterId("c".into());
        let mut state = run(&Snapshot::default(), CommandBody::InitCluster { cluster });
        type Step = (bool, &'static [&'static str], Pairs, &'static [&'static str]);
        let steps: [Step; 6] = [
            (true, &[], &[("a", "1"), ("b", "2")], &["a=1", "b=2"]),
            (false, &["a"], &[("c", "3")], &["b=2", "c=3"]),
            (false, &["b"], &[("b", "4")], &["b=4", "c=3"]),
            (true, &[], &[("d", "5")], &["d=5"]),
            (true, &[], &[], &[]),
            (false, &["d"], &[], &[]),
        ];
        for (clear, reset, set, expected) in steps {
            let reset = reset.iter().map(|name| (*name).to_owned()).collect();
            let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let user = "ann".to_owned();
            let change = UserChange { user, clear, reset, set: set.collect() };
            state = run(&state, CommandBody::User(change));
            assert_eq!(kept(&state), expected);
            // Rows make the same state again.
            let rows: Vec<Change> = state.rows().into_iter().map(Change::Put).collect();
            let loaded = Snapshot::default().with_changes(state.version, &rows);
            assert_eq!(kept(&loaded), expected);
        }
        assert!(state.user_settings.is_empty(), "nothing is kept of who has no settings");
    }
}
