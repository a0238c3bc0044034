//! The steps by which a local volume changes the disk, for tests that inject faults between them.

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// A change of the disk. Paths are absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskStep<'a> {
    /// Makes a new, empty file.
    CreateFile(&'a Path),
    /// Adds bytes to a file.
    Write(&'a Path),
    /// Makes the bytes of a file outlast a crash.
    SyncFile(&'a Path),
    /// Makes the names in a folder outlast a crash.
    SyncFolder(&'a Path),
    /// Gives a file one more name.
    Link {
        from: &'a Path,
        to: &'a Path,
    },
    Rename {
        from: &'a Path,
        to: &'a Path,
    },
    RemoveFile(&'a Path),
    MakeFolder(&'a Path),
    /// Fails when the folder is not empty.
    RemoveFolder(&'a Path),
}

/// Sees every step, and may let it fail.
pub trait DiskWatch: Debug + Send + Sync {
    /// Before a step; an error is what the step fails with, without being done.
    fn before(&self, step: &DiskStep<'_>) -> io::Result<()>;

    /// After a step was done.
    fn after(&self, step: &DiskStep<'_>);
}
