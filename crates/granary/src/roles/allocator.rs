//! The allocator's settings, which it reads from the environment when a process begins.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// After how many milliseconds memory that is free goes back to the system. By itself the allocator
/// waits 10, which is less than what lies between two queries: then every query has the system clear
/// its pages anew, a tenth of the CPU time of TPC-H.
const PURGE_DELAY: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "1000");

/// Begins the process again, under the same id and with the same arguments, with the settings in its
/// environment. Returns where they are there already, and where that is impossible: then it runs
/// without them, only slower.
pub(super) fn settle() {
    let (name, value) = PURGE_DELAY;
    if std::env::var_os(name).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(executable), Some(called)) = (std::env::current_exe(), arguments.next()) else {
        return;
    };
    let failed = Command::new(executable).arg0(called).args(arguments).env(name, value).exec();
    eprintln!("note: the allocator keeps its own settings: {failed}");
}
