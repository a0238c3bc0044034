//! The direction of dependencies between crates, and who may name which library.

use std::path::Path;

use super::{SourceFile, Violation};
use crate::TestResult;

/// The layers: a crate may depend on those of lower layers only.
const LAYERS: [(&str, u32); 16] = [
    ("granary-simulation", 8),
    ("granary-testkit", 8),
    ("granary", 7),
    ("granary-coordinator", 6),
    ("granary-worker", 6),
    ("granary-metadata", 6),
    ("granary-sql", 5),
    ("granary-planner", 5),
    ("granary-functions", 4),
    ("granary-execution", 3),
    ("granary-storage", 2),
    ("granary-outside", 2),
    ("granary-catalog", 1),
    ("granary-proto", 0),
    ("granary-common", 0),
    // Links libraries only; nobody depends on it.
    ("granary-unify", 0),
];

/// `proto` maps the errors of `common`, inside layer 0.
const WITHIN_A_LAYER: [(&str, &str); 1] = [("granary-proto", "granary-common")];

/// Libraries that one crate alone links; beside it, what simulates that crate.
const OWNED: [(&str, &[&str]); 3] = [
    ("openraft", &["granary-metadata", "granary-simulation"]),
    ("rocksdb", &["granary-metadata"]),
    ("vortex", &["granary-storage"]),
];

/// Names that only some files may use: the path begins with one of these.
const NAMED_IN: [(&str, &[&str]); 3] = [
    ("vortex", &["crates/storage/src/part/format"]),
    (
        "datafusion_distributed",
        &["crates/planner/src/distribution", "crates/execution/src/fragments"],
    ),
    ("openraft", &["crates/metadata/", "crates/simulation/"]),
];

fn layer(name: &str) -> Option<u32> {
    LAYERS.iter().find(|(of, _)| *of == name).map(|(_, layer)| *layer)
}

/// Dependencies that point up or sideways, libraries in the wrong crate, and versions that are not
/// those of the workspace.
pub fn dependency_violations(
    repository: &Path,
    sources: &[SourceFile],
) -> TestResult<Vec<Violation>> {
    let mut violations = Vec::new();
    for entry in std::fs::read_dir(repository.join("crates"))? {
        let manifest = entry?.path().join("Cargo.toml");
        if manifest.exists() {
            let manifest: toml::Table = std::fs::read_to_string(manifest)?.parse()?;
            violations.extend(manifest_violations(&manifest));
        }
    }
    for file in sources {
        violations.extend(name_violations(file));
    }
    violations.extend(super::locks::lock_violations(repository)?);
    Ok(violations)
}

fn manifest_violations(manifest: &toml::Table) -> Vec<Violation> {
    let name = manifest.get("package").and_then(|package| package.get("name"));
    let name = name.and_then(toml::Value::as_str).unwrap_or_default();
    let mut violations = Vec::new();
    let mut note = |what: String| {
        violations.push(Violation { key: format!("dependency {name} {what}"), size: 1 })
    };
    let own = layer(name);
    if own.is_none() {
        note("has no layer".to_owned());
    }
    for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
        let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
        for (dependency, value) in table {
            let inherits = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
            if !inherits {
                note(format!("{dependency} has a version of its own"));
            }
            let owner = OWNED.iter().find(|(library, _)| library == dependency);
            if owner.is_some_and(|(_, owners)| !owners.contains(&name) && name != "granary-unify") {
                note(format!("links {dependency}"));
            }
            let points_down = layer(dependency) < own;
            let exempt = WITHIN_A_LAYER.contains(&(name, dependency.as_str()));
            // Tests may look down from above.
            let in_tests = section == "dev-dependencies";
            if layer(dependency).is_some() && !points_down && !exempt && !in_tests {
                note(format!("{dependency} does not lie below"));
            }
        }
    }
    violations
}

fn name_violations(file: &SourceFile) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (name, places) in NAMED_IN {
        let allowed = places.iter().any(|place| file.path.starts_with(place));
        let uses = file.code.iter().filter(|line| names(line, name)).count();
        if !allowed && uses > 0 {
            let key = format!("names {}:{name}", file.path);
            violations.push(Violation { key, size: uses });
        }
    }
    violations
}

/// Whether `line` has `name::` or `use name` as a path's first word.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + name.len()..];
        before.is_none_or(|letter| !letter.is_alphanumeric() && !"_:.".contains(letter))
            && (after.starts_with("::") || after.starts_with(';'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_manifest(text: &str, expected: usize) {
        let found = manifest_violations(&text.parse().expect("valid TOML"));
        assert_eq!(found.len(), expected, "{found:?}");
    }

    #[test]
    fn dependencies_point_down() {
        let package = |name: &str, line: &str| {
            format!("[package]\nname = \"{name}\"\n[dependencies]\n{line}\n")
        };
        check_manifest(&package("granary-sql", "granary-storage.workspace = true"), 0);
        check_manifest(&package("granary-sql", "granary-worker.workspace = true"), 1);
        check_manifest(&package("granary-sql", "granary-planner.workspace = true"), 1);
        check_manifest(&package("granary-sql", "rocksdb.workspace = true"), 1);
        check_manifest(&package("granary-sql", "bytes = \"1\""), 1);
        check_manifest(&package("granary-new", ""), 1);
    }

    #[test]
    fn names_are_whole_words() {
        for (line, expected) in [
            ("use vortex::array;", true),
            ("    vortex::scan()", true),
            ("use crate::vortex::array;", false),
            ("let vortex = 1;", false),
            ("use vortex_array::A;", false),
        ] {
            assert_eq!(names(line, "vortex"), expected, "{line}");
        }
    }
}
