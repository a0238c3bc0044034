//! Walks over syntax trees.
//!
//! The parser's own walk is generic over its visitor, and each visitor makes the compiler translate it
//! for every node of the language once more. Here all visitors go through one whose hooks are called
//! by pointer, so there is one walk that reads and one that changes.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut,
    Visitor, VisitorMut,
};

/// Shows `tree` to `visitor`; gives what it broke off with.
pub(crate) fn walk<V: Visitor>(tree: &impl Visit, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut keeping = Keeping { visitor, broke: None };
    let _ = tree.visit(&mut Through(&mut keeping));
    keeping.broke.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// Lets `visitor` change `tree`; gives what it broke off with.
pub(crate) fn walk_mut<V: VisitorMut>(
    tree: &mut impl VisitMut,
    visitor: &mut V,
) -> ControlFlow<V::Break> {
    let mut keeping = Keeping { visitor, broke: None };
    let _ = tree.visit(&mut ThroughMut(&mut keeping));
    keeping.broke.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// Shows every expression of `tree`, outer ones before inner ones.
pub(crate) fn visit_expressions<B>(
    tree: &impl Visit,
    show: impl FnMut(&Expr) -> ControlFlow<B>,
) -> ControlFlow<B> {
    walk(tree, &mut OfExpressions(show))
}

/// Whether `tree` has more than `most` expressions; no more of them are looked at.
pub(crate) fn has_more_expressions(tree: &impl Visit, most: usize) -> bool {
    let mut seen = 0_usize;
    let counted = visit_expressions(tree, |_| {
        seen += 1;
        if seen > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    counted.is_break()
}

/// Lets every expression of `tree` be changed, inner ones before outer ones.
pub(crate) fn visit_expressions_mut<B>(
    tree: &mut impl VisitMut,
    change: impl FnMut(&mut Expr) -> ControlFlow<B>,
) -> ControlFlow<B> {
    walk_mut(tree, &mut OfExpressions(change))
}

/// Shows the name of every relation in `tree`.
pub(crate) fn visit_relations<B>(
    tree: &impl Visit,
    show: impl FnMut(&ObjectName) -> ControlFlow<B>,
) -> ControlFlow<B> {
    walk(tree, &mut OfRelations(show))
}

struct OfExpressions<F>(F);

impl<B, F: FnMut(&Expr) -> ControlFlow<B>> Visitor for OfExpressions<F> {
    type Break = B;

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<B> {
        (self.0)(expression)
    }
}

impl<B, F: FnMut(&mut Expr) -> ControlFlow<B>> VisitorMut for OfExpressions<F> {
    type Break = B;

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<B> {
        (self.0)(expression)
    }
}

struct OfRelations<F>(F);

impl<B, F: FnMut(&ObjectName) -> ControlFlow<B>> Visitor for OfRelations<F> {
    type Break = B;

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<B> {
        (self.0)(name)
    }
}

/// The one visitor that the parser's walk is translated for.
struct Through<'a>(&'a mut dyn Visitor<Break = ()>);

/// [`Through`] for trees that are changed.
struct ThroughMut<'a>(&'a mut dyn VisitorMut<Break = ()>);

/// Keeps what a visitor breaks off with, so that all of them break off alike.
struct Keeping<'a, V, B> {
    visitor: &'a mut V,
    broke: Option<B>,
}

impl<V, B> Keeping<'_, V, B> {
    fn keep(&mut self, flow: ControlFlow<B>) -> ControlFlow<()> {
        flow.map_break(|broke| self.broke = Some(broke))
    }
}

/// Every hook of the parser's visitors, each handed on to the visitor inside.
macro_rules! hooks {
    (read by $through:ident, $visitor:ident: $($hook:ident($node:ty)),+ $(,)?) => {
        hooks! { $through, $visitor: $($hook(&$node)),+ }
    };
    (changed by $through:ident, $visitor:ident: $($hook:ident($node:ty)),+ $(,)?) => {
        hooks! { $through, $visitor: $($hook(&mut $node)),+ }
    };
    ($through:ident, $visitor:ident: $($hook:ident($shown:ty)),+) => {
        impl $visitor for $through<'_> {
            type Break = ();
            $(fn $hook(&mut self, node: $shown) -> ControlFlow<()> {
                self.0.$hook(node)
            })+
        }

        impl<V: $visitor> $visitor for Keeping<'_, V, V::Break> {
            type Break = ();
            $(fn $hook(&mut self, node: $shown) -> ControlFlow<()> {
                let flow = self.visitor.$hook(node);
                self.keep(flow)
            })+
        }
    };
}

macro_rules! all_hooks {
    ($($how:tt)+) => {
        hooks! {
            $($how)+:
            pre_visit_query(Query),
            post_visit_query(Query),
            pre_visit_select(Select),
            post_visit_select(Select),
            pre_visit_relation(ObjectName),
            post_visit_relation(ObjectName),
            pre_visit_table_factor(TableFactor),
            post_visit_table_factor(TableFactor),
            pre_visit_expr(Expr),
            post_visit_expr(Expr),
            pre_visit_statement(Statement),
            post_visit_statement(Statement),
            pre_visit_value(ValueWithSpan),
            post_visit_value(ValueWithSpan),
        }
    };
}

all_hooks!(read by Through, Visitor);
all_hooks!(changed by ThroughMut, VisitorMut);
