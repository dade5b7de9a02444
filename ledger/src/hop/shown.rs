//! Whether what the last hop shows is enough to pay a payee who is away.

use crate::amount::Amount;
use crate::authority::{Credentials, Purpose};
use crate::error::LedgerError;
use crate::jws::Signed;
use crate::key::{SignerKey, UserKey};
use crate::onion::Answer;
use crate::record::{AnyRecord, Book, ConditionalIou, CreditLine, Terms};
use crate::time::Timestamp;
use crate::unit::Unit;

/// What the payer wants to see.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The last hop.
    pub hop: UserKey,
    /// Who is away.
    pub payee: UserKey,
    /// In what.
    pub unit: &'a Unit,
    /// What is to arrive.
    pub amount: Amount,
    /// The terms of the payment.
    pub terms: &'a Terms,
    /// The time.
    pub now: Timestamp,
}

/// A promise to a payee who takes it without being asked. Before the payer publishes they look whether these keys were revoked, as
/// for every signature that they rely on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The last hop's promise: the payee's claim once the preimage is published.
    pub iou: Signed<ConditionalIou>,
    /// The payee's line, whose allowance it fits.
    pub line: Signed<CreditLine>,
    /// Who signed, and in whose name.
    pub keys: Vec<(UserKey, SignerKey)>,
}

/// The records of an answer, sorted.
struct Sorted {
    ious: Vec<Signed<ConditionalIou>>,
    lines: Vec<Signed<CreditLine>>,
    books: Vec<Signed<Book>>,
    hop: Credentials,
    payee: Credentials,
}

impl Shown {
    /// Checks an answer: the promise is the last hop's to the payee, on the payment's terms, of the whole amount, signed by the key
    /// that keeps those books, and it fits what the payee's signed line takes unattended.
    ///
    /// # Errors
    /// [`LedgerError::TermsRefused`] with what is missing; the authority's fault if a key may not sign.
    pub fn check(answer: &Answer, expected: &Expected<'_>) -> Result<Self, LedgerError> {
        let refuse = |why| LedgerError::TermsRefused { why };
        let sorted = Sorted::of(answer, expected);
        let iou = sorted.ious.iter().find(|iou| fits(iou, expected));
        let iou = iou.ok_or(refuse(
            "the last hop shows no promise to the payee of this amount and on these terms",
        ))?;
        sorted.check_book(iou.kid(), |book| {
            let of = (book.from, book.to, book.epoch);
            of == (expected.hop, expected.payee, iou.record().epoch)
        })?;
        let purpose = Purpose::Book(expected.payee);
        sorted.hop.judge(iou.kid(), purpose, expected.now)?;
        let allows = |line: &&Signed<CreditLine>| allows(line.record(), expected);
        let line = sorted.lines.iter().find(allows).ok_or(refuse(
            "the payee does not take this without being there: it needs an allowance for the last hop",
        ))?;
        sorted.check_book(line.kid(), |book| {
            let of = (book.from, book.to, book.epoch);
            of == (expected.payee, expected.hop, line.record().epoch)
        })?;
        let purpose = Purpose::Book(expected.hop);
        sorted.payee.judge(line.kid(), purpose, expected.now)?;
        Ok(Self {
            iou: iou.clone(),
            line: line.clone(),
            keys: vec![(expected.hop, iou.kid()), (expected.payee, line.kid())],
        })
    }
}

impl Sorted {
    fn of(answer: &Answer, expected: &Expected<'_>) -> Self {
        let mut sorted = Self {
            ious: Vec::new(),
            lines: Vec::new(),
            books: Vec::new(),
            hop: Credentials::new(expected.hop),
            payee: Credentials::new(expected.payee),
        };
        for jws in answer.records() {
            match AnyRecord::decode(jws) {
                Ok(AnyRecord::ConditionalIou(iou)) => sorted.ious.push(iou),
                Ok(AnyRecord::CreditLine(line)) => sorted.lines.push(line),
                Ok(AnyRecord::Book(book)) => sorted.books.push(book),
                // A delegation, a revocation or a grant: of either, or of nobody who matters here.
                _ => {
                    for credentials in [&mut sorted.hop, &mut sorted.payee] {
                        let _ = credentials.learn(jws, expected.now);
                    }
                }
            }
        }
        sorted
    }

    fn check_book(&self, key: SignerKey, fits: impl Fn(&Book) -> bool) -> Result<(), LedgerError> {
        let names = |book: &&Signed<Book>| book.record().key == key && fits(book.record());
        let found = self.books.iter().any(|book| names(&book));
        found.then_some(()).ok_or(LedgerError::TermsRefused {
            why: "no book names the key that has signed",
        })
    }
}

fn fits(iou: &Signed<ConditionalIou>, expected: &Expected<'_>) -> bool {
    let iou = iou.record();
    (iou.from, iou.to) == (expected.hop, expected.payee)
        && iou.unit == *expected.unit
        && iou.amount >= expected.amount
        && iou.terms == *expected.terms
}

fn allows(line: &CreditLine, expected: &Expected<'_>) -> bool {
    let terms = expected.terms;
    let in_force = line
        .expires
        .is_none_or(|end| end.millis() > terms.deadline_ms);
    let logs_fit = |allowed: &[crate::text::Address]| {
        terms
            .logs
            .iter()
            .all(|log| allowed.contains(&log.origin) && !line.logs_refused.contains(&log.origin))
    };
    (line.from, line.to) == (expected.payee, expected.hop)
        && line.unit == *expected.unit
        && in_force
        && expected.amount >= line.min_amount
        && line.unattended.as_ref().is_some_and(|allowance| {
            allowance.amount >= expected.amount
                && allowance.until.millis() >= terms.deadline_ms
                && logs_fit(&allowance.logs)
        })
}
