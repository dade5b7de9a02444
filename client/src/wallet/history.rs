//! Telling people and watchers what the ledger reports.

mod promises;

use atomicity_ledger::pair::{Event, Pair};
use atomicity_ledger::record::Payment;
use atomicity_ledger::{Epoch, Seq, Unit};

use super::books::Change;
use super::event::{WalletEvent, WalletEventKind};
use crate::error::ClientError;
use crate::store::contacts::Contact;
use crate::store::history::{self, Direction, HistoryItem};

/// One growth of the friend's total.
struct Growth {
    unit: Unit,
    amount: u64,
    epoch: Epoch,
    seq: Seq,
}

/// Writes the history of what happened and returns it for watchers.
pub(crate) async fn tell(
    change: &mut Change,
    (before, pair): (&Pair, &Pair),
    contact: &Contact,
    events: Vec<Event>,
) -> Result<Vec<WalletEvent>, ClientError> {
    let mut teller = Teller {
        change,
        pair,
        contact,
        booked: promises::booked(before, pair),
        growths: Vec::new(),
        payments: Vec::new(),
        given_back: Vec::new(),
        told: Vec::new(),
    };
    for event in events {
        teller.take(event).await?;
    }
    teller.tell_booked().await?;
    teller.match_payments().await?;
    Ok(teller.told)
}

struct Teller<'a> {
    change: &'a mut Change,
    pair: &'a Pair,
    contact: &'a Contact,
    growths: Vec<Growth>,
    /// What of the growths came from promises that were due.
    booked: Vec<(Unit, u64)>,
    payments: Vec<Payment>,
    given_back: Vec<(Unit, u64)>,
    told: Vec<WalletEvent>,
}

