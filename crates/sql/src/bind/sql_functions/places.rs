//! Arguments in the places of parameters.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{AccessExpr, Expr, Ident, OneOrManyWithParens, VisitorMut};

use crate::walk::{visit_expressions, walk_mut};

/// In how many places of the body each parameter stands.
pub(super) fn places_of(body: &Expr, parameters: &[String]) -> impl Iterator<Item = usize> {
    let mut places = vec![0; parameters.len()];
    let _ = visit_expressions(body, |inner| {
        let name = match inner {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(parts) => parts.first(),
            _ => None,
        };
        let parameter = name.and_then(|name| parameters.iter().position(|one| *one == name.value));
        if let Some(parameter) = parameter {
            places[parameter] += 1;
        }
        ControlFlow::<()>::Continue(())
    });
    places.into_iter()
}

/// The body with the arguments in the places of the parameters.
pub(super) fn with_arguments(mut body: Expr, parameters: &[String], arguments: Vec<Expr>) -> Expr {
    let mut mentioned = BTreeSet::new();
    for argument in &arguments {
        let _ = visit_expressions(argument, |inner| {
            match inner {
                Expr::Identifier(ident) => mentioned.insert(ident.value.clone()),
                Expr::CompoundIdentifier(parts) => {
                    mentioned.extend(parts.first().map(|part| part.value.clone()));
                    true
                }
                _ => false,
            };
            ControlFlow::<()>::Continue(())
        });
    }
    let arguments: Vec<Expr> = arguments.into_iter().map(as_operand).collect();
    let mut places = Places { parameters, arguments: &arguments, mentioned, bound: Vec::new() };
    let _ = walk_mut(&mut body, &mut places);
    Expr::Nested(Box::new(body))
}

/// In brackets, unless nothing beside it could split it.
fn as_operand(argument: Expr) -> Expr {
    match argument {
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::Value(_)
        | Expr::Function(_)
        | Expr::Lambda(_)
        | Expr::Array(_)
        | Expr::Tuple(_)
        | Expr::Nested(_) => argument,
        other => Expr::Nested(Box::new(other)),
    }
}

/// Fills in the arguments. Variables of lambdas in the body hide parameters of the same name, and get
/// another name where an argument means a column of that name.
struct Places<'a> {
    parameters: &'a [String],
    arguments: &'a [Expr],
    /// Names that the arguments mention.
    mentioned: BTreeSet<String>,
    /// Variables of the lambdas around, with their names from now on.
    bound: Vec<Vec<(String, String)>>,
}

impl Places<'_> {
    /// What a name stands for: a variable under its new name, or an argument.
    fn meaning(&self, name: &str) -> Option<std::result::Result<String, &Expr>> {
        let mut variables = self.bound.iter().rev().flatten();
        if let Some((_, renamed)) = variables.find(|(variable, _)| variable == name) {
            return Some(Ok(renamed.clone()));
        }
        let at = self.parameters.iter().position(|parameter| parameter == name)?;
        self.arguments.get(at).map(Err)
    }
}

impl VisitorMut for Places<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let Expr::Lambda(lambda) = expression else { return ControlFlow::Continue(()) };
        let mut renamed = Vec::new();
        let names: Vec<&mut Ident> = match &mut lambda.params {
            OneOrManyWithParens::One(one) => vec![&mut one.name],
            OneOrManyWithParens::Many(many) => many.iter_mut().map(|one| &mut one.name).collect(),
        };
        for name in names {
            let own = name.value.clone();
            if self.mentioned.contains(&own) {
                name.value = format!("__granary_{own}_{}", self.bound.len());
            }
            renamed.push((own, name.value.clone()));
        }
        self.bound.push(renamed);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::Lambda(_) => drop(self.bound.pop()),
            Expr::Identifier(ident) => match self.meaning(&ident.value) {
                Some(Ok(variable)) => ident.value = variable,
                Some(Err(argument)) => *expression = argument.clone(),
                None => {}
            },
            Expr::CompoundIdentifier(parts) => {
                let Some((first, rest)) = parts.split_first() else {
                    return ControlFlow::Continue(());
                };
                match self.meaning(&first.value) {
                    Some(Ok(variable)) => parts[0].value = variable,
                    Some(Err(argument)) => *expression = element_of(argument.clone(), rest),
                    None => {}
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// `argument.a.b`.
fn element_of(argument: Expr, rest: &[Ident]) -> Expr {
    match argument {
        Expr::Identifier(ident) => {
            Expr::CompoundIdentifier(std::iter::once(ident).chain(rest.iter().cloned()).collect())
        }
        Expr::CompoundIdentifier(mut parts) => {
            parts.extend(rest.iter().cloned());
            Expr::CompoundIdentifier(parts)
        }
        other => Expr::CompoundFieldAccess {
            root: Box::new(as_operand(other)),
            access_chain: rest
                .iter()
                .map(|part| AccessExpr::Dot(Expr::Identifier(part.clone())))
                .collect(),
        },
    }
}
