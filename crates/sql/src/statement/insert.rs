//! INSERT in its forms: into tables and into files outside, with rows, queries or defaults.

use granary_common::{Error, Result};
use sqlparser::ast::{
    BinaryOperator, Expr, Insert as InsertTree, ObjectName, ObjectNamePart, Query, SetExpr,
    Statement as Tree, TableObject,
};
use sqlparser::parser::Parser;

use super::parse::Parsed;
use super::{
    Insert, InsertOutside, OverwriteClause, PartitionClause, Statement, TableName, setting_text,
};
use crate::dialect::{GranaryDialect, tokenize};

/// `WITH t AS (...) INSERT INTO ... SELECT ... FROM t`.
pub(super) fn insert_behind_with(parser: &mut Parser<'_>, query: Query) -> Parsed<Statement> {
    let Query { with, body, .. } = query;
    let SetExpr::Insert(Tree::Insert(mut tree)) = *body else {
        return Err(Error::unsupported("this form of INSERT is not supported").into());
    };
    if let (Some(source), Some(mut with)) = (tree.source.as_mut(), with) {
        with.cte_tables.extend(source.with.take().into_iter().flat_map(|inner| inner.cte_tables));
        source.with = Some(with);
    }
    insert_of(parser, tree)
}

pub(super) fn insert(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let token = parser.next_token();
    match parser.parse_insert(token)? {
        Tree::Insert(tree) => insert_of(parser, tree),
        _ => Err(Error::unsupported("this form of INSERT is not supported").into()),
    }
}

fn insert_of(parser: &mut Parser<'_>, tree: InsertTree) -> Parsed<Statement> {
    let InsertTree { table, columns, source, overwrite, partitioned, on, returning, .. } = tree;
    let overwrite = overwritten(overwrite, partitioned)?;
    if on.is_some() || returning.is_some() {
        let message = "INSERT takes neither ON CONFLICT nor RETURNING";
        return Err(Error::unsupported(message).into());
    }
    if let Some(format) = tree.format_clause {
        let message =
            format!("INSERT ... {format} is not supported; use granary load or bulk insert");
        return Err(Error::unsupported(message).into());
    }
    let mut source = match source {
        Some(source) => source,
        // The parser stops behind settings that come before the rows.
        None if tree.settings.is_some() => parser.parse_query()?,
        None if tree.assignments.is_empty() => {
            let TableObject::TableName(name) = &table else {
                let message = "DEFAULT VALUES go into tables only";
                return Err(Error::unsupported(message).into());
            };
            return Ok(Statement::Insert(Insert {
                table: TableName::of(name)?,
                columns: Some(Vec::new()),
                source: default_values()?,
                settings: text_settings(tree.settings),
                overwrite,
                formatted: None,
            }));
        }
        None => return Err(Error::unsupported("INSERT without rows is not supported").into()),
    };
    let mut settings = text_settings(tree.settings);
    settings.extend(text_settings(source.settings.take()));
    let name = match table {
        TableObject::TableName(name) => name,
        TableObject::TableFunction(function) if columns.is_empty() && overwrite.is_none() => {
            return Ok(Statement::InsertOutside(Box::new(InsertOutside {
                function,
                source,
                settings,
            })));
        }
        _ => {
            let message = "INSERT INTO FUNCTION writes all columns of a query to a new file";
            return Err(Error::unsupported(message).into());
        }
    };
    let columns: Vec<String> = columns.iter().map(column_name).collect::<Result<_>>()?;
    Ok(Statement::Insert(Insert {
        table: TableName::of(&name)?,
        columns: (!columns.is_empty()).then_some(columns),
        source,
        settings,
        overwrite,
        formatted: None,
    }))
}

/// A column's name; that of a part of a Nested column has a dot.
fn column_name(name: &ObjectName) -> Result<String> {
    let part = |part: &ObjectNamePart| part.as_ident().map(|ident| ident.value.clone());
    match name.0.iter().map(part).collect::<Option<Vec<String>>>() {
        Some(parts) => Ok(parts.join(".")),
        None => Err(Error::invalid(format!("'{name}' is not the name of a column"))),
    }
}

/// The row of `DEFAULT VALUES`, which gives no column a value.
fn default_values() -> Parsed<Box<Query>> {
    let tokens = tokenize("VALUES (NULL)").map_err(|error| Error::internal(error.to_string()))?;
    let dialect = GranaryDialect;
    let mut source = Parser::new(&dialect).with_tokens_with_locations(tokens).parse_query()?;
    if let SetExpr::Values(values) = source.body.as_mut() {
        values.rows.iter_mut().for_each(|row| row.content.clear());
    }
    Ok(source)
}

/// What OVERWRITE and PARTITION say together.
fn overwritten(overwrite: bool, partition: Option<Vec<Expr>>) -> Result<Option<OverwriteClause>> {
    let Some(mut values) = partition else {
        return Ok(overwrite.then_some(OverwriteClause::Table));
    };
    if !overwrite {
        let message = "INSERT INTO takes no PARTITION: rows find theirs; leave it out, or write \
                       INSERT OVERWRITE";
        return Err(Error::unsupported(message));
    }
    let assigned = |value: &Expr| match value {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match left.as_ref() {
            Expr::Identifier(column) => Some((column.value.clone(), right.as_ref().clone())),
            _ => None,
        },
        _ => None,
    };
    if let Some(columns) = values.iter().map(assigned).collect::<Option<Vec<_>>>() {
        return Ok(Some(OverwriteClause::Columns(columns)));
    }
    if let [Expr::Tuple(inner)] = values.as_mut_slice() {
        values = std::mem::take(inner);
    }
    Ok(Some(OverwriteClause::Partition(PartitionClause::Values(values))))
}

fn text_settings(settings: Option<Vec<sqlparser::ast::Setting>>) -> Vec<(String, String)> {
    let pair = |setting: sqlparser::ast::Setting| (setting.key.value, setting_text(&setting.value));
    settings.into_iter().flatten().map(pair).collect()
}
