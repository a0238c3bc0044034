//! ARRAY JOIN and ASOF JOIN: each becomes a nest of its own that holds everything before it, which
//! [`crate::relations`] plans.

use sqlparser::ast::{
    ExceptSelectItem, Ident, Join, JoinOperator, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, WildcardAdditionalOptions,
};

/// Nests the joins of a SELECT, and keeps the aliases of unnested arrays out of its `*`.
pub(super) fn nest(select: &mut Select) {
    let mut aliases: Vec<Ident> = Vec::new();
    for table in &mut select.from {
        while let Some(at) = table.joins.iter().position(is_special) {
            aliases.extend(array_aliases(&table.joins[at]));
            let rest = table.joins.split_off(at + 1);
            let special = table.joins.pop();
            // What is already a nest without an alias needs no other around it.
            let base = match table.joins.is_empty() {
                true => table.relation.clone(),
                false => nested(table.relation.clone(), std::mem::take(&mut table.joins)),
            };
            table.relation = nested(base, special.into_iter().collect());
            table.joins = rest;
        }
    }
    if aliases.is_empty() {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::Wildcard(options) = item {
            leave_out(options, &aliases);
        }
    }
}

fn is_special(join: &Join) -> bool {
    is_array_join(&join.join_operator) || matches!(join.join_operator, JoinOperator::AsOf { .. })
}

fn is_array_join(operator: &JoinOperator) -> bool {
    matches!(
        operator,
        JoinOperator::ArrayJoin | JoinOperator::LeftArrayJoin | JoinOperator::InnerArrayJoin
    )
}

fn nested(relation: TableFactor, joins: Vec<Join>) -> TableFactor {
    TableFactor::NestedJoin {
        table_with_joins: Box::new(TableWithJoins { relation, joins }),
        alias: None,
    }
}

/// The names that an ARRAY JOIN adds.
fn array_aliases(join: &Join) -> Vec<Ident> {
    let TableFactor::Derived { subquery, .. } = &join.relation else { return Vec::new() };
    match subquery.body.as_ref() {
        SetExpr::Select(arrays) if is_array_join(&join.join_operator) => arrays
            .projection
            .iter()
            .filter_map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn leave_out(options: &mut WildcardAdditionalOptions, names: &[Ident]) {
    let Some((first, others)) = names.split_first() else { return };
    match &mut options.opt_except {
        Some(except) => except.additional_elements.extend(names.iter().cloned()),
        None => {
            options.opt_except = Some(ExceptSelectItem {
                first_element: first.clone(),
                additional_elements: others.to_vec(),
            });
        }
    }
}
