//! What must be true of every answer.

use std::collections::{BTreeMap, BTreeSet};

use granary_common::CatalogVersion;

use crate::coordinator::{Done, KEYED, Seen};
use crate::keys::Keys;
use crate::rows::{id_of, row, value_of};

/// What has become of an insert.
#[derive(Clone, Debug, Default)]
struct Insert {
    /// The numbers of its rows.
    rows: Vec<u64>,
    acknowledged: Option<CatalogVersion>,
    /// Whether its client goes away before all of it is sent.
    is_given_up: bool,
    deletion: Deletion,
    /// The versions of the updates of its rows.
    updates: Vec<CatalogVersion>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Deletion {
    #[default]
    No,
    /// Asked for; it may have happened or not.
    Perhaps,
    Done,
}

/// What was sent and acknowledged, and what was wrong.
#[derive(Debug, Default)]
pub struct Oracle {
    inserts: BTreeMap<String, Insert>,
    /// The newest version that anybody was told.
    newest: CatalogVersion,
    /// What queries saw, by version.
    seen: BTreeMap<CatalogVersion, Seen>,
    pub keys: Keys,
    pub wrong: Vec<String>,
    pub acknowledged: u64,
    pub given_up: u64,
    pub deleted: u64,
    pub updated: u64,
    pub queries: u64,
}

/// What was certain when a query began.
#[derive(Clone, Debug, Default)]
pub struct Certain {
    newest: CatalogVersion,
    there: BTreeSet<String>,
    gone: BTreeSet<String>,
}

impl Oracle {
    /// An insert is sent for the first time.
    pub fn send(&mut self, token: &str, ids: &[u64]) {
        self.inserts.entry(token.to_owned()).or_default().rows = ids.to_vec();
    }

    /// The client of an insert will go away before all of it is sent.
    pub fn give_up(&mut self, token: &str) {
        if let Some(insert) = self.inserts.get_mut(token) {
            insert.is_given_up = true;
            self.given_up += 1;
        }
    }

    /// An insert is acknowledged, perhaps once more.
    pub fn acknowledge(&mut self, token: &str, done: Done) {
        self.newest = self.newest.max(done.version);
        let Some(insert) = self.inserts.get_mut(token) else { return };
        match insert.acknowledged {
            None => {
                insert.acknowledged = Some(done.version);
                self.acknowledged += 1;
            }
            Some(first) if first == done.version && done.duplicate => {}
            Some(first) => self.wrong.push(format!(
                "insert {token} was acknowledged at version {first} and then as {done:?}"
            )),
        }
    }

    /// An insert whose rows may be deleted or updated: one that is acknowledged and there.
    pub fn changeable(&self, turn: u64) -> Option<(String, BTreeSet<u64>)> {
        let there = self
            .inserts
            .iter()
            .filter(|(_, insert)| insert.acknowledged.is_some() && insert.deletion == Deletion::No);
        let there: Vec<_> = there.collect();
        let (token, insert) = there.get(turn as usize % there.len().max(1))?;
        Some(((*token).clone(), insert.rows.iter().copied().collect()))
    }

    /// A deletion is sent.
    pub fn begin_deletion(&mut self, token: &str) {
        if let Some(insert) = self.inserts.get_mut(token) {
            insert.deletion = Deletion::Perhaps;
        }
    }

    /// A deletion is acknowledged.
    pub fn end_deletion(&mut self, token: &str, done: Done) {
        self.newest = self.newest.max(done.version);
        if let Some(insert) = self.inserts.get_mut(token) {
            insert.deletion = Deletion::Done;
            self.deleted += 1;
        }
    }

    /// An update of an insert's rows is acknowledged.
    pub fn end_update(&mut self, token: &str, done: Done) {
        self.newest = self.newest.max(done.version);
        if let Some(insert) = self.inserts.get_mut(token) {
            insert.updates.push(done.version);
            self.updated += 1;
        }
    }

    /// An upsert is acknowledged, perhaps once more.
    pub fn end_upsert(&mut self, value: u64, done: Done) {
        self.newest = self.newest.max(done.version);
        self.wrong.extend(self.keys.acknowledge(value, done));
    }

