//! A link as it comes, one to a user with whatever is asked, and one with an invoice that is made up and signed.
#![no_main]

use atomicity_fuzz::{TYPES, key, sign};
use atomicity_ledger::link::Link;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        judge(text);
        judge(&format!("atomicity:{}?{text}", key(2).user_key()));
    }
    let invoice = TYPES.iter().position(|typ| *typ == "atomicity-invoice");
    let invoice = invoice.and_then(|place| u8::try_from(place).ok());
    if let (Some(typ), [signer, payload @ ..]) = (invoice, data) {
        judge(&format!("atomicity:{}", sign(typ, *signer, payload)));
    }
});

/// What was read is printed so that it reads the same.
fn judge(text: &str) {
    if let Ok(link) = text.parse::<Link>() {
        let printed = link.to_string();
        assert!(printed.is_ascii());
        assert_eq!(printed.parse(), Ok(link));
    }
}
