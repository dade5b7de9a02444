//! What the peer sent: who may have signed it, and where it goes.

use super::Pair;
use super::event::{Event, Outcome, PendingReason};
use super::side::{MAX_NOTES, push_bounded};
use crate::amount::Amount;
use crate::authority::Purpose;
use crate::error::LedgerError;
use crate::jws::Signed;
use crate::key::{Keypair, SignerKey, UserKey};
use crate::record::{AnyRecord, CreditLine, Payment, Refusal};
use crate::seq::{Epoch, Seq};
use crate::time::Timestamp;
use crate::unit::Unit;

/// Whether a signature can be relied on now, later, or (as an error) never.
pub(super) enum Standing {
    Good,
    Pending(PendingReason),
}

impl Pair {
    /// Takes a record that the peer signed, or says why not. Any order, any number of times: the newest wins.
    ///
    /// `pen` is the owner's book key, if it is at hand: without it, what must be answered with a signature stays pending.
    ///
    /// # Errors
    /// Why the record is refused for good; the pair is unchanged then.
    pub fn receive(
        &mut self,
        record: &AnyRecord,
        now: Timestamp,
        pen: Option<&Keypair>,
    ) -> Result<Outcome, LedgerError> {
        if record.author() != self.peer {
            return Err(LedgerError::ForeignChannel);
        }
        match record {
            AnyRecord::Delegation(r) => self.receive_authority(r.jws(), now),
            AnyRecord::Revocation(r) => self.receive_authority(r.jws(), now),
            AnyRecord::Book(r) => self.addressed(r.record().to)?.receive_book(r, now, pen),
            AnyRecord::State(r) => self.addressed(r.record().to)?.receive_state(r, now, pen),
            AnyRecord::Payment(r) => self.addressed(r.record().to)?.receive_payment(r, now),
            AnyRecord::CreditLine(r) => self.addressed(r.record().to)?.receive_line(r, now),
            AnyRecord::Refusal(r) => self.addressed(r.record().to)?.receive_refusal(r, now),
            AnyRecord::Ack(r) => self.addressed(r.record().to)?.receive_ack(r, now),
            AnyRecord::Profile(_)
            | AnyRecord::Snapshot(_)
            | AnyRecord::Contacts(_)
            | AnyRecord::Manifest(_) => Err(LedgerError::WrongType {
                expected: "a record between two users",
                found: record.typ().to_owned(),
            }),
        }
    }

    fn addressed(&mut self, to: UserKey) -> Result<&mut Self, LedgerError> {
        if to == self.me {
            Ok(self)
        } else {
            Err(LedgerError::ForeignChannel)
        }
    }

    fn receive_authority(&mut self, jws: &str, now: Timestamp) -> Result<Outcome, LedgerError> {
        Ok(if self.theirs.credentials.learn(jws, now)? {
            Outcome::Applied {
                events: Vec::new(),
                replies: Vec::new(),
            }
        } else {
            Outcome::Duplicate
        })
    }

    /// Judges whether `kid` keeps the peer's books in `epoch` and may do so now.
    pub(super) fn standing(
        &self,
        kid: SignerKey,
        epoch: Epoch,
        now: Timestamp,
    ) -> Result<Standing, LedgerError> {
        let Some(book) = self.theirs.book.as_ref().map(Signed::record) else {
            return Ok(Standing::Pending(PendingReason::BookUnknown));
        };
        if epoch < book.epoch {
            return Err(LedgerError::EpochEnded {
                found: epoch,
                current: book.epoch,
            });
        }
        if epoch > book.epoch {
            return Ok(Standing::Pending(PendingReason::BookUnknown));
        }
        if kid != book.key {
            return Err(LedgerError::NotAuthorized {
                key: kid,
                user: self.peer,
                why: "it is not the book key of this epoch",
            });
        }
        self.book_key_standing(kid, now)
    }

    /// The same for records that bear no epoch: whoever keeps the books now.
    pub(super) fn standing_now(
        &self,
        kid: SignerKey,
        now: Timestamp,
    ) -> Result<Standing, LedgerError> {
        match self.theirs.epoch() {
            None => Ok(Standing::Pending(PendingReason::BookUnknown)),
            Some(epoch) => self.standing(kid, epoch, now),
        }
    }

