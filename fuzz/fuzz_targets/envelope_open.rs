//! An envelope as an inbox hands it out, a parcel as it is inside, and sealed files as a homeserver serves them.
#![no_main]

use atomicity_fuzz::key;
use atomicity_ledger::seal::{
    Agreement, EncryptionSecret, Envelope, Parcel, PrivateKey, open_channel_file, open_known,
    open_private, open_stranger, peek_channel_file, seal_known, seal_stranger,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (me, peer) = (key(2), key(0));
    let own = EncryptionSecret::of_root(&me);
    let other = EncryptionSecret::of_root(&peer);
    let incoming = Agreement::incoming(
        &me.user_key(),
        &own,
        &peer.user_key(),
        &other.public(),
        other.id(),
    )
    .unwrap_or_else(|_| unreachable!());
    if let Ok(envelope) = Envelope::from_json(data) {
        let json = envelope.to_json().unwrap_or_else(|_| unreachable!());
        assert_eq!(Envelope::from_json(json.as_bytes()).as_ref(), Ok(&envelope));
        let _ = open_known(&incoming, &envelope);
        let _ = open_stranger(&me.user_key(), std::slice::from_ref(&own), &envelope);
    }
    if let Ok(parcel) = serde_json::from_slice::<Parcel>(data) {
        if let Ok(envelope) = seal_known(&incoming, [7; 24], &parcel) {
            assert_eq!(open_known(&incoming, &envelope).as_ref(), Ok(&parcel));
        }
        let to = me.user_key();
        if let Ok(envelope) = seal_stranger(&to, &own.public(), own.id(), [8; 32], &parcel) {
            let opened = open_stranger(&to, std::slice::from_ref(&own), &envelope);
            assert_eq!(opened, Ok(parcel));
        }
    }
    let _ = peek_channel_file(data);
    let _ = open_channel_file(&incoming, data);
    if let Ok(private) = PrivateKey::of_root(&me) {
        let _ = open_private(&private, "/priv/atomicity/v0/contacts/0", data);
    }
});
