//! One user's side of a bundle: what the user signed towards the other, and which books kept it.

use std::collections::BTreeSet;

use super::bundle::{Bundle, Item};
use crate::authority::{Authority, Credentials, Purpose};
use crate::channel_file::parties;
use crate::error::LedgerError;
use crate::jws::{RecordHash, Signed};
use crate::key::{SignerKey, UserKey};
use crate::pair::FIRST_EPOCH_OF_ROOT;
use crate::record::{
    Ack, AckItem, AnyRecord, Book, ConditionalIou, CreditLine, Publication, Release, Revocation,
    State,
};
use crate::time::Timestamp;

pub(super) type Placed<'a, T> = (usize, &'a Signed<T>);

/// Everything of one user towards the other.
pub(super) struct Side<'a> {
    pub(super) user: UserKey,
    pub(super) other: UserKey,
    /// The authorities of the user's keys as they are at the time of judgement.
    pub(super) credentials: Credentials,
    /// Each delegation and each grant by itself, from when it began: what was signed under one stays signed, whatever the root
    /// says of the key afterwards.
    voices: Vec<Voice>,
    /// Ascending by epoch, then by place.
    pub(super) books: Vec<Placed<'a, Book>>,
    /// Ascending by epoch and number, then by place.
    pub(super) states: Vec<Placed<'a, State>>,
    pub(super) acks: Vec<Placed<'a, Ack>>,
    pub(super) lines: Vec<Placed<'a, CreditLine>>,
    pub(super) ious: Vec<Placed<'a, ConditionalIou>>,
    pub(super) releases: Vec<Placed<'a, Release>>,
    pub(super) publications: Vec<Placed<'a, Publication>>,
    /// Lines, payments, refusals: place, type and signer.
    pub(super) others: Vec<(usize, &'static str, SignerKey)>,
}

struct Voice {
    credentials: Credentials,
    begins: Timestamp,
}

impl<'a> Side<'a> {
    pub(super) fn gather(bundle: &'a Bundle, user: UserKey, other: UserKey, at: Timestamp) -> Self {
        let mut side = Self {
            user,
            other,
            credentials: Credentials::new(user),
            voices: Vec::new(),
            books: Vec::new(),
            states: Vec::new(),
            acks: Vec::new(),
            lines: Vec::new(),
            ious: Vec::new(),
            releases: Vec::new(),
            publications: Vec::new(),
            others: Vec::new(),
        };
        let mut revocations = Vec::new();
        for (index, item) in (1..).zip(&bundle.items) {
            match item {
                Item::Grant(grant) => {
                    let begins = Timestamp::from_millis(grant.claims().iat.saturating_mul(1000));
                    side.learn(grant.jws(), begins.ok(), at);
                }
                Item::Record(record) => match &**record {
                    AnyRecord::Delegation(r) => {
                        side.learn(r.jws(), Some(r.record().not_before), at);
                    }
                    AnyRecord::Revocation(r) => revocations.push(r),
                    record if parties(record) == Some((user, other)) => side.place(index, record),
                    _ => {}
                },
            }
        }
        for revocation in revocations {
            side.revoke(revocation, at);
        }
        side.books
            .sort_by_key(|(index, book)| (book.record().epoch, *index));
        side.states
            .sort_by_key(|(index, state)| (state.record().epoch, state.record().seq, *index));
        side
    }

    /// What is another user's, or does not hold, is no authority of this one.
    fn learn(&mut self, jws: &str, begins: Option<Timestamp>, at: Timestamp) {
        let _ = self.credentials.learn(jws, at);
        let mut credentials = Credentials::new(self.user);
        if let (Ok(_), Some(begins)) = (credentials.learn(jws, at), begins) {
            self.voices.push(Voice {
                credentials,
                begins,
            });
        }
    }

    /// Only what was revoked by then is revoked at the time of judgement.
    fn revoke(&mut self, revocation: &Signed<Revocation>, at: Timestamp) {
        if revocation.record().at <= at {
            let _ = self.credentials.learn(revocation.jws(), at);
        }
    }

    fn place(&mut self, index: usize, record: &'a AnyRecord) {
        match record {
            AnyRecord::Book(r) => self.books.push((index, r)),
            AnyRecord::State(r) => self.states.push((index, r)),
            AnyRecord::Ack(r) => self.acks.push((index, r)),
            AnyRecord::CreditLine(r) => {
                self.lines.push((index, r));
                self.others.push((index, record.typ(), record.kid()));
            }
            AnyRecord::ConditionalIou(r) => {
                self.ious.push((index, r));
                self.others.push((index, record.typ(), record.kid()));
            }
            AnyRecord::Release(r) => {
                self.releases.push((index, r));
                self.others.push((index, record.typ(), record.kid()));
            }
            // A proof needs nobody's word.
            AnyRecord::Publication(r) => self.publications.push((index, r)),
            other => self.others.push((index, other.typ(), other.kid())),
        }
    }

