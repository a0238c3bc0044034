//! A cluster that grows and shrinks under load; `scripts/elastic` runs the long one.

use std::time::Duration;

use granary_testkit::TestResult;
use granary_testkit::elastic::{Plan, run};

/// A move is allowed so many times the bytes that had to move.
const MOVED_MAX: f64 = 1.2;
/// And workers may be so far from the mean of their bytes.
const SPREAD_PERCENT_MAX: f64 = 10.0;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn check(plan: Plan) -> TestResult {
    let summary = run(plan, |line| println!("{line}")).await?;
    println!(
        "{} queries, none failed; {} inserts, each there once; p99 of queries {} ms quiet, {} ms \
         growing, {} ms quiet with 6 workers, {} ms shrinking",
        summary.queries,
        summary.inserts,
        summary.quiet_p99_ms,
        summary.grown.p99_ms,
        summary.quiet_grown_p99_ms,
        summary.shrunk.p99_ms
    );
    for change in [summary.grown, summary.shrunk] {
        assert!(change.factor() <= MOVED_MAX, "{change}");
        assert!(change.spread_percent <= SPREAD_PERCENT_MAX, "{change}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn short() -> TestResult {
    check(Plan { rows: 200_000, quiet: Duration::from_secs(3) }).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: scripts/elastic runs it"]
async fn long() -> TestResult {
    let quiet = Duration::from_secs(setting("GRANARY_ELASTIC_QUIET_S", 30));
    check(Plan { rows: setting("GRANARY_ELASTIC_ROWS", 5_000_000), quiet }).await
}
