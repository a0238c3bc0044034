//! Projections on real processes: that queries read them, and that random queries answer alike with
//! and without them whatever happens to the rows.

use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};

const COLUMNS: &str = "id Int64, at DateTime, site String, code UInt16, ms Nullable(Int32), \
                       price Decimal(12, 2)";
const REST: &str = "ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (site, id) \
                    SETTINGS index_granularity = 200";
const PROJECTIONS: [&str; 4] = [
    "by_site (SELECT site, code, count(), sum(ms), count(ms), avg(price), max(at) GROUP BY site, code)",
    "by_hour (SELECT toStartOfHour(at) AS hour, count(), min(ms), max(ms), sum(price), \
     sumIf(price, code > 20) GROUP BY hour, toYYYYMM(at))",
    "total (SELECT count(), sum(ms), avg(ms))",
    "by_code (SELECT code, id, site, ms ORDER BY code, id)",
];

/// The same numbers in every run.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    fn below(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    pub(super) fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len() as u64) as usize]
    }

    /// A query of a shape that some projection answers, or nearly one.
    fn query(&mut self) -> String {
        if self.below(5) == 0 {
            let (code, more) = (self.below(50), self.of(&["", "AND id > 700", "AND ms < 500"]));
            return format!("SELECT id, ms FROM t WHERE code = {code} {more} ORDER BY id");
        }
        self.aggregation()
    }

    /// An aggregation of some rows of `t`.
    pub(super) fn aggregation(&mut self) -> String {
        let keys = ["site", "code", "toStartOfHour(at)", "toYYYYMM(at)", "code % 3", "site || '!'"];
        let calls = [
            "count()",
            "sum(ms)",
            "count(ms)",
            "avg(price)",
            "max(at)",
            "min(ms)",
            "max(ms)",
            "sum(price)",
            "sumIf(price, code > 20)",
            "avg(ms)",
            "uniq(code)",
            "min(site)",
            "countIf(code > 20)",
            "sum(id)",
            "max(code)",
        ];
        let conditions = [
            "site = 's3'",
            "code < 30",
            "code IN (1, 5, 33)",
            "toYYYYMM(at) = 202402",
            "toStartOfHour(at) >= '2024-02-01 00:00:00'",
            "id > 500",
            "site LIKE 's%1'",
            "at < '2024-02-10 00:00:00'",
            "ms IS NULL",
        ];
        let mut group: Vec<&str> = (0..self.below(3)).map(|_| self.of(&keys)).collect();
        group.dedup();
        let call = (0..1 + self.below(3)).map(|_| self.of(&calls)).collect::<Vec<_>>().join(", ");
        let filter = (0..self.below(3)).map(|_| self.of(&conditions)).collect::<Vec<_>>();
        let filter = match filter.is_empty() {
            true => String::new(),
            false => format!("WHERE {}", filter.join(" AND ")),
        };
        let group = group.join(", ");
        match group.is_empty() {
            true => format!("SELECT {call} FROM t {filter}"),
            false => {
                format!("SELECT {group}, {call} FROM t {filter} GROUP BY {group} ORDER BY ALL")
            }
        }
    }
}

/// Rows whose ids begin with `from`.
pub(super) async fn insert(client: &mut SqlClient, from: u64) -> TestResult {
    let sql = format!(
        "INSERT INTO t SELECT number, toDateTime('2024-01-20 00:00:00') + number * 1500, \
         concat('s', toString(number % 13)), intDiv(number, 7) % 50, \
         if(number % 9 = 0, NULL, number % 1000), CAST(number % 333 AS Decimal(12, 2)) / 4 \
         FROM numbers({from}, 1500)"
    );
    client.update(&sql).await?;
    Ok(())
}

/// Answers with projections, those without, and whether the plan of any query named one.
async fn compare(client: &mut SqlClient, draw: &mut Draw, when: &str) -> TestResult<usize> {
    let mut used = 0;
    for _ in 0..20 {
        let query = draw.query();
        let with = client.lines(&query).await?;
        let without =
            client.lines(&format!("{query} SETTINGS optimize_use_projections = 0")).await?;
        assert_eq!(with, without, "{when}: {query}");
        let plan = client.lines(&format!("EXPLAIN {query}")).await?.join("\n");
        used += usize::from(names_one(&plan));
    }
    Ok(used)
}

/// Whether a scan of the plan reads a projection.
fn names_one(plan: &str) -> bool {
    let names = PROJECTIONS.iter().filter_map(|projection| projection.split(' ').next());
    names.into_iter().any(|name| plan.contains(&format!("projection={name},")))
}

