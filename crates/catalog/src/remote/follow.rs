//! Keeps the local snapshot up to date from the stream of changes.

use std::sync::Arc;

use granary_common::{CatalogVersion, Error, Result};
use granary_proto::internal::{WatchRequest, WatchResponse};
use tonic::Streaming;

use super::wire::{error_of, within};
use super::{PAUSE, READ_ATTEMPT_LIMIT, Shared};
use crate::codec;
use crate::row::Change;
use crate::snapshot::Snapshot;

/// Follows one member after the other until the task is stopped.
pub(super) async fn follow(shared: &Shared) {
    let mut reported = None;
    loop {
        let (place, _) = shared.member();
        let error = follow_one(shared).await.err();
        if let Some(error) = error.filter(|error| reported.as_ref() != Some(error)) {
            tracing::warn!(%error, "the stream of catalog changes broke; it is made anew");
            reported = Some(error);
        }
        shared.leave(place);
        shared.clock.sleep(PAUSE).await;
    }
}

async fn follow_one(shared: &Shared) -> Result<()> {
    let (_, mut client) = shared.member();
    let after_version = shared.snapshot().version.0;
    let request = shared.request(WatchRequest { after_version });
    let stream = within(&*shared.clock, READ_ATTEMPT_LIMIT, client.watch(request)).await;
    let stream = stream.ok_or_else(|| Error::deadline("a metadata node has not answered"))?;
    let mut stream = stream.map_err(|status| error_of(&status))?.into_inner();
    tokio::select! {
        result = receive(shared, &mut stream) => result,
        () = shared.renew.notified() => Ok(()),
    }
}

async fn receive(shared: &Shared, stream: &mut Streaming<WatchResponse>) -> Result<()> {
    let mut draft: Option<Snapshot> = None;
    while let Some(message) = stream.message().await.map_err(|status| error_of(&status))? {
        let base = match (message.reset, draft.take()) {
            (true, _) => Snapshot::default(),
            (false, Some(draft)) => draft,
            (false, None) => (*shared.snapshot()).clone(),
        };
        let changes = message.changes.iter().map(|bytes| codec::decode::<Change>(bytes));
        let changes: Vec<Change> = changes.collect::<Result<_>>()?;
        let next = base.with_changes(CatalogVersion(message.version), &changes);
        match message.more {
            true => draft = Some(next),
            false => publish(shared, next),
        }
    }
    Ok(())
}

/// Versions never go back: a member that is behind must not hide what was seen already.
fn publish(shared: &Shared, next: Snapshot) {
    let version = next.version;
    let mut current = shared.snapshot.lock();
    if current.version > version {
        return;
    }
    *current = Arc::new(next);
    drop(current);
    shared.version.send_replace(version);
}
