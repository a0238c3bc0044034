//! BACKUP and RESTORE on real processes: what comes back is what was there, an incremental backup
//! copies what is new, damage is seen before anything is restored, and an empty cluster takes all.

use std::path::{Path, PathBuf};

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

async fn start(mode: Mode) -> TestResult<TestCluster> {
    TestCluster::start_with(mode, |spec| {
        let disks = format!("{{ kept = \"{}\" }}", spec.folder.join("kept").display());
        spec.environment.push(("GRANARY_DISKS".to_owned(), disks));
    })
    .await
}

/// Tables whose rows are not all plain: deleted, older than a column, computed once, of one key each,
/// aggregated by a view.
pub const TABLES: [&str; 13] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.orders (id UInt64, day Date, note Nullable(String) CODEC(ZSTD(3)), \
     amount Decimal(15, 2), tags Array(String), u UUID, gone Int8, \
     lucky UInt64 MATERIALIZED rand64(), INDEX i note TYPE bloom_filter GRANULARITY 1) \
     ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY (day, id) DISTRIBUTED BY (id) BUCKETS 3",
    "CREATE MATERIALIZED VIEW shop.daily ENGINE = AggregatingMergeTree ORDER BY day AS \
     SELECT day, countState() AS n, sumState(amount) AS total FROM shop.orders GROUP BY day",
    "CREATE VIEW shop.big AS SELECT id FROM shop.orders WHERE amount > 700",
    "CREATE TABLE shop.latest (k UInt64, v String) ENGINE = MergeTree ORDER BY k UNIQUE KEY (k) \
     DISTRIBUTED BY (k) BUCKETS 2",
    "INSERT INTO shop.orders (id, day, note, amount, tags, u, gone) \
     SELECT number, toDate('2024-01-01') + number % 60, if(number % 7 = 0, NULL, 'n' || number), \
     number / 4, ['a', toString(number % 3)], generateUUIDv4(), 1 FROM numbers(3000)",
    "ALTER TABLE shop.orders ADD COLUMN extra Int32 DEFAULT 7",
    "ALTER TABLE shop.orders ADD COLUMN counts Map(String, Array(UInt8)) DEFAULT map('k', [1, 2])",
    "ALTER TABLE shop.orders DROP COLUMN gone",
    "ALTER TABLE shop.orders RENAME COLUMN tags TO labels",
    "DELETE FROM shop.orders WHERE id % 10 = 3",
    "INSERT INTO shop.latest SELECT number % 400, 'v' || number FROM numbers(1000)",
    "CREATE TABLE shop.empty (x Int8) ENGINE = MergeTree ORDER BY x",
];

/// Everything that a user sees of them.
const READS: [&str; 6] = [
    "SELECT * FROM shop.orders ORDER BY id",
    "SELECT id, lucky FROM shop.orders ORDER BY id",
    "SELECT day, countMerge(n), sumMerge(total) FROM shop.daily GROUP BY day ORDER BY day",
    "SELECT count(*), min(id) FROM shop.big",
    "SELECT * FROM shop.latest ORDER BY k",
    "SELECT count(*) FROM shop.empty",
];

pub async fn seen(client: &mut SqlClient) -> TestResult<Vec<Vec<String>>> {
    let mut all = Vec::new();
    for sql in READS {
        all.push(client.lines(sql).await?);
    }
    for table in ["orders", "daily", "big", "latest", "empty"] {
        all.push(client.lines(&format!("SHOW CREATE TABLE shop.{table}")).await?);
    }
    Ok(all)
}

async fn refused(client: &mut SqlClient, sql: &str, expected: &str) -> TestResult {
    let error = client.update(sql).await.err().ok_or_else(|| format!("{sql} was accepted"))?;
    match error.to_string().contains(expected) {
        true => Ok(()),
        false => Err(format!("{sql}: {error}, which does not say '{expected}'").into()),
    }
}

