//! Made-up networks for benches and tests: scale-free, the same for the same seed.

use atomicity_ledger::{Amount, Seq, Timestamp, Total, Unit, UserKey};

use crate::graph::{Advert, Offer};

/// A sequence of numbers that look random (splitmix64).
#[derive(Clone, Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n.max(1)
    }

    /// A number from `low` to about `high`, as likely in each octave.
    pub fn octaves(&mut self, low: u32, high: u32) -> u64 {
        let bits = u64::from(low) + self.below(u64::from(high - low));
        (1 << bits) + self.below(1 << bits)
    }
}

/// A channel of a made-up network: its ends, and for each direction what it takes and costs.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// One end.
    pub a: u32,
    /// The other end.
    pub b: u32,
    /// Most, base fee and millionths from `a` to `b`.
    pub there: (u64, u64, u32),
    /// The same from `b` to `a`.
    pub back: (u64, u64, u32),
}

/// What hops of a made-up network ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fees {
    /// A few usual base fees, and proportional fees over three decades.
    Varied,
    /// Everybody the same, as where nobody changes a default: every chain of one length costs the same.
    Equal,
    /// Nothing.
    None,
}

/// A key that belongs to a number.
#[must_use]
pub fn key(number: u64) -> UserKey {
    let mut numbers = Numbers(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    loop {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&numbers.draw().to_le_bytes());
        }
        if let Ok(key) = UserKey::from_bytes(bytes) {
            return key;
        }
    }
}

/// A scale-free network: each new user opens `each` channels to users that are the more likely the more channels they have.
#[must_use]
pub fn scale_free(users: u32, each: u32, fees: Fees, seed: u64) -> Vec<Channel> {
    let mut numbers = Numbers(seed);
    let mut ends: Vec<u32> = vec![0];
    let mut channels = Vec::new();
    for a in 1..users {
        let mut friends: Vec<u32> = Vec::new();
        while friends.len() < each.min(a) as usize {
            let at = numbers.below(ends.len() as u64);
            let b = usize::try_from(at)
                .ok()
                .and_then(|at| ends.get(at).copied())
                .unwrap_or(0);
            if friends.contains(&b) || b == a {
                // Early users are few: any of them will do.
                ends.push(u32::try_from(numbers.below(u64::from(a))).unwrap_or(0));
                continue;
            }
            friends.push(b);
        }
        for b in friends {
            let (there, back) = (terms(&mut numbers, fees), terms(&mut numbers, fees));
            channels.push(Channel { a, b, there, back });
            ends.extend([a, b]);
        }
    }
    channels
}

/// Coarse capacity, base fee and millionths.
fn terms(numbers: &mut Numbers, fees: Fees) -> (u64, u64, u32) {
    let step = [1, 2, 5][usize::try_from(numbers.below(3)).unwrap_or(0)];
    let cap = step * 10u64.pow(u32::try_from(5 + numbers.below(4)).unwrap_or(5));
    let base = match numbers.below(4) {
        0 => 0,
        1 => 1_000,
        _ => numbers.octaves(0, 12),
    };
    let ppm = u32::try_from(numbers.octaves(0, 11)).unwrap_or(1);
    match fees {
        Fees::Varied => (cap, base, ppm),
        Fees::Equal => (cap, 1_000, 100),
        Fees::None => (cap, 0, 0),
    }
}

/// The two adverts of a channel.
#[must_use]
pub fn adverts(channel: &Channel, keys: &[UserKey], unit: &Unit, seq: u64) -> Vec<Advert> {
    let offer = |(cap, base, ppm): (u64, u64, u32)| {
        Some(Offer {
            capacity: Amount::from_minor(cap).ok()?,
            min: Total::from_minor(1).ok()?,
            base_fee: Total::from_minor(base).ok()?,
            ppm,
        })
    };
    let end = |from: u32, to: u32, send, takes: u64| {
        Some(Advert {
            from: *keys.get(from as usize)?,
            to: *keys.get(to as usize)?,
            unit: unit.clone(),
            seq: Seq::new(seq).ok()?,
            send: offer(send),
            receive: Amount::from_minor(takes).ok(),
            expires: Timestamp::saturating_from_millis(u64::MAX),
        })
    };
    let Channel { a, b, there, back } = *channel;
    [end(a, b, there, back.0), end(b, a, back, there.0)]
        .into_iter()
        .flatten()
        .collect()
}
