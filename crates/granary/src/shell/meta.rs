//! Commands of the interactive shell itself.

use granary_common::{Error, Result};

use super::Format;
use crate::client::quote_identifier;

/// What a line that is no SQL asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    Quit,
    Help,
    Statement(String),
    Format(Format),
}

pub(super) const HELP: &str = "\
  statement;       run it; it may span several lines
  \\d              tables of the database
  \\d NAME         columns of a table
  \\l              databases
  \\c NAME         use another database
  \\format NAME    write results as table, csv or json
  \\q              leave (also exit, quit, Ctrl-D)
  Ctrl-C           stops the running statement, or clears the line
";

/// The command that `line` is, or `None` when it is (the beginning of) SQL.
pub(super) fn parse(line: &str) -> Option<Result<Meta>> {
    let line = line.trim();
    let bare = line.trim_end_matches(';').trim_end();
    match bare.to_ascii_lowercase().as_str() {
        "exit" | "quit" => return Some(Ok(Meta::Quit)),
        "help" | "?" => return Some(Ok(Meta::Help)),
        _ => {}
    }
    let command = bare.strip_prefix('\\')?;
    let (name, argument) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let argument = argument.trim();
    Some(match (name, argument) {
        ("q", "") => Ok(Meta::Quit),
        ("?" | "h", "") => Ok(Meta::Help),
        ("d", "") => Ok(Meta::Statement("SHOW TABLES".to_owned())),
        ("d", table) => Ok(Meta::Statement(format!("DESCRIBE {table}"))),
        ("l", "") => Ok(Meta::Statement("SHOW DATABASES".to_owned())),
        ("c", database) if !database.is_empty() => {
            Ok(Meta::Statement(format!("USE {}", quote_identifier(database))))
        }
        ("format", format) => <Format as clap::ValueEnum>::from_str(format, true)
            .map(Meta::Format)
            .map_err(|_| Error::invalid("formats are table, csv and json")),
        _ => Err(Error::invalid(format!("no command \\{command}; \\? lists them"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        for (line, expected) in [
            ("exit;", Some(Meta::Quit)),
            (" \\q ", Some(Meta::Quit)),
            ("HELP", Some(Meta::Help)),
            ("\\d", Some(Meta::Statement("SHOW TABLES".to_owned()))),
            ("\\d a.b;", Some(Meta::Statement("DESCRIBE a.b".to_owned()))),
            ("\\c my db", Some(Meta::Statement("USE \"my db\"".to_owned()))),
            ("\\format CSV", Some(Meta::Format(Format::Csv))),
            ("select 1", None),
            ("exit_code;", None),
        ] {
            assert_eq!(parse(line).transpose().expect("a good command"), expected, "{line}");
        }
        assert!(parse("\\x").expect("a command").is_err());
        assert!(parse("\\format xml").expect("a command").is_err());
    }
}
