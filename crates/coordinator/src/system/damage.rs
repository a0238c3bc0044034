//! What is known of damaged parts.

use granary_catalog::Part;

use super::View;

/// What is wrong with which copy; `None` when nothing is known to be.
pub(super) fn damage_text(view: &View, part: &Part) -> Option<String> {
    let damage = view.snapshot.damage_of(part);
    let texts = damage.iter().map(|row| match row.copy.worker {
        Some(worker) => format!("worker {worker}: {}", row.reason),
        None => row.reason.clone(),
    });
    (!damage.is_empty()).then(|| texts.collect::<Vec<_>>().join("; "))
}