    /// What a query that begins now must see.
    pub fn certain(&self) -> Certain {
        let tokens = |wanted: fn(&Insert) -> bool| {
            let found = self.inserts.iter().filter(|(_, insert)| wanted(insert));
            found.map(|(token, _)| token.clone()).collect()
        };
        Certain {
            newest: self.newest,
            there: tokens(|insert| insert.acknowledged.is_some()),
            gone: tokens(|insert| insert.deletion == Deletion::Done),
        }
    }

    /// Checks what a query saw that began when `certain` was.
    pub fn check(&mut self, certain: &Certain, seen: Seen) {
        self.queries += 1;
        let mut wrong = Vec::new();
        if seen.version < certain.newest {
            let newest = certain.newest;
            wrong.push(format!("a query read version {} after {newest} was told", seen.version));
        }
        let counts = seen.rows.each_ref().map(|rows| count(rows));
        for (place, counts) in counts.iter().enumerate() {
            for (row, times) in counts.iter().filter(|(_, times)| **times != 1) {
                wrong
                    .push(format!("table {place} has row {row} {times} times at {}", seen.version));
            }
        }
        for (token, insert) in &self.inserts {
            let held = |place: usize| {
                insert.rows.iter().filter(|row| counts[place].contains_key(row)).count()
            };
            let (rows, view) = (held(0), held(1));
            let all = insert.rows.len();
            let is_known = certain.there.contains(token);
            let at = seen.version;
            if insert.is_given_up && rows + view > 0 {
                wrong.push(format!("{rows} rows of {token} are there at {at}: {insert:?}"));
            }
            if view != all && (is_known || view != 0) {
                wrong.push(format!("the view has {view} of {all} rows of {token} at {at}"));
            }
            let expected = match insert.deletion {
                Deletion::Done if certain.gone.contains(token) => rows == 0,
                Deletion::No => rows == view,
                _ => rows == 0 || rows == view,
            };
            if !expected {
                wrong
                    .push(format!("{rows} of {all} rows of {token} are there at {at}: {insert:?}"));
            }
        }
        match self.seen.get(&seen.version) {
            Some(before) if *before != seen => {
                wrong.push(format!("two queries differ at version {}", seen.version));
            }
            Some(_) => {}
            None => drop(self.seen.insert(seen.version, seen)),
        }
        self.wrong.extend(wrong);
    }

    /// Checks what only can be told when every change has its answer: at each version that was read,
    /// rows had the value that the updates until then gave them, all of an insert the same.
    pub fn finish(&mut self) {
        let keyed = self.seen.iter().map(|(at, seen)| (*at, &seen.rows[KEYED]));
        self.wrong.extend(self.keys.finish(keyed));
        for (at, seen) in &self.seen {
            if let Some(row) = seen.rows[1].iter().find(|row| value_of(**row) > 0) {
                self.wrong.push(format!("the view saw an update of row {} at {at}", id_of(*row)));
            }
            let changed = seen.rows[0].iter().filter(|row| value_of(**row) > 0).count();
            let (mut expected, mut told) = (0, false);
            for (token, insert) in self.inserts.iter().filter(|(_, it)| !it.updates.is_empty()) {
                let value = insert.updates.iter().filter(|update| *update <= at).count() as u64;
                let held: Vec<u64> =
                    insert.rows.iter().filter_map(|id| value_in(&seen.rows[0], *id)).collect();
                expected += if value > 0 { held.len() } else { 0 };
                if held.iter().any(|held| *held != value) {
                    told = true;
                    self.wrong.push(format!(
                        "rows of {token} have the values {held:?} at {at}, not {value}: {insert:?}"
                    ));
                }
            }
            if changed != expected && !told {
                self.wrong.push(format!("{changed} rows are updated at {at}, not {expected}"));
            }
        }
    }
}

/// The value of a row among sorted ones.
fn value_in(rows: &[u64], id: u64) -> Option<u64> {
    let place = rows.partition_point(|held| *held < row(id, 0));
    rows.get(place).filter(|held| id_of(**held) == id).map(|held| value_of(*held))
}

/// How often each row is there, whatever its value.
fn count(rows: &[u64]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(id_of(*row)).or_insert(0) += 1;
    }
    counts
}
