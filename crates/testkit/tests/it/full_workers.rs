//! Clusters in which the disks of some workers are full: others take the rows, within seconds and
//! without an error, and the workers are used again when they have room. The disks are small ones in
//! memory; mounting them takes root.

use std::time::Duration;

use granary_common::{Clock, SystemClock};
use granary_testkit::{Mode, SqlClient, TestCluster, TestResult};
use tonic::Code;

use super::full_disk::SmallDisk;

const MIB: u64 = 1 << 20;
/// Long enough for an insert to find another leader.
const INSERT_LIMIT: Duration = Duration::from_secs(20);
/// Long enough for a worker to fetch what it lacks and to lead again.
const BACK_LIMIT: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const ROWS: u64 = 50_000;

const TABLE: &str = "(id Int64) ENGINE = MergeTree ORDER BY id DISTRIBUTED BY (id) BUCKETS 6";
const LACKING: &str = "SELECT count(*) FROM system.parts WHERE active AND live_copies < 2";
const SPARE: &str = "SELECT count(*) FROM system.parts WHERE active AND copies > 2";
const OUT_OF_SYNC: &str = "SELECT count(*) FROM system.bucket_replicas WHERE NOT is_in_sync";

/// Three workers, each with a disk of its own.
struct Bench {
    disks: Vec<SmallDisk>,
    cluster: TestCluster,
    client: SqlClient,
    /// The ids of the workers, in the order of their disks.
    ids: Vec<u64>,
    rows: u64,
}

impl Bench {
    async fn start() -> TestResult<Option<Bench>> {
        let mut disks = Vec::new();
        for _ in 0..3 {
            let Some(disk) = SmallDisk::mount(64)? else { return Ok(None) };
            disks.push(disk);
        }
        let cluster = TestCluster::start_with(Mode::Cluster, |spec| {
            for (place, disk) in disks.iter().enumerate() {
                let folder = spec.folder.join(format!("worker-{}", place + 1));
                if let Err(error) = disk.stand_in_for(&folder) {
                    // The test then finds that the disk does not fill.
                    eprintln!("no small disk for worker {place}: {error}");
                }
            }
        })
        .await?;
        let mut client = cluster.client(0).await?;
        client.update(&format!("CREATE TABLE t {TABLE}")).await?;
        let mut ids = Vec::new();
        for worker in &cluster.cluster.workers {
            let address = worker.address("internal").ok_or("a worker without an address")?;
            let sql = format!("SELECT id FROM system.workers WHERE address = '{address}'");
            ids.push(client.value(&sql).await?.parse()?);
        }
        Ok(Some(Bench { disks, cluster, client, ids, rows: 0 }))
    }

    /// The worker has less room than is kept free.
    fn fill(&self, place: usize) -> TestResult {
        self.disks[place].fill(MIB / 2)
    }

    /// Rows for every bucket, a few times, which must all be taken soon.
    async fn insert(&mut self) -> TestResult {
        for _ in 0..4 {
            let (from, begun_ms) = (self.rows, SystemClock.monotonic_ms());
            let sql = format!("INSERT INTO t SELECT number + {from} FROM numbers({ROWS})");
            tokio::time::timeout(INSERT_LIMIT, self.client.update(&sql)).await??;
            self.rows += ROWS;
            eprintln!("inserted in {} ms", SystemClock.monotonic_ms() - begun_ms);
        }
        self.check_rows().await
    }

    async fn check_rows(&mut self) -> TestResult {
        let got = self.client.lines("SELECT count(*), sum(id) FROM t").await?;
        assert_eq!(got, [format!("{}\t{}", self.rows, self.rows * (self.rows - 1) / 2)]);
        Ok(())
    }

    async fn wait_for(&mut self, sql: &str, want: &str) -> TestResult {
        let until_ms = SystemClock.monotonic_ms() + BACK_LIMIT.as_millis() as u64;
        loop {
            let got = self.client.value(sql).await?;
            if got == want {
                return Ok(());
            }
            if SystemClock.monotonic_ms() > until_ms {
                return Err(format!("{sql}: {got} instead of {want}").into());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn of_worker(&self, place: usize, what: &str) -> String {
        format!("SELECT {what} FROM system.workers WHERE id = {}", self.ids[place])
    }

    /// Every worker holds and leads what it did in the beginning.
    async fn wait_for_all(&mut self) -> TestResult {
        for place in 0..self.ids.len() {
            let leads = self.of_worker(place, "takes_writes AND leads_buckets >= 2");
            self.wait_for(&leads, "1").await?;
        }
        for sql in [OUT_OF_SYNC, LACKING, SPARE] {
            self.wait_for(sql, "0").await?;
        }
        self.check_rows().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_take_the_rows_while_a_disk_is_full() -> TestResult {
    let Some(mut bench) = Bench::start().await? else { return Ok(()) };
    bench.insert().await?;
    bench.fill(0)?;
    bench.insert().await?;
    let has_left = bench.of_worker(0, "takes_writes OR leads_buckets > 0");
    bench.wait_for(&has_left, "0").await?;
    assert_eq!(bench.client.value(LACKING).await?, "0", "each part is on two others");
    // What rows need that go, and tables that come, goes on as well.
    bench.client.update("DELETE FROM t WHERE id % 2 = 0").await?;
    bench.client.update("INSERT INTO t SELECT id - 1 FROM t WHERE id % 2 = 1").await?;
    bench.check_rows().await?;
    bench.client.update(&format!("CREATE TABLE other {TABLE}")).await?;
    assert_eq!(bench.client.value(&has_left).await?, "0");
    bench.client.update("INSERT INTO other SELECT number FROM numbers(1000)").await?;
    bench.client.update("DROP TABLE other").await?;

    bench.disks[0].make_room()?;
    bench.wait_for_all().await?;
    bench.insert().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_worker_with_room_takes_all_rows() -> TestResult {
    let Some(mut bench) = Bench::start().await? else { return Ok(()) };
    bench.insert().await?;
    bench.fill(0)?;
    bench.insert().await?;
    bench.fill(1)?;
    // Some buckets have no replica with room: a worker leads them that has none of their rows.
    bench.insert().await?;
    let leads_all = bench.of_worker(2, "leads_buckets = 6");
    bench.wait_for(&leads_all, "1").await?;
    bench.fill(2)?;
    let error = bench.client.update("INSERT INTO t VALUES (1)").await.err();
    let error = error.ok_or("rows were taken, and nobody has room")?;
    assert_eq!(error.code(), Some(Code::ResourceExhausted), "{error}");
    assert!(error.to_string().contains("nearly full"), "{error}");
    bench.check_rows().await?;

    bench.disks[1].make_room()?;
    let has_room = bench.of_worker(1, "takes_writes");
    bench.wait_for(&has_room, "1").await?;
    bench.insert().await?;
    bench.disks[0].make_room()?;
    bench.disks[2].make_room()?;
    bench.wait_for_all().await?;
    bench.cluster.cluster.restart_all().await?;
    bench.client = bench.cluster.client(0).await?;
    bench.insert().await
}
