//! What a long insert has staged so far.

use std::sync::Arc;

use granary_catalog::CommandBody;

use crate::core::Coordinator;

/// Parts that are staged; dropped from the catalog unless they are published, also when the client
/// goes away in the middle.
pub(super) struct Staged {
    pub core: Arc<Coordinator>,
    pub transaction: String,
    /// Whether anything is staged.
    pub is_begun: bool,
    pub published: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        let catalog = Arc::clone(&self.core.with.catalog);
        let transaction = self.transaction.clone();
        self.core.with.tasks.spawn(async move {
            // Failing that, the stage expires by itself.
            if let Err(error) = catalog.execute(CommandBody::AbortStaged { transaction }).await {
                tracing::warn!(%error, "a staged insert could not be dropped; it will expire");
            }
        });
    }
}
