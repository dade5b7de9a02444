//! Who may read: encryption keys, the places and seals of channel files, and the envelopes of inboxes.

mod keys;

pub use keys::{EncryptionKey, EncryptionSecret, KeyId};
