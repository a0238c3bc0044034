//! Calls that take a part out of a document, and the columns in their places.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, cast};
use granary_execution::functions::DOCUMENT_PART;

/// `j.a.b`: a call over a column with literal names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub column: Column,
    pub path: Vec<String>,
    /// As a whole.
    pub expression: Expr,
}

impl Call {
    fn of(expression: &Expr) -> Option<Call> {
        let Expr::ScalarFunction(function) = expression else { return None };
        let [Expr::Column(column), names @ ..] = function.args.as_slice() else { return None };
        if function.name() != DOCUMENT_PART || names.is_empty() {
            return None;
        }
        let name = |name: &Expr| match name {
            Expr::Literal(name, _) => name.try_as_str().flatten().map(str::to_owned),
            _ => None,
        };
        Some(Call {
            column: column.clone(),
            path: names.iter().map(name).collect::<Option<_>>()?,
            expression: expression.clone(),
        })
    }

    /// The same over the documents of another column.
    pub fn over(&self, column: Column) -> Call {
        let mut expression = self.expression.clone();
        if let Expr::ScalarFunction(function) = &mut expression
            && let Some(document) = function.args.first_mut()
        {
            *document = Expr::Column(column.clone());
        }
        Call { column, path: self.path.clone(), expression }
    }
}

/// The calls in an expression.
pub(super) fn calls_of(expression: &Expr) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    expression.apply(|inner| {
        calls.extend(Call::of(inner));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(calls)
}

/// Columns that have what calls give.
pub(super) type Columns = Vec<(Call, Column)>;

/// The expression with columns in the places of calls, of the same type.
pub(super) fn with_columns(expression: Expr, columns: &Columns) -> Result<Transformed<Expr>> {
    expression.transform_down(|inner| {
        let Some(call) = Call::of(&inner) else { return Ok(Transformed::no(inner)) };
        let found = columns.iter().find(|(known, _)| *known == call);
        Ok(match found {
            Some((_, column)) => {
                Transformed::yes(cast(Expr::Column(column.clone()), DataType::Utf8))
            }
            None => Transformed::no(inner),
        })
    })
}

/// The same under the name that it had.
pub(super) fn named(expression: Expr, columns: &Columns) -> Result<Expr> {
    let (relation, name) = expression.qualified_name();
    let changed = with_columns(expression, columns)?;
    Ok(match (changed.transformed, &changed.data) {
        (false, _) | (true, Expr::Alias(_)) => changed.data,
        (true, _) => changed.data.alias_qualified(relation, name),
    })
}
