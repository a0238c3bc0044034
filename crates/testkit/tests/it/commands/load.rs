//! `granary load`: what files of every kind become, what it says meanwhile, and what of bad ones.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use granary_testkit::{Mode, TestCluster, TestResult};
use parquet::arrow::ArrowWriter;

use super::{Ran, run, text};

const TABLE: &str = "CREATE TABLE t (id Int64, name String, day Date, price Decimal(10, 2), \
                     v Nullable(Int64)) ENGINE = MergeTree ORDER BY id";

/// A Parquet file of the rows `ids`.
fn write_parquet(path: &Path, ids: std::ops::Range<i64>) -> TestResult {
    let names: StringArray = ids.clone().map(|id| Some(format!("name {id}"))).collect();
    let days: Date32Array = ids.clone().map(|id| Some(19_000 + id as i32 % 100)).collect();
    let prices: Decimal128Array = ids.clone().map(|id| Some(i128::from(id) * 25)).collect();
    let values: Int64Array = ids.clone().map(|id| (id % 2 == 0).then_some(id)).collect();
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef, false),
        ("name", Arc::new(names), true),
        ("day", Arc::new(days), true),
        ("price", Arc::new(prices.with_precision_and_scale(10, 2)?), true),
        ("v", Arc::new(values), true),
    ])?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// Writes files of each format and gives what names them.
