//! How a query reads a table, as a part of the name under which it asks for it: `t FINAL` and
//! `t WITH POSITIONS` are the table `t` in another form. So every name in a FROM says for itself
//! what it needs, however often the table stands there.

const FINAL: &str = " FINAL";
const POSITIONS: &str = " WITH POSITIONS";

/// A table and how it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableReading {
    /// The table's name in its database.
    pub table: String,
    /// Whether rows with equal sort keys become what the table's engine says.
    pub collapsed: bool,
    /// Whether the columns `_part` and `_part_offset` are there.
    pub positions: bool,
}

impl TableReading {
    /// The table that `name` asks for.
    pub fn parse(name: &str) -> TableReading {
        let (name, positions) = cut_end(name, POSITIONS);
        let (name, collapsed) = cut_end(name, FINAL);
        TableReading { table: name.to_owned(), collapsed, positions }
    }

    /// The name that asks for it.
    pub fn name(&self) -> String {
        let collapsed = if self.collapsed { FINAL } else { "" };
        let positions = if self.positions { POSITIONS } else { "" };
        format!("{}{collapsed}{positions}", self.table)
    }

    /// Whether it is just the table.
    pub fn is_plain(&self) -> bool {
        !self.collapsed && !self.positions
    }
}

fn cut_end<'n>(name: &'n str, end: &str) -> (&'n str, bool) {
    match name.strip_suffix(end) {
        Some(rest) if !rest.is_empty() => (rest, true),
        _ => (name, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_how_a_table_is_read() {
        for collapsed in [false, true] {
            for positions in [false, true] {
                let reading = TableReading { table: "t".to_owned(), collapsed, positions };
                assert_eq!(TableReading::parse(&reading.name()), reading);
                assert_eq!(reading.is_plain(), reading.name() == "t");
            }
        }
        assert_eq!(TableReading::parse(" FINAL").table, " FINAL");
    }
}
