//! Skip indexes and partition pruning on real processes: what they skip, and that random queries
//! answer alike with and without them.

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

const COLUMNS: &str =
    "id Int64, at DateTime, code UInt16, note Nullable(String), tags Array(String)";
const REST: &str = "ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY id \
                    DISTRIBUTED BY (id) BUCKETS 1 SETTINGS index_granularity = 500";
const INDEXES: &str = "INDEX i1 code TYPE set(8) GRANULARITY 1, \
                       INDEX i2 code + 1 TYPE minmax GRANULARITY 2, \
                       INDEX i3 note TYPE bloom_filter(0.01) GRANULARITY 1, \
                       INDEX i4 note TYPE tokenbf_v1(2048, 3, 0) GRANULARITY 1, \
                       INDEX i5 lower(note) TYPE ngrambf_v1(3, 2048, 3, 0) GRANULARITY 1, \
                       INDEX i6 toHour(at) TYPE set(0) GRANULARITY 1, \
                       INDEX i7 note TYPE full_text GRANULARITY 1, \
                       INDEX i8 tags TYPE text(tokenizer = 'array') GRANULARITY 1, \
                       INDEX i9 lower(note) TYPE inverted GRANULARITY 2";

/// Conditions over the columns; the same for every run.
fn conditions() -> Vec<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = move |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut one = move || match draw(16) {
        0 => format!("code = {}", draw(60)),
        1 => format!("code IN ({}, {}, 999)", draw(60), draw(60)),
        2 => format!("code + 1 > {}", draw(60)),
        3 => format!("note = 'Item {} of group{}'", draw(4000), draw(40)),
        4 => format!("hasToken(note, 'group{}')", draw(50)),
        5 => format!("lower(note) LIKE '%group{}%'", draw(50)),
        6 => format!("note LIKE 'Item {}%'", draw(400)),
        7 => format!("toHour(at) = {}", draw(24)),
        8 => format!("hasTokenCaseInsensitive(note, 'GROUP{}')", draw(50)),
        9 => format!("note LIKE '% of group{}'", draw(50)),
        10 => format!("match(note, '^Item [0-9]+ of group{}$')", draw(50)),
        11 => format!("match(note, 'm {}. of ')", draw(400)),
        12 => format!("has(tags, 'tag {}')", draw(50)),
        13 => format!("hasAny(tags, ['tag {}', 'even', 'x'])", draw(50)),
        14 => format!("hasAll(tags, ['tag {}', 'even'])", draw(50)),
        _ => format!("at >= '2024-0{}-1{} 00:00:00'", 1 + draw(6), draw(10)),
    };
    (0..60)
        .map(|at| match at % 4 {
            0 => one(),
            1 => format!("{} AND {}", one(), one()),
            2 => format!("({} OR {}) AND {}", one(), one(), one()),
            _ => format!("NOT ({}) AND {}", one(), one()),
        })
        .collect()
}

async fn fill(client: &mut SqlClient, table: &str) -> TestResult {
    let sql = format!(
        "INSERT INTO {table} SELECT number, \
         toDateTime('2024-01-01 00:00:00') + number * 4000, intDiv(number, 100) % 50, \
         if(number % 7 = 0, NULL, \
            concat('Item ', toString(number), ' of group', toString(intDiv(number, 100)))), \
         arrayConcat([concat('tag ', toString(intDiv(number, 80)))], \
                     if(number % 3 = 0, ['even'], [])) \
         FROM numbers(4000)"
    );
    client.update(&sql).await?;
    Ok(())
}

