//! The files that a pattern names.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use granary_common::{Error, Result};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::file::{in_time, store_error};
use crate::pattern::{alternatives, fixed_folder, is_pattern, matches};
use crate::place::Place;
use crate::slices::OutsideFile;

/// Files that one pattern names, at most.
const FILES_MAX: usize = 100_000;
/// Files that are looked at for one pattern, at most.
const LISTED_MAX: usize = 2_000_000;

/// The files that `pattern` names, in the order of their paths.
///
/// # Errors
/// NotFound when there is none; ResourceExhausted when there are too many.
pub(crate) async fn find(
    place: &Place,
    store: &Arc<dyn ObjectStore>,
    pattern: &str,
) -> Result<Vec<OutsideFile>> {
    let mut found = BTreeMap::new();
    let patterns = alternatives(pattern)?;
    for path in &patterns {
        // A web server's `?` and `*` are characters like others: it lists nothing.
        if !is_pattern(path) || !place.lists() {
            if path.contains('*') {
                return Err(Error::unsupported(format!(
                    "{}: a web server lists no files; write {{a,b}} or {{1..9}}",
                    place.shown(path)
                )));
            }
            // Of several, those that are missing are as little there as with `*`.
            match head(place, store, path).await {
                Ok(file) => drop(found.insert(file.path.clone(), file)),
                Err(error) if patterns.len() == 1 => return Err(error),
                Err(error) if error.kind() == granary_common::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        } else {
            list(place, store, path, &mut found).await?;
        }
        if found.len() > FILES_MAX {
            return Err(Error::exhausted(format!(
                "'{pattern}' names more than {FILES_MAX} files; read them in several statements"
            )));
        }
    }
    if found.is_empty() {
        return Err(Error::not_found(format!("no file is named {}", place.shown(pattern))));
    }
    Ok(found.into_values().collect())
}

async fn head(place: &Place, store: &Arc<dyn ObjectStore>, path: &str) -> Result<OutsideFile> {
    let shown = place.shown(path);
    let location = place.path(path)?;
    inside(place, location.as_ref())?;
    let asked = in_time(store.head(&location)).await.map_err(|error| error.context(&shown))?;
    match asked {
        Ok(meta) => Ok(OutsideFile { path: path.to_owned(), bytes: Some(meta.size) }),
        // Some servers answer GET only, or do not tell the length.
        Err(
            object_store::Error::Generic { .. }
            | object_store::Error::NotSupported { .. }
            | object_store::Error::NotImplemented { .. },
        ) if matches!(place, Place::Web { .. }) => {
            Ok(OutsideFile { path: path.to_owned(), bytes: None })
        }
        Err(error) => Err(store_error(place, &shown, &error)),
    }
}

async fn list(
    place: &Place,
    store: &Arc<dyn ObjectStore>,
    pattern: &str,
    found: &mut BTreeMap<String, OutsideFile>,
) -> Result<()> {
    let folder = fixed_folder(pattern);
    let shown = place.shown(pattern);
    let prefix = match folder {
        "" => None,
        folder => Some(place.path(folder)?),
    };
    if let Some(prefix) = &prefix {
        inside(place, prefix.as_ref())?;
    }
    let mut listed = store.list(prefix.as_ref());
    let mut looked_at = 0_usize;
    while let Some(meta) = in_time(listed.next())
        .await
        .map_err(|error| error.context(&shown))?
        .transpose()
        .map_err(|error| store_error(place, &shown, &error))?
    {
        looked_at += 1;
        if looked_at > LISTED_MAX || found.len() > FILES_MAX {
            return Err(Error::exhausted(format!(
                "{shown}: there are too many files below '{folder}'; write more of the path"
            )));
        }
        let path = meta.location.as_ref();
        if matches(pattern, path) {
            inside(place, path)?;
            found.insert(
                path.to_owned(),
                OutsideFile { path: path.to_owned(), bytes: Some(meta.size) },
            );
        }
    }
    Ok(())
}

/// Links do not lead out of a folder.
fn inside(place: &Place, path: &str) -> Result<()> {
    let Place::Folder(folder) = place else { return Ok(()) };
    match folder.join(path).canonicalize() {
        Ok(real) if real.starts_with(folder) => Ok(()),
        Ok(_) => Err(Error::denied(format!("'{path}' leads out of the folder of user_files_path"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::not_found(format!("{path}: there is no such file")))
        }
        Err(error) => Err(Error::invalid(format!("{path}: it cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn names(folder: &std::path::Path, pattern: &str) -> Result<Vec<String>> {
        let (place, pattern) = Place::folder(folder, pattern)?;
        let found = find(&place, &place.open()?, &pattern).await?;
        Ok(found.into_iter().map(|file| file.path).collect())
    }

    #[tokio::test]
    async fn patterns_find_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("x/y")).unwrap();
        for name in ["a1.csv", "a2.csv", "b.txt", "x/a1.csv", "x/y/c.csv"] {
            std::fs::write(folder.path().join(name), "1\n").unwrap();
        }
        for (pattern, expected) in [
            ("a1.csv", &["a1.csv"][..]),
            ("*.csv", &["a1.csv", "a2.csv"]),
            ("a{1..9}.csv", &["a1.csv", "a2.csv"]),
            ("**/*.csv", &["a1.csv", "a2.csv", "x/a1.csv", "x/y/c.csv"]),
            ("x/*/c.csv", &["x/y/c.csv"]),
            ("{x/,}a1.csv", &["a1.csv", "x/a1.csv"]),
        ] {
            assert_eq!(names(folder.path(), pattern).await.unwrap(), expected, "{pattern}");
        }
        for missing in ["c.csv", "*.parquet", "a{7..9}.csv", "z/*.csv"] {
            let error = names(folder.path(), missing).await.unwrap_err();
            assert_eq!(error.kind(), granary_common::ErrorKind::NotFound, "{missing}: {error}");
        }
    }

    #[tokio::test]
    async fn links_do_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("secret.csv"), "1\n").unwrap();
        std::os::unix::fs::symlink(other.path(), folder.path().join("link")).unwrap();
        let file = other.path().join("secret.csv");
        std::os::unix::fs::symlink(file, folder.path().join("link.csv")).unwrap();
        for pattern in ["link/secret.csv", "link.csv", "link*.csv", "link/*.csv"] {
            let error = names(folder.path(), pattern).await.unwrap_err();
            assert!(error.message().contains("leads out"), "{pattern}: {error}");
        }
    }
}
