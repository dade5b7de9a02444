//! What the records of a whole bundle prove: whose keys may sign, which totals bind, who owes whom.

use std::collections::{BTreeMap, BTreeSet};

use super::bundle::{Bundle, Item, invalid};
use super::report::{ChannelReport, Contradiction, KeyReport, NetReport, NotCounted, Report};
use crate::amount::{Amount, Balance, Total};
use crate::authority::{Authority, Credentials, Purpose};
use crate::channel_file::parties;
use crate::error::LedgerError;
use crate::jws::{Record as _, RecordHash, Signed};
use crate::key::{SignerKey, UserKey};
use crate::record::{Ack, AckItem, AnyRecord, Book, BookAck, Manifest, Revocation, State};
use crate::seq::{Epoch, Seq};
use crate::time::Timestamp;
use crate::unit::Unit;

type Placed<'a, T> = (usize, &'a Signed<T>);

/// Everything of one user towards the other.
struct Side<'a> {
    user: UserKey,
    other: UserKey,
    credentials: Credentials,
    /// The same without revocations: for what was signed before them.
    unrevoked: Credentials,
    books: Vec<Placed<'a, Book>>,
    states: Vec<Placed<'a, State>>,
    acks: Vec<Placed<'a, Ack>>,
    /// Lines, payments, refusals: place, type and signer.
    others: Vec<(usize, &'static str, SignerKey)>,
}

/// What one side has given in one unit, and by which record.
struct Given {
    issued: Total,
    epoch: Epoch,
    seq: Seq,
    key: SignerKey,
    hash: RecordHash,
}

pub(super) fn judge(bundle: &Bundle, at: Timestamp) -> Result<Report, LedgerError> {
    let manifest = bundle.manifest.record();
    let (user, peer) = (manifest.user, manifest.peer);
    let mut report = Report {
        user,
        peer,
        note: manifest.note.clone(),
        exported_at: manifest.at,
        judged_at: at,
        records: bundle.items.len(),
        channels: Vec::new(),
        net: Vec::new(),
        keys: Vec::new(),
        contradictions: Vec::new(),
        not_counted: Vec::new(),
    };
    let own = Side::gather(bundle, user, peer, at);
    let theirs = Side::gather(bundle, peer, user, at);
    check_exporter(bundle, &own, &mut report)?;
    let own_given = own.given(&theirs, at, &mut report);
    let their_given = theirs.given(&own, at, &mut report);
    conclude(&mut report, (&own, &own_given), (&theirs, &their_given));
    report.not_counted.sort_by_key(|n| n.index);
    Ok(report)
}

