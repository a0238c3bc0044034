//! The functions that plans may name, the same on every node: a coordinator plans with them and a
//! worker decodes plans with them.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::execution::{SessionStateBuilder, TaskContext};
pub use granary_storage::DocumentReader;
use granary_storage::merge::NoStates;
pub use granary_storage::merge::StateMerger;

use crate::single_value::single_value;

/// Scalar, aggregate and window functions with their rewrites.
pub trait FunctionSet: Debug + Send + Sync {
    /// Adds the functions to a session that is being built. Called once for each session, on
    /// coordinators and on workers.
    fn register(&self, builder: SessionStateBuilder) -> SessionStateBuilder;

    /// How states of aggregate functions are merged; a set without such functions merges none.
    fn states(&self) -> Arc<dyn StateMerger> {
        Arc::new(NoStates)
    }

    /// How parts of documents are kept; a set without [`DOCUMENT_PART`] keeps none.
    fn documents(&self) -> Option<Arc<dyn DocumentReader>> {
        None
    }
}

/// What `j.a.b` becomes: a part of a document as a text, NULL where there is none. Its arguments are
/// the document and the names of members.
pub const DOCUMENT_PART: &str = "__granaryDocumentPartOrNull";

/// How scans with FINAL merge states; an extension of every session that may run them.
#[derive(Clone, Debug)]
pub struct States(pub Arc<dyn StateMerger>);

impl States {
    /// The way of the session of `context`.
    pub fn of(context: &TaskContext) -> States {
        let known = context.session_config().get_extension::<States>();
        known.map_or_else(|| States(Arc::new(NoStates)), |states| States::clone(&states))
    }
}

/// Adds `functions`, and what plans name of their own accord.
pub fn register_all(
    functions: &dyn FunctionSet,
    builder: SessionStateBuilder,
) -> SessionStateBuilder {
    let mut builder = functions.register(builder);
    builder.aggregate_functions().get_or_insert_default().push(single_value());
    let config = builder.config().get_or_insert_default();
    config.set_extension(Arc::new(States(functions.states())));
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
