//! Ports that nobody listens on.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use granary_common::{Error, Result};

/// Below the range that the system hands out to outgoing connections, so that a process that was
/// killed finds its port free again.
const FIRST: u32 = 17_000;
const COUNT: u32 = 15_000;

/// `N` ports of the loopback interface that are free now and differ from those given before by
/// this process. Processes begin at different places, so that tests may run side by side.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    let mut ports = [0; N];
    let mut found = 0;
    for _ in 0..COUNT {
        if found == N {
            return Ok(ports);
        }
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + start.wrapping_add(turn) % COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports[found] = port;
            found += 1;
        }
    }
    Err(Error::exhausted("no free ports on the loopback interface"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_differ() {
        let [a, b, c] = super::free_ports::<3>().expect("three ports");
        assert!(a != b && b != c && a != c);
    }
}
