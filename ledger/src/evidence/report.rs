//! What a bundle proves, in values and in words.

use crate::amount::{Amount, Total};
use crate::key::{SignerKey, UserKey};
use crate::seq::{Epoch, Seq};
use crate::text::Memo;
use crate::time::Timestamp;
use crate::unit::Unit;

/// What a whole bundle proves at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who exported it.
    pub user: UserKey,
    /// About whom.
    pub peer: UserKey,
    /// Why it was exported, in the exporter's words.
    pub note: Option<Memo>,
    /// When it was exported, by the exporter's word.
    pub exported_at: Timestamp,
    /// The time at which authorities were judged.
    pub judged_at: Timestamp,
    /// How many records it holds, the manifest not counted.
    pub records: usize,
    /// What each gave the other, per unit, ascending by unit. Sides without a total are left out.
    pub channels: Vec<ChannelReport>,
    /// Who owes whom, per unit, ascending; settled units are left out.
    pub net: Vec<NetReport>,
    /// The keys that signed, and whether they were allowed to.
    pub keys: Vec<KeyReport>,
    /// Two records that one key should never both have signed.
    pub contradictions: Vec<Contradiction>,
    /// Records that prove nothing, and why.
    pub not_counted: Vec<NotCounted>,
}

/// What `from` gave `to` in one unit, in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelReport {
    /// The unit.
    pub unit: Unit,
    /// Who gave.
    pub from: UserKey,
    /// Who was given.
    pub to: UserKey,
    /// Everything given, in minor units.
    pub issued: Total,
    /// What is due beyond it, by proofs of publication in this bundle, in minor units.
    pub due: u64,
    /// What was promised and is neither proven nor given up nor settled here, in minor units.
    pub undecided: u64,
    /// The epoch of the record that says so.
    pub epoch: Epoch,
    /// The number of the state that says so; 0 if the book itself carries the total over.
    pub seq: Seq,
    /// The key that signed it.
    pub key: SignerKey,
    /// Whether `to` has acknowledged it in a record of this bundle.
    pub acknowledged: bool,
}

/// Who owes whom in one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetReport {
    /// The unit.
    pub unit: Unit,
    /// Who is owed.
    pub creditor: UserKey,
    /// Who owes.
    pub debtor: UserKey,
    /// How much, in minor units.
    pub amount: Amount,
}

/// A key that signed records of the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyReport {
    /// In whose name.
    pub user: UserKey,
    /// The key.
    pub key: SignerKey,
    /// The epoch of the book that names it, if it is a book key.
    pub epoch: Option<Epoch>,
    /// By whose word, in a few words.
    pub by: &'static str,
    /// Whether it was allowed to sign at the time of judgement.
    pub valid: bool,
    /// If not, why.
    pub why: Option<String>,
}

/// Two records that contradict each other, by their places in the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// Who signed both.
    pub user: UserKey,
    /// The places of the two records, from 1. The first one stands.
    pub indexes: (usize, usize),
    /// How they contradict each other.
    pub why: String,
}

/// A record that is sound and proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCounted {
    /// Its place, from 1.
    pub index: usize,
    /// Its type.
    pub typ: String,
    /// Why.
    pub why: String,
}

impl Report {
    /// What is proven and what is not, one sentence each.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let mut out = Vec::new();
        for net in &self.net {
            out.push(format!(
                "{} owes {} {} {}.",
                net.debtor,
                net.creditor,
                net.unit.format_minor(net.amount.minor()),
                net.unit.code()
            ));
        }
        if self.net.is_empty() {
            out.push(format!(
                "{} and {} owe each other nothing that this bundle proves.",
                self.user, self.peer
            ));
        }
        out.extend(self.channels.iter().map(ChannelReport::sentence));
        out.extend(self.keys.iter().map(KeyReport::sentence));
        for c in &self.contradictions {
            out.push(format!(
                "{} contradicted themselves: {} (records {} and {}); the first stands.",
                c.user, c.why, c.indexes.0, c.indexes.1
            ));
        }
        for n in &self.not_counted {
            out.push(format!(
                "Record {} ({}) is not counted: {}.",
                n.index, n.typ, n.why
            ));
        }
        out
    }
}

impl ChannelReport {
    fn sentence(&self) -> String {
        let source = if self.seq == Seq::ZERO {
            format!("carried over by the book of epoch {}", self.epoch)
        } else {
            format!("state {} of epoch {}", self.seq, self.epoch)
        };
        let acknowledged = if self.acknowledged {
            ", acknowledged"
        } else {
            ", not acknowledged in this bundle"
        };
        let words = |minor: u64| format!("{} {}", self.unit.format_minor(minor), self.unit.code());
        let mut sentence = format!(
            "{} has given {} {} in all ({source}, signed by {}{acknowledged}).",
            self.from,
            self.to,
            words(self.issued.minor()),
            self.key
        );
        if self.due > 0 {
            sentence.push_str(&format!(
                " Beyond that {} is due: it was promised, and what it hung on was published in time.",
                words(self.due)
            ));
        }
        if self.undecided > 0 {
            sentence.push_str(&format!(
                " {} more was promised; whether it is due this bundle does not prove.",
                words(self.undecided)
            ));
        }
        sentence
    }
}

impl KeyReport {
    fn sentence(&self) -> String {
        match &self.why {
            None => format!(
                "Key {} was allowed to sign for {}, by {}.",
                self.key, self.user, self.by
            ),
            Some(why) => format!(
                "Key {} was not allowed to sign for {} at that time: {why}.",
                self.key, self.user
            ),
        }
    }
}
