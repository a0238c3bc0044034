//! The shell at a terminal.

use std::borrow::Cow;
use std::path::PathBuf;

use granary_common::{Error, Result};
use reedline::{
    FileBackedHistory, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus,
    Reedline, Signal, ValidationResult, Validator,
};
use tokio::runtime::Runtime;

use super::meta::{self, Meta};
use super::{Output, Session, split};
use crate::exit::print_error;

const HISTORY_LINES: usize = 10_000;

/// Reads and runs statements until the user leaves.
pub(super) fn run(session: &mut Session, mut output: Output, runtime: &Runtime) -> Result<()> {
    println!("Connected to {}. \\? for help, \\q to leave.", session.client.url());
    let mut editor = Reedline::create().with_validator(Box::new(WholeStatement));
    if let Some(history) = open_history() {
        editor = editor.with_history(Box::new(history));
    }
    loop {
        match editor.read_line(&ShellPrompt) {
            Ok(Signal::Success(text)) => {
                if !run_text(&text, session, &mut output, runtime) {
                    return output.close();
                }
            }
            Ok(Signal::CtrlD) => return output.close(),
            Ok(_) => {}
            Err(error) => return Err(Error::internal(format!("the terminal: {error}"))),
        }
    }
}

/// Runs what was entered. False when the user wants to leave.
fn run_text(text: &str, session: &mut Session, output: &mut Output, runtime: &Runtime) -> bool {
    let statements = match meta::parse(text) {
        Some(Ok(Meta::Quit)) => return false,
        Some(Ok(Meta::Help)) => {
            print!("{}", meta::HELP);
            return true;
        }
        Some(Ok(Meta::Format(format))) => {
            if let Err(error) = output.set_format(format) {
                print_error(&error);
            }
            return true;
        }
        Some(Ok(Meta::Statement(statement))) => Ok(vec![statement]),
        Some(Err(error)) => Err(error),
        None => split(text).map(|script| {
            script.statements.into_iter().chain(script.rest).collect::<Vec<String>>()
        }),
    };
    let ran = statements.and_then(|statements| {
        statements
            .iter()
            .try_for_each(|statement| runtime.block_on(session.run_or_interrupt(statement, output)))
    });
    if let Err(error) = ran {
        print_error(&error);
        runtime.block_on(session.recover(&error));
    }
    true
}

/// Enter ends the input once a semicolon ends the statement.
struct WholeStatement;

impl Validator for WholeStatement {
    fn validate(&self, line: &str) -> ValidationResult {
        let complete = line.trim().is_empty()
            || meta::parse(line).is_some()
            || split(line).is_ok_and(|script| script.rest.is_none());
        if complete { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

/// A shell without history works as well, so that no failure here is one of the shell.
fn open_history() -> Option<FileBackedHistory> {
    let path = history_path()?;
    std::fs::create_dir_all(path.parent()?).ok()?;
    FileBackedHistory::with_file(HISTORY_LINES, path).ok()
}

fn history_path() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("GRANARY_HISTORY") {
        return Some(PathBuf::from(path));
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    Some(state.or_else(home)?.join("granary/history"))
}

struct ShellPrompt;

impl Prompt for ShellPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("granary")
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("      -> ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "no ",
        };
        Cow::Owned(format!("({failing}match for {}) ", search.term))
    }
}
