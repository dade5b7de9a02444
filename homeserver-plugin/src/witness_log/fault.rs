//! Places where a test may have the process die. In a release build there are none.

/// Ends the process, without any clearing up, if the environment says so: `ATOMICITY_TEST_CRASH=<place>:<n>` dies when the place is
/// reached for the n-th time, `<place>:<n>:<file>` when it is while the file exists.
#[cfg(debug_assertions)]
pub fn point(place: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static REACHED: AtomicU64 = AtomicU64::new(0);
    let Ok(wanted) = std::env::var("ATOMICITY_TEST_CRASH") else {
        return;
    };
    let mut parts = wanted.splitn(3, ':');
    let (Some(at), Some(times)) = (parts.next(), parts.next()) else {
        return;
    };
    let armed = parts.next();
    if at != place || armed.is_some_and(|file| !std::path::Path::new(file).exists()) {
        return;
    }
    if Ok(REACHED.fetch_add(1, Ordering::SeqCst) + 1) == times.parse() {
        eprintln!("a test has the process die at {place}");
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub fn point(_place: &str) {}
