//! Wrong statements, wrong data and clients that vanish: each gets a clear error, and nothing else
//! is harmed.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use futures::StreamExt;
use granary_proto::v1::InsertRequest;
use granary_proto::v1::insert_request::Message;
use granary_testkit::{Mode, SqlClient, TestCluster, TestResult, bulk};
use tonic::Code;

const ROWS: &str = "SELECT count(*), coalesce(sum(id), 0) FROM t";

/// An embedded server with the table `t` of three rows.
async fn server() -> TestResult<(TestCluster, SqlClient, String)> {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let mut client = cluster.client(0).await?;
    client
        .update(
            "CREATE TABLE t (id Int64, name String, v Nullable(Int64)) ENGINE = MergeTree \
             ORDER BY id DISTRIBUTED BY (id) BUCKETS 2",
        )
        .await?;
    client.update("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', NULL), (3, 'c', 3)").await?;
    let url = cluster.url(0)?;
    Ok((cluster, client, url))
}

async fn check_unharmed(client: &mut SqlClient) -> TestResult {
    assert_eq!(client.lines(ROWS).await?, ["3\t6"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_statements_say_what_is_wrong_and_where() -> TestResult {
    let (_cluster, mut client, _) = server().await?;
    for (sql, code, words) in [
        ("SELEC 1", Code::InvalidArgument, &["SELEC", "line 1"][..]),
        ("SELECT id\nFROM t\nWHERE id = = 1", Code::InvalidArgument, &["line 3"]),
        ("SELECT (1", Code::InvalidArgument, &["end of the statement", "line 1, column 10"]),
        ("SELECT 'open", Code::InvalidArgument, &["line 1"]),
        ("SELECT 1; SELECT 2", Code::InvalidArgument, &["2 statements", "one by one"]),
        ("", Code::InvalidArgument, &["empty"]),
        ("SELECT nope FROM t", Code::InvalidArgument, &["nope"]),
        ("SELECT * FROM no_such_table", Code::NotFound, &["no_such_table"]),
        ("SELECT * FROM no_such_db.t", Code::NotFound, &["no_such_db"]),
        ("SELECT no_such_function(id) FROM t", Code::InvalidArgument, &["no_such_function"]),
        ("SELECT sum(name) FROM t", Code::InvalidArgument, &["sum"]),
        ("SELECT id, count(*) FROM t", Code::InvalidArgument, &["id"]),
        ("INSERT INTO t VALUES ('x', 'a', 1)", Code::InvalidArgument, &["id", "x"]),
        ("INSERT INTO t VALUES (4, NULL, 1)", Code::InvalidArgument, &["name"]),
        (
            "INSERT INTO t (id, name) VALUES (4, 'd'), (NULL, 'e')",
            Code::InvalidArgument,
            &["id", "2"],
        ),
        ("DROP TABLE no_such_table", Code::NotFound, &["no_such_table"]),
        ("SET no_such_setting = 1", Code::InvalidArgument, &["no_such_setting"]),
        ("SELECT CAST('abc' AS Int64)", Code::InvalidArgument, &["abc"]),
        ("BEGIN", Code::Unimplemented, &["BEGIN"]),
    ] {
        check_refused(&mut client, sql, code, words).await?;
    }
    check_unharmed(&mut client).await
}

async fn check_refused(
    client: &mut SqlClient,
    sql: &str,
    code: Code,
    words: &[&str],
) -> TestResult {
    let Err(error) = client.run(sql).await else { panic!("{sql:?} succeeded") };
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{sql:?} does not mention {word:?}: {message}");
    }
    assert_eq!(error.code(), Some(code), "{sql:?}: {message}");
    Ok(())
}

fn batch(ids: &[i64]) -> TestResult<RecordBatch> {
    let names = StringArray::from_iter_values(ids.iter().map(|id| format!("name {id}")));
    Ok(RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef),
        ("name", Arc::new(names) as ArrayRef),
    ])?)
}

fn encoded(batches: &[RecordBatch]) -> TestResult<Vec<u8>> {
    let schema = batches.first().ok_or("no batch")?.schema();
    Ok(bulk::encode(&schema, batches)?)
}

