//! Projects beside the workspace follow its versions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Violation;
use crate::TestResult;

/// The crate that names each library which the workspace uses.
const UNIFY: &str = "granary-unify";

/// Where the lock file of the comparison with plain DataFusion is behind the workspace's: it would not
/// build, or compare other versions of the libraries.
pub(super) fn lock_violations(repository: &Path) -> TestResult<Vec<Violation>> {
    let own = read_toml(&repository.join("Cargo.lock"))?;
    let bench = read_toml(&repository.join("benches/datafusion/Cargo.lock"))?;
    Ok(differences(&own, &bench))
}

fn read_toml(path: &Path) -> TestResult<toml::Table> {
    Ok(std::fs::read_to_string(path)?.parse()?)
}

fn differences(own: &toml::Table, bench: &toml::Table) -> Vec<Violation> {
    let (own, bench) = (locked(own), locked(bench));
    let behind = |name: &&str| {
        let versions = bench.get(*name).cloned().unwrap_or_default();
        own.get(*name).is_some_and(|ours| !versions.is_subset(ours))
    };
    let mut violations: Vec<Violation> = bench
        .keys()
        .copied()
        .filter(behind)
        .map(|name| format!("lock file of benches/datafusion has another {name}"))
        .map(|key| Violation { key, size: 1 })
        .collect();
    if own.get(UNIFY) != bench.get(UNIFY) {
        let key = "lock file of benches/datafusion lacks what the workspace uses".to_owned();
        violations.push(Violation { key, size: 1 });
    }
    violations
}

/// Each package of a lock file with its versions; one of this repository with its dependencies.
fn locked(lock: &toml::Table) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in lock.get("package").and_then(toml::Value::as_array).into_iter().flatten() {
        let text = |key| package.get(key).and_then(toml::Value::as_str);
        let Some(name) = text("name") else { continue };
        let own = text("source").is_none();
        let dependencies = package.get("dependencies").and_then(toml::Value::as_array);
        let entry = found.entry(name).or_default();
        if own {
            let names = dependencies.into_iter().flatten().filter_map(toml::Value::as_str);
            // A version follows where the lock file has several of that name.
            entry.extend(names.filter_map(|name| name.split(' ').next()));
        } else {
            entry.extend(text("version"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "source = \"registry\"";

    fn lock(unify: &str, arrow: &str) -> toml::Table {
        format!(
            "[[package]]\nname = \"granary-unify\"\nversion = \"0.1.0\"\ndependencies = [{unify}]\n\
             [[package]]\nname = \"arrow\"\nversion = \"{arrow}\"\n{SOURCE}\n"
        )
        .parse()
        .expect("valid TOML")
    }

    #[test]
    fn a_lock_file_that_is_behind_is_found() {
        for (unify, arrow, expected) in [
            ("\"arrow\"", "59.0.0", 0),
            ("\"arrow 59.0.0\"", "59.0.0", 0),
            ("\"arrow\"", "58.0.0", 1),
            ("", "59.0.0", 1),
            ("\"arrow\", \"bytes\"", "58.0.0", 2),
        ] {
            let found = differences(&lock("\"arrow\"", "59.0.0"), &lock(unify, arrow));
            assert_eq!(found.len(), expected, "{unify} {arrow}: {found:?}");
        }
    }
}
