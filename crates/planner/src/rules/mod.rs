//! Rules of our own.

mod ambiguous;
pub mod broadcast;
mod cardinality;
pub mod colocate;
mod distinct;
pub mod filters;
mod gather;
mod single_value;
mod values_below;
mod windows;
mod yielding;

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

pub use self::colocate::AvoidExchanges;
use self::colocate::KeepBuckets;
pub use self::single_value::{NullableSubqueries, logical_rules};

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// The engine's own rules, and ours for plans of several workers in their places: exchanges are
/// avoided after sides and modes of joins are chosen and before exchanges are put in.
pub fn physical_rules(several_workers: Option<AvoidExchanges>) -> Vec<Rule> {
    let rules = ambiguous::with_bars(PhysicalOptimizer::new().rules);
    let mut rules = distinct::counting_distinct(rules);
    rules.push(Arc::new(yielding::YieldInJoins));
    let Some(avoid) = several_workers else { return rules };
    let ensure = rules.iter().position(|rule| rule.name() == "EnsureRequirements");
    if let Some(ensure) = ensure {
        rules.insert(ensure + 1, Arc::new(windows::SortByWindowKeys));
        rules.insert(ensure + 1, Arc::new(KeepBuckets));
        rules.insert(ensure, Arc::new(avoid));
    }
    rules
}