async fn uses(client: &mut SqlClient, query: &str, name: Option<&str>) -> TestResult {
    let plan = client.lines(&format!("EXPLAIN {query}")).await?.join("\n");
    match name {
        Some(name) => assert!(plan.contains(&format!("projection={name},")), "{query}\n{plan}"),
        None => assert!(!names_one(&plan), "{query}\n{plan}"),
    }
    Ok(())
}

async fn check(mode: Mode) -> TestResult {
    let mut cluster = TestCluster::start(mode).await?;
    let mut client = cluster.client(0).await?;
    client.update(&format!("CREATE TABLE t ({COLUMNS}) {REST}")).await?;
    // Whether parts have a projection is decided by the statements below.
    client.update("SYSTEM STOP MERGES t").await?;
    insert(&mut client, 0).await?;
    for projection in PROJECTIONS {
        client.update(&format!("ALTER TABLE t ADD PROJECTION {projection}")).await?;
    }
    let mut draw = Draw(7);
    let by_site = "SELECT site, count(), sum(ms) FROM t GROUP BY site";
    uses(&mut client, by_site, None).await?;
    compare(&mut client, &mut draw, "no part has one").await?;

    insert(&mut client, 1500).await?;
    insert(&mut client, 3000).await?;
    uses(&mut client, by_site, Some("by_site")).await?;
    let used = compare(&mut client, &mut draw, "some parts have them").await?;
    assert!(used > 1, "{used} of 20 queries read a projection");

    let by_hour = "SELECT toStartOfHour(at) AS h, max(ms) FROM t GROUP BY h";
    uses(&mut client, by_hour, Some("by_hour")).await?;
    uses(&mut client, "SELECT sum(ms) FROM t", Some("total")).await?;
    uses(&mut client, "SELECT site, sum(id) FROM t GROUP BY site", None).await?;
    uses(&mut client, "SELECT site, count() FROM t WHERE id > 3 GROUP BY site", None).await?;
    let by_code = "SELECT id, ms FROM t WHERE code = 7";
    uses(&mut client, by_code, Some("by_code")).await?;
    uses(&mut client, &format!("{by_code} AND site = 's1'"), None).await?;
    uses(&mut client, "SELECT id, price FROM t WHERE code = 7", None).await?;
    uses(&mut client, &format!("{by_site} SETTINGS optimize_use_projections = 0"), None).await?;

    client.update("DELETE FROM t WHERE id % 17 = 4").await?;
    uses(&mut client, by_site, None).await?;
    compare(&mut client, &mut draw, "rows of all parts are deleted").await?;
    client.update("UPDATE t SET code = 77 WHERE id % 23 = 5").await?;
    insert(&mut client, 4500).await?;
    compare(&mut client, &mut draw, "rows are updated").await?;

    client.update("OPTIMIZE TABLE t FINAL").await?;
    uses(&mut client, by_site, Some("by_site")).await?;
    let used = compare(&mut client, &mut draw, "all is merged").await?;
    assert!(used > 1, "{used} of 20 queries read a projection");

    client.update("DELETE FROM t WHERE id % 19 = 6").await?;
    client.update("ALTER TABLE t MATERIALIZE PROJECTION by_hour").await?;
    uses(&mut client, by_hour, Some("by_hour")).await?;
    client.update("ALTER TABLE t RENAME COLUMN ms TO took").await?;
    client.update("ALTER TABLE t RENAME COLUMN took TO ms").await?;
    compare(&mut client, &mut draw, "made anew").await?;

    cluster.cluster.restart_all().await?;
    let mut client = cluster.client(0).await?;
    uses(&mut client, by_site, Some("by_site")).await?;
    compare(&mut client, &mut draw, "after a restart").await?;
    client.update("ALTER TABLE t CLEAR PROJECTION by_hour").await?;
    uses(&mut client, by_hour, None).await?;
    uses(&mut client, by_site, Some("by_site")).await?;
    compare(&mut client, &mut draw, "one is cleared").await?;
    client.update("ALTER TABLE t MATERIALIZE PROJECTION by_hour").await?;
    uses(&mut client, by_hour, Some("by_hour")).await?;
    client.update("ALTER TABLE t DROP PROJECTION by_site").await?;
    uses(&mut client, by_site, None).await?;
    compare(&mut client, &mut draw, "one is dropped").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn projections_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn projections_cluster() -> TestResult {
    check(Mode::Cluster).await
}
