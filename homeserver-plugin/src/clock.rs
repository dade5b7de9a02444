//! The one place where this crate asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds. A clock before 1970 reads as 0, which makes every proof look as if it came from the future.
#[must_use]
pub fn now_ms() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0);
    now.saturating_add(offset_ms())
}

/// How wrong a test wants the clock to be: milliseconds, in the file that `ATOMICITY_TEST_CLOCK_FILE` names.
#[cfg(debug_assertions)]
fn offset_ms() -> i64 {
    use std::ffi::OsString;
    use std::sync::LazyLock;
    static FILE: LazyLock<Option<OsString>> =
        LazyLock::new(|| std::env::var_os("ATOMICITY_TEST_CLOCK_FILE"));
    let text = FILE
        .as_ref()
        .and_then(|file| std::fs::read_to_string(file).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// In a release build the clock is right.
#[cfg(not(debug_assertions))]
fn offset_ms() -> i64 {
    0
}
