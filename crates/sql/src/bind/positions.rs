//! The columns `_part` and `_part_offset`, which every table has and `*` does not show: a SELECT
//! that names one reads its tables with them.

use std::ops::ControlFlow;

use granary_common::Result;
use granary_execution::TableReading;
use sqlparser::ast::{
    ExceptSelectItem, Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr, TableAlias,
    TableFactor, Visit, WildcardAdditionalOptions,
};

use super::names::{Names, rename};
use crate::statement::TableName;
use crate::walk::visit_expressions;

const COLUMNS: [&str; 2] = ["_part", "_part_offset"];

/// Whether `tree` names one of `columns`.
pub(super) fn mentioned<T: Visit>(tree: &T, columns: [&str; 2]) -> bool {
    let is_one = |ident: &Ident| columns.contains(&ident.value.as_str());
    let found = visit_expressions(tree, |expression| {
        let found = match expression {
            Expr::Identifier(ident) => is_one(ident),
            Expr::CompoundIdentifier(idents) => idents.last().is_some_and(is_one),
            _ => false,
        };
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_break()
}

/// For a SELECT whose ORDER BY names one of the columns.
pub(super) fn show_in_query(query: &mut Query, names: &Names<'_>, ctes: &[String]) -> Result<()> {
    let ordered_by = query.order_by.as_ref().is_some_and(|order_by| mentioned(order_by, COLUMNS));
    match query.body.as_mut() {
        SetExpr::Select(select) if ordered_by => show(select, names, ctes),
        _ => Ok(()),
    }
}

/// For a SELECT that names one of the columns itself.
pub(super) fn show_in_select(
    select: &mut Select,
    names: &Names<'_>,
    ctes: &[String],
) -> Result<()> {
    match mentioned(select, COLUMNS) {
        true => show(select, names, ctes),
        false => Ok(()),
    }
}

fn show(select: &mut Select, names: &Names<'_>, ctes: &[String]) -> Result<()> {
    let joins = select.from.iter().map(|table| table.joins.len() + 1).sum::<usize>() > 1;
    let shows_all = select.projection.iter().any(|item| matches!(item, SelectItem::Wildcard(_)));
    // `*` over a join cannot leave out one column of each table.
    if joins && shows_all {
        return Ok(());
    }
    let mut shown: Vec<String> = Vec::new();
    for table in &mut select.from {
        let joined = table.joins.iter_mut().map(|join| &mut join.relation);
        for factor in std::iter::once(&mut table.relation).chain(joined) {
            shown.extend(show_in_table(factor, names, ctes)?);
        }
    }
    for item in &mut select.projection {
        match item {
            SelectItem::Wildcard(options) if !shown.is_empty() => hide(options, COLUMNS),
            SelectItem::QualifiedWildcard(kind, options) => {
                let of = kind.to_string();
                if shown.iter().any(|name| of == format!("{name}.*") || of == *name) {
                    hide(options, COLUMNS);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Lets the table of `factor` show the columns, if it has them and does not yet; gives the name that
/// columns refer to it by.
fn show_in_table(
    factor: &mut TableFactor,
    names: &Names<'_>,
    ctes: &[String],
) -> Result<Option<String>> {
    let TableFactor::Table { name, alias, args: None, .. } = factor else { return Ok(None) };
    let written = TableName::of(name)?;
    let reading = TableReading::parse(&written.name);
    let is_cte = written.database.is_none() && ctes.contains(&reading.table);
    if reading.positions || is_cte {
        return Ok(None);
    }
    let mut found: ObjectName = name.clone();
    rename(&mut found, reading.table.clone());
    names.resolve(&mut found, ctes)?;
    let table = TableName::of(&found)?.name;
    let reading = TableReading { table, positions: true, ..reading };
    if !names.can_read(&found, &reading)? {
        return Ok(None);
    }
    rename(&mut found, reading.name());
    *name = found;
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::with_quote('`', reading.table.clone()),
        columns: Vec::new(),
        at: None,
    });
    Ok(Some(alias.name.value.clone()))
}

/// Takes `columns` out of a `*`.
pub(super) fn hide(options: &mut WildcardAdditionalOptions, columns: [&str; 2]) {
    let [first, second] = columns.map(Ident::new);
    match &mut options.opt_except {
        Some(except) => except.additional_elements.extend([first, second]),
        None => {
            options.opt_except =
                Some(ExceptSelectItem { first_element: first, additional_elements: vec![second] });
        }
    }
}