    /// Whether `book` holds at `at`, and by whose word. Books are no chain of authority: whoever signs one, and whoever is named,
    /// needs the root's own word.
    pub(super) fn standing(
        &self,
        book: &Signed<Book>,
        at: Timestamp,
    ) -> Result<Authority, LedgerError> {
        let record = book.record();
        let purpose = Purpose::Book(self.other);
        let keeper = self.credentials.judge(record.key, purpose, at);
        if book.kid().is_root_of(&self.user) {
            // The root's signature under the book is its word for the key, until it is revoked.
            return match keeper {
                Err(error @ LedgerError::KeyRevoked { .. }) => Err(error),
                Ok(_) | Err(_) => Ok(Authority::Root),
            };
        }
        self.credentials.judge(book.kid(), purpose, at)?;
        let keeper = keeper?;
        match record.cap.iter().find(|cap| {
            let bound = keeper.cap_bound(&cap.unit);
            bound.is_some_and(|bound| cap.debt > bound)
        }) {
            None => Ok(keeper),
            Some(cap) => Err(LedgerError::CapAboveAuthority {
                unit: cap.unit.clone(),
            }),
        }
    }

    /// Whether `book` ever held until `at`, and by whose word.
    ///
    /// A claim does not die with the authority of the key that signed it: what was taken before stays due, as between the two
    /// themselves. When it was taken no bundle can prove; so where the authority has ended, the book's cap bounds what counts.
    pub(super) fn once_standing(&self, book: &Signed<Book>, at: Timestamp) -> Option<Authority> {
        let record = book.record();
        if book.kid().is_root_of(&self.user) {
            return Some(Authority::Root);
        }
        let keeps_to = |word: &Authority| {
            record.cap.iter().all(|cap| {
                let bound = word.cap_bound(&cap.unit);
                bound.is_none_or(|bound| cap.debt <= bound)
            })
        };
        let signed = record.epoch.get() < FIRST_EPOCH_OF_ROOT
            && self.words_for(book.kid(), at).next().is_some();
        self.words_for(record.key, at)
            .find(keeps_to)
            .filter(|_| signed)
    }

    /// What the root had ever said until `at` that let `key` keep these books.
    fn words_for(&self, key: SignerKey, at: Timestamp) -> impl Iterator<Item = Authority> {
        self.voices
            .iter()
            .filter(move |voice| voice.begins <= at)
            .filter_map(move |voice| {
                let purpose = Purpose::Book(self.other);
                voice.credentials.judge(key, purpose, voice.begins).ok()
            })
    }

    /// The books in the order in which a counterparty would have put them in force, each replacing the one before.
    pub(super) fn books_in_turn(&self, at: Timestamp) -> Vec<&'a Signed<Book>> {
        let mut turn: Vec<&'a Signed<Book>> = Vec::new();
        for (_, book) in &self.books {
            let follows = turn.last().is_none_or(|last| self.follows(book, last, at));
            if follows && self.once_standing(book, at).is_some() {
                turn.push(book);
            }
        }
        turn
    }

    /// Whether `book` may follow `current`, or at one epoch replace it.
    fn follows(&self, book: &Signed<Book>, current: &Signed<Book>, at: Timestamp) -> bool {
        let (next, before) = (book.record(), current.record());
        let by_root = |book: &Signed<Book>| book.kid().is_root_of(&self.user);
        // A word that no longer holds gives way to one that does.
        let word = |book| self.standing(book, at).ok();
        let later_word = || match (word(book), word(current)) {
            (Some(new), Some(old)) => new.rank() > old.rank(),
            (new, old) => new.is_some() && old.is_none(),
        };
        // A grant names no limits: a cap that a unit was given may only be lowered without the root.
        let raises_cap = matches!(self.once_standing(book, at), Some(Authority::Grant { .. }))
            && next.cap.iter().any(|cap| {
                let known = before.cap.iter().find(|known| known.unit == cap.unit);
                known.is_some_and(|known| cap.debt > known.debt)
            });
        if next.epoch == before.epoch {
            return match (by_root(book), by_root(current)) {
                (true, true) => next.at > before.at,
                (true, false) => true,
                // The root's word for a key ends with a revocation only.
                (false, true) => word(book).is_some() && word(current).is_none(),
                (false, false) => later_word() && !raises_cap,
            };
        }
        by_root(book)
            || before.epoch.next().ok() == Some(next.epoch)
                && (book.kid() == before.key || book.kid() == next.key && later_word())
                && !raises_cap
    }

    /// The states that the key of `book` signed in its epoch, ascending.
    pub(super) fn of_book(&self, book: &Signed<Book>) -> impl Iterator<Item = Placed<'a, State>> {
        let (epoch, key) = (book.record().epoch, book.record().key);
        self.states
            .iter()
            .copied()
            .filter(move |(_, state)| state.record().epoch == epoch && state.kid() == key)
    }

    /// Whether a book in the bundle names this key.
    pub(super) fn keeps(&self, key: SignerKey) -> bool {
        self.books.iter().any(|(_, book)| book.record().key == key)
    }

    /// The acks that a book key of this side signed.
    pub(super) fn signed_acks(&self) -> impl Iterator<Item = &'a Signed<Ack>> {
        let keys: BTreeSet<SignerKey> = self.books.iter().map(|(_, b)| b.record().key).collect();
        self.acks
            .iter()
            .map(|(_, ack)| *ack)
            .filter(move |ack| keys.contains(&ack.kid()))
    }

    /// Whether this side has acknowledged the record with this hash.
    pub(super) fn has_acknowledged(&self, hash: RecordHash) -> bool {
        self.signed_acks().any(|ack| {
            ack.record().items.iter().any(|item| match item {
                AckItem::State(item) => item.hash == hash,
                AckItem::Iou(item) => item.hash == hash,
                AckItem::Book(item) => item.hash == hash,
            })
        })
    }
}
