//! Ports that stay ours while a service is stopped and started again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Result, bail};

/// Below the range from which the kernel takes ports for outgoing connections, so that none of those
/// sits on the port of a service that is stopped for a moment.
const RANGE: std::ops::Range<u16> = 16_000..32_000;

/// A port on loopback that nobody listens on, and that this process did not give out before.
///
/// # Errors
/// If no free port is found in a few thousand attempts.
pub fn free() -> Result<u16> {
    use std::collections::HashSet;
    use std::sync::{LazyLock, Mutex, PoisonError};
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..4_000 {
        let port = rand::random_range(RANGE);
        if given.contains(&port) {
            continue;
        }
        if TcpListener::bind(on_loopback(port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("found no free port in {RANGE:?}")
}

/// The address of `port` on loopback.
#[must_use]
pub fn on_loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