async fn check(mode: Mode) -> TestResult {
    let cluster = TestCluster::start(mode).await?;
    let mut client = cluster.client(0).await?;
    client.update(&format!("CREATE TABLE plain ({COLUMNS}) {REST}")).await?;
    client.update(&format!("CREATE TABLE indexed ({COLUMNS}, {INDEXES}) {REST}")).await?;
    client.update(&format!("CREATE TABLE later ({COLUMNS}) {REST}")).await?;
    for table in ["plain", "indexed", "later"] {
        fill(&mut client, table).await?;
        client.update(&format!("DELETE FROM {table} WHERE id % 11 = 5")).await?;
    }
    let added = INDEXES.split("INDEX ").skip(1).map(|index| index.trim_end_matches(", "));
    for index in added {
        let name = index.split(' ').next().ok_or("a name")?;
        client.update(&format!("ALTER TABLE later ADD INDEX {index}")).await?;
        client.update(&format!("ALTER TABLE later MATERIALIZE INDEX {name}")).await?;
    }
    for condition in conditions() {
        let mut answers = Vec::new();
        for table in ["plain", "indexed", "later"] {
            let sql = format!("SELECT count(*), sum(id) FROM {table} WHERE {condition}");
            answers.push(client.lines(&sql).await?);
        }
        assert_eq!(answers[1], answers[0], "{condition}");
        assert_eq!(answers[2], answers[0], "{condition}");
    }

    // Seven months have parts, and two are asked for.
    let sql = "EXPLAIN SELECT count(*), max(code) FROM plain \
               WHERE at BETWEEN '2024-02-10 00:00:00' AND '2024-03-10 00:00:00'";
    let plan = client.lines(sql).await?.join("\n");
    assert!(plan.contains("parts=2,"), "{plan}");

    // The same in numbers: two of seven parts, whatever the key says.
    assert!(plan.contains("indexes of default.plain:"), "{plan}");
    assert!(plan.contains("partition: parts 2 of 7"), "{plan}");

    // Before it runs: what the partition, the key and the index leave, wherever the part is.
    let explained = client
        .lines(
            "EXPLAIN SELECT count(*) FROM indexed WHERE at < '2024-02-01 00:00:00' AND id < 400 \
             AND code = 3",
        )
        .await?
        .join("\n");
    for line in [
        // February, too: its first moment is the bound.
        "partition: parts 2 of 7",
        "primary key: parts 1 of 2, granules 1 of 2",
        "i1: granules 1 of 1",
    ] {
        assert!(explained.contains(line), "{line}\n{explained}");
    }
    let explained = client.lines("EXPLAIN SELECT id FROM plain WHERE id < 0").await?;
    let explained = explained.join("\n");
    assert!(explained.contains("primary key: parts 0 of 7, granules 0 of 0"), "{explained}");
    // What is skipped: eight granules of January's part, of which one has the words.
    let january = "at < '2024-02-01 00:00:00'";
    for (table, condition, expected) in [
        ("indexed", "hasToken(note, 'group3')", "index_i4_granules_left=1"),
        ("later", "hasToken(note, 'group3')", "index_i4_granules_left=1"),
        ("indexed", "code = 3", "index_i1_granules_left=1"),
        ("indexed", "lower(note) LIKE '%group3 %'", "index_i5_granules_left=0"),
        ("indexed", "hasToken(note, 'group3')", "index_i7_granules_left=1"),
        ("later", "note LIKE '% of group3'", "index_i7_granules_left=1"),
        ("later", "hasToken(note, 'group')", "index_i7_granules_left=0"),
        ("indexed", "match(note, '[0-9] of group3$')", "index_i7_granules_left=1"),
        ("indexed", "has(tags, 'tag 3')", "index_i8_granules_left=1"),
        ("later", "hasTokenCaseInsensitive(note, 'GROUP3')", "index_i9_granules_left=1"),
        // An index that is asked twice counts once.
        ("indexed", "hasAll(tags, ['tag 3', 'even'])", "index_i8_granules_left=1"),
        ("indexed", "hasAll(tags, ['tag 3', 'even'])", "index_i8_granules_total=2"),
        ("indexed", "hasAll(tags, ['tag 3', 'even'])", "indexes=[i8]"),
    ] {
        explains(&mut client, table, &format!("{january} AND {condition}"), expected).await?;
    }
    let tagged = format!("{january} AND has(tags, 'tag 3')");
    for (what, expected) in
        [("CLEAR", "index_i8_granules_left=2"), ("MATERIALIZE", "index_i8_granules_left=1")]
    {
        client.update(&format!("ALTER TABLE later {what} INDEX i8")).await?;
        explains(&mut client, "later", &tagged, expected).await?;
        explains(&mut client, "later", "code = 3", "index_i1_granules_left=1").await?;
    }
    Ok(())
}

async fn explains(
    client: &mut SqlClient,
    table: &str,
    condition: &str,
    expected: &str,
) -> TestResult {
    let sql = format!("EXPLAIN ANALYZE SELECT count(*) FROM {table} WHERE {condition}");
    let plan = client.lines(&sql).await?.join("\n");
    assert!(plan.contains(expected), "{sql}: {expected}\n{plan}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_cluster() -> TestResult {
    check(Mode::Cluster).await
}