fn write_files(folder: &Path) -> TestResult<Vec<String>> {
    let write = |name: &str, content: &str| std::fs::write(folder.join(name), content);
    // The first one has its columns in another order and leaves one out.
    write(
        "a.csv",
        "name,ID,day,price\n\"one, \"\"1\"\"\",1,2024-02-29,1.5\n\"two\nlines\",2,2024-03-01,2\n",
    )?;
    write("b.csv", "id,name,day,price,v\n3,,2024-01-03,0.03,\n4,ü,2024-01-04,-4.04,44\n")?;
    write("c.tsv", "id\tname\tday\tprice\tv\n5\ta,b\t2024-01-05\t5\t55\n")?;
    let rows = [
        r#"{"id": 6, "name": "six", "day": "2024-01-06", "price": 6.06, "v": null}"#,
        r#"{"v": 77, "price": "7.07", "day": "2024-01-07", "name": "s\n7", "id": 7}"#,
    ];
    write("d.ndjson", &format!("{}\n\n{}\n", rows[0], rows[1]))?;
    write("e.jsonl", "{\"id\": 8, \"name\": \"eight\", \"day\": \"2024-01-08\", \"price\": 8}")?;
    write_parquet(&folder.join("f.parquet"), 1_000..21_000)?;
    let patterns = ["*.csv", "c.tsv", "[de].*n*", "*.parquet"];
    patterns.iter().map(|pattern| text(&folder.join(pattern))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_format_are_loaded() -> TestResult {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let (mut client, url) = (cluster.client(0).await?, cluster.url(0)?);
    client.update(TABLE).await?;
    let folder = tempfile::tempdir()?;
    let mut words = vec!["load".to_owned(), "--url".to_owned(), url, "t".to_owned()];
    words.extend(write_files(folder.path())?);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = run(&words)?.done();
    assert!(ran.out.starts_with("loaded 20008 rows from 6 files into "), "{}", ran.out);
    // No terminal: lines instead of a bar, the last one with all of it.
    let last = ran.err.lines().last().ok_or("nothing on the standard error")?;
    for word in ["t ", "100 %", "20,008 rows", "rows/s", "KiB", " s"] {
        assert!(last.contains(word), "no {word:?} in {last:?}");
    }
    assert!(!ran.err.contains(['\r', '\u{1b}']), "{:?}", ran.err);

    let few = client.lines("SELECT * FROM t WHERE id < 1000 ORDER BY id").await?;
    let expected = [
        "1\tone, \"1\"\t2024-02-29\t1.50\tNULL",
        "2\ttwo\nlines\t2024-03-01\t2.00\tNULL",
        "3\t(empty)\t2024-01-03\t0.03\tNULL",
        "4\tü\t2024-01-04\t-4.04\t44",
        "5\ta,b\t2024-01-05\t5.00\t55",
        "6\tsix\t2024-01-06\t6.06\tNULL",
        "7\ts\n7\t2024-01-07\t7.07\t77",
        "8\teight\t2024-01-08\t8.00\tNULL",
    ];
    assert_eq!(few, expected);
    let totals = "SELECT count(*), sum(id), sum(price), count(v), sum(v), count(DISTINCT name), \
                  min(day), max(day) FROM t WHERE id >= 1000";
    let sum: i64 = (1_000..21_000).sum();
    let even: i64 = (1_000..21_000).filter(|id| id % 2 == 0).sum();
    let expected =
        format!("20000\t{sum}\t{}.00\t10000\t{even}\t20000\t2022-01-08\t2022-04-17", sum / 4);
    assert_eq!(client.lines(totals).await?, [expected]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_the_command_say_how_files_are_read() -> TestResult {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let (mut client, url) = (cluster.client(0).await?, cluster.url(0)?);
    client.update("CREATE DATABASE other").await?;
    client.update(&TABLE.replace("TABLE t", "TABLE other.t")).await?;
    let folder = tempfile::tempdir()?;
    let path = text(&folder.path().join("rows.txt"))?;
    std::fs::write(&path, "1|x|\\N\n2||7\n")?;
    let connect = ["load", "--url", &url, "--database", "other"];
    let read = ["--input-format", "csv", "--delimiter", "|", "--no-header", "--null", "\\N"];
    let more = ["--columns", "id,name,v", "t", &path];
    run(&[&connect[..], &read, &more].concat())?.done();
    let rows = client.lines("SELECT id, name, v FROM other.t ORDER BY id").await?;
    assert_eq!(rows, ["1\tx\tNULL", "2\t(empty)\t7"]);
    Ok(())
}

/// Good rows, more than a client sends at once, and one that is none at the end.
fn long_csv(last: &str) -> String {
    let rows = (0..30_000).map(|id| format!("{id},name {id},2024-01-01,1.00,\n"));
    std::iter::once("id,name,day,price,v\n".to_owned()).chain(rows).collect::<String>() + last
}

fn long_ndjson(last: &str) -> String {
    let row =
        |id: i32| format!("{{\"id\":{id},\"name\":\"n\",\"day\":\"2024-01-01\",\"price\":1}}\n");
    (0..30_000).map(row).collect::<String>() + last
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_named_and_none_of_their_rows_is_seen() -> TestResult {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let (mut client, url) = (cluster.client(0).await?, cluster.url(0)?);
    client.update(TABLE).await?;
    let folder = tempfile::tempdir()?;
    let parquet = folder.path().join("whole.parquet");
    write_parquet(&parquet, 0..20_000)?;
    let parquet = std::fs::read(&parquet)?;
    let cut = parquet[..parquet.len() / 2].to_vec();
    let missing = "{\"id\":1,\"name\":null,\"day\":\"2024-01-01\",\"price\":1}\n";
    for (name, content, words) in [
        ("a.csv", long_csv("x1,n,2024-01-01,1,\n").into_bytes(), &["row 30001", "id", "x1"][..]),
        (
            "b.csv",
            long_csv("1,n,2024-02-30,1,\n").into_bytes(),
            &["row 30001", "day", "2024-02-30"],
        ),
        ("c.csv", long_csv("1,n\n").into_bytes(), &["line 30002"]),
        ("d.csv", b"id,nam\n1,a\n".to_vec(), &["no column nam", "did you mean name?"]),
        ("e.ndjson", long_ndjson("{\"id\":\"x\"}\n").into_bytes(), &["row 30001"]),
        ("f.ndjson", long_ndjson("{\"id\":").into_bytes(), &["row 30001"]),
        ("g.ndjson", long_ndjson(missing).into_bytes(), &["name", "30001"]),
        ("h.parquet", cut, &["Parquet"]),
        ("i.txt", b"1".to_vec(), &["--input-format"]),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, content)?;
        let ran = run(&["load", "--url", &url, "t", &text(&path)?])?;
        ran.refused(1, &[&[&text(&path)?[..], "error["], words].concat());
        assert_eq!(client.value("SELECT count(*) FROM t").await?, "0", "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_that_cannot_begin_say_why() -> TestResult {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let url = cluster.url(0)?;
    let folder = tempfile::tempdir()?;
    let path = text(&folder.path().join("a.csv"))?;
    std::fs::write(&path, "id\n1\n")?;
    let none = text(&folder.path().join("*.parquet"))?;
    let load =
        |words: &[&str]| -> TestResult<Ran> { run(&[&["load", "--url", &url], words].concat()) };
    load(&["no_such_table", &path])?.refused(1, &["NOT_FOUND", "no_such_table"]);
    load(&["t", &path, &none])?.refused(1, &["NOT_FOUND", "no file is named", &none]);
    load(&["t"])?.refused(2, &["FILES"]);
    load(&["t", &path, "--parallel", "0"])?.refused(2, &["--parallel"]);
    Ok(())
}
