//! The line that a process prints once it serves.

use std::fmt;

/// `granary: ready grpc=127.0.0.1:7420 http=127.0.0.1:7421`: the listeners with the ports that
/// they really have, so that port 0 can be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadyLine {
    /// Names of listeners with their `host:port`.
    pub addresses: Vec<(String, String)>,
}

const START: &str = "granary: ready";

impl ReadyLine {
    /// A line that names no listener yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a listener.
    pub fn with(mut self, name: &str, address: impl fmt::Display) -> Self {
        self.addresses.push((name.to_owned(), address.to_string()));
        self
    }

    /// Reads the line, if `line` is one.
    pub fn parse(line: &str) -> Option<ReadyLine> {
        let rest = line.trim_end().strip_prefix(START)?;
        let pairs = rest.split_whitespace().map(|word| word.split_once('='));
        let addresses: Option<Vec<(String, String)>> =
            pairs.map(|pair| pair.map(|(name, at)| (name.to_owned(), at.to_owned()))).collect();
        Some(ReadyLine { addresses: addresses? })
    }

    /// The address of the listener `name`.
    pub fn address(&self, name: &str) -> Option<&str> {
        self.addresses.iter().find(|(of, _)| of == name).map(|(_, address)| address.as_str())
    }
}

impl fmt::Display for ReadyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(START)?;
        self.addresses.iter().try_for_each(|(name, address)| write!(f, " {name}={address}"))
    }
}

#[cfg(test)]
mod tests {
    use super::ReadyLine;

    #[test]
    fn what_is_printed_is_read() {
        let line = ReadyLine::new().with("grpc", "127.0.0.1:1").with("http", "127.0.0.1:2");
        assert_eq!(ReadyLine::parse(&line.to_string()), Some(line));
        assert_eq!(ReadyLine::parse("INFO granary: something"), None);
    }
}
