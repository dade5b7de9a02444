//! Which services are asked first, and which not at all. Pure; `docs/spec/discovery.md` says the same in words.
//!
//! The own word decides. Where there is none, friends count, near ones more: weights are in quarters, a friend has four, whom a friend
//! follows has one. All whom one friend introduces weigh no more together than that friend, so that a thousand keys made up by
//! somebody's friend cost no more than one friend's opinion.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use atomicity_ledger::UserKey;
use atomicity_ledger::record::Verdict;

/// The weight of a friend.
const FRIEND: i64 = 4;
/// The weight of somebody whom a friend follows.
const FOLLOWED: i64 = 1;
/// What all whom one friend follows weigh together at most.
const INTRODUCER: i64 = FRIEND;

/// What somebody thinks of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opinion {
    /// Who.
    pub author: UserKey,
    /// The friends who follow them; `None`: they are a friend themselves.
    pub introduced_by: Option<Vec<UserKey>>,
    /// What they say.
    pub verdict: Verdict,
}

/// What is known of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its key.
    pub key: UserKey,
    /// Whether the user chose it.
    pub named: bool,
    /// Whether the user blocked it.
    pub blocked: bool,
    /// The user's own rating.
    pub own: Option<Verdict>,
    /// What others say.
    pub opinions: Vec<Opinion>,
    /// How often it did what it was asked.
    pub successes: u64,
    /// How often it did not.
    pub failures: u64,
    /// How long its last answer took, in milliseconds.
    pub latency_ms: Option<u64>,
}

/// Why a service is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Excluded {
    /// The user blocked it.
    ByYou,
    /// A majority of the friends who have an opinion block it.
    ByFriends,
}

impl Excluded {
    /// A stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ByYou => "blocked_by_you",
            Self::ByFriends => "blocked_by_friends",
        }
    }
}

/// What friends say, summed up. In quarters of a friend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Weight of those who say *good*.
    pub good: i64,
    /// Weight of those who say *poor*.
    pub poor: i64,
    /// Weight of those who say *block*.
    pub block: i64,
}

impl Tally {
    fn of(opinions: &[Opinion]) -> Self {
        let mut sorted: Vec<&Opinion> = opinions.iter().collect();
        sorted.sort_by_key(|opinion| opinion.author);
        let mut spent: BTreeMap<UserKey, i64> = BTreeMap::new();
        let mut tally = Self::default();
        for opinion in sorted {
            let weight = match &opinion.introduced_by {
                None => FRIEND,
                Some(friends) => introduced(friends, &mut spent),
            };
            let sum = match opinion.verdict {
                Verdict::Good => &mut tally.good,
                Verdict::Poor => &mut tally.poor,
                Verdict::Block => &mut tally.block,
            };
            *sum = sum.saturating_add(weight);
        }
        tally
    }

    /// Whether it is excluded: more than half of what is said is *block*, and that is worth a friend at least.
    fn excludes(self) -> bool {
        let others = self.good.saturating_add(self.poor);
        self.block >= FRIEND && self.block > others
    }

    fn score(self) -> i64 {
        self.good
            .saturating_sub(self.poor)
            .saturating_sub(self.block)
    }
}

/// The weight of somebody whom these friends follow: charged to the first of them who has some left to vouch with.
fn introduced(friends: &[UserKey], spent: &mut BTreeMap<UserKey, i64>) -> i64 {
    let mut friends = friends.to_vec();
    friends.sort_unstable();
    for friend in friends {
        let used = spent.entry(friend).or_default();
        if *used < INTRODUCER {
            *used += FOLLOWED;
            return FOLLOWED;
        }
    }
    0
}

/// Why a service is not asked, if it is not; and what friends say of it.
pub(super) fn judge(record: &Record) -> (Option<Excluded>, Tally) {
    let tally = Tally::of(&record.opinions);
    let excluded = if record.blocked || record.own == Some(Verdict::Block) {
        Some(Excluded::ByYou)
    } else if record.named || record.own.is_some() {
        None
    } else {
        tally.excludes().then_some(Excluded::ByFriends)
    };
    (excluded, tally)
}

/// Sorts: first those that may be asked, best first; then those that may not.
pub(super) fn sort<T>(services: &mut [T], record: impl Fn(&T) -> &Record) {
    services.sort_by_cached_key(|service| place(record(service)));
}

type Place = (bool, u8, Reverse<i64>, Reverse<u64>, u64, UserKey);

fn place(record: &Record) -> Place {
    let (excluded, tally) = judge(record);
    let tier = match (record.named, record.own) {
        (true, _) => 0,
        (false, Some(Verdict::Good)) => 1,
        (false, None) => 2,
        (false, Some(Verdict::Poor | Verdict::Block)) => 3,
    };
    (
        excluded.is_some(),
        tier,
        Reverse(tally.score()),
        Reverse(reliability(record.successes, record.failures)),
        record.latency_ms.unwrap_or(u64::MAX),
        record.key,
    )
}

