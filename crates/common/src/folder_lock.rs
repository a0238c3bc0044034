//! One process a folder.

use std::fs::{File, TryLockError};
use std::io::{Error as IoError, ErrorKind as IoKind};
use std::path::Path;

use crate::{Error, Result};

/// A folder that no other process takes while this lives. The lock ends with the process, however
/// that ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the folder, which is made when it is not there, by its file `lock`.
    ///
    /// Kinds: `AlreadyExists` when another process holds it, and those of [`unusable_folder`].
    pub fn take(folder: &Path) -> Result<FolderLock> {
        let failed = |error: IoError| unusable_folder(folder, &error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut options = File::options();
        let options = options.create(true).truncate(false).write(true);
        let file = options.open(folder.join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::already_exists(format!(
                "another server holds the data folder {}; stop it or choose another folder",
                folder.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// Why the data folder cannot be used. Kinds: `ResourceExhausted` when the disk is full,
/// `PermissionDenied`, else `Unavailable`.
pub fn unusable_folder(folder: &Path, error: &IoError) -> Error {
    let text = format!("the data folder {} cannot be used: {error}", folder.display());
    match error.kind() {
        IoKind::StorageFull | IoKind::QuotaExceeded => Error::exhausted(text),
        IoKind::PermissionDenied => Error::denied(text),
        _ => Error::unavailable(text),
    }
}
