//! The files that globs name.

use std::path::PathBuf;

use granary_common::{Error, Result};

/// Every file that one of `patterns` names, once, in the order of the patterns and then by name.
///
/// Kind `NotFound` for a pattern that names no file: a misspelt one must not load nothing in
/// silence.
pub(super) fn expand(patterns: &[String]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        let found = glob::glob(pattern)
            .map_err(|error| Error::invalid(format!("{pattern} is not a pattern: {error}")))?;
        let mut some = false;
        for path in found {
            let path = path.map_err(|error| Error::invalid(error.to_string()))?;
            if path.is_file() {
                some = true;
                if !files.contains(&path) {
                    files.push(path);
                }
            }
        }
        if !some {
            return Err(Error::not_found(format!("no file is named {pattern}")));
        }
    }
    Ok(files)
}

/// Their bytes together.
pub(super) fn bytes(paths: &[PathBuf]) -> Result<u64> {
    let size = |path: &PathBuf| {
        std::fs::metadata(path)
            .map(|data| data.len())
            .map_err(|error| Error::invalid(format!("cannot read {}: {error}", path.display())))
    };
    paths.iter().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_files_once() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.csv", "a.csv", "c.txt"] {
            std::fs::write(folder.path().join(name), "x").expect("written");
        }
        let pattern = |name: &str| folder.path().join(name).display().to_string();
        let found = expand(&[pattern("b.csv"), pattern("*.csv")]).expect("files");
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["b.csv", "a.csv"]);
        assert_eq!(bytes(&found).expect("sizes"), 2);
        assert!(expand(&[pattern("*.parquet")]).is_err());
    }
}
