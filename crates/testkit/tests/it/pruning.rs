//! What queries leave out, in figures: partitions, and granules by each kind of skip index, each beside
//! the same table without it.

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

/// So that every query is really spread over the workers.
const SPREAD: &str = "SETTINGS distributed_scan_bytes_min = 0";
/// Of the one part of each table.
const GRANULES: u32 = 16;
const COLUMNS: &str = "id Int64, step Int64, scattered Int64, word String, note String, \
                       tags Array(String), at DateTime";
/// Each granule has a value, a word and an hour of its own. Ranges of values tell only those of `step` apart.
const ROWS: &str = "SELECT number, intDiv(number, 500), [0, 1000, 100 + intDiv(number, 500)][number % 3 + 1], \
                    reverse(toString(number)), \
                    concat('Item ', toString(number), ' of group', toString(intDiv(number, 500)), ' or so'), \
                    [concat('tag', toString(intDiv(number, 500))), 'all'], \
                    toDateTime('2024-01-01 00:00:00') + intDiv(number, 500) * 3600 FROM numbers(8000)";

/// Indexes, with a condition that one granule's rows can meet, and the granules that an index is asked
/// about: those that the key and the ranges of values leave.
const KINDS: [(&str, &str, u32); 9] = [
    ("step TYPE minmax", "step = 3", 1),
    ("step + 1 TYPE minmax", "step + 1 = 4", 16),
    ("scattered TYPE set(4)", "scattered = 105", 16),
    ("toHour(at) TYPE set(0)", "toHour(at) = 3", 16),
    ("word TYPE bloom_filter(0.0001)", "word = '0071'", 16),
    ("note TYPE tokenbf_v1(4096, 3, 0)", "hasToken(note, 'group3')", 16),
    ("lower(note) TYPE ngrambf_v1(4, 16384, 3, 0)", "lower(note) LIKE '%group3 %'", 16),
    ("note TYPE full_text", "match(note, 'of group3 or')", 16),
    ("tags TYPE text(tokenizer = 'array')", "has(tags, 'tag3')", 16),
];

async fn plan(client: &mut SqlClient, sql: &str) -> TestResult<String> {
    Ok(client.lines(sql).await?.join("\n"))
}

/// A day of a year of partitions.
async fn a_day_of_a_year(client: &mut SqlClient) -> TestResult {
    client
        .update(
            "CREATE TABLE year (day Date, v Int64) ENGINE = MergeTree PARTITION BY day ORDER BY v \
             DISTRIBUTED BY (v) BUCKETS 1",
        )
        .await?;
    client
        .update(
            "INSERT INTO year SETTINGS max_partitions_per_insert_block = 400 \
             SELECT toDate('2023-01-01') + number % 365, number FROM numbers(3650)",
        )
        .await?;
    client
        .update(
            "CREATE TABLE months (day Date, v Int64) ENGINE = MergeTree PARTITION BY toYYYYMM(day) \
             ORDER BY v DISTRIBUTED BY (v) BUCKETS 1",
        )
        .await?;
    client.update("INSERT INTO months SELECT day, v FROM year").await?;
    client.update("OPTIMIZE TABLE months FINAL").await?;
    let parts =
        "SELECT count(DISTINCT partition) FROM system.parts WHERE table = 'year' AND active";
    assert_eq!(client.value(parts).await?, "365");
    for (table, condition, parts, answer) in [
        ("year", "day = '2023-07-04'", 1, "10"),
        ("year", "day >= '2023-07-04' AND day < '2023-07-05'", 1, "10"),
        ("year", "day BETWEEN '2023-07-01' AND '2023-07-07'", 7, "70"),
        ("year", "toYYYYMM(day) = 202302", 28, "280"),
        ("year", "day IN ('2023-01-01', '2023-12-31')", 2, "20"),
        ("year", "toMonth(day) = 2 AND toDayOfMonth(day) IN (1, 2)", 2, "20"),
        ("year", "toYYYYMM(day) + 1 = 202302 AND v % 2 = 0", 31, "155"),
        ("months", "toYYYYMM(day) = 202302", 1, "280"),
        ("months", "toYYYYMM(day) IN (202302, 202312)", 2, "590"),
        ("months", "toYYYYMM(day) % 100 > 10", 2, "610"),
        ("months", "toYYYYMM(day) = 202302 AND day = '2023-02-03'", 1, "10"),
        ("months", "day >= '2023-11-15'", 2, "470"),
        ("months", "toYYYYMM(day) = 202302 OR v < 0", 12, "280"),
    ] {
        let sql = format!("SELECT count(*), sum(v * 0) FROM {table} WHERE {condition} {SPREAD}");
        let plan = plan(client, &format!("EXPLAIN {sql}")).await?;
        let named = plan.split("parts=").skip(1).filter_map(|rest| rest.split(',').next());
        let found: u32 = named.filter_map(|number| number.parse::<u32>().ok()).sum();
        assert_eq!(found, parts, "{condition}\n{plan}");
        assert_eq!(client.lines(&sql).await?, [format!("{answer}\t0")], "{condition}");
    }
    Ok(())
}

async fn each_index(client: &mut SqlClient) -> TestResult {
    let make = |name: &str, index: &str| {
        format!(
            "CREATE TABLE {name} ({COLUMNS}{index}) ENGINE = MergeTree ORDER BY id \
             DISTRIBUTED BY (id) BUCKETS 1 SETTINGS index_granularity = 500"
        )
    };
    client.update(&make("plain", "")).await?;
    client.update(&format!("INSERT INTO plain {ROWS}")).await?;
    for (place, (index, condition, asked)) in KINDS.iter().enumerate() {
        let table = format!("with{place}");
        client.update(&make(&table, &format!(", INDEX i {index} GRANULARITY 1"))).await?;
        client.update(&format!("INSERT INTO {table} {ROWS}")).await?;
        let sql = |table: &str| {
            format!("SELECT count(*), min(id), max(id) FROM {table} WHERE {condition} {SPREAD}")
        };
        let plan = plan(client, &format!("EXPLAIN ANALYZE {}", sql(&table))).await?;
        let expected = [
            format!(" granules_total={GRANULES},"),
            format!("index_i_granules_total={asked},"),
            "index_i_granules_left=1,".to_owned(),
        ];
        for expected in expected {
            assert!(plan.contains(&expected), "{index}: {expected}\n{plan}");
        }
        let rows = client.lines(&sql(&table)).await?;
        assert_eq!(rows, client.lines(&sql("plain")).await?, "{index}");
        assert!(!rows[0].starts_with('0'), "{index}: {rows:?}");
    }
    Ok(())
}

async fn check(mode: Mode) -> TestResult {
    let cluster = TestCluster::start(mode).await?;
    let mut client = cluster.client(0).await?;
    a_day_of_a_year(&mut client).await?;
    each_index(&mut client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_cluster() -> TestResult {
    check(Mode::Cluster).await
}
