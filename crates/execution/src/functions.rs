//! The functions that plans may name, the same on every node: a coordinator plans with them and a
//! worker decodes plans with them.

use std::fmt::Debug;

use datafusion::execution::SessionStateBuilder;

use crate::single_value::single_value;

/// Scalar, aggregate and window functions with their rewrites.
pub trait FunctionSet: Debug + Send + Sync {
    /// Adds the functions to a session that is being built. Called once for each session, on
    /// coordinators and on workers.
    fn register(&self, builder: SessionStateBuilder) -> SessionStateBuilder;
}

/// Adds `functions`, and what plans name of their own accord.
pub fn register_all(
    functions: &dyn FunctionSet,
    builder: SessionStateBuilder,
) -> SessionStateBuilder {
    let mut builder = functions.register(builder);
    builder.aggregate_functions().get_or_insert_default().push(single_value());
    builder
}

/// Only what DataFusion brings along.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuiltinFunctions;

impl FunctionSet for BuiltinFunctions {
    fn register(&self, builder: SessionStateBuilder) -> SessionStateBuilder {
        builder
    }
}
