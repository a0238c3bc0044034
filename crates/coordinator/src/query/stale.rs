//! What a query reads: everything that is acknowledged, or, where its settings allow it and the
//! metadata group does not answer, the catalog as this coordinator knew it last.

use std::sync::Arc;
use std::time::Duration;

use granary_catalog::Snapshot;
use granary_common::{CatalogVersion, Error, ErrorKind, Result};
use granary_sql::Notice;

use super::bind::{snapshot_at, view_at};
use super::{Pin, StatementRequest};
use crate::core::Coordinator;
use crate::session::StatementSettings;

/// Whoever takes old answers does not want to wait long for new ones.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The catalog at the version that a query reads.
pub struct Readable {
    pub snapshot: Arc<Snapshot>,
    /// Keeps the version readable.
    pub pin: Pin,
    /// Why the version may be an old one. Its files are not protected then: one that is gone fails the
    /// query.
    pub stale: Option<Notice>,
}

/// The version that `request` asks for, pinned.
///
/// # Errors
/// As of [`snapshot_at`]; with `allow_stale_reads` not because the metadata group is away.
pub async fn readable(
    core: &Arc<Coordinator>,
    request: &StatementRequest,
    settings: &StatementSettings,
) -> Result<Readable> {
    let fresh = snapshot_at(core, request.version);
    if !settings.allow_stale_reads {
        let (snapshot, pin) = fresh.await?;
        return Ok(Readable { snapshot, pin, stale: None });
    }
    let found = tokio::select! {
        found = fresh => found,
        () = core.with.clock.sleep(ANSWER_LIMIT) => Err(Error::unavailable("no answer in time")),
    };
    match found {
        Ok((snapshot, pin)) => Ok(Readable { snapshot, pin, stale: None }),
        Err(error) if is_away(error.kind()) => as_known(core, request.version),
        Err(error) => Err(error),
    }
}

fn is_away(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::DeadlineExceeded)
}

fn as_known(core: &Coordinator, version: Option<CatalogVersion>) -> Result<Readable> {
    let known = core.with.catalog.snapshot();
    if known.cluster.is_none() {
        return Err(Error::unavailable("this coordinator has not read the catalog yet; try again"));
    }
    let version = version.unwrap_or(known.version);
    if version > known.version {
        return Err(Error::unavailable(format!(
            "version {version} of the catalog has not arrived here, and the metadata group does not \
             answer; run the query again"
        )));
    }
    let pin = core.pins.pin(version);
    let snapshot = match version == known.version {
        true => known,
        false => Arc::new(view_at(&known, version)),
    };
    let stale = Notice::new(format!(
        "read at version {version} of the catalog, without what was written since then: the metadata \
         group does not answer"
    ));
    Ok(Readable { snapshot, pin, stale: Some(stale) })
}
