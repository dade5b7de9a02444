//! The same for promises and what became of them.

use atomicity_ledger::pair::{Event, Pair};
use atomicity_ledger::record::{ConditionalIou, ReleaseReason, View};
use atomicity_ledger::{RecordHash, Unit};
use atomicity_witness_log::{PublicationProof, SignedCheckpoint};

use super::super::event::WalletEventKind;
use super::super::promise;
use super::Teller;
use crate::error::ClientError;
use crate::store::history::{Direction, HistoryItem};
use crate::store::logs;

/// How much of the friend's totals came from promises that were due, since `before`, per unit.
pub(super) fn booked(before: &Pair, after: &Pair) -> Vec<(Unit, u64)> {
    let merged = |pair: &Pair, unit: &Unit| {
        let side = pair.theirs().unit(unit);
        side.map_or(0, |side| side.totals().merged.minor())
    };
    let growth = |unit: Unit| {
        let growth = merged(after, &unit).saturating_sub(merged(before, &unit));
        (growth > 0).then_some((unit, growth))
    };
    after.units().into_iter().filter_map(growth).collect()
}

/// Whether this is about a promise.
pub(super) fn is_one(event: &Event) -> bool {
    matches!(
        event,
        Event::Promised(_)
            | Event::PromiseRefused { .. }
            | Event::PromiseArrived { .. }
            | Event::Released { .. }
            | Event::Due { .. }
            | Event::Merged { .. }
            | Event::Expired { .. }
            | Event::View(_)
    )
}

/// Why a promise was given up, in words.
fn reason_words(reason: ReleaseReason) -> &'static str {
    match reason {
        ReleaseReason::Expired => "it was not published in time",
        ReleaseReason::Limit => "it did not fit: above the limit, too many, or too long a deadline",
        ReleaseReason::Log => "it hangs on a log that is not relied on",
        ReleaseReason::Onward => "it could not be passed on",
        ReleaseReason::Declined => "it was not wanted",
    }
}

/// What is noted of every promise.
struct Told<'a> {
    kind: &'static str,
    direction: Direction,
    iou: Option<RecordHash>,
    unit: &'a Unit,
    amount: u64,
    note: Option<String>,
}

