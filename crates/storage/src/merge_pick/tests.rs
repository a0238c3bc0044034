use super::*;

const MIB: u64 = 1 << 20;

fn part(place: u64, mib: u64, age_s: u64) -> Candidate {
    let order = (CatalogVersion(place), 0);
    Candidate {
        part: PartId(place),
        rows: 1000,
        rows_deleted: 0,
        bytes: mib * MIB,
        level: 0,
        inserted: (order, order),
        age_ms: age_s * 1000,
        is_busy: false,
        due: Due::Nothing,
    }
}

fn parts(sizes_mib: &[u64], age_s: u64) -> Vec<Candidate> {
    sizes_mib.iter().enumerate().map(|(place, mib)| part(place as u64, *mib, age_s)).collect()
}

fn pool(merges_max: usize) -> Pool {
    Pool { merges_max, merges_running: 0, bytes_running: 0, bytes_max: u64::MAX }
}

#[track_caller]
fn check(parts: &[Candidate], pool: Pool, expected: &[(&[u64], Reason)]) {
    let picked = pick(parts, pool, &PickLimits::default());
    let picked: Vec<(Vec<u64>, Reason)> = picked
        .into_iter()
        .map(|pick| (pick.parts.into_iter().map(|part| part.0).collect(), pick.reason))
        .collect();
    let expected: Vec<(Vec<u64>, Reason)> =
        expected.iter().map(|(parts, reason)| (parts.to_vec(), *reason)).collect();
    assert_eq!(picked, expected);
}

#[test]
fn sizes_decide() {
    check(&[], pool(1), &[]);
    check(&parts(&[10], 0), pool(1), &[]);
    // Two young ones wait for more.
    check(&parts(&[10, 10], 0), pool(1), &[]);
    check(&parts(&[10; 6], 0), pool(1), &[(&[0, 1, 2, 3, 4, 5], Reason::Sizes)]);
    // A large neighbour is left out.
    let sizes = [4000, 10, 10, 10, 10, 10, 10];
    check(&parts(&sizes, 0), pool(1), &[(&[1, 2, 3, 4, 5, 6], Reason::Sizes)]);
    // Each much smaller than the one before: nothing to gain.
    check(&parts(&[4000, 1000, 250, 60], 0), pool(1), &[]);
}

#[test]
fn age_lowers_the_base_and_the_cold_become_one() {
    check(&parts(&[400, 400, 300], 0), pool(1), &[]);
    check(&parts(&[400, 400, 300], 20 * 86_400), pool(1), &[(&[0, 1, 2], Reason::Sizes)]);
    check(&parts(&[400, 4], 600), pool(1), &[]);
    check(&parts(&[400, 4], 86_400), pool(1), &[(&[0, 1], Reason::Cold)]);
    // One that was just written keeps the whole partition warm.
    let mut warm = parts(&[400, 4], 86_400);
    warm[1].age_ms = 0;
    check(&warm, pool(1), &[]);
}

#[test]
fn neighbours_only() {
    let mut some = parts(&[10; 9], 0);
    some[4].is_busy = true;
    // Four on either side are too few while they are young.
    check(&some, pool(4), &[]);
    let mut many = parts(&[10; 13], 0);
    many[6].is_busy = true;
    let halves: [(&[u64], Reason); 2] =
        [(&[0, 1, 2, 3, 4, 5], Reason::Sizes), (&[7, 8, 9, 10, 11, 12], Reason::Sizes)];
    check(&many, Pool { merges_running: 1, ..pool(4) }, &halves);
    // The order is that of inserts, not of the list.
    let mut mixed = parts(&[10; 6], 0);
    mixed.reverse();
    check(&mixed, pool(1), &[(&[0, 1, 2, 3, 4, 5], Reason::Sizes)]);
}

#[test]
fn limits_hold() {
    check(&parts(&[10; 6], 0), Pool { merges_running: 1, ..pool(1) }, &[]);
    check(&parts(&[10; 6], 0), Pool { bytes_max: 20 * MIB, ..pool(1) }, &[]);
    // Parts above the largest merge stay, however old they are.
    check(&parts(&[9000, 9000], 365 * 86_400), pool(1), &[]);
    let limits = PickLimits { merge_parts_max: 8, ..PickLimits::default() };
    let picked = pick(&parts(&[1; 100], 0), pool(3), &limits);
    assert_eq!(picked.len(), 3);
    assert!(picked.iter().all(|pick| pick.parts.len() <= 8));
    // The last place of a pool is for small merges.
    let large = parts(&[900; 6], 0);
    check(&large, Pool { merges_running: 3, ..pool(4) }, &[]);
    check(&large, pool(4), &[(&[0, 1, 2, 3, 4, 5], Reason::Sizes)]);
}

#[test]
fn deleted_rows_are_cleared_away() {
    let mut one = parts(&[100], 0);
    one[0].rows_deleted = 299;
    check(&one, pool(1), &[]);
    one[0].rows_deleted = 300;
    check(&one, pool(1), &[(&[0], Reason::Deletions)]);
    check(&one, Pool { merges_running: 1, ..pool(1) }, &[]);
    // Also of a part that is too large to be merged with others, once what is left fits.
    let mut large = parts(&[15_000], 0);
    large[0].rows_deleted = 500;
    check(&large, pool(1), &[(&[0], Reason::Deletions)]);
}

#[test]
fn what_somebody_wants_needs_no_ratio() {
    let limits = PickLimits::default();
    let wanted = pick_wanted(&parts(&[400, 4], 0), &limits).map(|pick| (pick.parts, pick.reason));
    assert_eq!(wanted, Some((vec![PartId(0), PartId(1)], Reason::Wanted)));
    assert_eq!(pick_wanted(&parts(&[400], 0), &limits), None);
    assert_eq!(pick_wanted(&parts(&[9000, 9000], 0), &limits), None);
}
