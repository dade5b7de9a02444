//! Who may read: encryption keys, the places and seals of channel files, and the envelopes of inboxes.
//!
//! | what | sealed with | who can open it |
//! |---|---|---|
//! | channel file, on the writer's homeserver | [`seal_channel_file`] | writer and reader, both by their [`Agreement`] |
//! | envelope to a known peer, through an inbox | [`seal_known`] | the same two |
//! | envelope to a stranger, through an inbox | [`seal_stranger`] | the recipient only |
//! | contact list and backup, in `/priv/` | [`seal_private`] | the user |
//!
//! Every seal pads what it hides to a few sizes, so that a size tells its class and nothing more. Nonces and ephemeral keys are
//! made of bytes that the caller draws: 24 or 32 fresh random bytes for every single seal, never used again.

mod aead;
mod agreement;
mod channel;
mod envelope;
mod keys;
mod pad;
mod parcel;
mod private;
mod stranger;

pub use agreement::{Agreement, Blind, Tag};
pub use channel::{
    CHANNELS_DIR, ChannelHeader, MAX_CHANNEL_FILE_BYTES, channel_path, open_channel_file,
    peek_channel_file, seal_channel_file,
};
pub use envelope::{
    Envelope, MAX_ENVELOPE_BYTES, Route, open_known, open_stranger, seal_known, seal_stranger,
};
pub use keys::{EncryptionKey, EncryptionSecret, KeyId};
pub use pad::{CHANNEL_CLASSES, PARCEL_CLASSES};
pub use parcel::{MAX_PARCEL_RECORDS, Parcel};
pub use private::{MAX_PRIVATE_FILE_BYTES, PrivateKey, open_private, seal_private};
