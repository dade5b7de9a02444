//! What follows when promises that were passed on, collected or paid with are decided.

use atomicity_ledger::hop::{
    Attempt, CollectionStage, Expected, Neighbour, Relay, RelayStage, Shown, follow, pass_on,
};
use atomicity_ledger::pair::Event;
use atomicity_ledger::record::{Invoice, LogProof, Reply};
use atomicity_ledger::{Preimage, Signed, UserKey};

use super::super::event::WalletEventKind;
use super::super::forward::policy;
use super::super::invoice::note_paid;
use super::super::pay::{self, Plan};
use super::super::{Direction, HistoryItem, decide};
use super::{Desk, Word};
use crate::error::ClientError;
use crate::store::invoices::{self, InvoiceRow};
use crate::store::payments::{self, PaymentRow, PaymentState};
use crate::store::{json_out, relays};

impl Desk<'_> {
    /// Answers to promises of this user: the payer's own are read, others handed on.
    pub(super) async fn take_replies(
        &mut self,
        peer: &UserKey,
        events: &[Event],
    ) -> Result<(), ClientError> {
        for event in events {
            if let Event::Reply(reply) = event {
                self.take_reply(peer, reply).await?;
            }
        }
        Ok(())
    }

    async fn take_reply(&mut self, peer: &UserKey, reply: &Reply) -> Result<(), ClientError> {
        for relay in relays::with(self.change.conn(), peer).await? {
            if relay.outgoing.iou == reply.iou {
                return self.hand_on(relay, reply).await;
            }
        }
        self.read_replies(reply).await
    }

    /// Looks whether one of this user's own payments waits for an answer.
    pub(super) async fn read_replies(&mut self, reply: &Reply) -> Result<(), ClientError> {
        for row in payments::open(self.change.conn()).await? {
            self.read_reply(row, reply).await?;
        }
        Ok(())
    }

    async fn hand_on(&mut self, mut relay: Relay, reply: &Reply) -> Result<(), ClientError> {
        let upstream = relay.incoming.peer;
        if !self.load(&upstream).await? {
            return Ok(());
        }
        let Some(mut books) = self.books.remove(&upstream) else {
            return Ok(());
        };
        let incoming = Neighbour {
            pair: &mut books.pair,
            pen: &self.pen,
        };
        let done = pass_on(&mut relay, &incoming, reply, &self.context());
        self.books.insert(upstream, books);
        if done.is_ok() {
            let now = self.change.now.millis();
            relays::put(self.change.conn(), &relay, now).await?;
        }
        self.settle(done);
        Ok(())
    }

    /// What the last hop shows a payer who asked.
    async fn read_reply(&mut self, mut row: PaymentRow, reply: &Reply) -> Result<(), ClientError> {
        let attempt = pay::open_attempt(&self.change.keys, &row)?;
        let Ok((number, hop, answer)) = attempt.shown(reply) else {
            return Ok(());
        };
        let plan = Plan::read(&row)?;
        let Some(part) = attempt.parts().get(number).filter(|_| row.shown.is_none()) else {
            return Ok(());
        };
        let expected = Expected {
            hop,
            payee: plan.payee,
            unit: &plan.unit,
            amount: part.arrives,
            terms: attempt.terms(),
            now: self.change.now,
        };
        let before_last = part
            .hops
            .len()
            .checked_sub(2)
            .and_then(|at| part.hops.get(at));
        if before_last != Some(&hop) {
            return Ok(());
        }
        match Shown::check(&answer, &expected) {
            Ok(shown) => {
                row.shown = Some(json_out(&shown.keys)?);
                row.why = None;
                decide::want_logs(self.change).await?;
            }
            Err(error) => row.why = Some(error.code().to_owned()),
        }
        payments::put(self.change.conn(), &row).await
    }

    /// Promises that were passed on: what became of one side goes to the other.
    pub(super) async fn follow_relays(
        &mut self,
        peer: &UserKey,
        events: &[Event],
    ) -> Result<(), ClientError> {
        for relay in relays::with(self.change.conn(), peer).await? {
            self.follow_relay(relay, peer, events).await?;
        }
        Ok(())
    }

    async fn follow_relay(
        &mut self,
        mut relay: Relay,
        peer: &UserKey,
        events: &[Event],
    ) -> Result<(), ClientError> {
        let (from, to) = (relay.incoming.peer, relay.outgoing.peer);
        if !self.load(&from).await? || !self.load(&to).await? {
            return Ok(());
        }
        let unit = relay.unit_onward().clone();
        let now = self.change.now;
        let policy = policy(self.change.conn(), (&to, &unit), now).await?;
        let mut tally = relays::tally(self.change.conn(), &from).await?;
        let before = (relay.clone(), tally.clone());
        let (Some(mut incoming), Some(mut outgoing)) =
            (self.books.remove(&from), self.books.remove(&to))
        else {
            return Err(ClientError::Internal("a relay of one pair".to_owned()));
        };
        let pairs = (incoming.pair.clone(), outgoing.pair.clone());
        let events = if to == *peer { events } else { &[] };
        let done = follow(
            &mut relay,
            Neighbour {
                pair: &mut incoming.pair,
                pen: &self.pen,
            },
            Neighbour {
                pair: &mut outgoing.pair,
                pen: &self.pen,
            },
            events,
            &policy,
            &mut tally,
            &self.context(),
        );
        if done.is_err() {
            (incoming.pair, outgoing.pair) = pairs;
        }
        self.books.insert(from, incoming);
        self.books.insert(to, outgoing);
        if done.is_ok() {
            if tally != before.1 {
                relays::put_tally(self.change.conn(), &from, &tally).await?;
            }
            if relay != before.0 {
                let now = self.change.now.millis();
                relays::put(self.change.conn(), &relay, now).await?;
                decide::want_logs(self.change).await?;
            }
            if relay.stage == RelayStage::Paid && before.0.stage != RelayStage::Paid {
                self.note_earned(&relay).await?;
            }
        }
        self.settle(done);
        Ok(())
    }

    async fn note_earned(&mut self, relay: &Relay) -> Result<(), ClientError> {
        let item = HistoryItem {
            user: Some(relay.outgoing.peer),
            unit: Some(relay.unit.clone()),
            kind: "forwarded".to_owned(),
            direction: Some(Direction::In),
            amount: Some(relay.fee()),
            reference: Some(relay.hash.to_string()),
            note: Some("the fee for passing a payment on".to_owned()),
            ..HistoryItem::default()
        };
        self.change.note(item).await
    }

    /// The user's own payments whose first stop is this friend.
    pub(super) async fn follow_payments(
        &mut self,
        peer: &UserKey,
        events: &[Event],
    ) -> Result<(), ClientError> {
        for row in payments::open(self.change.conn()).await? {
            let attempt = pay::open_attempt(&self.change.keys, &row)?;
            let first = |hops: &[UserKey]| hops.first() == Some(peer);
            if attempt.parts().iter().any(|part| first(&part.hops)) {
                self.follow_payment(row, attempt, peer, events).await?;
            }
        }
        Ok(())
    }

    /// What the agent says of a promise: it may be one of this user's own payments.
    pub(super) async fn hear_word(
        &mut self,
        peer: &UserKey,
        word: &Word,
    ) -> Result<(), ClientError> {
        for row in payments::open(self.change.conn()).await? {
            let mut attempt = pay::open_attempt(&self.change.keys, &row)?;
            let before = attempt.clone();
            match word {
                Word::Failed(iou, reason, layers) => {
                    attempt.told_failed(*iou, self.me, (*reason, layers.as_ref()));
                }
                Word::Paid(iou, preimage, proof) => {
                    attempt.told_paid(*iou, *preimage, proof.clone());
                }
                Word::Reply(_) => {}
            }
            let first = |hops: &[UserKey]| hops.first() == Some(peer);
            if attempt != before && attempt.parts().iter().any(|part| first(&part.hops)) {
                self.note_attempt(row, attempt).await?;
            }
        }
        Ok(())
    }

    async fn follow_payment(
        &mut self,
        row: PaymentRow,
        mut attempt: Attempt,
        peer: &UserKey,
        events: &[Event],
    ) -> Result<(), ClientError> {
        let Some(books) = self.books.get(peer) else {
            return Ok(());
        };
        let before = attempt.clone();
        attempt.follow(&books.pair, events);
        if attempt == before {
            return Ok(());
        }
        self.note_attempt(row, attempt).await
    }

    async fn note_attempt(
        &mut self,
        mut row: PaymentRow,
        attempt: Attempt,
    ) -> Result<(), ClientError> {
        row.attempt = pay::seal_attempt(&self.change.keys, &row, &attempt)?;
        if attempt.receipt().is_some() {
            row.state = PaymentState::Paid;
            row.ended_at = Some(self.change.now.millis());
            row.why = None;
            row.fee = Some(pay::cost(&attempt));
            self.note_paid(&row).await?;
        }
        decide::want_logs(self.change).await?;
        payments::put(self.change.conn(), &row).await
    }

    async fn note_paid(&mut self, row: &PaymentRow) -> Result<(), ClientError> {
        let plan = Plan::read(row)?;
        if plan.is_circle(self.me) {
            return self.note_cleared(row, &plan).await;
        }
        let fee = plan.unit.format_minor(row.fee.unwrap_or(0));
        let item = HistoryItem {
            user: Some(plan.payee),
            unit: Some(plan.unit.clone()),
            kind: "paid".to_owned(),
            direction: Some(Direction::Out),
            amount: Some(plan.amount.minor()),
            reference: Some(row.id.to_string()),
            memo: plan.memo.as_ref().map(|memo| memo.as_str().to_owned()),
            note: Some(format!("over friends, for a fee of {fee}")),
            ..HistoryItem::default()
        };
        self.change.note(item).await?;
        let kind = WalletEventKind::Paid {
            payment: row.id,
            unit: plan.unit,
            amount: plan.amount.minor(),
            fee: row.fee.unwrap_or(0),
        };
        self.tell(Some(&plan.payee), kind);
        Ok(())
    }

    async fn note_cleared(&mut self, row: &PaymentRow, plan: &Plan) -> Result<(), ClientError> {
        let item = HistoryItem {
            unit: Some(plan.unit.clone()),
            kind: "cleared".to_owned(),
            amount: Some(plan.amount.minor()),
            reference: Some(row.id.to_string()),
            note: Some("every debt round a circle fell by that".to_owned()),
            ..HistoryItem::default()
        };
        self.change.note(item).await?;
        let kind = WalletEventKind::Cleared {
            payment: row.id,
            unit: plan.unit.clone(),
            amount: plan.amount.minor(),
        };
        self.tell(None, kind);
        Ok(())
    }

    /// Invoices for which this friend has promised something.
    pub(super) async fn follow_invoices(
        &mut self,
        peer: &UserKey,
        events: &[Event],
    ) -> Result<(), ClientError> {
        for hash in invoices::busy(self.change.conn()).await? {
            let Some(row) = self.busy_invoice(&hash).await? else {
                continue;
            };
            if row.collection.neighbours().contains(peer) {
                self.follow_invoice(row, events).await?;
            }
        }
        Ok(())
    }

    async fn follow_invoice(
        &mut self,
        mut row: InvoiceRow,
        events: &[Event],
    ) -> Result<(), ClientError> {
        let before = row.collection.clone();
        row.collection.note(events);
        let shown = match row.collection.shown_by(events) {
            Some(shown) => Some(shown),
            None => self.proof_for(&row).await?,
        };
        match shown {
            Some((preimage, proof)) => {
                self.with_pairs(&mut row, |row, pairs, context| {
                    row.collection.published(pairs, preimage, &proof, context)
                })
                .await?;
            }
            None => self.decide_invoice(&mut row).await?,
        }
        if row.collection == before {
            return Ok(());
        }
        if matches!(row.collection.stage(), CollectionStage::Paid { .. }) {
            row.ended_at = Some(self.change.now.millis());
            self.note_received(&mut row).await?;
        }
        invoices::put(self.change.conn(), &row).await
    }

    /// The proof, if a promise for this invoice is due by one.
    async fn proof_for(
        &mut self,
        row: &InvoiceRow,
    ) -> Result<Option<(Preimage, LogProof)>, ClientError> {
        for part in row.collection.parts() {
            if !self.load(&part.from).await? {
                continue;
            }
            let books = self.books.get(&part.from);
            let held = books.and_then(|books| books.pair.promise_held(part.iou));
            let publication = held.and_then(|promise| promise.publication());
            if let Some(publication) = publication.map(Signed::record)
                && let Some(proof) = &publication.proof
            {
                return Ok(Some((publication.preimage, proof.clone())));
            }
        }
        Ok(None)
    }

    async fn note_received(&mut self, row: &mut InvoiceRow) -> Result<(), ClientError> {
        let invoice: Signed<Invoice> = Signed::decode(&row.record)?;
        let invoice = invoice.record();
        row.received = row.collection.collected();
        for kind in note_paid(self.change, invoice, row.received).await? {
            self.tell(None, kind);
        }
        Ok(())
    }

    /// Looks at everything that is collected: too little may have come in time.
    pub(super) async fn collect_all(&mut self) -> Result<(), ClientError> {
        for hash in invoices::busy(self.change.conn()).await? {
            let Some(mut row) = self.busy_invoice(&hash).await? else {
                continue;
            };
            let before = row.collection.clone();
            self.with_pairs(&mut row, |row, pairs, context| {
                row.collection.give_back(pairs, false, context)
            })
            .await?;
            if row.collection != before {
                invoices::put(self.change.conn(), &row).await?;
            }
            self.follow_invoice(row, &[]).await?;
        }
        Ok(())
    }
}
