//! A cluster on hosts of its own that is mistreated for minutes; `scripts/chaos` makes the hosts.

use std::time::Duration;

use granary_testkit::TestResult;
use granary_testkit::chaos::{Hosts, Plan, run};

const SEED: u64 = 20_261_128;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs hosts and minutes: scripts/chaos runs it"]
async fn long() -> TestResult {
    let prefix = std::env::var("GRANARY_CHAOS_HOSTS")
        .map_err(|_| "scripts/chaos makes the network namespaces that this needs")?;
    let hosts = Hosts::new(&prefix)?;
    let minutes = setting("GRANARY_CHAOS_MINUTES", 30);
    let plan =
        Plan { seed: setting("GRANARY_SEED", SEED), duration: Duration::from_secs(60 * minutes) };
    println!("{minutes} minutes, seed {}", plan.seed);
    let summary = run(&hosts, plan, |elapsed, summary| {
        println!("{:>5} s: {summary}", elapsed.as_secs());
    })
    .await
    .map_err(|error| format!("seed {}: {error}", plan.seed))?;
    match summary.is_clean() && summary.inserts_acknowledged > 0 {
        true => Ok(()),
        false => Err(format!("seed {}: {summary}", plan.seed).into()),
    }
}