impl Teller<'_> {
    fn push(&mut self, kind: WalletEventKind) {
        self.told.push(WalletEvent {
            at: self.change.now.millis(),
            user: Some(self.contact.user),
            friend: Some(self.contact.name.clone()),
            kind,
        });
    }

    async fn note(&mut self, item: HistoryItem) -> Result<(), ClientError> {
        let user = Some(self.contact.user);
        self.change.note(HistoryItem { user, ..item }).await
    }

    async fn take(&mut self, event: Event) -> Result<(), ClientError> {
        match event {
            Event::Issued {
                unit,
                growth,
                epoch,
                seq,
                ..
            } => self.growths.push(Growth {
                unit,
                amount: growth,
                epoch,
                seq,
            }),
            Event::Payment(payment) => self.payments.push(*payment),
            Event::Acknowledged { unit, epoch, seq } => self.acknowledged(unit, epoch, seq).await?,
            Event::Refused {
                unit,
                amount,
                epoch,
                after_seq,
                to_seq,
            } => {
                let back = (unit, amount.minor());
                self.refused(back, (epoch, after_seq, to_seq), Direction::Out)
                    .await?;
            }
            Event::PaidBack {
                unit,
                amount,
                epoch,
                after_seq,
                to_seq,
            } => {
                let back = (unit, amount.minor());
                self.refused(back, (epoch, after_seq, to_seq), Direction::In)
                    .await?;
            }
            Event::Line(line) => {
                let accept = line.accept.minor();
                self.note(HistoryItem {
                    unit: Some(line.unit.clone()),
                    kind: "line".to_owned(),
                    direction: Some(Direction::In),
                    amount: Some(accept),
                    epoch: Some(line.epoch.get()),
                    seq: Some(line.seq.get()),
                    ..HistoryItem::default()
                })
                .await?;
                self.push(WalletEventKind::Line {
                    unit: line.unit,
                    accept,
                });
            }
            event if promises::is_one(&event) => self.take_promise(event).await?,
            other => self.take_rare(other).await?,
        }
        Ok(())
    }

    async fn take_rare(&mut self, event: Event) -> Result<(), ClientError> {
        let (kind, item) = match event {
            Event::Book { epoch, key } => (
                WalletEventKind::Book { epoch: epoch.get() },
                HistoryItem {
                    kind: "book".to_owned(),
                    direction: Some(Direction::In),
                    epoch: Some(epoch.get()),
                    note: Some(format!("their books are kept by {key}")),
                    ..HistoryItem::default()
                },
            ),
            Event::BookAcknowledged { epoch } => {
                history::epoch_ended(self.change.conn(), &self.contact.user, epoch.get()).await?;
                (
                    WalletEventKind::BookAcknowledged { epoch: epoch.get() },
                    HistoryItem {
                        kind: "book".to_owned(),
                        direction: Some(Direction::Out),
                        epoch: Some(epoch.get()),
                        note: Some("they acknowledged this wallet's book".to_owned()),
                        ..HistoryItem::default()
                    },
                )
            }
            Event::Unbound {
                unit,
                signed,
                bound,
            } => {
                let (signed, bound) = (signed.minor(), bound.minor());
                let item = HistoryItem {
                    unit: Some(unit.clone()),
                    kind: "book".to_owned(),
                    amount: Some(signed.saturating_sub(bound)),
                    note: Some("signed by their earlier key beyond what binds them".to_owned()),
                    ..HistoryItem::default()
                };
                (
                    WalletEventKind::Unbound {
                        unit,
                        signed,
                        bound,
                    },
                    item,
                )
            }
            Event::Frozen { unit, why } => {
                let item = HistoryItem {
                    unit: Some(unit.clone()),
                    kind: "frozen".to_owned(),
                    note: Some(why.clone()),
                    ..HistoryItem::default()
                };
                (WalletEventKind::Frozen { unit, reason: why }, item)
            }
            Event::WrittenElsewhere { unit, epoch, seq } => {
                let item = HistoryItem {
                    unit: Some(unit.clone()),
                    kind: "frozen".to_owned(),
                    epoch: Some(epoch.get()),
                    seq: Some(seq.get()),
                    note: Some("another store signed with this book key".to_owned()),
                    ..HistoryItem::default()
                };
                (WalletEventKind::WrittenElsewhere { unit }, item)
            }
            _ => return Ok(()),
        };
        self.note(item).await?;
        self.push(kind);
        Ok(())
    }

    async fn acknowledged(
        &mut self,
        unit: Unit,
        epoch: Epoch,
        seq: Seq,
    ) -> Result<(), ClientError> {
        let user = self.contact.user;
        history::acknowledged(self.change.conn(), &user, &unit, epoch.get(), seq.get()).await?;
        self.push(WalletEventKind::Acknowledged {
            unit,
            seq: seq.get(),
        });
        Ok(())
    }

    /// `of` is whose payments failed: the user's own go out, the friend's come in.
    async fn refused(
        &mut self,
        (unit, amount): (Unit, u64),
        (epoch, after, to): (Epoch, Seq, Seq),
        of: Direction,
    ) -> Result<(), ClientError> {
        let user = self.contact.user;
        let range = history::Range {
            epoch: epoch.get(),
            after: after.get(),
            to: to.get(),
        };
        history::refused(self.change.conn(), &user, &unit, range, of).await?;
        let (direction, kind) = match of {
            Direction::Out => {
                self.given_back.push((unit.clone(), amount));
                (
                    Direction::In,
                    WalletEventKind::Refused {
                        unit: unit.clone(),
                        amount,
                    },
                )
            }
            Direction::In => (
                Direction::Out,
                WalletEventKind::PaidBack {
                    unit: unit.clone(),
                    amount,
                },
            ),
        };
        self.note(HistoryItem {
            unit: Some(unit),
            kind: "refusal".to_owned(),
            direction: Some(direction),
            amount: Some(amount),
            epoch: Some(epoch.get()),
            seq: Some(to.get()),
            ..HistoryItem::default()
        })
        .await?;
        self.push(kind);
        Ok(())
    }

    /// Joins growths with the payments that explain them. What is left of a growth is told without a description.
    async fn match_payments(&mut self) -> Result<(), ClientError> {
        for growth in std::mem::take(&mut self.growths) {
            let (mine, rest): (Vec<Payment>, Vec<Payment>) = std::mem::take(&mut self.payments)
                .into_iter()
                .partition(|payment| {
                    payment.unit == growth.unit
                        && payment.epoch == growth.epoch
                        && payment.seq <= growth.seq
                });
            self.payments = rest;
            let mut left = growth.amount;
            for payment in mine
                .iter()
                .rev()
                .filter(|p| p.amount.minor() <= growth.amount)
            {
                if let Some(after) = left.checked_sub(payment.amount.minor()) {
                    left = after;
                    self.payment(&growth, payment.amount.minor(), Some(payment))
                        .await?;
                }
            }
            for (unit, amount) in self.booked.iter_mut().chain(&mut self.given_back) {
                if *unit == growth.unit {
                    let explained = left.min(*amount);
                    left -= explained;
                    *amount -= explained;
                }
            }
            if left > 0 {
                self.payment(&growth, left, None).await?;
            }
        }
        let user = self.contact.user;
        for payment in std::mem::take(&mut self.payments) {
            history::describe(self.change.conn(), &user, &payment).await?;
        }
        Ok(())
    }

    async fn payment(
        &mut self,
        growth: &Growth,
        amount: u64,
        payment: Option<&Payment>,
    ) -> Result<(), ClientError> {
        let memo = payment
            .and_then(|p| p.memo.as_ref())
            .map(ToString::to_string);
        self.note(HistoryItem {
            unit: Some(growth.unit.clone()),
            kind: "payment".to_owned(),
            direction: Some(Direction::In),
            amount: Some(amount),
            epoch: Some(growth.epoch.get()),
            seq: Some(payment.map_or(growth.seq, |p| p.seq).get()),
            status: Some("received".to_owned()),
            payment: payment.map(|p| p.id.to_string()),
            memo: memo.clone(),
            reference: payment
                .and_then(|p| p.reference.as_ref())
                .map(ToString::to_string),
            ..HistoryItem::default()
        })
        .await?;
        self.push(WalletEventKind::Payment {
            unit: growth.unit.clone(),
            amount,
            memo,
            net: self.pair.balance(&growth.unit),
        });
        Ok(())
    }
}
