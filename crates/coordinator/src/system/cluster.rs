//! What holds for the cluster as a whole.

use super::View;
use super::columns::Columns;

/// One row, and none before the metadata group has formed.
pub(super) fn cluster(view: &View) -> Columns {
    let cluster = view.snapshot.cluster.as_deref();
    Columns::new()
        .texts("id", cluster.map(|row| row.id.to_string()))
        .numbers("version", cluster.map(|_| view.snapshot.version.0))
        .numbers("horizon", cluster.map(|row| row.horizon.0))
        .numbers("protocol", cluster.map(|row| u64::from(row.protocol)))
        .flags("merges_stopped", cluster.map(|row| row.merges_stopped))
}
