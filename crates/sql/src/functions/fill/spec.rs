//! What is filled, as text: plans that travel name a function and its arguments.

use datafusion::common::Result;

use super::invalid;

/// The expression of a column that is NULL in new rows.
pub(crate) const NULL: &str = "NULL";

/// One key of the order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FillKey {
    /// Place of its column among the row's.
    pub(crate) column: usize,
    pub(crate) ascending: bool,
    pub(crate) nulls_first: bool,
    /// Whether missing values are filled, and which bounds are given for that.
    pub(crate) fills: bool,
    pub(crate) from: bool,
    pub(crate) to: bool,
    pub(crate) step: bool,
}

/// A column whose value in a new row comes from the row before: the same, or an expression over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilledColumn {
    pub(crate) column: usize,
    pub(crate) expression: Option<String>,
}

/// All keys in order, the carried columns, and the columns' names for expressions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FillSpec {
    pub(crate) keys: Vec<FillKey>,
    pub(crate) carried: Vec<FilledColumn>,
    pub(crate) names: Vec<String>,
}

impl FillSpec {
    /// One line for each part.
    pub(crate) fn text(&self) -> String {
        let keys = self.keys.iter().map(|key| {
            let flags = [key.ascending, key.nulls_first, key.fills, key.from, key.to, key.step];
            let flags: String = flags.iter().map(|flag| if *flag { '1' } else { '0' }).collect();
            format!("key {} {flags}", key.column)
        });
        let one_line = |text: &str| text.replace(['\n', '\r'], " ");
        let carried = self.carried.iter().map(|carried| {
            let expression = carried.expression.as_deref().map(one_line).unwrap_or_default();
            format!("carry {} {expression}", carried.column)
        });
        let names = self.names.iter().map(|name| format!("name {}", one_line(name)));
        keys.chain(carried).chain(names).collect::<Vec<String>>().join("\n")
    }

    /// What [`FillSpec::text`] wrote.
    pub(super) fn parse(text: &str) -> Result<FillSpec> {
        let mut spec = FillSpec::default();
        for line in text.lines() {
            let wrong = || invalid(format!("'{line}' says nothing about WITH FILL"));
            let (kind, rest) = line.split_once(' ').ok_or_else(wrong)?;
            if kind == "name" {
                spec.names.push(rest.to_owned());
                continue;
            }
            let (column, rest) = rest.split_once(' ').ok_or_else(wrong)?;
            let column = column.parse().map_err(|_| wrong())?;
            match (kind, rest.as_bytes()) {
                ("key", [ascending, nulls_first, fills, from, to, step]) => {
                    let flag = |byte: &u8| *byte == b'1';
                    spec.keys.push(FillKey {
                        column,
                        ascending: flag(ascending),
                        nulls_first: flag(nulls_first),
                        fills: flag(fills),
                        from: flag(from),
                        to: flag(to),
                        step: flag(step),
                    });
                }
                ("carry", _) => spec.carried.push(FilledColumn {
                    column,
                    expression: (!rest.is_empty()).then(|| rest.to_owned()),
                }),
                _ => return Err(wrong()),
            }
        }
        Ok(spec)
    }
}