/// How likely it is to do what it is asked, in thousandths. Who was never asked is taken for a coin.
fn reliability(successes: u64, failures: u64) -> u64 {
    let (successes, failures) = (u128::from(successes), u128::from(failures));
    let share = (successes + 1) * 1_000 / (successes + failures + 2);
    u64::try_from(share).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use atomicity_ledger::Keypair;

    fn key(n: u16) -> UserKey {
        let [high, low] = n.to_be_bytes();
        let mut secret = [7; 32];
        secret[0] = high;
        secret[1] = low;
        Keypair::from_secret(&secret).user_key()
    }

    fn service(n: u16) -> Record {
        Record {
            key: key(n),
            named: false,
            blocked: false,
            own: None,
            opinions: Vec::new(),
            successes: 1,
            failures: 0,
            latency_ms: Some(50),
        }
    }

    fn friend(n: u16, verdict: Verdict) -> Opinion {
        Opinion {
            author: key(n),
            introduced_by: None,
            verdict,
        }
    }

    fn followed(n: u16, by: &[u16], verdict: Verdict) -> Opinion {
        Opinion {
            author: key(n),
            introduced_by: Some(by.iter().map(|n| key(*n)).collect()),
            verdict,
        }
    }

    /// The services in the order in which they would be asked, as positions in `services`.
    fn order(services: &[Record]) -> Vec<usize> {
        let mut all: Vec<(usize, Record)> = services.iter().cloned().enumerate().collect();
        sort(&mut all, |(_, record)| record);
        all.into_iter().map(|(n, _)| n).collect()
    }

    #[test]
    fn the_own_word_decides_whatever_friends_say() {
        let against: Vec<Opinion> = (10..20).map(|n| friend(n, Verdict::Block)).collect();
        let mut good = service(1);
        good.own = Some(Verdict::Good);
        good.opinions.clone_from(&against);
        assert_eq!(judge(&good).0, None);
        let mut named = service(2);
        named.named = true;
        named.opinions = against;
        assert_eq!(judge(&named).0, None);
        let mut blocked = service(3);
        blocked.own = Some(Verdict::Block);
        blocked.opinions = (10..20).map(|n| friend(n, Verdict::Good)).collect();
        assert_eq!(judge(&blocked).0, Some(Excluded::ByYou));
        // A block is a later thought than a choice.
        blocked.named = true;
        assert_eq!(judge(&blocked).0, Some(Excluded::ByYou));
        let mut unwanted = service(4);
        unwanted.blocked = true;
        assert_eq!(judge(&unwanted).0, Some(Excluded::ByYou));
    }

    #[test]
    fn a_majority_of_friends_excludes_and_a_minority_does_not() {
        let cases: [(&[Opinion], bool); 8] = [
            (&[], false),
            (&[friend(1, Verdict::Block)], true),
            (
                &[friend(1, Verdict::Block), friend(2, Verdict::Good)],
                false,
            ),
            (
                &[
                    friend(1, Verdict::Block),
                    friend(2, Verdict::Good),
                    friend(3, Verdict::Block),
                ],
                true,
            ),
            (
                &[friend(1, Verdict::Block), friend(2, Verdict::Poor)],
                false,
            ),
            // Strangers alone are not worth a friend.
            (&[followed(5, &[1], Verdict::Block)], false),
            (
                &[
                    friend(1, Verdict::Block),
                    friend(2, Verdict::Good),
                    followed(5, &[1], Verdict::Block),
                ],
                true,
            ),
            (
                &[
                    friend(1, Verdict::Block),
                    followed(5, &[2], Verdict::Good),
                    followed(6, &[2], Verdict::Good),
                    followed(7, &[2], Verdict::Good),
                ],
                true,
            ),
        ];
        for (opinions, excluded) in cases {
            let mut record = service(99);
            record.opinions = opinions.to_vec();
            assert_eq!(judge(&record).0.is_some(), excluded, "{opinions:?}");
        }
    }

    #[test]
    fn a_thousand_keys_of_one_introducer_weigh_no_more_than_one_friend() {
        let mut record = service(1);
        record.opinions = (100..1_100)
            .map(|n| followed(n, &[50], Verdict::Block))
            .collect();
        assert_eq!(judge(&record).1.block, FRIEND);
        // One honest friend who vouches for it is enough against them.
        record.opinions.push(friend(51, Verdict::Good));
        assert_eq!(judge(&record).0, None);
        // With two introducers there is room for twice as many.
        record.opinions = (100..1_100)
            .map(|n| followed(n, &[50, 51], Verdict::Block))
            .collect();
        assert_eq!(judge(&record).1.block, 2 * FRIEND);
    }

    #[test]
    fn the_best_are_asked_first() {
        let mut named = service(1);
        named.named = true;
        named.failures = 100;
        let mut own_good = service(2);
        own_good.own = Some(Verdict::Good);
        let mut friends_good = service(3);
        friends_good.opinions = vec![friend(20, Verdict::Good)];
        let mut strangers_good = service(4);
        strangers_good.opinions = vec![followed(20, &[21], Verdict::Good)];
        let mut reliable = service(5);
        reliable.successes = 50;
        let mut fast = service(6);
        fast.latency_ms = Some(5);
        let slow = service(7);
        let mut poor = service(8);
        poor.opinions = vec![friend(20, Verdict::Poor)];
        let mut own_poor = service(9);
        own_poor.own = Some(Verdict::Poor);
        own_poor.opinions = vec![friend(20, Verdict::Good)];
        let mut blocked = service(10);
        blocked.blocked = true;
        let mut all = vec![
            named,
            own_good,
            friends_good,
            strangers_good,
            reliable,
            fast,
            slow,
            poor,
            own_poor,
            blocked,
        ];
        assert_eq!(order(&all), (0..10).collect::<Vec<_>>());
        all.reverse();
        assert_eq!(order(&all), (0..10).rev().collect::<Vec<_>>());
    }
}
