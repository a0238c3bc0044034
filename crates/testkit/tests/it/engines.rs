//! Every engine against its model, with merges, mutations and kills in between.
//! `GRANARY_SEED` and `GRANARY_STEPS` choose another and a longer run.

use granary_testkit::engines::{EngineUnderTest, Plan, run};
use granary_testkit::{Mode, TestCluster, TestResult};

const STEPS: usize = 60;
const SEED: u64 = 20_261_121;

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn check(mode: Mode, kill_every: u64) -> TestResult {
    let mut cluster = TestCluster::start(mode).await?;
    let steps = setting("GRANARY_STEPS", STEPS);
    for (place, engine) in EngineUnderTest::ALL.into_iter().enumerate() {
        let seed = setting("GRANARY_SEED", SEED) + place as u64;
        run(&mut cluster, engine, Plan { seed, steps, kill_every }).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_embedded() -> TestResult {
    check(Mode::Embedded, 30).await
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_cluster() -> TestResult {
    check(Mode::Cluster, 40).await
}
