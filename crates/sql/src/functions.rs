//! The dialect's functions, by family. Plans name them, so coordinators and workers register the
//! same set.

use datafusion::execution::SessionStateBuilder;
use granary_execution::functions::FunctionSet;

/// Every function of the dialect that DataFusion does not bring along.
#[derive(Clone, Copy, Debug, Default)]
pub struct GranaryFunctions;

impl FunctionSet for GranaryFunctions {
    fn register(&self, builder: SessionStateBuilder) -> SessionStateBuilder {
        register(builder)
    }
}

/// Adds the functions and the planners of the dialect to a session.
pub fn register(builder: SessionStateBuilder) -> SessionStateBuilder {
    builder
}
