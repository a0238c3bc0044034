//! The consensus library's own tests of a store, and the formats on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use granary_catalog::{Command, CommandBody, codec};
use granary_common::{ClusterId, ErrorKind, NodeId, SystemRandom, TaskOwner};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{StorageError, StorageIOError};
use tempfile::TempDir;

use super::entry::{Applied, StoredEntry, StoredLogId, StoredMembers, StoredPayload, StoredVote};
use super::log::LogStore;
use super::state::StateMachine;
use super::{Identity, Store};
use crate::feed::Feed;
use crate::raft::TypeConfig;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<u64>> {
        let folder = tempfile::tempdir().expect("a folder");
        let random = SystemRandom::shared();
        let failed = |error| StorageIOError::<u64>::read(&error);
        let store = Store::open(folder.path(), NodeId(0), &*random).await.map_err(failed)?;
        let machine = StateMachine::open(&store, Feed::new(), random, TaskOwner::current());
        let log = LogStore::new(store.disk);
        Ok((folder, log, machine.map_err(failed)?))
    }
}

#[test]
fn the_library_accepts_the_store() {
    Suite::test_all(Builder).expect("every test of the suite passes");
}

async fn open(folder: &TempDir, node: u64) -> granary_common::Result<Store> {
    Store::open(folder.path(), NodeId(node), &*SystemRandom::shared()).await
}

#[tokio::test]
async fn a_folder_is_opened_once_and_by_its_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, 1).await.expect("a new folder");
    let second = open(&folder, 1).await.expect_err("in use");
    assert_eq!(second.kind(), ErrorKind::Unavailable);
    assert!(second.message().contains("in use by another process"), "{second}");
    drop(store);
    let other = open(&folder, 2).await.expect_err("another node's");
    assert_eq!(other.kind(), ErrorKind::InvalidInput);
    open(&folder, 1).await.expect("free again");
}

#[tokio::test]
async fn a_folder_of_a_newer_build_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, 1).await.expect("a new folder");
    let newer = Identity { format: 2, node: 1, folder: "f".into() };
    store
        .disk
        .write(super::disk::Durability::Synced, move |db, batch| {
            super::disk::put_meta(db, batch, super::IDENTITY, &newer)
        })
        .await
        .expect("written");
    drop(store);
    let refused = open(&folder, 1).await.expect_err("newer");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

/// As in `granary-catalog`'s `tests/formats`: frozen, and never overwritten.
fn check<T>(name: &str, value: &T)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.bin"));
    if std::env::var_os("GRANARY_WRITE_FIXTURES").is_some() && !path.exists() {
        std::fs::write(&path, codec::encode(value).expect("encodes")).expect("writes");
    }
    let frozen = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(&codec::decode::<T>(&frozen).expect("a frozen fixture decodes"), value, "{name}");
}

#[test]
fn formats_on_disk() {
    let id = StoredLogId { term: 3, node: 2, index: 41 };
    let members = StoredMembers {
        voters: vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 3])],
        addresses: BTreeMap::from([
            (1, "a:7423".into()),
            (2, "b:7423".into()),
            (3, "c:7423".into()),
        ]),
    };
    let body = CommandBody::InitCluster { cluster: ClusterId("0123".into()) };
    let command = StoredPayload::Command(Command { time_ms: 1_700_000_000_000, body });
    check("entry_blank", &StoredEntry { id, payload: StoredPayload::Blank });
    check("entry_command", &StoredEntry { id, payload: command });
    check("entry_members", &StoredEntry { id, payload: StoredPayload::Members(members.clone()) });
    check("vote", &StoredVote { term: 3, node: 2, committed: true });
    check("purged", &id);
    check("identity", &Identity { format: 1, node: 2, folder: "0123".into() });
    let known = BTreeSet::from([1, 2, 3, 4]);
    let (last, members_at) = (Some(id), Some(StoredLogId { index: 7, ..id }));
    check("applied", &Applied { generation: 2, last, members_at, members: members.clone(), known });
    let manifest = super::snapshot::Manifest {
        id: "00000000000000000041-0123".into(),
        last,
        members_at,
        members,
        files: vec![("000012.sst".into(), 1234), ("CURRENT".into(), 16)],
    };
    check("snapshot_manifest", &manifest);
}
