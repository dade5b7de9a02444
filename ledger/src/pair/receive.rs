//! What the peer sent: who may have signed it, and where it goes.

use super::Pair;
use super::event::{Event, Outcome, PendingReason};
use super::logs::KnownLogs;
use super::side::{MAX_NOTES, MAX_REFUSALS, push_bounded};
use crate::authority::Purpose;
use crate::error::LedgerError;
use crate::jws::Signed;
use crate::key::{Keypair, SignerKey, UserKey};
use crate::record::{AnyRecord, CreditLine, Payment, Refusal, Reply, View};
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
    /// Conditional IOUs need [`Pair::receive_with`]: here no log is known, and what hangs on one stays pending.
    ///
    /// # Errors
    /// Why the record is refused for good; the pair is unchanged then.
    pub fn receive(
        &mut self,
        record: &AnyRecord,
        now: Timestamp,
        pen: Option<&Keypair>,
    ) -> Result<Outcome, LedgerError> {
        self.receive_with(record, &KnownLogs::default(), now, pen)
    }

    /// The same with the logs that the owner knows.
    ///
    /// # Errors
    /// Why the record is refused for good; the pair is unchanged then.
    pub fn receive_with(
        &mut self,
        record: &AnyRecord,
        logs: &KnownLogs,
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
            AnyRecord::ConditionalIou(r) => self
                .addressed(r.record().to)?
                .receive_iou(r, logs, now, pen),
            AnyRecord::Release(r) => self.addressed(r.record().to)?.receive_release(r, now),
            AnyRecord::Publication(r) => self
                .addressed(r.record().to)?
                .receive_publication(r, now, pen),
            AnyRecord::View(r) => self.addressed(r.record().to)?.receive_view(r, now),
            AnyRecord::Reply(r) => self.addressed(r.record().to)?.receive_reply(r, now),
            AnyRecord::Payment(r) => self.addressed(r.record().to)?.receive_payment(r, now),
            AnyRecord::CreditLine(r) => self.addressed(r.record().to)?.receive_line(r, now),
            AnyRecord::Refusal(r) => self.addressed(r.record().to)?.receive_refusal(r, now),
            AnyRecord::Ack(r) => self.addressed(r.record().to)?.receive_ack(r, now),
            AnyRecord::Endpoints(r) => self.addressed(r.record().to)?.receive_endpoints(r, now),
            AnyRecord::Profile(_)
            | AnyRecord::Diary(_)
            | AnyRecord::Snapshot(_)
            | AnyRecord::Contacts(_)
            | AnyRecord::Manifest(_)
            | AnyRecord::Invoice(_)
            | AnyRecord::Advert(_)
            | AnyRecord::Rates(_)
            | AnyRecord::Rating(_)
            | AnyRecord::Settlement(_)
            | AnyRecord::SettlementAnswer(_)
            | AnyRecord::SettlementWithdrawal(_)
            | AnyRecord::PaymentRequest(_)
            | AnyRecord::RequestState(_)
            | AnyRecord::Part(_)
            | AnyRecord::PartAnswer(_)
            | AnyRecord::Spend(_)
            | AnyRecord::Pass(_) => Err(LedgerError::WrongType {
                expected: "a record for the books of two users",
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
            quiet()
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

    /// The same for what does not count by its epoch (lines, payments, refusals): the key in force may have signed it in an epoch
    /// before, when it kept the books already.
    fn standing_of_note(
        &self,
        kid: SignerKey,
        epoch: Epoch,
        now: Timestamp,
    ) -> Result<Standing, LedgerError> {
        match self.theirs.book.as_ref().map(Signed::record) {
            Some(book) if epoch < book.epoch && kid == book.key => {
                self.standing(kid, book.epoch, now)
            }
            _ => self.standing(kid, epoch, now),
        }
    }

    /// The same for records that bear no epoch: whoever keeps the books now. The next keeper's ack may come before its book.
    pub(super) fn standing_now(
        &self,
        kid: SignerKey,
        now: Timestamp,
    ) -> Result<Standing, LedgerError> {
        let Some(book) = self.theirs.book.as_ref().map(Signed::record) else {
            return Ok(Standing::Pending(PendingReason::BookUnknown));
        };
        if kid == book.key {
            return self.standing(kid, book.epoch, now);
        }
        match self.judge_keeper(kid, now)? {
            Standing::Good => Ok(Standing::Pending(PendingReason::BookUnknown)),
            pending => Ok(pending),
        }
    }

    /// The same for what was under way when the books changed hands: an earlier keeper's word counts too, as long as the root's word
    /// stands behind its key.
    pub(super) fn standing_of_any_keeper(
        &self,
        kid: SignerKey,
        now: Timestamp,
    ) -> Result<Standing, LedgerError> {
        if self.theirs.kept_before(kid) {
            self.judge_keeper(kid, now)
        } else {
            self.standing_now(kid, now)
        }
    }

    fn book_key_standing(&self, kid: SignerKey, now: Timestamp) -> Result<Standing, LedgerError> {
        // A book that the root itself signed is the root's word for its key; a revocation ends it all the same.
        let by_root = self
            .theirs
            .book
            .as_ref()
            .is_some_and(|book| book.kid().is_root_of(&self.peer));
        let credentials = &self.theirs.credentials;
        match credentials.judge(kid, Purpose::Book(self.me), now) {
            Err(LedgerError::NotAuthorized { .. }) if by_root => {
                Ok(if credentials.is_fresh(kid, now) {
                    Standing::Good
                } else {
                    Standing::Pending(PendingReason::RevocationUnknown { key: kid })
                })
            }
            _ => self.judge_keeper(kid, now),
        }
    }

    /// Whether `key` has authority over the peer's books now. What seems missing may just not have been looked up.
    pub(super) fn judge_keeper(
        &self,
        key: SignerKey,
        now: Timestamp,
    ) -> Result<Standing, LedgerError> {
        let credentials = &self.theirs.credentials;
        match credentials.judge(key, Purpose::Book(self.me), now) {
            Ok(_) if credentials.is_fresh(key, now) => Ok(Standing::Good),
            Ok(_) => Ok(Standing::Pending(PendingReason::RevocationUnknown { key })),
            Err(error) if credentials.may_have_changed(&error, key, now) => {
                Ok(Standing::Pending(PendingReason::RevocationUnknown { key }))
            }
            Err(error) => Err(error),
        }
    }

    /// Freezes the peer's side of `unit` with both records as evidence. The first stands.
    pub(super) fn freeze(&mut self, unit: &Unit, why: String, records: Vec<String>) -> Outcome {
        let side = self.theirs.units.entry(unit.clone()).or_default();
        if side.frozen.is_some() {
            return Outcome::Duplicate;
        }
        side.frozen = Some(super::Frozen {
            why: why.clone(),
            records,
        });
        Outcome::Applied {
            events: vec![Event::Frozen {
                unit: unit.clone(),
                why,
            }],
            replies: Vec::new(),
        }
    }

    /// Nothing is kept of a view here: whoever follows the logs compares it.
    fn receive_view(
        &mut self,
        signed: &Signed<View>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        match self.standing_now(signed.kid(), now)? {
            Standing::Pending(reason) => Ok(Outcome::Pending(reason)),
            Standing::Good => Ok(told(Event::View(Box::new(signed.record().clone())))),
        }
    }

    /// Nothing is kept of a reply here: whoever passed the promise on hands it back.
    fn receive_reply(
        &mut self,
        signed: &Signed<Reply>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        match self.standing_now(signed.kid(), now)? {
            Standing::Pending(reason) => Ok(Outcome::Pending(reason)),
            Standing::Good => Ok(told(Event::Reply(Box::new(signed.record().clone())))),
        }
    }

    fn receive_payment(
        &mut self,
        signed: &Signed<Payment>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let payment = signed.record();
        if let Standing::Pending(reason) =
            self.standing_of_note(signed.kid(), payment.epoch, now)?
        {
            return Ok(Outcome::Pending(reason));
        }
        let (known_epoch, refused) = (
            self.theirs.epoch().unwrap_or_default(),
            self.own.units.get(&payment.unit).is_some_and(|own| {
                own.refusals
                    .iter()
                    .any(|r| r.record().covers(payment.epoch, payment.seq))
            }),
        );
        let Some(side) = self.theirs.units.get_mut(&payment.unit) else {
            return Ok(Outcome::Pending(PendingReason::StateUnknown));
        };
        if side
            .payments
            .iter()
            .any(|known| known.hash() == signed.hash())
        {
            return Ok(Outcome::Duplicate);
        }
        if payment.epoch == known_epoch && payment.seq > side.seq() {
            return Ok(Outcome::Pending(PendingReason::StateUnknown));
        }
        if refused {
            return Ok(Outcome::Stale);
        }
        // Balances never depend on it, but nobody is to be told of more than was paid, or of the same twice.
        let told = side.told.saturating_add(payment.amount.minor());
        if told > side.totals().paid() {
            return Ok(Outcome::Stale);
        }
        side.told = told;
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
        let known = self
            .theirs
            .units
            .get(&line.unit)
            .and_then(|u| u.line.clone());
        let at = (line.epoch, line.seq);
        if let Some(known) = &known {
            if known.hash() == signed.hash() {
                return Ok(Outcome::Duplicate);
            }
            if at < (known.record().epoch, known.record().seq) {
                return Ok(Outcome::Stale);
            }
        }
        if let Standing::Pending(reason) = self.standing_of_note(signed.kid(), line.epoch, now)? {
            return Ok(Outcome::Pending(reason));
        }
        if let Some(known) = known
            && at == (known.record().epoch, known.record().seq)
        {
            let why = twice(line.epoch, line.seq);
            let records = vec![known.jws().to_owned(), signed.jws().to_owned()];
            return Ok(self.freeze(&line.unit, why, records));
        }
        self.check_unit_count(&line.unit)?;
        self.theirs.units.entry(line.unit.clone()).or_default().line = Some(signed.clone());
        Ok(Outcome::Applied {
            events: vec![Event::Line(Box::new(line.clone()))],
            replies: Vec::new(),
        })
    }

    /// A refusal is believed once the peer's state has really given the amount back.
    fn receive_refusal(
        &mut self,
        signed: &Signed<Refusal>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        let refusal = signed.record();
        if let Standing::Pending(reason) =
            self.standing_of_note(signed.kid(), refusal.own_epoch, now)?
        {
            return Ok(Outcome::Pending(reason));
        }
        let Some(side) = self.theirs.units.get_mut(&refusal.unit) else {
            return Ok(Outcome::Pending(PendingReason::StateUnknown));
        };
        if side
            .refusals
            .iter()
            .any(|known| known.hash() == signed.hash())
        {
            return Ok(Outcome::Duplicate);
        }
        if side.totals().returned < refusal.returned {
            return Ok(Outcome::Pending(PendingReason::StateUnknown));
        }
        let oldest = side.refusals.iter().map(|r| r.record().returned).min();
        if side.refusals.len() >= MAX_REFUSALS && oldest.is_some_and(|o| refusal.returned <= o) {
            return Ok(Outcome::Stale);
        }
        push_bounded(&mut side.refusals, signed.clone(), MAX_REFUSALS);
        Ok(Outcome::Applied {
            events: vec![Event::Refused {
                unit: refusal.unit.clone(),
                amount: refusal.amount,
                epoch: refusal.epoch,
                after_seq: refusal.after_seq,
                to_seq: refusal.to_seq,
            }],
            replies: Vec::new(),
        })
    }
}

/// Nothing that anybody has to be told.
pub(super) fn quiet() -> Outcome {
    Outcome::Applied {
        events: Vec::new(),
        replies: Vec::new(),
    }
}

/// One thing that people are told, and nothing for the peer.
pub(super) fn told(event: Event) -> Outcome {
    Outcome::Applied {
        events: vec![event],
        replies: Vec::new(),
    }
}

/// Why two records under one number freeze a channel.
pub(super) fn twice(epoch: Epoch, seq: Seq) -> String {
    format!("two different records bear epoch {epoch}, seq {seq}")
}
