//! The allocator's settings, which it reads from the environment when a process begins.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What the allocator shall do otherwise than by itself:
///
/// - After so many milliseconds memory that is free goes back to the system. By itself that is less than
///   what lies between two queries or two blocks of an insert: then each has the system clear its
///   pages anew, a tenth of the CPU time of TPC-H and a fifth of that of loading it.
/// - Pages are small ones. Huge ones are cleared whole when their first byte is written, which most of
///   what queries and inserts allocate never makes up for: a small table loads in two thirds of
///   the time without, queries take no longer, and all of it takes a fifth less memory.
const SETTINGS: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "5000"), ("MIMALLOC_ALLOW_THP", "0")];

/// Begins the process again, under the same id and with the same arguments, with the settings in its
/// environment. Returns where they are there already, and where that is impossible: then it runs
/// without them, only slower.
pub fn settle() {
    let missing = SETTINGS.into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(executable), Some(called)) = (std::env::current_exe(), arguments.next()) else {
        return;
    };
    let failed = Command::new(executable).arg0(called).args(arguments).envs(missing).exec();
    eprintln!("note: the allocator keeps its own settings: {failed}");
}
