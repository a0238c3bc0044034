//! `granary sql` without a terminal: where statements come from, how results are written, and how it
//! ends.

use std::fs::File;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use granary::cluster::free_ports;
use granary_testkit::{Mode, TestCluster, TestResult, format};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Running, granary, run, run_with_input, text};

const ROWS: [&str; 3] = [
    "CREATE TABLE t (id Int64, name String, price Decimal(10, 2), day Date, v Nullable(Float64)) \
     ENGINE = MergeTree ORDER BY id",
    "INSERT INTO t VALUES (1, 'one, \"1\"', 1.50, '2024-02-29', NULL), (2, '', -2, '2024-03-01', 0.5)",
    "SELECT * FROM t ORDER BY id",
];

async fn server() -> TestResult<(TestCluster, String)> {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let url = cluster.url(0)?;
    Ok((cluster, url))
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_written_in_each_format() -> TestResult {
    let (_cluster, url) = server().await?;
    let sql = ["sql", "--url", &url];
    run(&[&sql[..], &["-c", ROWS[0], "-c", ROWS[1]]].concat())?.done();
    let csv =
        "id,name,price,day,v\n1,\"one, \"\"1\"\"\",1.50,2024-02-29,\n2,,-2.00,2024-03-01,0.5\n";
    let json = "{\"id\":1,\"name\":\"one, \\\"1\\\"\",\"price\":1.50,\"day\":\"2024-02-29\",\"v\":null}\n\
                {\"id\":2,\"name\":\"\",\"price\":-2.00,\"day\":\"2024-03-01\",\"v\":0.5}\n";
    for (format, expected) in [("csv", csv), ("json", json)] {
        let ran = run(&[&sql[..], &["--format", format, "-c", ROWS[2]]].concat())?.done();
        assert_eq!((ran.out.as_str(), ran.err.as_str()), (expected, ""), "{format}");
    }
    let ran = run(&[&sql[..], &["-c", ROWS[2]]].concat())?.done();
    let (table, rest) = ran.out.split_once("2 rows in ").ok_or("no count of rows")?;
    let expected = "\
+----+----------+-------+------------+------+
| id | name     | price | day        |    v |
+----+----------+-------+------------+------+
|  1 | one, \"1\" |  1.50 | 2024-02-29 | NULL |
|  2 |          | -2.00 | 2024-03-01 |  0.5 |
+----+----------+-------+------------+------+
";
    assert_eq!(table, expected);
    assert!(rest.ends_with(" s\n"), "{rest:?}");
    Ok(())
}

type Reader = fn(&Path) -> TestResult<Vec<RecordBatch>>;

fn arrow_rows(path: &Path) -> TestResult<Vec<RecordBatch>> {
    Ok(StreamReader::try_new(File::open(path)?, None)?.collect::<Result<_, _>>()?)
}

fn parquet_rows(path: &Path) -> TestResult<Vec<RecordBatch>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()?;
    Ok(reader.collect::<Result<_, _>>()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn arrow_and_parquet_hold_the_rows_of_the_result() -> TestResult {
    let (cluster, url) = server().await?;
    let folder = tempfile::tempdir()?;
    let query = "SELECT number AS id, if(number % 3 = 0, NULL, concat('n', toString(number))) AS name, \
                 toDecimal64(number, 2) AS price, toDate('2024-01-01') + number % 100 AS day \
                 FROM numbers(100000) ORDER BY id";
    let expected = cluster.client(0).await?.query(query).await?;
    let rows = format::rows(&expected)?;
    assert_eq!((rows.len(), rows[99_999][0].as_str()), (100_000, "99999"));
    let readers = [("arrow", arrow_rows as Reader), ("parquet", parquet_rows)];
    for (format, read) in readers {
        let (file, piped) = (folder.path().join(format), folder.path().join("piped"));
        let words = ["sql", "--url", &url, "--format", format, "-c", query];
        let ran = run(&[&words[..], &["--output", &text(&file)?]].concat())?.done();
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
        let output = granary(&words)?.output()?;
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(&piped, &output.stdout)?;
        for path in [&file, &piped] {
            let got = read(path)?;
            let types = |batches: &[RecordBatch]| -> Vec<_> {
                let schema = batches[0].schema();
                let fields = schema.fields().iter();
                fields.map(|field| (field.name().clone(), field.data_type().clone())).collect()
            };
            assert_eq!(types(&got), types(&expected), "{format}");
            assert!(format::rows(&got)? == rows, "other rows in {}", path.display());
        }
    }
    // No rows are a file of that format, too.
    let empty = text(&folder.path().join("empty"))?;
    let none = "SELECT number AS n FROM numbers(0)";
    for (format, read) in readers {
        run(&["sql", "--url", &url, "--format", format, "-o", &empty, "-c", none])?.done();
        assert_eq!(format::rows(&read(empty.as_ref())?)?.len(), 0, "{format}");
    }
    let two = ["sql", "--url", &url, "--format", "parquet", "-o", &empty, "-c", none, "-c", none];
    run(&two)?.refused(1, &["INVALID_INPUT", "the result of one statement"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_come_from_words_files_and_pipes() -> TestResult {
    let (_cluster, url) = server().await?;
    let folder = tempfile::tempdir()?;
    let script = text(&folder.path().join("script.sql"))?;
    // What USE changes lasts as long as the command does.
    let statements = "-- A remark; with a semicolon.\nCREATE TABLE t (id Int64, name String) ENGINE = \
                      MergeTree ORDER BY id;\nINSERT INTO t VALUES (1, 'a;b'), (2, 'c');\n\
                      SELECT name FROM t\nORDER BY id";
    std::fs::write(&script, statements)?;
    let csv = ["sql", "--url", &url, "--format", "csv"];
    let words = ["-f", &script, "-c", "CREATE DATABASE other; USE other;", "-c", "SELECT 1 AS one"];
    let ran = run(&[&csv[..], &words].concat())?.done();
    assert_eq!(ran.out, "one\n1\nname\na;b\nc\n", "-c goes before -f");

    let sum = "SELECT sum(id) AS s FROM t";
    let ran = run(&[&csv[..], &["--database", "other", "-c", sum]].concat())?.done();
    assert_eq!(ran.out, "s\n3\n");
    let two = "USE other; SELECT count(*) AS n FROM t;\nSELECT sum(id) AS s FROM t";
    assert_eq!(run_with_input(&csv, two)?.done().out, "n\n2\ns\n3\n");
    let ran = run_with_input(&[&csv[..], &["-c", "SELECT 7 AS seven", "-f", "-"]].concat(), two)?;
    assert_eq!(ran.done().out, "seven\n7\nn\n2\ns\n3\n");
    // Rows behind a statement.
    let rows = "INSERT INTO other.t FORMAT CSV\n3,\"x;y\"\n4,z\n";
    run_with_input(&csv, rows)?.done();
    let names = "SELECT name FROM other.t WHERE id > 2 ORDER BY id";
    assert_eq!(run(&[&csv[..], &["-c", names]].concat())?.done().out, "name\nx;y\nz\n");
    assert_eq!(run_with_input(&csv, "")?.done().out, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_said_and_end_it() -> TestResult {
    let (cluster, url) = server().await?;
    let folder = tempfile::tempdir()?;
    let sql = ["sql", "--url", &url, "--format", "csv"];
    let words = ["-c", "SELECT 1 AS a", "-c", "SELECT nope", "-c", "CREATE DATABASE never"];
    let ran = run(&[&sql[..], &words].concat())?;
    let ran = ran.refused(1, &["error[INVALID_INPUT]: ", "nope"]);
    assert_eq!(ran.out, "a\n1\n", "the first one has run");
    let databases = cluster.client(0).await?.lines("SHOW DATABASES").await?;
    assert!(!databases.iter().any(|name| name == "never"), "{databases:?}");
    let none = "SELECT * FROM no_such_table";
    run(&[&sql[..], &["-c", none]].concat())?.refused(1, &["error[NOT_FOUND]: ", "no_such_table"]);
    run(&[&sql[..], &["-c", "SELECT 'open"]].concat())?.refused(1, &["INVALID_INPUT"]);

    let missing = text(&folder.path().join("missing.sql"))?;
    let words = ["-c", "CREATE DATABASE never", "-f", &missing];
    run(&[&sql[..], &words].concat())?.refused(1, &["cannot read", &missing]);
    let databases = cluster.client(0).await?.lines("SHOW DATABASES").await?;
    assert!(!databases.iter().any(|name| name == "never"), "{databases:?}");

    // Nobody there: what is there already stays as it is.
    let [port] = free_ports::<1>()?;
    let kept = text(&folder.path().join("kept.csv"))?;
    std::fs::write(&kept, "of yesterday")?;
    let port = port.to_string();
    let absent = ["sql", "--port", &port, "--format", "csv", "-o", &kept, "-c", "SELECT 1"];
    run(&absent)?.refused(1, &["error[UNAVAILABLE]: ", &format!("http://127.0.0.1:{port}")]);
    assert_eq!(std::fs::read_to_string(&kept)?, "of yesterday");
    run(&["sql", "--format", "xml"])?.refused(2, &["xml", "parquet"]);
    run(&["sql", "--no-such-flag"])?.refused(2, &["--no-such-flag"]);
    let nowhere = text(&folder.path().join("no/folder.csv"))?;
    run(&[&sql[..], &["-o", &nowhere, "-c", "SELECT 1"]].concat())?.refused(1, &[&nowhere]);
    Ok(())
}

/// Ctrl-C stops a statement here and on the server.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_stops_what_runs() -> TestResult {
    let (cluster, url) = server().await?;
    let mut client = cluster.client(0).await?;
    let running = "SELECT count(*) FROM system.queries WHERE state = 'running' \
                   AND query LIKE 'SELECT count(*) AS endless%'";
    let endless = "SELECT count(*) AS endless FROM numbers(10000000) AS a \
                   CROSS JOIN numbers(10000000) AS b WHERE a.number + b.number = -1";
    let sql =
        Running::start(&["sql", "--url", &url, "-c", endless, "-c", "CREATE DATABASE never"])?;
    crate::wait_for(&mut client, running, "1").await?;
    sql.interrupt().await?.refused(130, &["error[CANCELLED]: interrupted"]);
    crate::wait_for(&mut client, running, "0").await?;
    let databases = client.lines("SHOW DATABASES").await?;
    assert!(!databases.iter().any(|name| name == "never"), "{databases:?}");
    Ok(())
}

/// As in `granary sql ... | head`: no error, and no statement that goes on for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_ends_it() -> TestResult {
    let (cluster, url) = server().await?;
    let mut client = cluster.client(0).await?;
    let endless =
        "SELECT a.number AS n FROM numbers(1000000) AS a CROSS JOIN numbers(1000000) AS b";
    let words = ["sql", "--url", &url, "--format", "csv", "-c", endless];
    let mut command = granary(&words)?;
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn()?;
    let mut first = [0; 4];
    std::io::Read::read_exact(&mut child.stdout.take().ok_or("no output")?, &mut first)?;
    assert_eq!(&first, b"n\n0\n");
    let output = child.wait_with_output()?;
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let running = "SELECT count(*) FROM system.queries WHERE state = 'running' \
                   AND query LIKE '%CROSS JOIN numbers(1000000) AS b'";
    crate::wait_for(&mut client, running, "0").await
}
