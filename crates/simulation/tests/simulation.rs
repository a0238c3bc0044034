//! Seeds of every run of the tests; `scripts/simulate` takes more.

use granary_simulation::{Plan, Report, Sabotage, run};

/// Seeds that are run each time.
const SEEDS: std::ops::Range<u64> = 0..50;
/// Seeds within which each sabotage must be found.
const SEEDS_TO_FIND: u64 = 500;

fn check(report: &Report) {
    let Report { seed, wrong, .. } = report;
    assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}\nscripts/simulate --seed {seed} tells all");
    assert!(report.inserts > 0 && report.queries > 0 && report.faults > 0, "{report:?}");
}

#[test]
fn nothing_is_lost_under_any_seed() {
    let reports: Vec<Report> = SEEDS.map(|seed| run(Plan::of(seed))).collect();
    reports.iter().for_each(check);
    let merges: u64 = reports.iter().map(|report| report.merges).sum();
    let splits: u64 = reports.iter().map(|report| report.splits).sum();
    let deletions: u64 = reports.iter().map(|report| report.deletions).sum();
    let updates: u64 = reports.iter().map(|report| report.updates).sum();
    assert!(merges > 100 && splits > 100, "{merges} merges, {splits} splits");
    let given_up: u64 = reports.iter().map(|report| report.given_up).sum();
    assert!(deletions > 100 && given_up > 50, "{deletions} deletions, {given_up} given up");
    let upserts: u64 = reports.iter().map(|report| report.upserts).sum();
    assert!(updates > 100 && upserts > 100, "{updates} updates, {upserts} upserts");
}

#[test]
fn a_seed_replays_identically() {
    for seed in [3, 17] {
        assert_eq!(run(Plan::of(seed)), run(Plan::of(seed)));
    }
}

/// What is broken on purpose is found. A test each: some take many seeds.
fn is_found(sabotage: Sabotage) {
    let found = (0..SEEDS_TO_FIND)
        .map(|seed| run(Plan { sabotage: Some(sabotage), ..Plan::of(seed) }))
        .find(|report| !report.wrong.is_empty());
    let found =
        found.unwrap_or_else(|| panic!("{sabotage:?} was not found by {SEEDS_TO_FIND} seeds"));
    println!("{sabotage:?}, seed {}: {}", found.seed, found.wrong[0]);
}

#[test]
fn parts_that_are_not_synced_are_found() {
    is_found(Sabotage::UnsyncedParts);
}

#[test]
fn entries_of_the_log_that_are_not_synced_are_found() {
    is_found(Sabotage::UnsyncedLog);
}

#[test]
fn commits_under_old_epochs_are_found() {
    is_found(Sabotage::OldEpochs);
}

#[test]
fn lost_tokens_are_found() {
    is_found(Sabotage::LostTokens);
}

#[test]
fn stale_deletions_are_found() {
    is_found(Sabotage::StaleDeletions);
}

#[test]
fn stale_keys_are_found() {
    is_found(Sabotage::StaleKeys);
}

#[test]
fn sweeps_of_what_may_be_committed_are_found() {
    is_found(Sabotage::SweptLeases);
}

/// Run by `scripts/simulate`.
#[test]
#[ignore = "takes as long as it is told; `scripts/simulate` runs it"]
fn long() {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    let first = number("GRANARY_SEED");
    let seeds = number("GRANARY_SIMULATE_SEEDS").unwrap_or(1);
    let mut failed = Vec::new();
    for seed in first.unwrap_or(1_000)..first.unwrap_or(1_000) + seeds {
        let report = run(Plan { is_told: seeds == 1, ..Plan::of(seed) });
        let Report { inserts, deletions, updates, upserts, queries, merges, splits, .. } = &report;
        let Report { faults, ms, story, wrong, .. } = &report;
        println!(
            "seed {seed}: {inserts} inserts, {deletions} deletions, {updates} updates, {upserts} upserts, {queries} \
             queries, {merges} merges, {splits} splits, {faults} faults in {ms} ms, story {story:016x}, {} wrong",
            wrong.len()
        );
        wrong.iter().for_each(|wrong| println!("  {wrong}"));
        if !wrong.is_empty() {
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}
