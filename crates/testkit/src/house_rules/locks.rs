//! Projects beside the workspace follow its versions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Violation;
use crate::TestResult;

/// Where the lock file of the comparison with plain DataFusion is behind the workspace's: it would not
/// build, or compare other versions of the libraries.
pub(super) fn lock_violations(repository: &Path) -> TestResult<Vec<Violation>> {
    let own = read_toml(&repository.join("Cargo.lock"))?;
    let bench = read_toml(&repository.join("benches/datafusion/Cargo.lock"))?;
    // It names each library which the workspace uses.
    let unify = read_toml(&repository.join("crates/unify/Cargo.toml"))?;
    let libraries = unify.get("dependencies").and_then(toml::Value::as_table);
    let libraries: Vec<&str> =
        libraries.into_iter().flat_map(|table| table.keys()).map(String::as_str).collect();
    Ok(differences(&own, &bench, &libraries))
}

fn read_toml(path: &Path) -> TestResult<toml::Table> {
    Ok(std::fs::read_to_string(path)?.parse()?)
}

fn differences(own: &toml::Table, bench: &toml::Table, libraries: &[&str]) -> Vec<Violation> {
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
    let lacking = libraries.iter().filter(|name| !bench.contains_key(**name));
    let lacking = lacking.map(|name| format!("lock file of benches/datafusion lacks {name}"));
    violations.extend(lacking.map(|key| Violation { key, size: 1 }));
    violations
}

/// Each library of a lock file with its versions.
fn locked(lock: &toml::Table) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in lock.get("package").and_then(toml::Value::as_array).into_iter().flatten() {
        let text = |key| package.get(key).and_then(toml::Value::as_str);
        if let (Some(name), Some(version), Some(_)) =
            (text("name"), text("version"), text("source"))
        {
            found.entry(name).or_default().insert(version);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(name: &str, version: &str) -> toml::Table {
        format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"registry\"\n")
            .parse()
            .expect("valid TOML")
    }

    #[test]
    fn a_lock_file_that_is_behind_is_found() {
        for (name, version, expected) in
            [("arrow", "59.0.0", 0), ("arrow", "58.0.0", 1), ("bytes", "1.0.0", 1)]
        {
            let (own, bench) = (lock("arrow", "59.0.0"), lock(name, version));
            let found = differences(&own, &bench, &["arrow"]);
            assert_eq!(found.len(), expected, "{name} {version}: {found:?}");
        }
    }
}
