//! What the system and the HTTP port say of a process: `/metrics`, probes, processor time, memory.

use std::time::Duration;

use granary_common::{Clock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::TestResult;

const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Of `/proc/PID/stat`; the same on every Linux that we run on.
const TICKS_PER_S: u64 = 100;

/// Time since a start, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    started_ms: u64,
}

impl Stopwatch {
    /// One that starts now.
    pub fn start() -> Stopwatch {
        Stopwatch { started_ms: SystemClock.monotonic_ms() }
    }

    /// How long ago it started.
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(SystemClock.monotonic_ms() - self.started_ms)
    }
}

/// The status and the body of a page of the HTTP port at `host:port`.
pub async fn page(address: &str, path: &str) -> TestResult<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: granary\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(ANSWER_LIMIT, asked).await;
    let answer = answer.map_err(|_| format!("http://{address}{path} does not answer"))??;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
    let status = head.split_whitespace().nth(1).ok_or("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

/// The value of a metric without labels; 0 when nothing was noted yet.
pub async fn metric(address: &str, name: &str) -> TestResult<f64> {
    let (_, text) = page(address, "/metrics").await?;
    let mut values = text.lines().filter_map(|line| line.split_once(' '));
    let value = values.find(|(of, _)| *of == name).map(|(_, value)| value.trim().parse());
    Ok(value.transpose()?.unwrap_or_default())
}

/// Processor time that a process has used, in all of its threads, in ms.
pub fn cpu_ms(pid: u32) -> TestResult<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold anything.
    let (_, rest) = stat.rsplit_once(") ").ok_or("not a line of /proc/PID/stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| -> TestResult<u64> { Ok(fields.get(at).ok_or("cut")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) * 1000 / TICKS_PER_S)
}

/// Bytes that a process has read by system calls, from files or elsewhere.
pub fn read_bytes(pid: u32) -> TestResult<u64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let read = io.lines().find_map(|line| line.strip_prefix("rchar:")).ok_or("no such field")?;
    Ok(read.trim().parse()?)
}

/// Memory that a process has resident, in bytes.
pub fn resident_bytes(pid: u32) -> TestResult<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most that it had resident since [`forget_peak`].
pub fn peak_bytes(pid: u32) -> TestResult<u64> {
    status_bytes(pid, "VmHWM:")
}

/// From now on [`peak_bytes`] starts with what is resident now.
pub fn forget_peak(pid: u32) -> TestResult {
    Ok(std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn status_bytes(pid: u32, field: &str) -> TestResult<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib << 10)
}
