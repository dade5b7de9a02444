//! A bundle as it comes, and one of records that are made up and signed: whatever it says must be judged, and the two users'
//! debts must be each other's mirror image.
#![no_main]

use atomicity_fuzz::{key, records};
use atomicity_ledger::{Timestamp, evidence};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(report) = evidence::verify(data, None) {
        let _ = report.sentences();
    }
    let at = Timestamp::from_millis(1_767_312_000_000).unwrap_or_else(|_| unreachable!());
    let records = records(data);
    let (a, b) = (key(0), key(2));
    let by_a = evidence::export(a.user_key(), b.user_key(), &records, None, &a, at);
    let by_b = evidence::export(b.user_key(), a.user_key(), &records, None, &b, at);
    match (by_a, by_b) {
        (Ok(by_a), Ok(by_b)) => {
            let report = |text: String| evidence::verify(text.as_bytes(), None);
            let (of_a, of_b) = (report(by_a), report(by_b));
            assert_eq!(of_a.map(|r| r.net), of_b.map(|r| r.net));
        }
        (Err(_), Err(_)) => {}
        (a, b) => assert_eq!(a.is_ok(), b.is_ok()),
    }
});
