//! Second chances for a column that was not found: another case of its name, or an alias of the
//! SELECT list where ClickHouse allows one. A column of a source always wins, since this runs only
//! after it was not found.

use std::ops::ControlFlow;

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use sqlparser::ast::{
    Expr, GroupByExpr, Ident, Query, Select, SelectItem, UnaryOperator, Value, VisitMut, VisitorMut,
};

use super::calls::with_arguments;
use super::templates;
use crate::walk::{has_more_expressions, visit_expressions, visit_expressions_mut, walk_mut};
use granary_functions::DOCUMENT_PART;

/// Expressions that an alias may stand for. Aliases of aliases of aliases could double at each.
const DEFINITION_MAX: usize = 10_000;

/// Corrects `query` for `error`; false when there is nothing to correct.
pub(super) fn repair(query: &mut Query, error: &DataFusionError) -> bool {
    if is_unsigned_minus(error) {
        return subtract_from_zero(query);
    }
    let Some((missing, valid)) = missing_column(error) else {
        return super::chances::take(query, error);
    };
    let names: Vec<&str> = valid.iter().map(|column| column.name.as_str()).collect();
    let mut tables: Vec<&str> = Vec::new();
    for column in valid {
        tables.extend(column.relation.as_ref().map(|relation| relation.table()));
    }
    tables.dedup();
    nested_column(query, missing, &names)
        || part_of_document(query, missing, &names)
        || match_case_of(query, &missing.name, &names)
        || missing.relation.as_ref().is_some_and(|relation| {
            let table = relation.table();
            !tables.contains(&table) && match_case_of(query, table, &tables)
        })
        || (missing.relation.is_none() && substitute_alias(query, &missing.name))
        || (missing.relation.is_none() && float_by_name(query, &missing.name))
        || super::matched::show_other_side(query)
}

/// Whether the engine refused the sign of an unsigned number. It has no kind of error for that.
fn is_unsigned_minus(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::Plan(message) => message.starts_with("Unary operator '-'"),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            is_unsigned_minus(inner)
        }
        _ => false,
    }
}

/// `-x` as `0 - x`, which has a sign whatever `x` has.
fn subtract_from_zero(query: &mut Query) -> bool {
    let mut changed = false;
    let _ = visit_expressions_mut(query, |expression| {
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr } = expression
            && !matches!(expr.as_ref(), Expr::Value(_) | Expr::Interval(_))
            && let Ok(difference) =
                super::calls::substitute("(0 - ($1))", std::slice::from_ref(expr.as_ref()))
        {
            *expression = difference;
            changed = true;
        }
        ControlFlow::<()>::Continue(())
    });
    changed
}

/// `n.k` is a column of that name where a table has one, as it has for `n Nested(k T)`.
fn nested_column(query: &mut Query, missing: &Column, names: &[&str]) -> bool {
    let Some(relation) = &missing.relation else { return false };
    let whole = format!("{}.{}", relation.table(), missing.name);
    let Some(exact) = names.iter().find(|name| name.eq_ignore_ascii_case(&whole)) else {
        return false;
    };
    let mut changed = false;
    let _ = visit_expressions_mut(query, |expression| {
        changed |= super::chances::nested_root(expression, &whole, exact);
        if let Expr::CompoundIdentifier(parts) = expression
            && let [.., prefix, last] = parts.as_slice()
            && format!("{}.{}", prefix.value, last.value) == whole
        {
            let column = Ident::with_quote('`', *exact);
            parts.truncate(parts.len() - 2);
            parts.push(column.clone());
            changed = true;
            if parts.len() == 1 {
                *expression = Expr::Identifier(column);
            }
        }
        ControlFlow::<()>::Continue(())
    });
    changed
}

/// `j.a.b` is a part of the document in the column `j`.
fn part_of_document(query: &mut Query, missing: &Column, names: &[&str]) -> bool {
    let Some(relation) = &missing.relation else { return false };
    let mut changed = false;
    let _ = visit_expressions_mut(query, |expression| {
        let Expr::CompoundIdentifier(parts) = expression else { return ControlFlow::Continue(()) };
        let [.., prefix, last] = parts.as_slice() else { return ControlFlow::Continue(()) };
        let is_missing = last.value == missing.name && prefix.value == relation.table();
        let column =
            parts[..parts.len() - 1].iter().position(|part| names.contains(&part.value.as_str()));
        if let Some(at) = column.filter(|_| is_missing) {
            let path = parts.split_off(at + 1);
            let column = match parts.len() {
                1 => Expr::Identifier(parts[0].clone()),
                _ => Expr::CompoundIdentifier(parts.clone()),
            };
            let text = |part: Ident| Expr::Value(Value::SingleQuotedString(part.value).into());
            let arguments = std::iter::once(column).chain(path.into_iter().map(text)).collect();
            if let Ok(call) = templates::expression(&format!("{DOCUMENT_PART}()")) {
                *expression = with_arguments(call, arguments);
                changed = true;
            }
        }
        ControlFlow::<()>::Continue(())
    });
    changed
}

