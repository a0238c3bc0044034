//! How far a load is: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use granary_common::units::display_bytes;
use granary_common::{Clock, SystemClock, TaskOwner};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

const BAR_PERIOD: Duration = Duration::from_millis(100);
const LINE_PERIOD: Duration = Duration::from_secs(5);

/// What the total is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of the files.
    Bytes,
    /// Rows.
    Rows,
}

/// Counts what one file or one piece of a table has contributed.
#[derive(Debug, Default)]
pub struct Meter {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    /// Adds rows that were sent.
    pub fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Adds bytes that were sent.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Sets how many bytes of the file were read.
    pub fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Begins again.
    pub fn reset(&self) {
        self.rows.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Shared {
    label: String,
    unit: Unit,
    total: u64,
    start_ms: u64,
    meters: Mutex<Vec<Arc<Meter>>>,
    bar: Option<ProgressBar>,
}

/// The progress of one load. Drawn by a task until it is finished or dropped.
#[derive(Debug)]
pub struct Progress {
    shared: Arc<Shared>,
    drawing: TaskOwner,
}

impl Progress {
    /// Begins to show the progress of `label` towards `total`.
    pub fn start(tasks: &TaskOwner, label: &str, unit: Unit, total: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| new_bar(label, unit, total));
        let period = if bar.is_some() { BAR_PERIOD } else { LINE_PERIOD };
        let shared = Arc::new(Shared {
            label: label.to_owned(),
            unit,
            total,
            start_ms: SystemClock.monotonic_ms(),
            meters: Mutex::default(),
            bar,
        });
        let drawing = tasks.child();
        let drawn = Arc::clone(&shared);
        drawing.spawn(async move {
            loop {
                SystemClock.sleep(period).await;
                drawn.draw();
            }
        });
        Progress { shared, drawing }
    }

    /// A meter of one more contributor.
    pub fn meter(&self) -> Arc<Meter> {
        let meter = Arc::new(Meter::default());
        self.shared.meters.lock().push(Arc::clone(&meter));
        meter
    }

    /// Milliseconds since the start.
    pub fn elapsed_ms(&self) -> u64 {
        SystemClock.monotonic_ms() - self.shared.start_ms
    }

    /// Stops drawing and leaves a last line that stays.
    pub fn finish(&self) {
        self.drawing.cancelled().cancel();
        if let Some(bar) = &self.shared.bar {
            bar.finish_and_clear();
        }
        eprintln!("{}", self.shared.line());
    }

    /// Stops drawing and leaves nothing.
    pub fn stop(&self) {
        self.drawing.cancelled().cancel();
        if let Some(bar) = &self.shared.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.drawing.cancelled().cancel();
    }
}

fn new_bar(label: &str, unit: Unit, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let counts = match unit {
        Unit::Bytes => "{binary_bytes}/{binary_total_bytes}",
        Unit::Rows => "{human_pos}/{human_len} rows",
    };
    let template = format!("{{prefix:<12}} [{{bar:30}}] {counts}  {{msg}}  {{elapsed}}");
    // A template that cannot be read leaves the plain style.
    let style = ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    bar.set_style(style);
    bar.set_prefix(label.to_owned());
    bar
}

impl Shared {
    fn sums(&self) -> (u64, u64) {
        let meters = self.meters.lock();
        let rows = meters.iter().map(|meter| meter.rows.load(Ordering::Relaxed)).sum();
        let bytes = meters.iter().map(|meter| meter.bytes.load(Ordering::Relaxed)).sum();
        (rows, bytes)
    }

    fn rate(&self, rows: u64) -> u64 {
        let elapsed_ms = (SystemClock.monotonic_ms() - self.start_ms).max(1);
        rows * 1000 / elapsed_ms
    }

    fn draw(&self) {
        let (rows, bytes) = self.sums();
        match &self.bar {
            None => eprintln!("{}", self.line()),
            Some(bar) => {
                let (position, other) = match self.unit {
                    Unit::Bytes => (bytes, format!("{} rows", thousands(rows))),
                    Unit::Rows => (rows, display_bytes(bytes)),
                };
                bar.set_position(position);
                bar.set_message(format!("{other}  {} rows/s", thousands(self.rate(rows))));
            }
        }
    }

    fn line(&self) -> String {
        let (rows, bytes) = self.sums();
        let done = match self.unit {
            Unit::Bytes => bytes,
            Unit::Rows => rows,
        };
        let percent = (done * 100).checked_div(self.total).unwrap_or(100).min(100);
        let elapsed_ms = SystemClock.monotonic_ms() - self.start_ms;
        format!(
            "{:<12} {percent:>3} %  {:>13} rows  {:>10}  {:>11} rows/s  {:>6}.{} s",
            self.label,
            thousands(rows),
            display_bytes(bytes),
            thousands(self.rate(rows)),
            elapsed_ms / 1000,
            elapsed_ms % 1000 / 100
        )
    }
}

/// `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(super::thousands(number), text);
        }
    }
}
