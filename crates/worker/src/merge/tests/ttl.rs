//! Parts whose rows are due, gone, or to be elsewhere.

use super::*;

/// A table with a TTL that deletes rows; what it says is up to the merger here.
fn aging_table() -> NewTable {
    let expiry = RowExpression { plan: Vec::new(), columns: vec![ColumnId(0)] };
    let mut table = new_table(EngineKind::MergeTree);
    table.options.rules = vec![TtlRule { expiry, condition: None, action: TtlAction::Delete }];
    table
}

#[tokio::test]
async fn parts_go_when_their_time_comes() {
    let mut bench = Bench::start_with(aging_table()).await;
    let clock = TestClock::at(99_000);
    bench.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    // Parts of 7 rows have some that are due from second 100 on, those of 8 have nothing else.
    bench.due_s = BTreeMap::from([(7, 100), (8, 101)]);
    bench.insert_of(1, 7).await;
    bench.insert_of(1, 8).await;
    bench.insert_of(1, 9).await;
    let (merges, _) = bench.merges(true, Vec::new());
    let tasks = TaskOwner::current();
    tasks.spawn(Arc::clone(&merges).run(tasks.clone()));
    let settled = |levels: &'static [u32]| {
        let (bench, clock) = (&bench, &clock);
        async move {
            for _ in 0..400 {
                clock.advance(Duration::from_millis(10));
                tokio::time::sleep(Duration::from_millis(5)).await;
                let found: Vec<u32> = bench.parts().iter().map(|part| part.level).collect();
                if found == levels {
                    return;
                }
            }
            panic!("{:?}", bench.parts());
        }
    };
    for _ in 0..20 {
        clock.advance(Duration::from_millis(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(bench.parts().iter().all(|part| part.level == 0), "nothing is due yet");
    clock.advance(Duration::from_secs(2));
    // Neighbours that are due are treated together.
    settled(&[1, 0]).await;
    merges.leave();
    assert!(tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn parts_move_when_their_time_comes() {
    let mut table = aging_table();
    let places = [TtlPlace::Disk("hdd".into()), TtlPlace::Volume("cold".into())];
    let moving = places.clone().map(TtlAction::Move);
    let rule = table.options.rules.remove(0);
    table.options.rules = moving.map(|action| TtlRule { action, ..rule.clone() }).to_vec();
    table.settings.insert("storage_policy".into(), "tiered".into());
    let mut bench = Bench::start_with(table).await;
    let volume =
        |name: &str, disk: &str| TierVolume { volume: name.into(), disks: vec![disk.into()] };
    let disks = ["hdd", "far"].map(|name| (name.to_owned(), format!("/nowhere/{name}")));
    let tiered = vec![volume("hot", "default"), volume("warm", "hdd"), volume("cold", "far")];
    let policies = BTreeMap::from([("tiered".to_owned(), tiered)]);
    bench.tiers = Arc::new(Tiers::new(BTreeMap::from(disks), policies).unwrap());
    let clock = TestClock::at(99_000);
    bench.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    // Parts of 7 rows move twice, those of 8 are late for the first place, those of 9 stay.
    let [disk, cold] = places;
    bench.moves = BTreeMap::from([
        (7, vec![(100, disk.clone()), (200, cold.clone())]),
        (8, vec![(150, disk), (200, cold)]),
    ]);
    for rows in [7, 8, 9] {
        bench.insert_of(1, rows).await;
    }
    let (merges, _) = bench.merges(true, Vec::new());
    let tasks = TaskOwner::current();
    tasks.spawn(Arc::clone(&merges).run(tasks.clone()));
    // Merges of neighbours are none of it: parts are told apart by their rows.
    let disks = || -> BTreeMap<u64, String> {
        bench.parts().iter().map(|part| (part.rows, disk_of(part).to_owned())).collect()
    };
    let expected = |of_7: &str, of_8: &str| {
        BTreeMap::from(
            [(7, of_7), (8, of_8), (9, "default")].map(|(rows, on)| (rows, on.to_owned())),
        )
    };
    for (jump_s, of_7, of_8) in [
        (0, "default", "default"),
        (2, "hdd", "default"),
        (30, "hdd", "default"),
        (30, "hdd", "hdd"),
        (60, "far", "far"),
    ] {
        clock.advance(Duration::from_secs(jump_s));
        let mut stays = 0;
        for _ in 0..400 {
            clock.advance(Duration::from_millis(10));
            tokio::time::sleep(Duration::from_millis(5)).await;
            stays = if disks() == expected(of_7, of_8) { stays + 1 } else { 0 };
            if stays == 20 {
                break;
            }
        }
        assert_eq!(disks(), expected(of_7, of_8), "after {jump_s} s more");
    }
    // A part that moved is the one that it was.
    assert!(bench.parts().iter().all(|part| part.level == 0));
    merges.leave();
    assert!(tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn what_a_statement_asks_of_a_ttl() {
    let mut bench = Bench::start_with(aging_table()).await;
    bench.due_s = BTreeMap::from([(7, 100), (8, i64::MAX)]);
    for rows in [7, 8] {
        bench.insert_of(1, rows).await;
    }
    let (merges, _) = bench.merges(true, Vec::new());
    let spec = OptimizeSpec { is_ttl: true, ..bench.spec(false) };
    // Each by itself, once, however long its rows stay due.
    assert_eq!(merges.optimize(&spec).await.unwrap().merges, 1);
    let levels: Vec<u32> = bench.parts().iter().map(|part| part.level).collect();
    assert_eq!(levels, [1, 0]);
    assert_eq!(merges.optimize(&bench.spec(true)).await.unwrap().merges, 1);
    // A part that no merge would change otherwise is written again while its rows are due.
    assert_eq!(bench.parts().len(), 1);
    bench.due_s = BTreeMap::from([(15, 100)]);
    let (merges, _) = bench.merges(true, Vec::new());
    assert_eq!(merges.optimize(&bench.spec(true)).await.unwrap().merges, 1);
}

#[tokio::test]
async fn gone_parts_are_not_read() {
    let mut bench = Bench::start_with(aging_table()).await;
    bench.due_s = BTreeMap::from([(7, -1)]);
    bench.insert_of(1, 7).await;
    bench.insert_of(1, 9).await;
    let (merges, merger) = bench.merges(true, Vec::new());
    let tasks = TaskOwner::current();
    tasks.spawn(Arc::clone(&merges).run(tasks.clone()));
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if bench.parts().len() == 1 {
            break;
        }
    }
    let rows: Vec<u64> = bench.parts().iter().map(|part| part.rows).collect();
    assert_eq!(rows, [9]);
    // No id was drawn for a part of the result.
    assert_eq!(merger.next.load(Ordering::SeqCst) - bench.next_part, 500);
    merges.leave();
    assert!(tasks.stop(Duration::from_secs(5)).await);
}
