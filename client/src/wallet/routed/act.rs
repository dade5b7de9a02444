//! What a promise with layers asks for: passing it on, or taking it for an invoice.

use atomicity_ledger::hop::{Errand, Neighbour, Publish, Relay, Step, decline, errands, forward};
use atomicity_ledger::onion::{Failure, FailureCode, Payload};
use atomicity_ledger::{LedgerError, PaymentHash, RecordHash, UserKey};

use super::super::event::WalletEventKind;
use super::super::forward::policy;
use super::super::{decide, receive, secret};
use super::{Books, Desk};
use crate::error::ClientError;
use crate::store::invoices::{self, InvoiceRow, Place};
use crate::store::pairs::agent;
use crate::store::relays;

impl Desk<'_> {
    /// Looks at every promise of a friend that waits for this user to act.
    pub(super) async fn run_errands(&mut self, peer: &UserKey) -> Result<(), ClientError> {
        let Some(books) = self.books.get(peer) else {
            return Ok(());
        };
        for iou in errands(&books.pair) {
            self.run_errand(peer, iou).await?;
        }
        Ok(())
    }

    async fn run_errand(&mut self, peer: &UserKey, iou: RecordHash) -> Result<(), ClientError> {
        let Some(books) = self.books.get(peer) else {
            return Ok(());
        };
        match Errand::read(&books.pair, iou, &self.context()) {
            Ok(Some(errand)) => match errand.payload() {
                Payload::Forward { next, .. } | Payload::Exchange { next, .. } => {
                    let next = *next;
                    self.pass_on(peer, next, &errand).await
                }
                Payload::Deliver { .. } => self.take_part(peer, &errand).await,
                // Whoever was away takes it as it is.
                Payload::Gift { .. } => Ok(()),
            },
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::info!(code = error.code(), "layers can't be opened: {error}");
                self.decline(peer, iou, Failure::here(FailureCode::Temporary))
            }
        }
    }

    /// Gives up a promise that names an invoice of which nothing is known here. If an agent keeps other books, it may know the invoice:
    /// then it is the edge to here that the payer has to avoid.
    async fn refuse_part(&mut self, peer: &UserKey, iou: RecordHash) -> Result<(), ClientError> {
        let code = FailureCode::UnknownInvoice;
        let failure = match agent::pairs(self.change.conn()).await?.is_empty() {
            true => Failure::here(code),
            false => Failure::of_edge(code, *peer, self.me),
        };
        self.decline(peer, iou, failure)
    }

    fn decline(
        &mut self,
        peer: &UserKey,
        iou: RecordHash,
        failure: Failure,
    ) -> Result<(), ClientError> {
        let Some(mut books) = self.books.remove(peer) else {
            return Ok(());
        };
        let from = Neighbour {
            pair: &mut books.pair,
            pen: &self.pen,
        };
        let done = decline(from, iou, failure, &self.context());
        self.books.insert(*peer, books);
        self.settle(done);
        Ok(())
    }

    /// Takes what a step did; one that could not be signed now is tried when the books change again.
    pub(super) fn settle(&mut self, done: Result<Step, LedgerError>) {
        match done {
            Ok(step) => self.absorb(step),
            Err(error) => tracing::warn!(code = error.code(), "a step waits: {error}"),
        }
    }

    async fn pass_on(
        &mut self,
        peer: &UserKey,
        next: UserKey,
        errand: &Errand,
    ) -> Result<(), ClientError> {
        let unit = match errand.payload() {
            Payload::Exchange { unit, .. } => unit.clone(),
            _ => errand.promise().unit.clone(),
        };
        // Removed friends get nothing new.
        let is_friend = next != *peer
            && self.load(&next).await?
            && receive::is_friend(self.books.get(&next).map(|books| &books.contact));
        let now = self.change.now;
        let policy = policy(self.change.conn(), (&next, &unit), now).await?;
        let mut tally = relays::tally(self.change.conn(), peer).await?;
        let before = tally.clone();
        let mut relay = relays::of(self.change.conn(), &errand.iou()).await?;
        let known = relay.is_some();
        let Some(mut incoming) = self.books.remove(peer) else {
            return Ok(());
        };
        let mut outgoing = match is_friend {
            true => self.books.remove(&next),
            false => None,
        };
        let pairs = (
            incoming.pair.clone(),
            outgoing.as_ref().map(|o| o.pair.clone()),
        );
        let done = forward(
            &mut relay,
            Neighbour {
                pair: &mut incoming.pair,
                pen: &self.pen,
            },
            outgoing.as_mut().map(|books| Neighbour {
                pair: &mut books.pair,
                pen: &self.pen,
            }),
            errand,
            &policy,
            &mut tally,
            &self.context(),
        );
        if done.is_err() {
            incoming.pair = pairs.0;
            if let (Some(books), Some(pair)) = (&mut outgoing, pairs.1) {
                books.pair = pair;
            }
        }
        self.books.insert(*peer, incoming);
        if let Some(outgoing) = outgoing {
            self.books.insert(next, outgoing);
        }
        if done.is_ok() {
            if tally != before {
                relays::put_tally(self.change.conn(), peer, &tally).await?;
            }
            if let Some(relay) = relay.filter(|_| !known) {
                self.note_relay(&relay).await?;
            }
        }
        self.settle(done);
        Ok(())
    }

    async fn note_relay(&mut self, relay: &Relay) -> Result<(), ClientError> {
        let now = self.change.now.millis();
        relays::put(self.change.conn(), relay, now).await?;
        decide::want_logs(self.change).await?;
        self.tell(
            Some(&relay.outgoing.peer),
            WalletEventKind::PassedOn {
                unit: relay.unit_onward().clone(),
                amount: relay.outgoing.amount.minor(),
                fee: relay.fee(),
            },
        );
        Ok(())
    }

    /// Takes a promise for the invoice that it names.
    async fn take_part(&mut self, peer: &UserKey, errand: &Errand) -> Result<(), ClientError> {
        let hash = errand.promise().terms.hash;
        let Some(mut row) = invoices::of(self.change.conn(), &hash).await? else {
            return self.refuse_part(peer, errand.iou()).await;
        };
        match row.place {
            Place::Here => {}
            Place::Handing | Place::Agent => return self.refuse_part(peer, errand.iou()).await,
            // The agent that had it may have shown the secret to a log: the logs decide.
            Place::Lost => return Ok(()),
        }
        let Some(mut books) = self.books.remove(peer) else {
            return Ok(());
        };
        let before = row.collection.clone();
        let from = Neighbour {
            pair: &mut books.pair,
            pen: &self.pen,
        };
        let done = row.collection.take(from, errand, &self.context());
        self.books.insert(*peer, books);
        let taken = done.is_ok();
        self.settle(done);
        if taken && row.collection != before {
            self.decide_invoice(&mut row).await?;
            invoices::put(self.change.conn(), &row).await?;
        }
        Ok(())
    }

    /// Whether all is there; if so, it is published as soon as this is stored.
    pub(super) async fn decide_invoice(&mut self, row: &mut InvoiceRow) -> Result<(), ClientError> {
        let mut publish: Option<Publish> = None;
        self.with_pairs(row, |row, pairs, context| {
            let (step, wanted) = row.collection.decide(pairs, context)?;
            publish = wanted;
            Ok(step)
        })
        .await?;
        if let Some(publish) = publish {
            row.received = publish.amount;
            decide::want_logs(self.change).await?;
        }
        self.end_if_booked(row).await
    }

    /// Ends an invoice for which all is booked already: whoever promised was quicker than this wallet's own look at the log.
    async fn end_if_booked(&mut self, row: &mut InvoiceRow) -> Result<(), ClientError> {
        let mut is_booked = false;
        self.with_pairs(row, |row, pairs, _| {
            is_booked = row.collection.is_booked(pairs)?;
            Ok(Step::default())
        })
        .await?;
        let hash = row.collection.bill().hash;
        if is_booked && let Some(preimage) = secret::kept_in(self.change, &hash).await? {
            row.collection.booked(preimage);
        }
        Ok(())
    }

    /// Does something to an invoice and the books of everybody who has promised for it. If that fails, neither has changed.
    pub(super) async fn with_pairs(
        &mut self,
        row: &mut InvoiceRow,
        f: impl FnOnce(
            &mut InvoiceRow,
            &mut [Neighbour<'_>],
            &atomicity_ledger::hop::Context<'_>,
        ) -> Result<Step, LedgerError>,
    ) -> Result<(), ClientError> {
        let mut held: Vec<(UserKey, Books)> = Vec::new();
        for user in row.collection.neighbours() {
            if self.load(&user).await?
                && let Some(books) = self.books.remove(&user)
            {
                held.push((user, books));
            }
        }
        let before: Vec<_> = held.iter().map(|(_, books)| books.pair.clone()).collect();
        let kept = row.clone();
        let mut pairs: Vec<Neighbour<'_>> = held
            .iter_mut()
            .map(|(_, books)| Neighbour {
                pair: &mut books.pair,
                pen: &self.pen,
            })
            .collect();
        let done = f(row, &mut pairs, &self.context());
        drop(pairs);
        if done.is_err() {
            *row = kept;
            for ((_, books), pair) in held.iter_mut().zip(before) {
                books.pair = pair;
            }
        }
        self.books.extend(held);
        self.settle(done);
        Ok(())
    }

    /// The invoice of a hash, if something is to be done about it.
    pub(super) async fn busy_invoice(
        &mut self,
        hash: &PaymentHash,
    ) -> Result<Option<InvoiceRow>, ClientError> {
        invoices::of(self.change.conn(), hash).await
    }
}
