use granary_catalog::{Damage, PartFiles, Row};
use granary_common::PartId;

use super::super::plan::tests::{TABLE, bucket, ids, part, snapshot, table};
use super::*;

fn copy(part: u64, worker: u64) -> CopyId {
    CopyId { table: TABLE, part: PartId(part), worker: Some(WorkerId(worker)) }
}

fn damage(part: u64, worker: u64) -> Row {
    Row::Damage(Damage { copy: copy(part, worker), reason: "cut".into(), found_ms: 1 })
}

/// Workers 1 to 3 are alive, 4 is dead.
fn found(
    parts: Vec<Part>,
    damaged: &[(u64, u64)],
    worker: u64,
) -> Vec<(CopyId, Vec<u64>, Vec<WorkerId>)> {
    let rows = [table(None), bucket(&[1, 2], &[1])].into_iter();
    let rows = rows.chain(parts.into_iter().map(Row::Part));
    let rows = rows.chain(damaged.iter().map(|(part, worker)| damage(*part, *worker)));
    let patients = patients(&snapshot(rows.collect()), WorkerId(worker));
    let shown = |patient: Patient| {
        let parts = patient.parts.iter().map(|part| part.id.0).collect();
        (patient.copy, parts, patient.peers)
    };
    patients.into_iter().map(shown).collect()
}

#[test]
fn copies_are_mended_that_somebody_else_has_whole() {
    for (copies, damaged, worker, peers) in [
        (&[1, 2][..], &[(10, 1)][..], 1, &[2][..]),
        (&[1, 2], &[(10, 1)], 2, &[]),
        (&[1, 2, 3], &[(10, 1)], 1, &[2, 3]),
        // The other one is damaged as well, on a dead worker, or not there.
        (&[1, 2], &[(10, 1), (10, 2)], 1, &[]),
        (&[1, 4], &[(10, 1)], 1, &[]),
        (&[1], &[(10, 1)], 1, &[]),
        (&[1, 2, 3], &[(10, 1), (10, 2)], 1, &[3]),
        // It was given up already.
        (&[2, 3], &[(10, 1)], 1, &[]),
        (&[1, 2], &[], 1, &[]),
    ] {
        let expected = match peers {
            [] => vec![],
            peers => vec![(copy(10, 1), vec![10], ids(peers))],
        };
        let found = found(vec![part(10, 1, copies)], damaged, worker);
        assert_eq!(found, expected, "{copies:?} {damaged:?} {worker}");
    }
}

#[test]
fn every_part_that_shows_the_files_is_given_up_with_them() {
    let shown = Part { files: Some(PartFiles::of((TABLE, PartId(10)))), ..part(11, 1, &[1, 2]) };
    let removed = |part: Part| Part { removed: Some(CatalogVersion(5)), ..part };
    let damaged = [(10, 1)];
    let both = found(vec![part(10, 1, &[1, 2]), shown.clone()], &damaged, 1);
    assert_eq!(both, [(copy(10, 1), vec![10, 11], ids(&[2]))]);
    let other = found(vec![removed(part(10, 1, &[1, 2])), shown], &damaged, 1);
    assert_eq!(other, [(copy(10, 1), vec![11], ids(&[2]))]);
    assert!(found(vec![removed(part(10, 1, &[1, 2]))], &damaged, 1).is_empty());
}