/// The files of parts below a place of backups.
fn files(place: &Path) -> Vec<PathBuf> {
    let mut open = vec![place.join("parts")];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => open.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

fn parts(place: &Path) -> usize {
    files(place).iter().filter(|file| file.ends_with("descriptor")).count()
}

/// Changes one byte in the middle of a file.
fn flip(file: &Path) -> TestResult {
    let mut bytes = std::fs::read(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(std::fs::write(file, bytes)?)
}

async fn check(mode: Mode) -> TestResult {
    let mut cluster = start(mode).await?;
    let kept = cluster.folder().join("kept");
    let mut client = cluster.client(0).await?;
    for sql in TABLES {
        client.update(sql).await.map_err(|error| format!("{sql}: {error}"))?;
    }
    client.update("SYSTEM STOP MERGES").await?;
    let before = seen(&mut client).await?;

    // What was dropped comes back.
    let backup = "BACKUP DATABASE shop TO Disk('kept', '1')";
    assert_eq!(client.update(backup).await?, 2700 + 400 + 60 * daily_buckets(&mut client).await?);
    client.update("DROP DATABASE shop").await?;
    client.update("RESTORE DATABASE shop FROM Disk('kept', '1')").await?;
    assert_eq!(seen(&mut client).await?, before);
    let kinds = "SELECT default_kind FROM system.columns WHERE database = 'shop' \
                 AND table = 'orders' AND name = 'lucky'";
    assert_eq!(client.value(kinds).await?, "MATERIALIZED");
    refused(&mut client, "RESTORE DATABASE shop FROM Disk('kept', '1')", "exists in database")
        .await?;

    // The view goes on, and a table comes back under another name.
    let again = "RESTORE TABLE shop.orders AS shop.earlier FROM Disk('kept', '1')";
    client.update(again).await?;
    let insert = "INSERT INTO shop.orders (id, day, amount, u) \
                  SELECT 10000, '2031-01-01', 5, generateUUIDv4()";
    client.update(insert).await?;
    let of_day = "SELECT countMerge(n) FROM shop.daily WHERE day = '2031-01-01'";
    assert_eq!(client.value(of_day).await?, "1");
    assert_eq!(client.value("SELECT count(*) FROM shop.earlier").await?, "2700");
    incremental(&mut client, &kept).await?;
    damaged(&mut client, &kept).await?;
    if let Some(worker) = cluster.cluster.workers.first_mut() {
        // Others have what it had; nobody waits until that is known.
        worker.kill()?;
    }
    elsewhere(&mut client, &kept).await
}

/// A state for each day and bucket of the view's own table.
async fn daily_buckets(client: &mut SqlClient) -> TestResult<i64> {
    let rows = "SELECT sum(rows) FROM system.parts WHERE database = 'shop' AND active \
                AND table LIKE '.inner%'";
    let rows: i64 = client.value(rows).await?.parse()?;
    assert_eq!(rows % 60, 0);
    Ok(rows / 60)
}

/// Of one more insert, one more part is copied: to another place that says what it is based on, and
/// to the same place.
async fn incremental(client: &mut SqlClient, kept: &Path) -> TestResult {
    client.update("BACKUP TABLE shop.orders TO Disk('kept', '2')").await?;
    let all = parts(&kept.join("2"));
    assert!(all > 1, "{all}");
    client
        .update(
            "INSERT INTO shop.orders (id, day, amount, u) \
             SELECT 10001, '2031-01-02', 6, generateUUIDv4()",
        )
        .await?;
    client.update("DELETE FROM shop.orders WHERE id = 17").await?;
    let based = "BACKUP TABLE shop.orders TO Disk('kept', '3') \
                 SETTINGS base_backup = Disk('kept', '2')";
    client.update(based).await?;
    assert_eq!(parts(&kept.join("3")), 1);
    client.update("BACKUP TABLE shop.orders TO Disk('kept', '2')").await?;
    assert_eq!(parts(&kept.join("2")), all + 1);
    let rows = client.lines("SELECT *, lucky FROM shop.orders ORDER BY id").await?;
    for (place, name) in [("3", "third"), ("2", "second")] {
        let restore =
            format!("RESTORE TABLE shop.orders AS shop.{name} FROM Disk('kept', '{place}')");
        client.update(&restore).await?;
        let sql = format!("SELECT *, lucky FROM shop.{name} ORDER BY id");
        assert!(client.lines(&sql).await? == rows, "{name}");
    }
    Ok(())
}

/// A byte that is not as it was written: an error that says where, and nothing is restored.
async fn damaged(client: &mut SqlClient, kept: &Path) -> TestResult {
    let tables = "SELECT database || '.' || name FROM system.tables ORDER BY 1";
    let before = client.lines(tables).await?;
    client.update("BACKUP DATABASE shop TO Disk('kept', '4')").await?;
    client
        .update(
            "BACKUP DATABASE shop TO Disk('kept', '5') SETTINGS base_backup = \
                   Disk('kept', '4')",
        )
        .await?;
    // The largest is of one of the tables that are restored.
    let copied = files(&kept.join("4")).into_iter();
    let largest = copied.max_by_key(|file| std::fs::metadata(file).map_or(0, |file| file.len()));
    let largest = largest.ok_or("no file was copied")?;
    assert!(largest.ends_with("data.vortex"));
    flip(&largest)?;
    for place in ["4", "5"] {
        let restore = format!(
            "RESTORE TABLE shop.orders AS a1, TABLE shop.latest AS a2, TABLE shop.earlier AS a3, \
             TABLE shop.second AS a4, TABLE shop.third AS a5 FROM Disk('kept', '{place}')"
        );
        let error = client.update(&restore).await.err().ok_or("damage was restored")?;
        let text = error.to_string();
        assert!(text.contains("nothing was restored"), "{text}");
        assert!(text.contains("data.vortex"), "{text}");
        assert_eq!(error.code(), Some(tonic::Code::DataLoss), "{text}");
        assert_eq!(client.lines(tables).await?, before);
    }
    flip(&largest)?;
    let manifest = std::fs::read_dir(kept.join("4/backups"))?.next().ok_or("no backup")??.path();
    flip(&manifest)?;
    refused(client, "RESTORE TABLE shop.orders AS a1 FROM Disk('kept', '4')", "checksum").await?;
    flip(&manifest)?;
    assert_eq!(client.lines(tables).await?, before);
    refused(client, "RESTORE TABLE shop.nope FROM Disk('kept', '4')", "does not hold").await?;
    refused(client, "RESTORE ALL FROM Disk('kept', '9')", "there is no folder").await?;
    refused(client, "BACKUP ALL TO Disk('kept', '../x')", "cannot be a folder").await?;
    refused(client, "BACKUP ALL TO Disk('far', '1')", "is not configured").await
}

/// Everything, in a cluster that has nothing yet.
async fn elsewhere(client: &mut SqlClient, kept: &Path) -> TestResult {
    client.update("CREATE FUNCTION doubled AS (x) -> x * 2").await?;
    client.update("CREATE VIEW of_function AS SELECT doubled(21) AS v").await?;
    client.update("ALTER USER ann SETTINGS max_threads = 3").await?;
    client.update("BACKUP ALL TO Disk('kept', '6') SETTINGS backup_name = 'night'").await?;
    let before = seen(client).await?;
    let other = TestCluster::start(Mode::Embedded).await?;
    let mut other = other.client(0).await?;
    let place = kept.join("6");
    let place = place.display();
    let restore = format!("RESTORE ALL FROM File('{place}') SETTINGS backup_name = 'night'");
    // What is called like a function of the backup and is another one would change its views.
    other.update("CREATE FUNCTION doubled AS (x) -> x + x + 1").await?;
    refused(&mut other, &restore, "'doubled' is another one here").await?;
    other.update("DROP FUNCTION doubled").await?;
    other.update(&restore).await?;
    assert!(seen(&mut other).await? == before);
    assert_eq!(other.value("SELECT v FROM of_function").await?, "42");
    let settings = "SELECT concat(user, ' ', name, ' ', value) FROM system.user_settings";
    assert_eq!(other.value(settings).await?, "ann max_threads 3");
    // Ids of parts mean something in one cluster only.
    refused(&mut other, &format!("BACKUP ALL TO '{place}'"), "of another cluster").await
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_cluster() -> TestResult {
    check(Mode::Cluster).await
}
