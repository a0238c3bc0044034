//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use granary_common::{Error, Result};

use crate::config::{Effective, Layer, Role};
use crate::{demo, exit, load, roles, shell};

/// Granary: a distributed columnar database.
///
/// Settings of a role come from built-in defaults, then the file of --config, then flags, then
/// GRANARY_* environment variables; the last one that names a setting wins.
#[derive(Debug, Parser)]
#[command(name = "granary", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 done, 1 failed, 2 wrong command line, 3 wrong answer of the demo, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all roles in one process on one data folder.
    Server(RoleOptions),
    /// Run a member of the metadata group.
    Metadata(RoleOptions),
    /// Run a coordinator, which takes queries and inserts.
    Coordinator(RoleOptions),
    /// Run a worker, which keeps parts and runs tasks.
    Worker(RoleOptions),
    /// Run SQL statements, or a shell for them.
    Sql(shell::SqlOptions),
    /// Load Parquet, CSV or NDJSON files into a table.
    Load(load::LoadOptions),
    /// Start a cluster on this machine, load TPC-H and check its 22 queries.
    Demo(demo::DemoOptions),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the version.
    Version,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the effective settings of a role, and where each comes from.
    Check {
        /// The role.
        role: Role,
        #[command(flatten)]
        options: RoleOptions,
    },
}

/// What every role takes.
#[derive(Clone, Debug, clap::Args)]
pub struct RoleOptions {
    /// TOML file of settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Layer,
    /// End when the standard input ends; the process that holds it has then gone away.
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

impl RoleOptions {
    fn resolve(self, role: Role) -> Result<Effective> {
        let variable = |name: std::ffi::OsString, value: std::ffi::OsString| {
            let name = name.into_string().ok()?;
            let value = value.to_string_lossy().into_owned();
            Some((name, value))
        };
        let variables = std::env::vars_os().filter_map(|(name, value)| variable(name, value));
        Effective::resolve(role, self.config.as_deref(), self.flags, variables)
    }
}

/// Runs what the command line asks for.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments.command) {
        Ok(code) => code,
        Err(error) => exit::failed(&error),
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    Ok(match command {
        Command::Server(options) => role(Role::Server, options)?,
        Command::Metadata(options) => role(Role::Metadata, options)?,
        Command::Coordinator(options) => role(Role::Coordinator, options)?,
        Command::Worker(options) => role(Role::Worker, options)?,
        Command::Sql(options) => shell::run(&options, &client_runtime()?),
        Command::Load(options) => {
            roles::settle_allocator();
            load::run(&options, &client_runtime()?)
        }
        Command::Demo(options) => demo::run(&options, &client_runtime()?),
        Command::Config(ConfigCommand::Check { role, options }) => {
            let effective = options.resolve(role)?;
            effective.remarks.iter().for_each(|remark| eprintln!("note: {remark}"));
            print!("{}", effective.to_toml());
            ExitCode::SUCCESS
        }
        Command::Version => {
            println!("granary {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    })
}

fn role(role: Role, options: RoleOptions) -> Result<ExitCode> {
    let exit_with_stdin = options.exit_with_stdin;
    let effective = options.resolve(role)?;
    roles::run(&effective, exit_with_stdin)
}

fn client_runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("granary-client")
        .build()
        .map_err(|error| Error::internal(format!("cannot start threads: {error}")))
}