fn missing_column(error: &DataFusionError) -> Option<(&Column, &[Column])> {
    match error {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => Some((field, valid_fields)),
            _ => None,
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            missing_column(inner)
        }
        DataFusionError::Collection(errors) => errors.first().and_then(missing_column),
        DataFusionError::Shared(inner) => missing_column(inner),
        _ => None,
    }
}

/// The only name that equals `name` without case, unless one equals it exactly.
fn other_case<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    if names.contains(&name) {
        return None;
    }
    let mut alike: Vec<&str> =
        names.iter().copied().filter(|candidate| candidate.eq_ignore_ascii_case(name)).collect();
    alike.sort_unstable();
    alike.dedup();
    match alike.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

/// Renames `name` and whatever else differs only by case from one of `names`.
fn match_case_of(query: &mut Query, name: &str, names: &[&str]) -> bool {
    if other_case(name, names).is_none() {
        return false;
    }
    match_case(query, names);
    true
}

/// Gives every identifier that is none of `names` the case of the only one that is like it.
pub(super) fn match_case<T: VisitMut>(tree: &mut T, names: &[&str]) {
    let rename = |ident: &mut Ident| {
        if let Some(exact) = other_case(&ident.value, names) {
            ident.value = exact.to_owned();
        }
    };
    let _ = visit_expressions_mut(tree, |expression| {
        match expression {
            Expr::Identifier(ident) => rename(ident),
            Expr::CompoundIdentifier(idents) => idents.iter_mut().for_each(rename),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
}

/// Puts what the alias `name` stands for in its place, in every SELECT that defines it.
fn substitute_alias(query: &mut Query, name: &str) -> bool {
    struct Selects<'a> {
        name: &'a str,
        changed: bool,
    }
    impl VisitorMut for Selects<'_> {
        type Break = ();

        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            self.changed |= substitute_in(select, self.name);
            ControlFlow::Continue(())
        }
    }
    let mut selects = Selects { name, changed: false };
    let _ = walk_mut(query, &mut selects);
    selects.changed
}

/// `inf` and `nan` are numbers where no column has the name.
fn float_by_name(query: &mut Query, name: &str) -> bool {
    let text = match name.to_lowercase().as_str() {
        "inf" | "infinity" => "CAST('inf' AS Float64)",
        "nan" => "CAST('nan' AS Float64)",
        _ => return false,
    };
    let Ok(number) = templates::expression(text) else { return false };
    let mut changed = false;
    let _ = visit_expressions_mut(query, |expression| {
        if matches!(expression, Expr::Identifier(ident)
            if ident.quote_style.is_none() && ident.value == name)
        {
            *expression = number.clone();
            changed = true;
        }
        ControlFlow::<()>::Continue(())
    });
    changed
}

fn substitute_in(select: &mut Select, name: &str) -> bool {
    let definition = select.projection.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if alias.value == name => Some(expr.clone()),
        _ => None,
    });
    let Some(definition) = definition.filter(|definition| {
        !mentions(definition, name) && !has_more_expressions(definition, DEFINITION_MAX)
    }) else {
        return false;
    };
    let mut changed = false;
    let mut replace = |expression: &mut Expr| {
        let _ = visit_expressions_mut(expression, |inner| {
            if matches!(inner, Expr::Identifier(ident) if ident.value == name) {
                *inner = Expr::Nested(Box::new(definition.clone()));
                changed = true;
            }
            ControlFlow::<()>::Continue(())
        });
    };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            replace(expr);
        }
    }
    select.prewhere.iter_mut().for_each(&mut replace);
    select.selection.iter_mut().for_each(&mut replace);
    changed
}

/// Lets keys of a GROUP BY mean aliases of the SELECT list instead of columns of the same name, where
/// the alias stands for something over columns that are no keys: by the column the query would be wrong.
pub(super) fn group_by_aliases(query: &mut Query) -> bool {
    struct Selects {
        changed: bool,
    }
    impl VisitorMut for Selects {
        type Break = ();

        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
                self.changed |= replace_keys(keys, &select.projection);
            }
            ControlFlow::Continue(())
        }
    }
    let mut selects = Selects { changed: false };
    let _ = walk_mut(query, &mut selects);
    selects.changed
}

fn replace_keys(keys: &mut [Expr], projection: &[SelectItem]) -> bool {
    let is_key = |keys: &[Expr], name: &str| {
        keys.iter().any(|key| matches!(key, Expr::Identifier(key) if key.value == name))
    };
    let mut changed = false;
    for item in projection {
        let SelectItem::ExprWithAlias { expr, alias } = item else { continue };
        let over_others = visit_expressions(expr, |inner| match inner {
            Expr::Identifier(column) if !is_key(keys, &column.value) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        if over_others.is_continue() {
            continue;
        }
        for key in keys.iter_mut() {
            if matches!(key, Expr::Identifier(key) if key.value == alias.value) {
                *key = expr.clone();
                changed = true;
            }
        }
    }
    changed
}

fn mentions(expression: &Expr, name: &str) -> bool {
    let found = visit_expressions(expression, |inner| match inner {
        Expr::Identifier(ident) if ident.value == name => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}
