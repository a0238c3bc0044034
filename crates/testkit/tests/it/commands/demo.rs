//! `granary demo`: its queries have the stored answers, a wrong one is told, and nothing of it is left.

use std::path::Path;

use granary_testkit::{TestResult, paths};

use super::{Ran, granary, text};

/// Runs it at the smallest size that has stored answers, with its temporary folder in `folder`.
fn demo(tpch_dir: &Path, folder: &Path, more: &[&str]) -> TestResult<Ran> {
    let tpch_dir = text(tpch_dir)?;
    let words = ["demo", "--scale", "0.01", "--tpch-dir", &tpch_dir];
    let mut command = granary(&[&words[..], more].concat())?;
    command.env("TMPDIR", folder);
    Ok(Ran::of(command.output()?))
}

/// The ids of the processes that it has named.
fn processes(shown: &str) -> Vec<&str> {
    let words: Vec<&str> = shown.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "pid").map(|pair| pair[1]).collect()
}

fn check_nothing_is_left(ran: &Ran, folder: &Path, expected: usize) -> TestResult {
    let ids = processes(&ran.out);
    assert_eq!(ids.len(), expected, "{}", ran.out);
    for id in ids {
        let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        assert!(!name.starts_with("granary"), "process {id} still runs");
    }
    assert_eq!(std::fs::read_dir(folder)?.count(), 0, "files are left");
    Ok(())
}

fn check_all_right(ran: Ran, folder: &Path, processes: usize) -> TestResult {
    let ran = ran.done();
    let verdicts = ran.out.lines().filter(|line| line.starts_with('Q'));
    let verdicts: Vec<&str> = verdicts.filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(verdicts, ["ok"; 22], "{}", ran.out);
    assert!(ran.out.contains("22 of 22 queries right"), "{}", ran.out);
    assert!(ran.err.contains("lineitem     100 %"), "{}", ran.err);
    check_nothing_is_left(&ran, folder, processes)
}

#[test]
fn the_demo_gives_the_stored_answers_embedded() -> TestResult {
    let folder = tempfile::tempdir()?;
    let ran = demo(&paths::in_repository("tests/tpch"), folder.path(), &["--embedded"])?;
    check_all_right(ran, folder.path(), 1)
}

#[test]
fn the_demo_gives_the_stored_answers_on_a_cluster() -> TestResult {
    let folder = tempfile::tempdir()?;
    let ran = demo(&paths::in_repository("tests/tpch"), folder.path(), &[])?;
    check_all_right(ran, folder.path(), 8)
}

#[test]
fn the_demo_tells_wrong_answers() -> TestResult {
    let (tpch, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let of = |path: &str| tpch.path().join(path);
    for name in ["queries", "answers/scale-0.01"] {
        std::fs::create_dir_all(of(name))?;
    }
    std::fs::copy(paths::in_repository("tests/tpch/tables.sql"), of("tables.sql"))?;
    for number in 1..=22 {
        let query = format!("queries/q{number:02}.sql");
        std::fs::write(of(&query), format!("SELECT {number} AS n FROM nation LIMIT 1;"))?;
        let answer = format!("answers/scale-0.01/q{number:02}.csv");
        let right = if number == 7 { 8 } else { number };
        std::fs::write(of(&answer), format!("n\n{right}\n"))?;
    }
    std::fs::write(of("queries/q09.sql"), "SELECT nope FROM nation")?;
    let ran = demo(tpch.path(), folder.path(), &["--embedded"])?.refused(3, &[]);
    assert!(ran.out.contains("WRONG: row 1, column 1: 7 instead of 8"), "{}", ran.out);
    assert!(ran.out.contains("FAILED: [INVALID_INPUT]"), "{}", ran.out);
    assert!(ran.out.contains("20 of 22 queries right"), "{}", ran.out);
    check_nothing_is_left(&ran, folder.path(), 1)?;

    let missing = tpch.path().join("nowhere");
    let ran = demo(&missing, folder.path(), &["--embedded"])?;
    ran.refused(1, &["NOT_FOUND", "nowhere", "--tpch-dir"]);
    let full = text(tpch.path())?;
    let ran = demo(tpch.path(), folder.path(), &["--embedded", "--data-dir", &full])?;
    ran.refused(1, &["ALREADY_EXISTS", "is not empty"]);
    Ok(())
}
