//! What the records of a whole bundle prove: whose keys may sign, which totals bind, who owes whom.

use std::collections::{BTreeMap, BTreeSet};

use super::bundle::{Bundle, invalid};
use super::promises::{Promised, promised};
use super::report::{ChannelReport, Contradiction, KeyReport, NetReport, NotCounted, Report};
use super::side::Side;
use super::totals::{Given, given};
use crate::amount::{Amount, Balance, Total};
use crate::authority::{Authority, Purpose};
use crate::error::LedgerError;
use crate::jws::{Record as _, Signed};
use crate::key::SignerKey;
use crate::pair::Totals;
use crate::record::{Ack, Book, Manifest, State};
use crate::seq::{Epoch, Seq};
use crate::time::Timestamp;
use crate::unit::Unit;

/// Said of a key whose authority has ended.
const ENDED: &str = "what it signed before stays due, and as no file can prove when it signed, only up to the cap of its book";

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
    for side in [&own, &theirs] {
        side.report_keys(at, &mut report);
        side.report_contradictions(&mut report);
        side.report_not_counted(at, &mut report.not_counted);
    }
    own.report_unacknowledged(&theirs, at, &mut report.not_counted);
    theirs.report_unacknowledged(&own, at, &mut report.not_counted);
    let own_given = given(&own, &theirs, at, &mut report.not_counted);
    let their_given = given(&theirs, &own, at, &mut report.not_counted);
    let own_given = Sums {
        promised: promised(&own, &theirs, at),
        given: own_given,
    };
    let their_given = Sums {
        promised: promised(&theirs, &own, at),
        given: their_given,
    };
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

impl Side<'_> {
    fn report_keys(&self, at: Timestamp, report: &mut Report) {
        for (_, book) in &self.books {
            let record = book.record();
            let standing = self.standing(book, at);
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
                why: standing
                    .err()
                    .map(|error| match self.once_standing(book, at) {
                        None => error.to_string(),
                        Some(_) => format!("{error}; {ENDED}"),
                    }),
            });
        }
    }

    /// Everything that one key should never have signed together. The record that stands comes first.
    fn report_contradictions(&self, report: &mut Report) {
        let mut add = |first: usize, second: usize, why: String| {
            report.contradictions.push(Contradiction {
                user: self.user,
                indexes: (first, second),
                why,
            });
        };
        let mut greatest: BTreeMap<(&Unit, Epoch, SignerKey), (usize, &State)> = BTreeMap::new();
        for (index, state) in &self.states {
            let r = state.record();
            let place = (&r.unit, r.epoch, state.kid());
            let known = greatest.get(&place).copied();
            match known {
                Some((first, known)) if known.seq == r.seq => add(
                    first,
                    *index,
                    format!(
                        "two different states in {} bear epoch {}, seq {}",
                        r.unit, r.epoch, r.seq
                    ),
                ),
                Some((first, known)) if Totals::from(known).falls_to(&Totals::from(r)) => add(
                    first,
                    *index,
                    format!(
                        "state {} in {} of epoch {} names more than state {}, which came after it",
                        known.seq, r.unit, r.epoch, r.seq
                    ),
                ),
                _ => {
                    greatest.insert(place, (*index, r));
                }
            }
        }
        let mut lines: BTreeMap<(&Unit, Epoch, Seq, SignerKey), usize> = BTreeMap::new();
        for (index, line) in &self.lines {
            let r = line.record();
            let first = *lines
                .entry((&r.unit, r.epoch, r.seq, line.kid()))
                .or_insert(*index);
            if first != *index {
                add(
                    first,
                    *index,
                    format!(
                        "two different credit lines in {} bear epoch {}, seq {}",
                        r.unit, r.epoch, r.seq
                    ),
                );
            }
        }
    }

    /// Books that end nothing yet.
    fn report_unacknowledged(&self, other: &Side<'_>, at: Timestamp, notes: &mut Vec<NotCounted>) {
        for book in self.books_in_turn(at).into_iter().skip(1) {
            let place = self.books.iter().find(|(_, b)| b.hash() == book.hash());
            if let (Some((index, _)), false) = (place, other.has_acknowledged(book.hash())) {
                notes.push(NotCounted {
                    index: *index,
                    typ: Book::TYP.to_owned(),
                    why: format!(
                        "the book of epoch {} is not acknowledged in this bundle, so what stood before it stands",
                        book.record().epoch
                    ),
                });
            }
        }
    }

    fn report_not_counted(&self, at: Timestamp, notes: &mut Vec<NotCounted>) {
        let mut add = |index, typ: &str, why: String| {
            notes.push(NotCounted {
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
        let turn = self.books_in_turn(at);
        for (index, state) in &self.states {
            let is_its = |book: &Signed<Book>| {
                let (book, state_epoch) = (book.record(), state.record().epoch);
                book.epoch == state_epoch && book.key == state.kid()
            };
            if turn.iter().any(|book| is_its(book)) {
                continue;
            }
            let why = match self.books.iter().find(|(_, book)| is_its(book)) {
                None => unknown.to_owned(),
                Some((_, book)) => match self.standing(book, at) {
                    Err(error) => error.to_string(),
                    Ok(_) => "the book of its key was never in force".to_owned(),
                },
            };
            add(*index, State::TYP, why);
        }
    }
}

/// What one side has given and promised, per unit.
struct Sums {
    given: BTreeMap<Unit, Given>,
    promised: BTreeMap<Unit, Promised>,
}

impl Sums {
    fn promised_in(&self, unit: &Unit) -> Promised {
        self.promised.get(unit).copied().unwrap_or_default()
    }

    /// What the other can claim: what was given, and what is due beyond it.
    fn claim(&self, unit: &Unit) -> Total {
        let given = self.given.get(unit).map_or(Total::ZERO, |g| g.issued);
        let claim = given.minor().saturating_add(self.promised_in(unit).due);
        Total::from_minor(claim).unwrap_or(Total::MAX)
    }

    fn channel(&self, unit: &Unit, side: &Side<'_>, other: &Side<'_>) -> Option<ChannelReport> {
        let promised = self.promised_in(unit);
        let given = self.given.get(unit);
        if given.is_none() && promised.due == 0 && promised.undecided == 0 {
            return None;
        }
        // A first promise stands without any total.
        let book = side.books.last().map(|(_, book)| book.record());
        Some(ChannelReport {
            unit: unit.clone(),
            from: side.user,
            to: side.other,
            issued: given.map_or(Total::ZERO, |g| g.issued),
            due: promised.due,
            undecided: promised.undecided,
            epoch: given.map_or(book?.epoch, |g| g.epoch),
            seq: given.map_or(Seq::ZERO, |g| g.seq),
            key: given.map_or(book?.key, |g| g.key),
            acknowledged: given.is_some_and(|g| other.has_acknowledged(g.hash)),
        })
    }
}

fn conclude(
    report: &mut Report,
    (own, own_sums): (&Side<'_>, &Sums),
    (theirs, their_sums): (&Side<'_>, &Sums),
) {
    let of = |sums: &Sums| -> Vec<Unit> {
        let given = sums.given.keys().chain(sums.promised.keys());
        given.cloned().collect()
    };
    let units: BTreeSet<Unit> = of(own_sums).into_iter().chain(of(their_sums)).collect();
    for unit in &units {
        report.channels.extend(own_sums.channel(unit, own, theirs));
        report
            .channels
            .extend(their_sums.channel(unit, theirs, own));
        let balance = Balance::between(their_sums.claim(unit), own_sums.claim(unit)).minor();
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
