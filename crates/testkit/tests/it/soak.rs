//! Inserts, deletes, merges and a view while processes are killed, against a model.
//! `GRANARY_SEED` chooses another run; `scripts/soak` runs the long one.

use std::time::Duration;

use granary_testkit::soak::{Plan, Summary, run};
use granary_testkit::{Mode, TestCluster, TestResult};

const SEED: u64 = 20_261_128;
const SHORT: Duration = Duration::from_secs(16);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn check(mode: Mode, plan: Plan) -> TestResult<Summary> {
    let mut cluster = TestCluster::start(mode).await?;
    let name = mode.name();
    let summary = run(&mut cluster, plan, |elapsed, summary| {
        println!("{name}, {} s: {summary}", elapsed.as_secs());
    })
    .await
    .map_err(|error| format!("seed {}: {error}", plan.seed))?;
    match summary.is_clean() && summary.inserts_acknowledged > 0 {
        true => Ok(summary),
        false => Err(format!("{name}, seed {}: {summary}", plan.seed).into()),
    }
}

fn short() -> Plan {
    Plan { seed: setting("GRANARY_SEED", SEED), duration: SHORT, round: SHORT / 2 }
}

#[tokio::test(flavor = "multi_thread")]
async fn short_embedded() -> TestResult {
    check(Mode::Embedded, short()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn short_cluster() -> TestResult {
    check(Mode::Cluster, short()).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: scripts/soak runs it"]
async fn long() -> TestResult {
    let minutes = setting("GRANARY_SOAK_MINUTES", 10);
    let minute = Duration::from_secs(60);
    let mode = match std::env::var("GRANARY_SOAK_MODE").as_deref() {
        Ok("embedded") => Mode::Embedded,
        _ => Mode::Cluster,
    };
    let seed = setting("GRANARY_SEED", SEED);
    println!("{}, {minutes} minutes, seed {seed}", mode.name());
    let plan = Plan { seed, duration: minutes as u32 * minute, round: minute };
    let summary = check(mode, plan).await?;
    println!("summary: {summary}");
    Ok(())
}