impl Teller<'_> {
    async fn note_promise(&mut self, told: Told<'_>) -> Result<(), ClientError> {
        self.note(HistoryItem {
            unit: Some(told.unit.clone()),
            kind: told.kind.to_owned(),
            direction: Some(told.direction),
            amount: Some(told.amount),
            reference: told.iou.map(|iou| iou.to_string()),
            note: told.note,
            ..HistoryItem::default()
        })
        .await
    }

    pub(super) async fn take_promise(&mut self, event: Event) -> Result<(), ClientError> {
        match event {
            Event::Promised(iou) => self.promised(*iou).await,
            Event::View(view) => self.shown(*view).await,
            Event::PromiseArrived { iou } => {
                self.push(WalletEventKind::PromiseArrived { iou });
                Ok(())
            }
            Event::PromiseRefused {
                iou,
                unit,
                amount,
                reason,
            } => {
                let ended = (Direction::In, iou, unit, amount.minor());
                self.released(ended, reason).await
            }
            Event::Released {
                iou,
                unit,
                amount,
                reason,
            } => {
                let ended = (Direction::Out, iou, unit, amount.minor());
                self.released(ended, reason).await
            }
            other => self.decided(other).await,
        }
    }

    async fn promised(&mut self, iou: ConditionalIou) -> Result<(), ClientError> {
        // The event bears the record, and its name is the hash of its signed form, which is kept.
        let side = self.pair.theirs().unit(&iou.unit);
        let found = side.and_then(|side| side.promises().iter().find(|p| *p.iou().record() == iou));
        let Some(hash) = found.map(|promise| promise.iou().hash()) else {
            return Ok(());
        };
        let (amount, terms) = (iou.amount.minor(), &iou.terms);
        self.note_promise(Told {
            kind: "promised",
            direction: Direction::In,
            iou: Some(hash),
            unit: &iou.unit,
            amount,
            note: Some(format!("hangs on {}", terms.hash)),
        })
        .await?;
        self.push(WalletEventKind::Promised {
            iou: hash,
            unit: iou.unit.clone(),
            amount,
            hash: terms.hash,
            deadline: terms.deadline_ms,
        });
        Ok(())
    }

    async fn released(
        &mut self,
        (direction, iou, unit, amount): (Direction, RecordHash, Unit, u64),
        reason: ReleaseReason,
    ) -> Result<(), ClientError> {
        self.note_promise(Told {
            kind: "released",
            direction,
            iou: Some(iou),
            unit: &unit,
            amount,
            note: Some(reason_words(reason).to_owned()),
        })
        .await?;
        self.push(WalletEventKind::Released {
            iou,
            direction,
            unit,
            amount,
            reason,
        });
        Ok(())
    }

    async fn decided(&mut self, event: Event) -> Result<(), ClientError> {
        let (kind, direction, iou, unit, amount, told) = match event {
            Event::Due {
                iou,
                unit,
                amount,
                preimage,
                ..
            } => {
                let amount = amount.minor();
                let told = WalletEventKind::Due {
                    iou,
                    unit: unit.clone(),
                    amount,
                    preimage,
                };
                ("due", Direction::In, iou, unit, amount, told)
            }
            Event::Merged {
                iou, unit, amount, ..
            } => {
                let (direction, amount) = (Direction::Out, amount.minor());
                let told = WalletEventKind::Merged {
                    iou: Some(iou),
                    direction,
                    unit: unit.clone(),
                    amount,
                    net: self.pair.balance(&unit),
                };
                ("merged", direction, iou, unit, amount, told)
            }
            Event::Expired {
                iou,
                from,
                unit,
                amount,
            } => {
                let amount = amount.minor();
                let direction = if from == self.contact.user {
                    Direction::In
                } else {
                    Direction::Out
                };
                let told = WalletEventKind::Expired {
                    iou,
                    direction,
                    unit: unit.clone(),
                    amount,
                };
                ("expired", direction, iou, unit, amount, told)
            }
            _ => return Ok(()),
        };
        self.note_promise(Told {
            kind,
            direction,
            iou: Some(iou),
            unit: &unit,
            amount,
            note: None,
        })
        .await?;
        self.push(told);
        self.keep_checkpoint(iou).await
    }

    /// The checkpoint of a proof is one that somebody relied on.
    async fn keep_checkpoint(&mut self, iou: RecordHash) -> Result<(), ClientError> {
        let mut promises = promise::all(self.pair);
        let found = promises.find(|promise| promise.iou().hash() == iou);
        let proof = found.and_then(|promise| promise.publication()?.record().proof.clone());
        let parsed = proof.and_then(|p| PublicationProof::parse(p.proof.as_str().as_bytes()).ok());
        match parsed {
            Some(proof) => self.keep_note(&proof.tlog_proof().note.to_string()).await,
            None => Ok(()),
        }
    }

    /// What the friend booked of promises that were due.
    pub(super) async fn tell_booked(&mut self) -> Result<(), ClientError> {
        for (unit, amount) in self.booked.clone() {
            self.note_promise(Told {
                kind: "merged",
                direction: Direction::In,
                iou: None,
                unit: &unit,
                amount,
                note: None,
            })
            .await?;
            self.push(WalletEventKind::Merged {
                iou: None,
                direction: Direction::In,
                amount,
                net: self.pair.balance(&unit),
                unit,
            });
        }
        Ok(())
    }

    /// The checkpoints that the friend relied on: those of known logs are kept until they are compared.
    async fn shown(&mut self, view: View) -> Result<(), ClientError> {
        for checkpoint in view.checkpoints {
            self.keep_note(checkpoint.as_str()).await?;
        }
        Ok(())
    }

    /// Keeps a checkpoint of a known log until it is compared.
    async fn keep_note(&mut self, text: &str) -> Result<(), ClientError> {
        let Ok(signed) = SignedCheckpoint::parse(text.as_bytes()) else {
            return Ok(());
        };
        let now = self.change.now.millis();
        let user = self.contact.user.to_string();
        let origin = &signed.checkpoint().origin;
        let conn = self.change.conn();
        match logs::get(conn, origin).await? {
            Some(known) if known.checkpoint.as_deref() != Some(text) => {
                logs::keep_note(conn, origin, text, Some(&user), now).await
            }
            _ => Ok(()),
        }
    }
}
