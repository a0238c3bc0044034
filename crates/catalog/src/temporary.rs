//! Databases that hold the temporary tables of one session. They are databases like any other, whose
//! names say whom they belong to; they are dropped when the session or its coordinator ends.

use std::sync::Arc;

use crate::Snapshot;

/// What the names begin with; no other database is called so.
const PREFIX: &str = "_temporary_";

/// Whom a database of temporary tables belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemporaryDatabase<'a> {
    /// The identity of the coordinator that made it.
    pub coordinator: &'a str,
    /// The id of the session.
    pub session: &'a str,
}

impl<'a> TemporaryDatabase<'a> {
    /// Reads a name; `None` for other databases.
    pub fn parse(name: &'a str) -> Option<Self> {
        let (coordinator, session) = name.strip_prefix(PREFIX)?.split_once('_')?;
        Some(Self { coordinator, session })
    }

    /// The name.
    pub fn name(&self) -> String {
        format!("{PREFIX}{}_{}", self.coordinator, self.session)
    }
}

/// Whether no database that lasts may have this name.
pub fn is_reserved(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

impl Snapshot {
    /// The databases of temporary tables.
    pub fn temporary_databases(&self) -> impl Iterator<Item = (&str, TemporaryDatabase<'_>)> {
        self.databases.values().filter_map(|database| {
            TemporaryDatabase::parse(&database.name).map(|of| (database.name.as_str(), of))
        })
    }

    /// The same catalog without the temporary tables of others: of their databases only the one of
    /// this name is there.
    pub fn without_temporary_of_others(self: &Arc<Self>, own: Option<&str>) -> Arc<Snapshot> {
        let is_hidden = |name: &str| own != Some(name) && TemporaryDatabase::parse(name).is_some();
        let hidden: Vec<_> =
            self.databases.values().filter(|row| is_hidden(&row.name)).map(|row| row.id).collect();
        if hidden.is_empty() {
            return Arc::clone(self);
        }
        let mut seen = Snapshot::clone(self);
        for id in hidden {
            seen.databases.remove(&id);
        }
        Arc::new(seen)
    }
}

#[cfg(test)]
mod tests {
    use granary_common::{CatalogVersion, DatabaseId};

    use super::*;
    use crate::{Change, Database, Row};

    #[test]
    fn names_say_whom_they_belong_to() {
        let of = TemporaryDatabase { coordinator: "12ab", session: "34cd" };
        assert_eq!(of.name(), "_temporary_12ab_34cd");
        for (name, parsed, reserved) in [
            ("_temporary_12ab_34cd", Some(of), true),
            ("_temporary_x", None, true),
            ("_Temporary_X", None, true),
            ("_temporar", None, false),
            ("temporary_12ab_34cd", None, false),
            ("default", None, false),
        ] {
            assert_eq!(TemporaryDatabase::parse(name), parsed, "{name}");
            assert_eq!(is_reserved(name), reserved, "{name}");
        }
    }

    #[test]
    fn a_session_sees_its_own() {
        let row = |(id, name): (u64, &str)| {
            Change::Put(Row::Database(Database { id: DatabaseId(id), name: name.to_owned() }))
        };
        let names = ["default", "_temporary_c_1", "_temporary_c_2"];
        let rows: Vec<Change> = (1..).zip(names).map(row).collect();
        let all = Arc::new(Snapshot::default().with_changes(CatalogVersion(1), &rows));
        for (own, seen) in [
            (None, vec!["default"]),
            (Some("_temporary_c_2"), vec!["default", "_temporary_c_2"]),
            (Some("_temporary_c_3"), vec!["default"]),
        ] {
            let snapshot = all.without_temporary_of_others(own);
            let found: Vec<&str> =
                snapshot.databases.values().map(|row| row.name.as_str()).collect();
            assert_eq!(found, seen, "{own:?}");
        }
        assert_eq!(all.temporary_databases().count(), 2);
    }
}
