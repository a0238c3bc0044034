//! Files of deletions that later ones replaced: they go when nobody can ask for them any more, and no
//! earlier, on local disks and on shared volumes.

use std::sync::Arc;

use futures::TryStreamExt;
use granary_catalog::{Catalog, CloneTable, CommandBody, DeletionContent, Outcome};
use granary_common::{CatalogVersion, DatabaseId, ErrorKind, PartId, TableId, WorkerId};
use granary_execution::WorkerApi;
use granary_storage::{Deletions, PartRef, Volume, VolumeKind};
use object_store::memory::InMemory;

use super::bench::{BIG, Bench, Change, Life, read};
use crate::sweep::SharedSweeper;

fn volume(kind: VolumeKind) -> Arc<Volume> {
    Arc::new(Volume::over("local", kind, Arc::new(InMemory::new())))
}

fn kinds() -> [VolumeKind; 2] {
    [VolumeKind::Local { worker: WorkerId(1) }, VolumeKind::Shared]
}

/// The ids of the files of deletions that are on the volume.
async fn files(life: &Life) -> Vec<u64> {
    let objects: Vec<_> = life.volume.store.list(None).try_collect().await.unwrap();
    let names = objects.iter().filter_map(|object| object.location.filename());
    let mut ids: Vec<u64> =
        names.filter_map(DeletionContent::id_of_file).map(|PartId(id)| id).collect();
    ids.sort_unstable();
    ids
}

