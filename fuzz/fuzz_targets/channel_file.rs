//! The content of a channel file as it comes, and one that is made of records which are made up and signed.
#![no_main]

use atomicity_fuzz::{key, records};
use atomicity_ledger::channel_file::ChannelFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = ChannelFile::decode(data) {
        if let Ok(bytes) = file.encode() {
            assert_eq!(ChannelFile::decode(&bytes).as_ref(), Ok(&file));
        }
    }
    let (from, to) = (key(0).user_key(), key(2).user_key());
    let mut records = records(data);
    if let Ok(file) = ChannelFile::collect(from, to, &records) {
        let bytes = file.encode().unwrap_or_else(|_| unreachable!());
        assert_eq!(ChannelFile::decode(&bytes).as_ref(), Ok(&file));
        records.reverse();
        let turned = ChannelFile::collect(from, to, &records);
        assert_eq!(turned.and_then(|file| file.encode()), Ok(bytes));
    }
});
