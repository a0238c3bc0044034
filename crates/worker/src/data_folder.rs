//! A worker's data folder: who holds it, what wrote it, and who the worker is.
//!
//! ```text
//! <data>/lock        held while a server runs
//! <data>/format      the version of this layout
//! <data>/identity    what the worker calls itself, and its cluster once it has joined one
//! <data>/scrub       how far the scrub of its parts has come
//! <data>/volume/     part files
//! <data>/spill/      emptied at each start
//! <data>/read-cache/ what was read from object stores; may be removed while nothing runs
//! ```

use std::fs::File;
use std::io::{ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};

use granary_common::{ClusterId, Error, FolderLock, Random, Result, WorkerId, unusable_folder};
use serde::{Deserialize, Serialize};

/// The layout that this build writes.
const FORMAT: u32 = 1;

/// What a worker remembers of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Drawn once; a registration under it finds the worker's id again.
    pub identity: String,
    /// The cluster that it joined.
    #[serde(default)]
    pub cluster: Option<ClusterId>,
    /// The id that it was given there.
    #[serde(default)]
    pub worker: Option<WorkerId>,
}

/// An opened data folder; nobody else can open it while this lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: FolderLock,
}

impl DataFolder {
    /// Opens the folder, which is made when it is not there.
    ///
    /// Kinds: `AlreadyExists` when another server holds it, `Unsupported` when a newer build wrote
    /// it, `Corruption` when its files are damaged, `Unavailable` when it cannot be read or written.
    pub fn open(path: &Path) -> Result<DataFolder> {
        let lock = FolderLock::take(path)?;
        let folder = DataFolder { path: path.to_owned(), _lock: lock };
        folder.check_format()?;
        Ok(folder)
    }

    /// Where part files are.
    pub fn volume(&self) -> PathBuf {
        self.path.join("volume")
    }

    /// Where the cache of object stores is.
    pub fn read_cache(&self) -> PathBuf {
        self.path.join("read-cache")
    }

    /// Where queries spill to.
    pub fn spill(&self) -> PathBuf {
        self.path.join("spill")
    }

    /// Where a scrub notes how far it has come.
    pub fn scrub(&self) -> PathBuf {
        self.path.join("scrub")
    }

    fn check_format(&self) -> Result<()> {
        let Some(text) = self.read("format")? else {
            return self.write("format", FORMAT.to_string().as_bytes());
        };
        let format: u32 = text.trim().parse().map_err(|_| {
            Error::corruption(format!("{}: 'format' holds '{text}'", self.path.display()))
        })?;
        match format <= FORMAT {
            true => Ok(()),
            false => Err(Error::unsupported(format!(
                "the data folder {} was written in format {format} and this build reads up to \
                 {FORMAT}; start a newer build on it",
                self.path.display()
            ))),
        }
    }

    /// Who the worker is; drawn when the folder is new.
    pub fn identity(&self, random: &dyn Random) -> Result<Identity> {
        if let Some(text) = self.read("identity")? {
            return serde_json::from_str(&text).map_err(|error| {
                let folder = self.path.display();
                Error::corruption(format!("{folder}: 'identity' cannot be read: {error}"))
            });
        }
        let drawn = Identity { identity: random.next_hex(), cluster: None, worker: None };
        self.remember(&drawn)?;
        Ok(drawn)
    }

    /// Keeps `identity` for the next start. Writes only what is new: a worker whose disk is full
    /// still starts, and serves what it has.
    pub fn remember(&self, identity: &Identity) -> Result<()> {
        let text = serde_json::to_string_pretty(identity)
            .map_err(|error| Error::internal(format!("cannot encode an identity: {error}")))?;
        match self.read("identity")? == Some(text.clone()) {
            true => Ok(()),
            false => self.write("identity", text.as_bytes()),
        }
    }

    fn read(&self, name: &str) -> Result<Option<String>> {
        match std::fs::read_to_string(self.path.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == IoKind::NotFound => Ok(None),
            Err(error) => Err(unusable_folder(&self.path, &error)),
        }
    }

    /// Replaces a file whole, on disk before it returns.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let written = || {
            let temporary = self.path.join(format!("{name}.new"));
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            std::fs::rename(&temporary, self.path.join(name))?;
            File::open(&self.path)?.sync_all()
        };
        written().map_err(|error| unusable_folder(&self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use granary_common::ErrorKind;
    use granary_common::random::SeededRandom;

    #[test]
    fn one_server_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path()).unwrap();
        let error = DataFolder::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        drop(first);
        DataFolder::open(folder.path()).unwrap();
    }

    #[test]
    fn the_identity_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let random = SeededRandom::new(1);
        let mut identity = DataFolder::open(folder.path()).unwrap().identity(&random).unwrap();
        let again = DataFolder::open(folder.path()).unwrap();
        assert_eq!(again.identity(&random).unwrap(), identity);
        identity.worker = Some(WorkerId(7));
        again.remember(&identity).unwrap();
        assert_eq!(again.identity(&random).unwrap(), identity);
    }

    #[test]
    fn newer_and_damaged_folders_are_refused() {
        for (text, kind) in [("2", ErrorKind::Unsupported), ("x", ErrorKind::Corruption)] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("format"), text).unwrap();
            assert_eq!(DataFolder::open(folder.path()).unwrap_err().kind(), kind, "{text}");
        }
    }
}