async fn check_insert_refused(
    url: &str,
    messages: Vec<InsertRequest>,
    code: Code,
    words: &[&str],
) -> TestResult {
    let answer = bulk::send(url, futures::stream::iter(messages)).await;
    let Err(status) = answer else { panic!("accepted, but must mention {words:?}") };
    for word in words {
        assert!(status.message().contains(word), "no {word:?} in {status:?}");
    }
    assert_eq!(status.code(), code, "{status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn torn_and_corrupt_arrow_data_is_refused() -> TestResult {
    let (_cluster, mut client, url) = server().await?;
    let ids: Vec<i64> = (100..20_100).collect();
    let ipc = encoded(&[batch(&ids)?, batch(&ids)?])?;
    let all = |ipc: &[u8]| bulk::messages(bulk::header("t", ""), ipc);

    // Cut short: inside a message, and between messages without the end mark's batch.
    for end in [3, 40, ipc.len() / 2, ipc.len() - 9] {
        check_insert_refused(&url, all(&ipc[..end]), Code::InvalidArgument, &[]).await?;
    }
    // Bytes that are no Arrow data.
    check_insert_refused(&url, all(&[0x5a; 5_000]), Code::InvalidArgument, &["Arrow"]).await?;
    check_insert_refused(&url, all(b"id,name\n1,a\n"), Code::InvalidArgument, &["Arrow"]).await?;
    // Lengths that lie, in the metadata of the schema and of a batch.
    for at in (0..600).step_by(16) {
        let mut corrupt = ipc.clone();
        corrupt[at..at + 8].fill(0xff);
        check_not_torn(&url, &mut client, all(&corrupt)).await?;
    }
    check_unharmed(&mut client).await
}

/// Damage may hit bytes that nothing depends on; then all rows come in. What may not happen is that
/// some do, or that the server ends.
async fn check_not_torn(
    url: &str,
    client: &mut SqlClient,
    messages: Vec<InsertRequest>,
) -> TestResult {
    if bulk::send(url, futures::stream::iter(messages)).await.is_ok() {
        assert_eq!(client.value("SELECT count(*) FROM t").await?, "40003");
        client.update("TRUNCATE TABLE t").await?;
        client.update("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', NULL), (3, 'c', 3)").await?;
    }
    check_unharmed(client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_that_do_not_fit_the_table_are_refused() -> TestResult {
    let (_cluster, mut client, url) = server().await?;
    let good = encoded(&[batch(&[4, 5])?])?;
    let text = |name: &str, values: Vec<Option<&str>>| -> TestResult<Vec<u8>> {
        let column = Arc::new(StringArray::from(values)) as ArrayRef;
        encoded(&[RecordBatch::try_from_iter([(name, column)])?])
    };
    let ids_as_text = text("id", vec![Some("12"), Some("no number")])?;
    let unknown = text("nope", vec![Some("x")])?;
    let null = text("name", vec![Some("x"), Some("y"), None])?;
    let to = |table: &str, ipc: &[u8]| bulk::messages(bulk::header(table, ""), ipc);

    check_insert_refused(&url, to("no_table", &good), Code::NotFound, &["no_table"]).await?;
    check_insert_refused(&url, to("t", &ids_as_text), Code::InvalidArgument, &["id"]).await?;
    check_insert_refused(&url, to("t", &unknown), Code::InvalidArgument, &["nope"]).await?;
    check_insert_refused(&url, to("t", &null), Code::InvalidArgument, &["name", "3"]).await?;
    let headless = to("t", &good).split_off(1);
    check_insert_refused(&url, headless, Code::InvalidArgument, &["header"]).await?;
    let mut two_heads = to("t", &good);
    two_heads.insert(1, two_heads[0].clone());
    check_insert_refused(&url, two_heads, Code::InvalidArgument, &["header"]).await?;
    check_insert_refused(&url, Vec::new(), Code::InvalidArgument, &["header"]).await?;
    check_unharmed(&mut client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stands_for_one_content() -> TestResult {
    let (_cluster, mut client, url) = server().await?;
    let send = |ids: &[i64]| {
        let messages =
            encoded(&[batch(ids)?]).map(|ipc| bulk::messages(bulk::header("t", "my-token"), &ipc));
        TestResult::Ok(futures::stream::iter(messages?))
    };
    let first = bulk::send(&url, send(&[10, 11])?).await?;
    assert!((first.rows, first.duplicate) == (2, false), "{first:?}");
    let again = bulk::send(&url, send(&[10, 11])?).await?;
    assert!((again.rows, again.duplicate) == (2, true), "{again:?}");
    assert_eq!(first.version, again.version);
    let other = bulk::send(&url, send(&[12, 13])?).await;
    let Err(status) = other else { panic!("another content with the same token was accepted") };
    assert!(status.message().contains("token"), "{status:?}");
    assert_eq!(client.value("SELECT count(*) FROM t WHERE id >= 10").await?, "2");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_messages_are_refused() -> TestResult {
    let (_cluster, mut client, url) = server().await?;
    // One message above the limit of 256 MiB.
    let request =
        InsertRequest { message: Some(Message::ArrowIpc(vec![0_u8; (256 << 20) + 1024].into())) };
    let header = bulk::messages(bulk::header("t", ""), &[]);
    let messages = header.into_iter().chain([request]);
    let answer = bulk::send(&url, futures::stream::iter(messages.collect::<Vec<_>>())).await;
    let Err(status) = answer else { panic!("a message of more than 256 MiB was accepted") };
    let expected = [Code::OutOfRange, Code::ResourceExhausted, Code::InvalidArgument];
    assert!(expected.contains(&status.code()), "{status:?}");
    // The limit, and what to do.
    for words in ["256.0 MiB", "smaller batches"] {
        assert!(status.message().contains(words), "no {words:?} in {status:?}");
    }
    // A statement above the limit of 16 MiB.
    let long = format!("SELECT '{}'", "x".repeat(17 << 20));
    let Err(error) = client.query(&long).await else { panic!("17 MiB of SQL were accepted") };
    assert_eq!(error.code(), Some(Code::ResourceExhausted), "{error}");
    for words in ["17.0 MiB", "16.0 MiB", "bulk insert"] {
        assert!(error.to_string().contains(words), "no {words:?} in {error}");
    }
    check_unharmed(&mut client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_in_an_insert_leaves_nothing() -> TestResult {
    let (_cluster, mut client, url) = server().await?;
    let ids: Vec<i64> = (100..50_100).collect();
    let batches: Vec<RecordBatch> = (0..20).map(|_| batch(&ids)).collect::<Result<_, _>>()?;
    let ipc = encoded(&batches)?;
    let most = bulk::messages(bulk::header("t", ""), &ipc[..ipc.len() * 9 / 10]);
    // The stream neither goes on nor ends; then the client is gone.
    let stream = futures::stream::iter(most).chain(futures::stream::pending());
    let answer = tokio::time::timeout(Duration::from_secs(3), bulk::send(&url, stream)).await;
    assert!(answer.is_err(), "answered before the stream ended: {answer:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    check_unharmed(&mut client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_in_a_result_stops_the_query() -> TestResult {
    let (cluster, mut client, url) = server().await?;
    let ids: Vec<i64> = (0..200_000).collect();
    bulk::insert(&url, bulk::header("t", ""), &[batch(&ids)?]).await?;
    let mut leaver = cluster.client(0).await?;
    let endless = "SELECT a.id, b.id, a.name FROM t AS a CROSS JOIN t AS b";
    let mut stream = leaver.stream(endless).await?;
    assert!(stream.next().await.is_some_and(|first| first.is_ok()), "the first batch came");
    drop(stream);
    drop(leaver);
    let running = "SELECT count(*) FROM system.queries \
                   WHERE state = 'running' AND query LIKE '%CROSS JOIN t AS b'";
    for _ in 0..100 {
        if client.value(running).await? == "0" {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the query still runs 10 s after its client left");
}
