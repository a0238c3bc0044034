//! Rules of our own.

pub mod colocate;
mod single_value;

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

use self::colocate::{ColocateJoins, KeepBuckets};
pub use self::single_value::{NullableSubqueries, logical_rules};

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// The engine's own rules with ours in their places. Joins are colocated after sides and modes are
/// chosen and before exchanges are put in.
pub fn physical_rules(colocated_joins: bool) -> Vec<Rule> {
    let mut rules = PhysicalOptimizer::new().rules;
    if !colocated_joins {
        return rules;
    }
    let ensure = rules.iter().position(|rule| rule.name() == "EnsureRequirements");
    if let Some(ensure) = ensure {
        rules.insert(ensure + 1, Arc::new(KeepBuckets));
        rules.insert(ensure, Arc::new(ColocateJoins));
    }
    rules
}
