//! Places where a test may have the process die. In a release build there are none.

use std::panic::Location;

/// So many times each commit of the program's text counts: what follows a log commits as often as the log grows.
#[cfg(debug_assertions)]
const OF_EACH: u32 = 2;

/// Ends the process, without any clearing up, if the environment says so: `ATOMICITY_TEST_CRASH=<place>:<n>:<file>` dies when the
/// place is reached for the n-th time while the file exists. `at` is where the program asks for the commit; of each such line the
/// first two times count.
#[cfg(debug_assertions)]
pub(super) fn point(place: &str, at: &'static Location<'static>) {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    /// How often each line of each file was here.
    static REACHED: Mutex<BTreeMap<(&str, u32), u32>> = Mutex::new(BTreeMap::new());
    let Ok(wanted) = std::env::var("ATOMICITY_TEST_CRASH") else {
        return;
    };
    let mut parts = wanted.splitn(3, ':');
    let (Some(die_at), Some(times), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    if die_at != place || !std::path::Path::new(file).exists() {
        return;
    }
    let Ok(mut reached) = REACHED.lock() else {
        return;
    };
    let of_this = reached.entry((at.file(), at.line())).or_default();
    *of_this += 1;
    if *of_this > OF_EACH {
        return;
    }
    let counted: u32 = reached.values().map(|times| OF_EACH.min(*times)).sum();
    if Ok(counted) == times.parse() {
        eprintln!("a test has the process die at {place}, {at}");
        std::process::abort();
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub(super) fn point(_place: &str, _at: &'static Location<'static>) {}
