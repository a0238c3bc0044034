//! How a query reads a table, as a part of the name under which it asks for it: `t FINAL` and
//! `t WITH POSITIONS` are the table `t` in another form. So every name in a FROM says for itself
//! what it needs, however often the table stands there.

use granary_catalog::Past;
use granary_common::CatalogVersion;

const FINAL: &str = " FINAL";
const POSITIONS: &str = " WITH POSITIONS";
const AS_OF_VERSION: &str = " AS OF VERSION ";
const AS_OF_TIME: &str = " AS OF TIME ";

/// A table and how it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableReading {
    /// The table's name in its database.
    pub table: String,
    /// Whether rows with equal sort keys become what the table's engine says.
    pub collapsed: bool,
    /// Whether the columns `_part` and `_part_offset` are there.
    pub positions: bool,
    /// When it is read, if not as it is.
    pub past: Option<Past>,
}

impl TableReading {
    /// The table that `name` asks for.
    pub fn parse(name: &str) -> TableReading {
        let (name, positions) = cut_end(name, POSITIONS);
        let (name, collapsed) = cut_end(name, FINAL);
        let (name, past) = cut_past(name);
        TableReading { table: name.to_owned(), collapsed, positions, past }
    }

    /// The name that asks for it.
    pub fn name(&self) -> String {
        let past = match self.past {
            Some(Past::Version(version)) => format!("{AS_OF_VERSION}{}", version.0),
            Some(Past::TimeMs(time_ms)) => format!("{AS_OF_TIME}{time_ms}"),
            None => String::new(),
        };
        let collapsed = if self.collapsed { FINAL } else { "" };
        let positions = if self.positions { POSITIONS } else { "" };
        format!("{}{past}{collapsed}{positions}", self.table)
    }

    /// Whether it is just the table.
    pub fn is_plain(&self) -> bool {
        !self.collapsed && !self.positions && self.past.is_none()
    }
}

fn cut_end<'n>(name: &'n str, end: &str) -> (&'n str, bool) {
    match name.strip_suffix(end) {
        Some(rest) if !rest.is_empty() => (rest, true),
        _ => (name, false),
    }
}

fn cut_past(name: &str) -> (&str, Option<Past>) {
    let number = |mark: &str| {
        let (table, number) = name.rsplit_once(mark)?;
        Some((table, number.parse::<u64>().ok()?)).filter(|(table, _)| !table.is_empty())
    };
    if let Some((table, version)) = number(AS_OF_VERSION) {
        return (table, Some(Past::Version(CatalogVersion(version))));
    }
    match number(AS_OF_TIME) {
        Some((table, time_ms)) => (table, Some(Past::TimeMs(time_ms))),
        None => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_how_a_table_is_read() {
        let pasts = [None, Some(Past::Version(CatalogVersion(7))), Some(Past::TimeMs(1_700))];
        for past in pasts {
            for (collapsed, positions) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let table = "t".to_owned();
                let reading = TableReading { table, collapsed, positions, past };
                assert_eq!(TableReading::parse(&reading.name()), reading);
                assert_eq!(reading.is_plain(), reading.name() == "t");
            }
        }
        for name in [" FINAL", " AS OF VERSION 7", "t AS OF VERSION x"] {
            assert_eq!(TableReading::parse(name).table, name);
        }
    }
}