/// A part that lost every second row and then every third one; its reference before the second loss.
async fn twice_deleted(kind: VolumeKind) -> (Bench, Life, PartRef, CatalogVersion) {
    let mut bench = Bench::new().await;
    let mut life = bench.start(volume(kind)).await;
    bench.make(&mut life, Change::Insert(BIG)).await.unwrap();
    bench.make(&mut life, Change::DeleteHalf(0)).await.unwrap();
    let pinned = bench.catalog.snapshot().version;
    let then = PartRef::at(&bench.parts()[0], pinned);
    bench.make(&mut life, Change::DeleteThird(0)).await.unwrap();
    assert_eq!(files(&life).await.len(), 2);
    (bench, life, then, pinned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_keeps_what_it_pinned() {
    for kind in kinds() {
        let (mut bench, mut life, then, pinned) = twice_deleted(kind).await;
        bench.forget(pinned).await;
        life.sweep().await.unwrap();
        assert_eq!(files(&life).await.len(), 2, "somebody reads the first");
        assert_eq!(read(&life, &bench.state(), &then).await.unwrap().len() as i64, BIG / 2);
        // Nobody does any more. No commit has made the catalog drop it, and its id is still leased.
        bench.make(&mut life, Change::Sweep).await.unwrap();
        assert_eq!(files(&life).await.len(), 1);
        assert_eq!(bench.parts()[0].deletions.len(), 2, "it is still named");
        bench.check_rows(&life).await;
        bench.check_files(&life).await;
        // Who looks at the part as it was meets no damage, only what has passed.
        life.local.check_part(then).await.map_or_else(
            |error| assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            |found| panic!("{found:?}"),
        );
        assert!(bench.catalog.snapshot().damage.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_left_the_catalog_goes_at_once() {
    for kind in kinds() {
        let (mut bench, mut life, _, pinned) = twice_deleted(kind).await;
        bench.forget(pinned).await;
        life.sweep().await.unwrap();
        bench.forget(bench.catalog.snapshot().version).await;
        // A commit after the history has passed drops the name before the sweep sees it.
        bench.make(&mut life, Change::DeleteHalf(0)).await.unwrap();
        assert_eq!(bench.parts()[0].deletions.len(), 2);
        bench.make(&mut life, Change::Sweep).await.unwrap();
        assert_eq!(files(&life).await.len(), 1);
        bench.check_rows(&life).await;
        bench.check_files(&life).await;
    }
}

async fn cloned(bench: &Bench, version: CatalogVersion) -> TableId {
    let clone = CloneTable {
        from: bench.table,
        database: DatabaseId(1),
        name: "clone".into(),
        version: Some(version),
        if_not_exists: false,
    };
    match bench.catalog.execute(CommandBody::CloneTable(clone)).await.unwrap().1 {
        Outcome::TableCreated(table) => table,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_of_an_earlier_version_keeps_its_deletions() {
    for kind in kinds() {
        let (mut bench, mut life, _, pinned) = twice_deleted(kind).await;
        let clone = cloned(&bench, pinned).await;
        bench.make(&mut life, Change::Sweep).await.unwrap();
        assert_eq!(files(&life).await.len(), 2, "the clone needs the first");
        let snapshot = bench.catalog.snapshot();
        let state = snapshot.tables[&clone].clone();
        let part = state.visible_parts(snapshot.version).next().unwrap();
        let part = PartRef::at(part, snapshot.version);
        assert_eq!(read(&life, &state, &part).await.unwrap().len() as i64, BIG / 2);

        let drop = CommandBody::DropTable { table: clone };
        bench.catalog.execute(drop).await.unwrap();
        let undrop = CommandBody::UndropTable { table: clone };
        life.sweep().await.unwrap();
        bench.catalog.execute(undrop).await.unwrap();
        assert_eq!(read(&life, &state, &part).await.unwrap().len() as i64, BIG / 2);
        let drop = CommandBody::DropTable { table: clone };
        bench.catalog.execute(drop).await.unwrap();
        bench.make(&mut life, Change::Sweep).await.unwrap();
        assert_eq!(files(&life).await.len(), 1, "nobody needs the first any more");
        bench.check_rows(&life).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_restored_has_the_deletions_of_then() {
    for kind in kinds() {
        let (mut bench, mut life, _, pinned) = twice_deleted(kind).await;
        life.sweep().await.unwrap();
        let restore = CommandBody::RestoreTable { table: bench.table, version: pinned };
        bench.catalog.execute(restore).await.unwrap();
        bench.make(&mut life, Change::Sweep).await.unwrap();
        let (snapshot, state) = (bench.catalog.snapshot(), bench.state());
        let part = PartRef::at(&bench.parts()[0], snapshot.version);
        assert_eq!(read(&life, &state, &part).await.unwrap().len() as i64, BIG / 2);
        assert_eq!(files(&life).await.len(), 1, "those of the second loss are not needed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_committed_yet_stays_as_long_as_it_can_be() {
    for kind in kinds() {
        let mut bench = Bench::new().await;
        let mut life = bench.start(volume(kind)).await;
        bench.make(&mut life, Change::Insert(BIG)).await.unwrap();
        let part = PartRef::at(&bench.parts()[0], bench.catalog.snapshot().version);
        let rows: Deletions = (0..BIG as u32).step_by(2).collect();
        life.local.write_deletions(part, rows).await.unwrap();
        for _ in 0..2 {
            bench.make(&mut life, Change::Sweep).await.unwrap();
            assert_eq!(files(&life).await.len(), 1);
        }
        // In another life, it cannot be committed any more.
        let mut life = bench.start(Arc::clone(&life.volume)).await;
        bench.make(&mut life, Change::Sweep).await.unwrap();
        assert_eq!(files(&life).await.len(), 0);
        bench.check_rows(&life).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sweeps_of_one_volume_do_no_harm() {
    let (bench, mut life, _, _) = twice_deleted(VolumeKind::Shared).await;
    bench.forget(bench.catalog.snapshot().version).await;
    let catalog: Arc<dyn Catalog> = Arc::clone(&bench.catalog) as Arc<dyn Catalog>;
    let volumes = vec![Arc::clone(&life.volume)];
    let mut other = SharedSweeper::new(catalog, WorkerId(1), volumes);
    let (one, two) = tokio::join!(life.sweep(), other.sweep());
    one.unwrap();
    two.unwrap();
    assert_eq!(files(&life).await.len(), 1);
    bench.check_rows(&life).await;
    bench.check_files(&life).await;
}
