//! A fresh store with only the root key: what it finds on the homeservers becomes a pair again, and a new epoch begins.

use std::collections::{BTreeMap, BTreeSet};

use super::Pair;
use super::epoch::NewBook;
use super::issue::LineTerms;
use super::restore::{Found, restore_side};
use crate::amount::Total;
use crate::error::LedgerError;
use crate::jws::Signed;
use crate::key::{Keypair, UserKey};
use crate::record::{Ack, AckItem, AnyRecord, Book, CreditLine, Endpoints};
use crate::seq::Epoch;
use crate::time::Timestamp;
use crate::unit::Unit;

/// A pair that was put together again, with a new epoch begun: store it, then send the book, the lines and the acks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The pair.
    pub pair: Pair,
    /// The book of the new epoch.
    pub book: Signed<Book>,
    /// The credit lines that were found, signed anew: show them, a thief might have raised them.
    pub lines: Vec<Signed<CreditLine>>,
    /// The acks that were found, signed anew: the peer takes none of the old key any more.
    pub acks: Vec<Signed<Ack>>,
    /// Where the owner told the peer that they can be paid, signed anew: show it, a thief might have changed it.
    pub endpoints: Option<Signed<Endpoints>>,
}

impl Recovered {
    /// Of what the peer's file shows of its own records, what the owner took before the store was lost, by the owner's own acks, proofs
    /// and releases among `mine`, and the peer's acks. It counts as held, however old the owner's own file is: hand it to
    /// [`Pair::recover`] with the rest.
    #[must_use]
    pub fn taken_before(mine: &[AnyRecord], shown: &[AnyRecord]) -> Vec<AnyRecord> {
        let mut taken = BTreeSet::new();
        for record in mine {
            let ack = match record {
                AnyRecord::Ack(ack) => ack,
                // Whoever shows that a promise is due, or gives it up, has taken it.
                AnyRecord::Publication(shown) => {
                    taken.insert(shown.record().iou);
                    continue;
                }
                AnyRecord::Release(given) => {
                    taken.insert(given.record().iou);
                    continue;
                }
                _ => continue,
            };
            for item in &ack.record().items {
                match item {
                    AckItem::State(item) => taken.extend([item.hash]),
                    AckItem::Iou(item) => taken.extend([item.hash]),
                    AckItem::Book(item) => {
                        taken.insert(item.hash);
                        taken.extend(&item.held);
                    }
                }
            }
        }
        let counts = |record: &&AnyRecord| {
            matches!(record, AnyRecord::Ack(_)) || taken.contains(&record.hash())
        };
        shown.iter().filter(counts).cloned().collect()
    }
}

impl Pair {
    /// Puts a pair together from what lies on the homeservers and begins a new epoch under `pen`, by the word of the root.
    ///
    /// `mine` are the owner's records, from the owner's own channel file and from what the peer's file holds of them; `held` are
    /// the peer's records from the owner's own channel file, which the owner had taken before, and [`Recovered::taken_before`]. What
    /// the peer's file says beyond that goes through [`Pair::receive`] afterwards. `authority` are delegations, grants and
    /// revocations of both, old and new.
    ///
    /// Nothing that only a book key has signed binds beyond the cap that the root had set.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] if no epoch is left.
    #[allow(clippy::too_many_arguments)]
    pub fn recover(
        me: UserKey,
        peer: UserKey,
        mine: &[AnyRecord],
        held: &[AnyRecord],
        authority: &[String],
        caps: BTreeMap<Unit, Total>,
        root: &Keypair,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Recovered, LedgerError> {
        let mut pair = Self::new(me, peer)?;
        for jws in authority {
            pair.learn_found(jws, now);
        }
        for record in mine.iter().chain(held) {
            if matches!(record, AnyRecord::Delegation(_) | AnyRecord::Revocation(_)) {
                pair.learn_found(record.jws(), now);
            }
        }
        let found = Found {
            mine,
            held,
            now,
            owner: me,
        };
        // The peer's total first: how far the owner's own binds is measured against it.
        let theirs = restore_side(pair.theirs.clone(), &pair.own, &found, held, (peer, me));
        let own = restore_side(pair.own.clone(), &theirs, &found, mine, (me, peer));
        (pair.own, pair.theirs) = (own, theirs);
        let book = pair.open_book(
            NewBook {
                key: pen.signer_key(),
                caps,
                continues: false,
                at_least: Epoch::ZERO.next()?,
            },
            root,
            now,
        )?;
        let mut lines = Vec::new();
        for terms in pair.found_lines() {
            lines.push(pair.set_line(terms, pen, now)?);
        }
        let acks = pair.renew_acks(pen, now)?;
        let endpoints = pair.restore_endpoints((mine, held), pen, now)?;
        Ok(Recovered {
            pair,
            book,
            lines,
            acks,
            endpoints,
        })
    }

    fn learn_found(&mut self, jws: &str, now: Timestamp) {
        // What is no authority of either is of no use here, and no harm.
        if self.own.credentials.learn(jws, now).is_err() {
            let _ = self.theirs.credentials.learn(jws, now);
        }
    }

    fn found_lines(&self) -> Vec<LineTerms> {
        self.own
            .units
            .values()
            .filter_map(|side| side.line.as_ref())
            .map(|line| {
                let line = line.record();
                LineTerms {
                    unit: line.unit.clone(),
                    accept: line.accept,
                    min_amount: line.min_amount,
                    max_deadline_s: line.max_deadline_s,
                    slots: line.slots,
                    unattended: line.unattended.clone(),
                    logs_refused: line.logs_refused.clone(),
                    expires: line.expires,
                }
            })
            .collect()
    }
}
