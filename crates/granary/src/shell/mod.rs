//! `granary sql`: statements from the command line, a file, a pipe or the keyboard.

mod bytes;
mod interactive;
mod meta;
mod output;
mod split;
mod table;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use granary_common::{Clock, Error, ErrorKind, Result, SystemClock};

use crate::client::{Client, ConnectOptions};
use crate::exit;

pub use output::{Format, Output};
pub use split::{Script, split};

/// Runs SQL statements.
#[derive(Clone, Debug, clap::Args)]
pub struct SqlOptions {
    #[command(flatten)]
    connect: ConnectOptions,
    /// Run these statements and exit. May be given several times.
    #[arg(long, short = 'c', value_name = "SQL")]
    command: Vec<String>,
    /// Run the statements of this file and exit; - is the standard input. May be given several
    /// times, and runs after -c.
    #[arg(long, short = 'f', value_name = "FILE")]
    file: Vec<PathBuf>,
    /// How results are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write results to this file instead of the standard output.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the sub-command.
pub fn run(options: &SqlOptions, runtime: &tokio::runtime::Runtime) -> ExitCode {
    let done = run_inner(options, runtime);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failed(&error),
    }
}

fn run_inner(options: &SqlOptions, runtime: &tokio::runtime::Runtime) -> Result<()> {
    let keyboard = std::io::stdin().is_terminal();
    let interactive = options.command.is_empty() && options.file.is_empty() && keyboard;
    let client = runtime.block_on(Client::connect(&options.connect))?;
    // Not before: a file that is there already stays as it is when nobody answers.
    let output = Output::open(options.format, options.output.as_deref())?;
    let mut session = Session { client, connect: options.connect.clone() };
    let done = match interactive {
        true => interactive::run(&mut session, output, runtime),
        false => run_texts(options, &mut session, output, runtime),
    };
    // Temporary tables go now, and not only when the session was idle for long.
    runtime.block_on(session.client.close());
    done
}

/// Runs what the command line names, or else the standard input.
fn run_texts(
    options: &SqlOptions,
    session: &mut Session,
    mut output: Output,
    runtime: &tokio::runtime::Runtime,
) -> Result<()> {
    let mut texts = options.command.clone();
    for path in &options.file {
        texts.push(read_script(path)?);
    }
    if texts.is_empty() {
        texts.push(read_script("-".as_ref())?);
    }
    for text in texts {
        let script = split(&text)?;
        for statement in script.statements.iter().chain(&script.rest) {
            runtime.block_on(session.run_or_interrupt(statement, &mut output))?;
        }
    }
    output.close()
}

fn read_script(path: &std::path::Path) -> Result<String> {
    let text = if path == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|error| Error::invalid(format!("cannot read {}: {error}", path.display())))
}

/// A connection that runs one statement after the other.
#[derive(Debug)]
struct Session {
    client: Client,
    connect: ConnectOptions,
}

impl Session {
    /// Runs a statement; Ctrl-C stops it, here and on the cluster.
    async fn run_or_interrupt(&mut self, statement: &str, output: &mut Output) -> Result<()> {
        let start_ms = SystemClock.monotonic_ms();
        let mut answer = tokio::select! {
            answer = self.client.execute(statement) => answer?,
            _ = tokio::signal::ctrl_c() => return Err(interrupted()),
        };
        let mut result = output.begin(answer.schema())?;
        loop {
            let batch = tokio::select! {
                batch = answer.next() => batch?,
                _ = tokio::signal::ctrl_c() => {
                    answer.cancel().await?;
                    return Err(interrupted());
                }
            };
            let Some(batch) = batch else { break };
            result.write(&batch)?;
        }
        result.finish(SystemClock.monotonic_ms() - start_ms)?;
        self.client.take_notices().iter().for_each(|notice| eprintln!("note: {notice}"));
        Ok(())
    }
}

impl Session {
    /// Goes on with another coordinator when `error` is the loss of this one, and says so.
    async fn recover(&mut self, error: &Error) {
        if !(error.kind().is_retryable() || error.kind() == ErrorKind::DeadlineExceeded) {
            return;
        }
        match self.client.replace_if_lost(&self.connect).await {
            Ok(false) => {}
            Ok(true) => eprintln!(
                "note: connected to {}; what USE and SET said holds no more",
                self.client.url()
            ),
            Err(error) => exit::print_error(&error),
        }
    }
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Cancelled, "interrupted")
}