/// The manifest must be signed by a key that something in the bundle ties to its user; whether that still held is reported.
fn check_exporter(bundle: &Bundle, own: &Side<'_>, report: &mut Report) -> Result<(), LedgerError> {
    let kid = bundle.manifest.kid();
    let at = bundle.manifest.record().at;
    let by_root_book = own
        .books
        .iter()
        .any(|(_, book)| book.record().key == kid && book.kid().is_root_of(&own.user));
    match own.credentials.judge(kid, Purpose::Report, at) {
        Err(LedgerError::NotAuthorized { .. }) if by_root_book => Ok(()),
        Err(error @ LedgerError::NotAuthorized { .. }) => {
            Err(invalid(bundle.items.len() + 1, Manifest::TYP, error))
        }
        Err(error) => {
            report.not_counted.push(NotCounted {
                index: bundle.items.len() + 1,
                typ: Manifest::TYP.to_owned(),
                why: format!("its note and time are nobody's word: {error}"),
            });
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

impl<'a> Side<'a> {
    fn gather(bundle: &'a Bundle, user: UserKey, other: UserKey, at: Timestamp) -> Self {
        let mut side = Self {
            user,
            other,
            credentials: Credentials::new(user),
            unrevoked: Credentials::new(user),
            books: Vec::new(),
            states: Vec::new(),
            acks: Vec::new(),
            others: Vec::new(),
        };
        let mut revocations = Vec::new();
        for (index, item) in (1..).zip(&bundle.items) {
            match item {
                Item::Grant(grant) => side.learn(grant.jws(), at),
                Item::Record(record) => match &**record {
                    AnyRecord::Delegation(r) => side.learn(r.jws(), at),
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

    fn learn(&mut self, jws: &str, at: Timestamp) {
        // What is another user's, or does not hold, is no authority of this one.
        let _ = self.credentials.learn(jws, at);
        let _ = self.unrevoked.learn(jws, at);
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
            other => self.others.push((index, other.typ(), other.kid())),
        }
    }

    /// Whether `book` holds at `at`, and by whose word. Books are no chain of authority: whoever signs one, and whoever is named,
    /// needs the root's own word.
    fn standing(
        &self,
        credentials: &Credentials,
        book: &Signed<Book>,
        at: Timestamp,
    ) -> Result<Authority, LedgerError> {
        let record = book.record();
        let keeper = credentials.judge(record.key, Purpose::Book(self.other), at);
        if book.kid().is_root_of(&self.user) {
            // The root's signature under the book is its word for the key, until it is revoked.
            return match keeper {
                Err(error @ LedgerError::KeyRevoked { .. }) => Err(error),
                Ok(_) | Err(_) => Ok(Authority::Root),
            };
        }
        credentials.judge(book.kid(), Purpose::Book(self.other), at)?;
        let keeper = keeper?;
        for cap in &record.cap {
            if keeper
                .cap_bound(&cap.unit)
                .is_some_and(|bound| cap.debt > bound)
            {
                return Err(LedgerError::CapAboveAuthority {
                    unit: cap.unit.clone(),
                });
            }
        }
        Ok(keeper)
    }

    /// Whether `book` ever held: revocations and ends came later.
    fn once_standing(&self, book: &Signed<Book>) -> Result<Authority, LedgerError> {
        self.standing(&self.unrevoked, book, book.record().at)
    }

    /// The book that the others lead up to, played in order as a counterparty would have taken them; it need not hold any more.
    fn last_in_turn(&self, at: Timestamp) -> Option<&'a Signed<Book>> {
        let mut current: Option<&'a Signed<Book>> = None;
        for (_, book) in &self.books {
            if self.once_standing(book).is_ok() && current.is_none_or(|c| self.follows(book, c, at))
            {
                current = Some(book);
            }
        }
        current
    }

    /// Whether `book` may follow `current`, or at one epoch replace it.
    fn follows(&self, book: &Signed<Book>, current: &Signed<Book>, at: Timestamp) -> bool {
        let (next, before) = (book.record(), current.record());
        let by_root = |book: &Signed<Book>| book.kid().is_root_of(&self.user);
        let word = |book| self.standing(&self.credentials, book, at).ok();
        // A word that no longer holds gives way to one that does.
        let later_word = || match (word(book), word(current)) {
            (Some(new), Some(old)) => new.rank() > old.rank(),
            (new, old) => new.is_some() && old.is_none(),
        };
        // A grant names no limits: a cap that a unit was given may only be lowered without the root.
        let raises_cap = matches!(self.once_standing(book), Ok(Authority::Grant { .. }))
            && next.cap.iter().any(|cap| {
                let known = before.cap.iter().find(|known| known.unit == cap.unit);
                known.is_some_and(|known| cap.debt > known.debt)
            });
        if next.epoch == before.epoch {
            return match (by_root(book), by_root(current)) {
                (true, true) => next.at > before.at,
                (true, false) => true,
                (false, true) => word(book).is_some() && word(current).is_none(),
                (false, false) => later_word() && !raises_cap,
            };
        }
        by_root(book)
            || before.epoch.next().ok() == Some(next.epoch)
                && (book.kid() == before.key || book.kid() == next.key && later_word())
                && !raises_cap
    }

    /// The book in force, if the one that the others lead up to holds at `at`.
    fn in_force(&self, at: Timestamp) -> Option<&'a Signed<Book>> {
        self.last_in_turn(at)
            .filter(|book| self.standing(&self.credentials, book, at).is_ok())
    }

    /// What this side has given, per unit, and everything worth saying about how that was found.
    fn given(&self, other: &Side<'_>, at: Timestamp, report: &mut Report) -> BTreeMap<Unit, Given> {
        self.report_keys(at, report);
        self.report_contradictions(report);
        let in_force = self.in_force(at);
        self.report_not_counted(in_force, at, report);
        let Some(book) = in_force else {
            return BTreeMap::new();
        };
        let mut given = self.carried(book, other);
        for (index, state) in self.of_book(book) {
            let record = state.record();
            let before = given.get(&record.unit).map_or(Total::ZERO, |g| g.issued);
            if record.issued < before {
                report.not_counted.push(NotCounted {
                    index,
                    typ: State::TYP.to_owned(),
                    why: "its total is below one that was in force before it".to_owned(),
                });
                continue;
            }
            let newer = given
                .get(&record.unit)
                .is_none_or(|known| known.epoch < record.epoch || known.seq < record.seq);
            if newer {
                given.insert(
                    record.unit.clone(),
                    Given {
                        issued: record.issued,
                        epoch: record.epoch,
                        seq: record.seq,
                        key: state.kid(),
                        hash: state.hash(),
                    },
                );
            }
        }
        given
    }

    fn of_book(&self, book: &Signed<Book>) -> impl Iterator<Item = Placed<'a, State>> {
        let (epoch, key) = (book.record().epoch, book.record().key);
        self.states
            .iter()
            .copied()
            .filter(move |(_, state)| state.record().epoch == epoch && state.kid() == key)
    }

    /// The totals that the epoch in force started from: what its book says, and what the other's ack of it adds.
    fn carried(&self, book: &Signed<Book>, other: &Side<'_>) -> BTreeMap<Unit, Given> {
        let mut given = BTreeMap::new();
        let start = |issued| Given {
            issued,
            epoch: book.record().epoch,
            seq: Seq::ZERO,
            key: book.kid(),
            hash: book.hash(),
        };
        for carried in &book.record().after {
            given.insert(carried.unit.clone(), start(carried.issued));
        }
        for (unit, issued) in self.held_beyond(book, other) {
            let known = given.get(&unit).map_or(Total::ZERO, |g: &Given| g.issued);
            if issued > known {
                given.insert(unit, start(issued));
            }
        }
        given
    }

    /// What the other's acks of `book` say it held of earlier epochs: it binds if what it held is here, signed by a key that kept
    /// these books, up to the cap of the book that the key signed under, over what the other has issued.
    fn held_beyond(&self, book: &Signed<Book>, other: &Side<'_>) -> Vec<(Unit, Total)> {
        let items = other
            .signed_acks()
            .flat_map(|ack| &ack.record().items)
            .filter_map(|item| match item {
                AckItem::Book(item) if item.hash == book.hash() => Some(item),
                _ => None,
            });
        let mut out = Vec::new();
        for item in items {
            for base in &item.base {
                let reached = self.reached(book, item, &base.unit, other);
                if base.issued <= reached {
                    out.push((base.unit.clone(), base.issued));
                }
            }
        }
        out
    }

    /// How far the held records that `item` names take the total in `unit`.
    fn reached(&self, book: &Signed<Book>, item: &BookAck, unit: &Unit, other: &Side<'_>) -> Total {
        let issued_by_other = other.highest(unit).minor();
        let within = |issued: Total, under: &Book| {
            let reach = under.cap_for(unit).minor().saturating_add(issued_by_other);
            issued.min(Total::from_minor(reach).unwrap_or(Total::MAX))
        };
        let held = |hash: RecordHash| item.held.contains(&hash);
        let earlier = || {
            self.books
                .iter()
                .map(|(_, earlier)| *earlier)
                .filter(|earlier| {
                    earlier.hash() != book.hash() && self.once_standing(earlier).is_ok()
                })
        };
        let by_states = self
            .states
            .iter()
            .filter(|(_, state)| held(state.hash()) && state.record().unit == *unit)
            .filter_map(|(_, state)| {
                let under = earlier().find(|b| {
                    b.record().epoch == state.record().epoch && b.record().key == state.kid()
                })?;
                Some(within(state.record().issued, under.record()))
            });
        // A book that an earlier key opened carries totals as a state does.
        let by_books = earlier()
            .filter(|earlier| held(earlier.hash()))
            .filter_map(|earlier| {
                let carried = earlier.record().carried(unit)?;
                Some(within(carried.issued, earlier.record()))
            });
        by_states.chain(by_books).max().unwrap_or(Total::ZERO)
    }

    /// The greatest total in `unit` that any record of this side names.
    fn highest(&self, unit: &Unit) -> Total {
        let stated = self
            .states
            .iter()
            .filter(|(_, s)| s.record().unit == *unit)
            .map(|(_, s)| s.record().issued);
        let carried = self
            .books
            .iter()
            .filter_map(|(_, b)| b.record().carried(unit).map(|c| c.issued));
        stated.chain(carried).max().unwrap_or(Total::ZERO)
    }

    fn report_keys(&self, at: Timestamp, report: &mut Report) {
        for (_, book) in &self.books {
            let record = book.record();
            let standing = self.standing(&self.credentials, book, at);
            let by = match (book.kid().is_root_of(&self.user), &standing) {
                (true, _) => "a book that the root key signed",
                (_, Ok(Authority::Grant { .. })) => "a grant of the root key",
                _ => "a delegation of the root key",
            };
            report.keys.push(KeyReport {
                user: self.user,
                key: record.key,
                epoch: Some(record.epoch),
                by,
                valid: standing.is_ok(),
                why: standing.err().map(|error| error.to_string()),
            });
        }
    }

    fn report_contradictions(&self, report: &mut Report) {
        let mut seen: BTreeMap<(&Unit, Epoch, Seq, SignerKey), usize> = BTreeMap::new();
        for (index, state) in &self.states {
            let r = state.record();
            let place = (&r.unit, r.epoch, r.seq, state.kid());
            if let Some(first) = seen.get(&place) {
                report.contradictions.push(Contradiction {
                    user: self.user,
                    indexes: (*first, *index),
                    why: format!(
                        "two different states in {} bear epoch {}, seq {}",
                        r.unit, r.epoch, r.seq
                    ),
                });
            } else {
                seen.insert(place, *index);
            }
        }
    }

    fn report_not_counted(
        &self,
        in_force: Option<&Signed<Book>>,
        at: Timestamp,
        report: &mut Report,
    ) {
        let mut add = |index, typ: &str, why: String| {
            report.not_counted.push(NotCounted {
                index,
                typ: typ.to_owned(),
                why,
            });
        };
        let keys: BTreeSet<SignerKey> = self.books.iter().map(|(_, b)| b.record().key).collect();
        let unknown = "no book in this bundle names the key that signed it";
        let acks = self.acks.iter().map(|(i, a)| (*i, Ack::TYP, a.kid()));
        for (index, typ, kid) in self.others.iter().copied().chain(acks) {
            if !keys.contains(&kid) {
                add(index, typ, unknown.to_owned());
            }
        }
        for (index, state) in &self.states {
            let book = self.books.iter().find(|(_, b)| {
                b.record().epoch == state.record().epoch && b.record().key == state.kid()
            });
            let Some((_, book)) = book else {
                add(*index, State::TYP, unknown.to_owned());
                continue;
            };
            // States of epochs that ended are in the totals that the book in force carries over.
            let ended = in_force.is_some_and(|f| f.record().epoch > book.record().epoch);
            if let (false, Err(error)) = (ended, self.standing(&self.credentials, book, at)) {
                add(*index, State::TYP, error.to_string());
            }
        }
    }

    /// The acks that a book key of this side signed.
    fn signed_acks(&self) -> impl Iterator<Item = &'a Signed<Ack>> {
        let keys: BTreeSet<SignerKey> = self.books.iter().map(|(_, b)| b.record().key).collect();
        self.acks
            .iter()
            .map(|(_, ack)| *ack)
            .filter(move |ack| keys.contains(&ack.kid()))
    }

    /// Whether this side has acknowledged the record with this hash.
    fn has_acknowledged(&self, hash: RecordHash) -> bool {
        self.signed_acks().any(|ack| {
            ack.record().items.iter().any(|item| match item {
                AckItem::State(item) => item.hash == hash,
                AckItem::Book(item) => item.hash == hash,
            })
        })
    }
}

fn conclude(
    report: &mut Report,
    (own, own_given): (&Side<'_>, &BTreeMap<Unit, Given>),
    (theirs, their_given): (&Side<'_>, &BTreeMap<Unit, Given>),
) {
    let units: BTreeSet<&Unit> = own_given.keys().chain(their_given.keys()).collect();
    for unit in units {
        let (mine, yours) = (own_given.get(unit), their_given.get(unit));
        for (side, other, given) in [(own, theirs, mine), (theirs, own, yours)] {
            if let Some(given) = given {
                report.channels.push(ChannelReport {
                    unit: unit.clone(),
                    from: side.user,
                    to: side.other,
                    issued: given.issued,
                    epoch: given.epoch,
                    seq: given.seq,
                    key: given.key,
                    acknowledged: other.has_acknowledged(given.hash),
                });
            }
        }
        let issued = |given: Option<&Given>| given.map_or(Total::ZERO, |g| g.issued);
        let balance = Balance::between(issued(yours), issued(mine)).minor();
        let (creditor, debtor) = if balance > 0 {
            (own.user, theirs.user)
        } else {
            (theirs.user, own.user)
        };
        if let Ok(amount) = Amount::from_minor(balance.unsigned_abs()) {
            report.net.push(NetReport {
                unit: unit.clone(),
                creditor,
                debtor,
                amount,
            });
        }
    }
}
