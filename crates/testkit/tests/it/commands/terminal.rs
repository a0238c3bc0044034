//! A terminal for commands, by the program `script`, which answers what editors of lines ask one.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use granary_testkit::{TestResult, paths};
use parking_lot::Mutex;

use super::without_settings;

/// What a program asks a terminal to know where the cursor is, and an answer.
const WHERE: &[u8] = b"\x1b[6n";
const HERE: &[u8] = b"\x1b[1;1R";
/// Looks within a minute.
const LOOKS_MAX: usize = 3_000;
const POLL: Duration = Duration::from_millis(20);

/// `granary` at a terminal of its own. Killed when it is dropped.
pub struct Terminal {
    child: Child,
    keys: Arc<Mutex<ChildStdin>>,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Terminal {
    /// Starts `granary` with `words`, which must be plain ones, and some variables.
    pub fn start(words: &[&str], variables: &[(&str, &str)]) -> TestResult<Terminal> {
        let program = paths::granary_binary()?;
        let line =
            format!("stty rows 50 cols 160; exec '{}' {}", program.display(), words.join(" "));
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]);
        without_settings(&mut command);
        command.env("TERM", "xterm").env("SHELL", "/bin/sh").envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn()?;
        let keys = Arc::new(Mutex::new(child.stdin.take().ok_or("no keyboard")?));
        let mut shown = child.stdout.take().ok_or("no screen")?;
        let terminal = Terminal { child, keys, screen: Arc::default() };
        let (keys, screen) = (Arc::clone(&terminal.keys), Arc::clone(&terminal.screen));
        let reader = std::thread::Builder::new().name("screen".to_owned());
        reader.spawn(move || {
            let (mut buffer, mut answered) = ([0; 4096], 0);
            // Ends with the program.
            while let Ok(read @ 1..) = shown.read(&mut buffer) {
                let mut screen = screen.lock();
                screen.extend(&buffer[..read]);
                let asked = screen.windows(WHERE.len()).filter(|bytes| *bytes == WHERE).count();
                while answered < asked && keys.lock().write_all(HERE).is_ok() {
                    answered += 1;
                }
            }
        })?;
        Ok(terminal)
    }

    /// Presses keys; `\r` is the one that ends a line.
    pub fn press(&self, keys: &str) -> TestResult {
        let mut keyboard = self.keys.lock();
        keyboard.write_all(keys.as_bytes())?;
        Ok(keyboard.flush()?)
    }

    /// All that was ever shown, without the codes for colours and the cursor.
    pub fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.screen.lock()).into_owned();
        let mut shown = String::with_capacity(text.len());
        for (place, piece) in text.split('\x1b').enumerate() {
            let code = match piece.strip_prefix('[') {
                _ if place == 0 => 0,
                Some(code) => {
                    2 + code.find(|c: char| !matches!(c, '0'..='9' | ';' | '?')).unwrap_or(0)
                }
                None => 1,
            };
            shown.push_str(piece.get(code..).unwrap_or_default());
        }
        shown
    }

    /// Waits until `words` were shown `times` times.
    pub fn wait_for(&self, words: &str, times: usize) -> TestResult {
        for _ in 0..LOOKS_MAX {
            if self.shown().matches(words).count() >= times {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        Err(format!("{words:?} was not shown {times} times in {:?}", self.shown()).into())
    }

    /// Waits for its end and gives its status.
    pub fn wait_exit(&mut self) -> TestResult<Option<i32>> {
        for _ in 0..LOOKS_MAX {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            std::thread::sleep(POLL);
        }
        Err(format!("it has not ended; it shows {:?}", self.shown()).into())
    }
}
