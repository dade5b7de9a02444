//! Layers as they come, and layers that a payer sealed for a path and somebody on the way changed: who opens what was changed is told
//! so, everybody before reads exactly what the payer wrote, and an answer that was made up is none.
#![no_main]

use atomicity_ledger::onion::{
    FAILURE_BYTES, Failure, FailureCode, HopKey, LAYERS_BYTES, MAX_HOPS, Payload, open, seal,
};
use atomicity_ledger::seal::EncryptionSecret;
use atomicity_ledger::text::Layers;
use atomicity_ledger::{Amount, Keypair, PaymentHash, Preimage, RecordId, UserKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;

struct Hop {
    user: UserKey,
    secret: EncryptionSecret,
}

fn hop(place: usize) -> Hop {
    let root = Keypair::from_secret(&[u8::try_from(place).unwrap_or(0) + 1; 32]);
    Hop {
        user: root.user_key(),
        secret: EncryptionSecret::of_root(&root),
    }
}

fn text(bytes: &[u8]) -> Layers {
    Layers::try_from(URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_else(|_| unreachable!())
}

/// What hop `place` of `count` is told, as `data` says.
fn payload(place: usize, count: usize, data: &[u8]) -> Payload {
    let mut minor = [0; 8];
    for (to, from) in minor.iter_mut().zip(data) {
        *to = *from;
    }
    let minor = u64::from_be_bytes(minor) % (i64::MAX as u64) + 1;
    let amount = Amount::from_minor(minor).unwrap_or_else(|_| unreachable!());
    if place + 1 < count {
        return Payload::Forward {
            next: hop(place + 1).user,
            amount,
            reply: minor % 2 == 0,
        };
    }
    let memo = std::str::from_utf8(data).ok();
    let memo = memo.and_then(|text| text.parse().ok());
    match memo {
        Some(memo) => Payload::Gift { memo: Some(memo) },
        None => Payload::Deliver {
            invoice: RecordId::from_entropy([7; 16]),
            total: amount,
        },
    }
}

fuzz_target!(|data: &[u8]| {
    let hash: PaymentHash = Preimage::from_bytes([9; 32]).hash();
    // Whatever comes, in the size that is asked for: nobody can make up layers for a key.
    let mut made_up = data.to_vec();
    made_up.resize(LAYERS_BYTES, 0);
    let first = hop(0);
    let secrets = std::slice::from_ref(&first.secret);
    assert!(open(&text(&made_up), &hash, &first.user, secrets).is_err());

    let [count, at, place, mask, rest @ ..] = data else {
        return;
    };
    let count = usize::from(*count) % MAX_HOPS + 1;
    let told: Vec<Payload> = (0..count).map(|n| payload(n, count, rest)).collect();
    let path: Vec<(HopKey, Payload)> = told
        .iter()
        .enumerate()
        .map(|(n, payload)| {
            let hop = hop(n);
            let key = HopKey {
                user: hop.user,
                key: hop.secret.public(),
                id: hop.secret.id(),
            };
            (key, payload.clone())
        })
        .collect();
    let Ok((mut layers, answers)) = seal(&path, &hash, &[*at; 32]) else {
        // Only a memo can be too long for a payload.
        assert!(matches!(told.last(), Some(Payload::Gift { .. })));
        return;
    };
    let mut answer = rest.to_vec();
    answer.resize(FAILURE_BYTES, 0);
    assert!(answers.open_failure(&text(&answer)).is_err());
    let spoilt = usize::from(*at) % count;
    for (n, payload) in told.iter().enumerate() {
        let hop = hop(n);
        let secrets = std::slice::from_ref(&hop.secret);
        if n == spoilt && *mask != 0 {
            let mut bytes = URL_SAFE_NO_PAD
                .decode(layers.as_str())
                .unwrap_or_else(|_| unreachable!());
            let place = usize::from(*place) * bytes.len() / 256;
            bytes[place] ^= mask;
            // The high bit of a curve point changes nothing of what it says.
            let opened = open(&text(&bytes), &hash, &hop.user, secrets);
            assert!(opened.is_err() || (place == 31 && *mask == 0x80));
            return;
        }
        let opened = open(&layers, &hash, &hop.user, secrets).unwrap_or_else(|_| unreachable!());
        assert_eq!(&opened.payload, payload);
        assert_eq!(opened.rest.as_str().len(), layers.as_str().len());
        let failure = opened
            .secret
            .seal_failure(&Failure::here(FailureCode::Temporary), &[*mask; 32]);
        assert!(failure.is_ok());
        layers = opened.rest;
    }
});
