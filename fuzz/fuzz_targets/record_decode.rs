//! A record as it comes, and a record whose payload is made up and signed.
#![no_main]

use atomicity_fuzz::{key, sign};
use atomicity_ledger::authority::{Credentials, Grant};
use atomicity_ledger::{AnyRecord, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        judge(text);
    }
    if let [typ, signer, payload @ ..] = data {
        judge(&sign(*typ, *signer, payload));
    }
});

fn judge(jws: &str) {
    if let Ok(record) = AnyRecord::decode(jws) {
        assert_eq!(record.jws(), jws);
        // What was read once is read again, and says the same.
        assert_eq!(AnyRecord::decode(record.jws()).as_ref(), Ok(&record));
    }
    let _ = Grant::decode(jws);
    let now = Timestamp::from_millis(1_767_225_600_000).unwrap_or_else(|_| unreachable!());
    let user = key(0).user_key();
    let mut credentials = Credentials::new(user);
    if credentials.learn(jws, now).is_ok() {
        assert_eq!(credentials.learn(jws, now), Ok(false));
    }
}
