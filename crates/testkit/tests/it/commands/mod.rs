//! The commands of the binary as people type them: `load`, `sql`, `config check` and `demo`, from end
//! to end.

mod config;
mod demo;
mod load;
mod resume;
mod shell;
mod sql;
mod terminal;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use granary_testkit::{TestResult, paths};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Seconds after which a command is killed, which its test then sees.
const LIMIT_S: &str = "180";

/// `granary` with these words, without the settings that this process may have been given.
fn granary(words: &[&str]) -> TestResult<Command> {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", LIMIT_S]).arg(paths::granary_binary()?).args(words);
    without_settings(&mut command);
    command.stdin(Stdio::null());
    Ok(command)
}

/// A command that goes on beside its test, and is killed when that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(words: &[&str]) -> TestResult<Running> {
        let mut command = Command::new(paths::granary_binary()?);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        without_settings(&mut command);
        Ok(Running(command.spawn()?))
    }

    /// Interrupts it as Ctrl-C does, and gives what it has left.
    async fn interrupt(self) -> TestResult<Ran> {
        let id = Pid::from_raw(i32::try_from(self.0.id())?);
        kill(id, Signal::SIGINT)?;
        self.end().await
    }

    /// Waits for its end, and gives what it has left.
    async fn end(mut self) -> TestResult<Ran> {
        for _ in 0..600 {
            if let Some(status) = self.0.try_wait()? {
                let mut err = String::new();
                self.0.stderr.take().ok_or("no errors")?.read_to_string(&mut err)?;
                return Ok(Ran { code: status.code(), out: String::new(), err });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("it goes on after 30 s".into())
    }
}

fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GRANARY_") {
            command.env_remove(name);
        }
    }
}

/// What a command has left.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It is done, and nothing that it said is an error.
    #[track_caller]
    fn done(self) -> Ran {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self
    }

    /// It ended with `code` and an error that has all of `words`.
    #[track_caller]
    fn refused(self, code: i32, words: &[&str]) -> Ran {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

fn run(words: &[&str]) -> TestResult<Ran> {
    Ok(Ran::of(granary(words)?.output()?))
}

/// Runs it with a text on its standard input.
fn run_with_input(words: &[&str], input: &str) -> TestResult<Ran> {
    let mut command = granary(words)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // Taken, so that the input ends.
    child.stdin.take().ok_or("no standard input")?.write_all(input.as_bytes())?;
    Ok(Ran::of(child.wait_with_output()?))
}

fn text(path: &Path) -> TestResult<String> {
    Ok(path.to_str().ok_or("a path that is no text")?.to_owned())
}
