//! What ends a process.

use std::io::Read as _;

use granary_common::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Signals> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::internal(format!("signal handlers: {error}")))
        };
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them.
    pub(super) async fn asked_to_end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ends the process at once when the standard input ends: whoever holds the other side has gone,
/// however that came about.
pub(super) fn exit_with_stdin() -> Result<()> {
    let watch = || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1)) {}
        std::process::exit(0);
    };
    std::thread::Builder::new()
        .name("granary-stdin".to_owned())
        .spawn(watch)
        .map(|_| ())
        .map_err(|error| Error::internal(format!("cannot start a thread: {error}")))
}
