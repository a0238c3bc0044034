//! Which data folder each member was met with.
//!
//! A member that lost its disk has forgotten whom it voted for and what it acknowledged. If it
//! came back under its old id, a majority could forget something acknowledged. So members name
//! their folders to each other, remember them, and neither answer nor count one that comes back
//! with another folder.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use granary_common::{Error, NodeId, Result};
use parking_lot::Mutex;

use super::disk::{Disk, Durability, put_meta, read_meta};

/// Header of a member's requests: its node id and folder.
pub(crate) const MEMBER_HEADER: &str = "granary-member";

/// The folders that this member knows, its own first.
#[derive(Debug)]
pub(crate) struct Acquaintance {
    node: NodeId,
    folder: String,
    /// Whoever still holds this after the node has stopped does not keep the folder open.
    disk: Weak<Disk>,
    known: Mutex<HashMap<u64, String>>,
}

impl Acquaintance {
    pub fn new(node: NodeId, folder: String, disk: &Arc<Disk>) -> Arc<Self> {
        let disk = Arc::downgrade(disk);
        Arc::new(Self { node, folder, disk, known: Mutex::new(HashMap::new()) })
    }

    /// How this member names itself to others.
    pub fn own_name(&self) -> String {
        format!("{}/{}", self.node, self.folder)
    }

    /// Checks how a member names itself, and remembers it when it is met for the first time. A
    /// caller that is no member has no name. Kind `PermissionDenied` for another folder.
    pub async fn meet(&self, name: &str) -> Result<()> {
        let Some((node, folder)) = name.split_once('/') else { return Ok(()) };
        let Ok(node) = node.parse::<u64>() else { return Ok(()) };
        if let Some(known) = self.known.lock().get(&node) {
            return same(node, known, folder);
        }
        let disk = self.disk.upgrade();
        let disk = disk.ok_or_else(|| Error::unavailable("this node is shutting down"))?;
        let key = format!("folder of {node}");
        let known = match read_meta::<String>(disk.db(), &key)? {
            Some(known) => known,
            None => {
                let first = folder.to_owned();
                let put = move |db: &rocksdb::DB, batch: &mut rocksdb::WriteBatch| {
                    put_meta(db, batch, &key, &first)
                };
                disk.write(Durability::Synced, put).await?;
                folder.to_owned()
            }
        };
        let result = same(node, &known, folder);
        self.known.lock().insert(node, known);
        result
    }
}

fn same(node: u64, known: &str, folder: &str) -> Result<()> {
    match known == folder {
        true => Ok(()),
        false => Err(Error::denied(format!(
            "metadata node {node} came back with another data folder than it had: a node that \
             lost its disk has forgotten its votes and joins under a new id (remove node {node} \
             and add the new one)"
        ))),
    }
}
