//! Rows on their way in.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_in_and_come_out() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    assert_eq!(update(client, "INSERT INTO t VALUES (1, 'a'), (2, NULL)").await, 2);
    let inserted =
        cluster.insert("t", "one", ipc(&[rows(10..5000), rows(5000..9000)])).await.unwrap();
    assert_eq!((inserted.rows, inserted.duplicate), (8990, false));
    assert_eq!(
        update(client, "INSERT INTO t SELECT id + 100000, name FROM t WHERE id < 3").await,
        2
    );
    assert_eq!(lines(client, "SELECT count(*), max(id) FROM t").await, ["8994 100002"]);
    assert_eq!(
        lines(client, "SELECT id, name FROM t WHERE id < 3 ORDER BY id").await,
        ["1 a", "2 "]
    );
    // What a client sends as a query is run as well, once.
    assert!(query(client, "INSERT INTO t VALUES (3, 'c')").await.unwrap().is_empty());
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["8995"]);
    update(client, "TRUNCATE TABLE t").await;
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["0"]);
    update(client, "DROP TABLE t").await;
    assert_eq!(refused(client, "SELECT * FROM t").await.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_done_once() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let first = cluster.insert("t", "k", ipc(&[rows(0..100)])).await.unwrap();
    // Cut elsewhere, the content is the same.
    let again = cluster.insert("t", "k", ipc(&[rows(0..40), rows(40..100)])).await.unwrap();
    assert!(again.duplicate);
    assert_eq!((again.rows, again.parts, again.version), (first.rows, first.parts, first.version));
    let other = cluster.insert("t", "k", ipc(&[rows(0..99)])).await.unwrap_err();
    assert_eq!(other.code(), Code::InvalidArgument);
    assert!(other.message().contains("'k'"), "{other}");
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["100"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_inserts_are_written_together_and_answered_alone() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let insert = |client: i64| {
        let cluster = &cluster;
        async move {
            for turn in 0..5 {
                let id = client * 100 + turn;
                let token = format!("token {id}");
                let inserted = cluster.insert("t", &token, ipc(&[rows(id..id + 1)])).await.unwrap();
                assert_eq!((inserted.rows, inserted.duplicate), (1, false));
            }
        }
    };
    futures::future::join_all((0..20).map(insert)).await;
    assert_eq!(lines(client, "SELECT count(*), count(DISTINCT id) FROM t").await, ["100 100"]);
    let parts = lines(client, "SELECT count(*) FROM system.parts WHERE table = 't'").await;
    assert!(parts[0].parse::<u64>().unwrap() < 90, "{parts:?}");
    // In one group: a token again, a token with other rows, rows that do not fit.
    let bad = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(StringArray::from(vec!["x"])) as ArrayRef, false),
        ("name", Arc::new(StringArray::from(vec!["y"])) as ArrayRef, true),
    ]);
    let bad = ipc(&[bad.unwrap()]);
    let (again, other, misfit, fine) = tokio::join!(
        cluster.insert("t", "token 0", ipc(&[rows(0..1)])),
        cluster.insert("t", "token 1", ipc(&[rows(7..8)])),
        cluster.insert("t", "misfit", bad),
        cluster.insert("t", "fine", ipc(&[rows(5000..5002)])),
    );
    assert!(again.unwrap().duplicate);
    assert_eq!(other.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(misfit.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(fine.unwrap().rows, 2);
    let (one, two) = tokio::join!(
        cluster.insert("t", "twice", ipc(&[rows(6000..6001)])),
        cluster.insert("t", "twice", ipc(&[rows(6000..6001)])),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.duplicate != two.duplicate, "{one:?} {two:?}");
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["103"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_aliases_are_read_and_filled() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    update(client, "CREATE TABLE a AS t ENGINE = Distributed(c, default, t, rand())").await;
    update(client, "INSERT INTO a VALUES (1, 'a')").await;
    update(client, "CREATE VIEW v (n, c) AS SELECT name, count(*) FROM a GROUP BY name").await;
    assert_eq!(lines(client, "SELECT n, c FROM v").await, ["a 1"]);
    let view = "CREATE MATERIALIZED VIEW m ENGINE = MergeTree ORDER BY name POPULATE AS \
                SELECT name, count(*) AS n, sum(id) AS ids FROM a GROUP BY name";
    update(client, view).await;
    update(client, "CREATE TABLE big (ids Int64) ENGINE = MergeTree ORDER BY ids").await;
    update(client, "CREATE MATERIALIZED VIEW mm TO big AS SELECT ids FROM m WHERE ids > 4").await;
    update(client, "INSERT INTO t VALUES (2, 'b'), (3, 'b'), (4, 'a')").await;
    let rows_of_m = "SELECT name, n, ids FROM m ORDER BY name, ids";
    assert_eq!(lines(client, rows_of_m).await, ["a 1 1", "a 1 4", "b 2 5"]);
    assert_eq!(lines(client, "SELECT ids FROM big").await, ["5"]);
    // Several blocks are staged with what the view makes of them.
    let batches: Vec<RecordBatch> = (0..5).map(|at| rows(at * 1000..at * 1000 + 1000)).collect();
    update(
        client,
        "CREATE TABLE s (id Int64, name Nullable(String)) ENGINE = MergeTree ORDER BY id",
    )
    .await;
    update(
        client,
        "CREATE MATERIALIZED VIEW sm ENGINE = MergeTree ORDER BY id AS SELECT id FROM s",
    )
    .await;
    let mut messages = vec![Message::Header(InsertHeader {
        table: "s".into(),
        settings: [("insert_block_rows_max".to_owned(), "1024".to_owned())].into(),
        ..Default::default()
    })];
    messages
        .extend(ipc(&batches).chunks(1000).map(|piece| Message::ArrowIpc(piece.to_vec().into())));
    let messages = messages.into_iter().map(|message| InsertRequest { message: Some(message) });
    let mut bulk = BulkInsertClient::new(channel(&cluster.node).await);
    bulk.insert(futures::stream::iter(messages)).await.unwrap();
    assert_eq!(lines(client, "SELECT count(*), sum(id) FROM sm").await, ["5000 12497500"]);
    assert_eq!(refused(client, "DROP TABLE big").await.code(), Code::InvalidArgument);
    update(client, "CREATE TABLE copied ENGINE = MergeTree ORDER BY name AS SELECT name, n FROM m")
        .await;
    assert_eq!(lines(client, "SELECT count(*) FROM copied").await, ["3"]);
    assert_eq!(refused(client, "DROP TABLE m").await.code(), Code::InvalidArgument);
    update(client, "DROP VIEW mm").await;
    update(client, "DROP TABLE m").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_streams_are_staged_and_published_at_once() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    // Merged parts have a version of their own.
    update(client, "SYSTEM STOP MERGES t").await;
    let header = InsertHeader {
        table: "t".into(),
        settings: [("insert_block_rows_max".to_owned(), "1024".to_owned())].into(),
        ..Default::default()
    };
    let bytes = ipc(&(0..10).map(|n| rows(n * 1000..(n + 1) * 1000)).collect::<Vec<_>>());
    let messages = [Message::Header(header), Message::ArrowIpc(bytes.into())]
        .map(|message| InsertRequest { message: Some(message) });
    let mut bulk = BulkInsertClient::new(channel(&cluster.node).await);
    let inserted = bulk.insert(futures::stream::iter(messages)).await.unwrap().into_inner();
    assert_eq!(inserted.rows, 10_000);
    assert!(inserted.parts >= 40, "{} parts", inserted.parts);
    assert_eq!(lines(client, "SELECT count(*), sum(id) FROM t").await, ["10000 49995000"]);
    let versions = "SELECT count(DISTINCT added_version) FROM system.parts WHERE table = 't'";
    assert_eq!(lines(client, versions).await, ["1"]);
    assert!(cluster.catalog.snapshot().staged.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_change_nothing() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let whole = ipc(&[rows(0..5000)]);
    let nulls: Int64Array = [Some(1), Some(2), None].into_iter().collect();
    let null = RecordBatch::try_from_iter([("id", Arc::new(nulls) as _)]).unwrap();
    let unknown = RecordBatch::try_from_iter([("idd", rows(0..1).column(0).clone())]).unwrap();
    let texts = StringArray::from(vec!["1", "x"]);
    let typed = RecordBatch::try_from_iter([("id", Arc::new(texts) as _)]).unwrap();
    let mut flipped = whole.clone();
    flipped[700] ^= 0x5a;
    let cases: [(&str, Vec<u8>, &[&str]); 7] = [
        ("torn", whole[..whole.len() / 2].to_vec(), &["cut short"]),
        ("without its end", whole[..whole.len() - 8].to_vec(), &["cut short"]),
        ("not Arrow", b"id,name\n1,a\n".to_vec(), &["Arrow"]),
        ("nothing", Vec::new(), &["schema"]),
        ("NULL", ipc(&[null]), &["id", "3"]),
        ("unknown column", ipc(&[unknown]), &["idd", "id"]),
        ("mistyped", ipc(&[typed]), &["id", "2"]),
    ];
    for (case, bytes, words) in cases {
        let status = cluster.insert("t", "", bytes).await.expect_err(case);
        assert_eq!(status.code(), Code::InvalidArgument, "{case}: {status}");
        for word in words {
            assert!(status.message().contains(word), "{case}: {status}");
        }
    }
    let _ = cluster.insert("missing", "", whole.clone()).await.expect_err("no such table");
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(cluster.insert("t", "", whole).await.unwrap().rows, 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_client_leaves_nothing() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let header = InsertHeader {
        table: "t".into(),
        settings: [("insert_block_rows_max".to_owned(), "1024".to_owned())].into(),
        ..Default::default()
    };
    let bytes = ipc(&[rows(0..8000)]);
    // Everything but the mark of the end, and then nothing more.
    let messages =
        [Message::Header(header), Message::ArrowIpc(bytes[..bytes.len() - 8].to_vec().into())]
            .map(|message| InsertRequest { message: Some(message) });
    let endless = futures::stream::iter(messages).chain(futures::stream::pending());
    let mut bulk = BulkInsertClient::new(channel(&cluster.node).await);
    let gave_up = tokio::time::timeout(Duration::from_millis(700), bulk.insert(endless)).await;
    assert!(gave_up.is_err());
    SystemClock.sleep(Duration::from_millis(500)).await;
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["0"]);
    assert!(cluster.catalog.snapshot().staged.is_empty(), "the stage was dropped");
    let running =
        "SELECT count(*) FROM system.queries WHERE state = 'running' AND query LIKE 'bulk%'";
    assert_eq!(lines(client, running).await, ["0"]);
}
