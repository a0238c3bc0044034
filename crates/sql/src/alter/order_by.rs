//! MODIFY ORDER BY: the sorting key gets further columns.
//!
//! Nothing is written. The columns that are appended are new, so that every row that is there holds
//! the same value in each: parts that are sorted by the old key are sorted by the new one as well.

use granary_catalog::{KeyExpression, Scalar};
use granary_common::{Error, Result};
use sqlparser::ast::Expr;

use super::Draft;
use crate::create_table::check_key_type;
use crate::show::identifier;

impl Draft<'_> {
    pub(super) fn modify_order_by(&mut self, written: &[Expr]) -> Result<()> {
        let mut keys: Vec<KeyExpression> = Vec::with_capacity(written.len());
        for expression in written {
            let key = match self.next.order_by.get(keys.len()) {
                Some(known) if self.is_key(known, expression) => known.clone(),
                Some(known) => {
                    return Err(self.refused(format!(
                        "its expressions stay and new ones come behind them; '{expression}' stands \
                         where '{}' is",
                        known.text
                    )));
                }
                None => self.appended(expression)?,
            };
            if keys.iter().any(|other| other.column == key.column) {
                return Err(self.refused(format!("'{}' appears more than once", key.text)));
            }
            keys.push(key);
        }
        if let Some(missing) = self.next.order_by.get(keys.len()) {
            return Err(self.refused(format!("'{}' is missing: no expression goes", missing.text)));
        }
        self.next.order_by = keys;
        Ok(())
    }

    fn refused(&self, why: String) -> Error {
        Error::invalid(format!("MODIFY ORDER BY of table '{}': {why}", self.next.name))
    }

    /// Whether `expression` is written for `key`.
    fn is_key(&self, key: &KeyExpression, expression: &Expr) -> bool {
        match expression {
            Expr::Nested(inner) => self.is_key(key, inner),
            Expr::Identifier(name) => {
                self.columns.find(&name.value).is_ok_and(|column| column.id == key.column)
            }
            computed => {
                let hidden = self.columns.of_expression(&computed.to_string());
                hidden.is_some_and(|column| column.id == key.column)
            }
        }
    }

    /// The key of a column that the statement adds.
    fn appended(&mut self, expression: &Expr) -> Result<KeyExpression> {
        let name = match expression {
            Expr::Nested(inner) => return self.appended(inner),
            Expr::Identifier(name) => name,
            computed => {
                return Err(self.refused(format!(
                    "'{computed}' is an expression; only columns that the same statement adds can be \
                     appended"
                )));
            }
        };
        let column =
            self.columns.find(&name.value).map_err(|error| self.refused(error.to_string()));
        let column = column?.clone();
        if !self.added.contains(&column.id) {
            return Err(self.refused(format!(
                "column '{}' is there already, and rows are not sorted by it; only columns that the \
                 same statement adds with ADD COLUMN can be appended",
                column.name
            )));
        }
        check_key_type(&column.name, &column.column_type)?;
        if column.is_computed() || (column.default.is_some() && column.added.is_none()) {
            return Err(self.refused(format!(
                "column '{}' has another value in each row that is there; only columns with a \
                 constant default, or none, can be appended",
                column.name
            )));
        }
        let added = column.added.map(in_key);
        self.change(column.id, |found| found.added = added);
        Ok(KeyExpression { text: identifier(&column.name), column: column.id })
    }
}

/// A value as keys are stored: floats have one zero and one NaN.
fn in_key(value: Scalar) -> Scalar {
    match value {
        Scalar::Float(float) if float.is_nan() => Scalar::Float(f64::NAN),
        Scalar::Float(float) => Scalar::Float(float + 0.0),
        other => other,
    }
}