    fn book_key_standing(&self, kid: SignerKey, now: Timestamp) -> Result<Standing, LedgerError> {
        // A book that the root itself signed is the root's word for its key; a revocation ends it all the same.
        let by_root = self
            .theirs
            .book
            .as_ref()
            .is_some_and(|book| book.kid().is_root_of(&self.peer));
        match self
            .theirs
            .credentials
            .judge(kid, Purpose::Book(self.me), now)
        {
            Err(LedgerError::NotAuthorized { .. }) if by_root => {}
            other => {
                other?;
            }
        }
        Ok(if self.theirs.credentials.is_fresh(kid, now) {
            Standing::Good
        } else {
            Standing::Pending(PendingReason::RevocationUnknown { key: kid })
        })
    }

    /// Freezes the peer's side of `unit` with both records as evidence. The first stands.
    pub(super) fn freeze(
        &mut self,
        unit: &Unit,
        (epoch, seq): (Epoch, Seq),
        first: &str,
        second: &str,
    ) -> Outcome {
        let why = format!("two different records bear epoch {epoch}, seq {seq}");
        let side = self.theirs.units.entry(unit.clone()).or_default();
        if side.frozen.is_some() {
            return Outcome::Duplicate;
        }
        side.frozen = Some(super::Frozen {
            why: why.clone(),
            records: vec![first.to_owned(), second.to_owned()],
        });
        Outcome::Applied {
            events: vec![Event::Frozen {
                unit: unit.clone(),
                why,
            }],
            replies: Vec::new(),
        }
    }

    fn receive_payment(
        &mut self,
        signed: &Signed<Payment>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let payment = signed.record();
        if let Standing::Pending(reason) = self.standing(signed.kid(), payment.epoch, now)? {
            return Ok(Outcome::Pending(reason));
        }
        self.check_unit_count(&payment.unit)?;
        let side = self.theirs.units.entry(payment.unit.clone()).or_default();
        if side
            .payments
            .iter()
            .any(|known| known.hash() == signed.hash())
        {
            return Ok(Outcome::Duplicate);
        }
        push_bounded(&mut side.payments, signed.clone(), MAX_NOTES);
        Ok(Outcome::Applied {
            events: vec![Event::Payment(Box::new(payment.clone()))],
            replies: Vec::new(),
        })
    }

    fn receive_line(
        &mut self,
        signed: &Signed<CreditLine>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let line = signed.record();
        if let Some(known) = self
            .theirs
            .units
            .get(&line.unit)
            .and_then(|u| u.line.as_ref())
        {
            if known.hash() == signed.hash() {
                return Ok(Outcome::Duplicate);
            }
            let (known_at, at) = (
                (known.record().epoch, known.record().seq),
                (line.epoch, line.seq),
            );
            if at < known_at {
                return Ok(Outcome::Stale);
            }
            if at == known_at && known.kid() == signed.kid() {
                let first = known.jws().to_owned();
                return Ok(self.freeze(&line.unit.clone(), at, &first, signed.jws()));
            }
        }
        if let Standing::Pending(reason) = self.standing(signed.kid(), line.epoch, now)? {
            return Ok(Outcome::Pending(reason));
        }
        self.check_unit_count(&line.unit)?;
        self.theirs.units.entry(line.unit.clone()).or_default().line = Some(signed.clone());
        Ok(Outcome::Applied {
            events: vec![Event::Line(Box::new(line.clone()))],
            replies: Vec::new(),
        })
    }

    fn receive_refusal(
        &mut self,
        signed: &Signed<Refusal>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let refusal = signed.record();
        if let Standing::Pending(reason) = self.standing(signed.kid(), refusal.own_epoch, now)? {
            return Ok(Outcome::Pending(reason));
        }
        self.check_unit_count(&refusal.unit)?;
        let side = self.theirs.units.entry(refusal.unit.clone()).or_default();
        if side
            .refusals
            .iter()
            .any(|known| known.hash() == signed.hash())
        {
            return Ok(Outcome::Duplicate);
        }
        push_bounded(&mut side.refusals, signed.clone(), MAX_NOTES);
        Ok(Outcome::Applied {
            events: vec![refused(refusal, refusal.amount)],
            replies: Vec::new(),
        })
    }
}

fn refused(refusal: &Refusal, amount: Amount) -> Event {
    Event::Refused {
        unit: refusal.unit.clone(),
        amount,
        epoch: refusal.epoch,
        after_seq: refusal.after_seq,
        to_seq: refusal.to_seq,
    }
}
