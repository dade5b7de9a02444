//! What the peer says about the owner's records: acks.

use super::Pair;
use super::event::{Event, Outcome, PendingReason};
use super::receive::Standing;
use super::side::Totals;
use crate::amount::{Balance, Total};
use crate::error::LedgerError;
use crate::jws::Signed;
use crate::record::{Ack, AckItem, BookAck, StateAck};
use crate::time::Timestamp;

impl Pair {
    pub(super) fn receive_ack(
        &mut self,
        signed: &Signed<Ack>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        if let Standing::Pending(reason) = self.standing_now(signed.kid(), now)? {
            return Ok(Outcome::Pending(reason));
        }
        // All items or none: the pair must not be left half changed.
        let mut next = self.clone();
        let mut events = Vec::new();
        let mut changed = false;
        for item in &signed.record().items {
            let outcome = match item {
                AckItem::State(item) => next.state_acked(item, signed),
                AckItem::Book(item) => next.book_acked(item, signed)?,
            };
            match outcome {
                Outcome::Applied { events: more, .. } => {
                    events.extend(more);
                    changed = true;
                }
                Outcome::Pending(reason) => return Ok(Outcome::Pending(reason)),
                Outcome::Duplicate | Outcome::Stale => {}
            }
        }
        if !changed {
            return Ok(Outcome::Duplicate);
        }
        *self = next;
        Ok(Outcome::Applied {
            events,
            replies: Vec::new(),
        })
    }

    fn state_acked(&mut self, item: &StateAck, signed: &Signed<Ack>) -> Outcome {
        let Some(epoch) = self.own.epoch() else {
            return Outcome::Stale;
        };
        if item.epoch < epoch {
            return Outcome::Stale;
        }
        let side = self.own.units.entry(item.unit.clone()).or_default();
        let known = side.newest.as_ref();
        let same_seq_other_hash = known
            .is_some_and(|newest| newest.record().seq == item.seq && newest.hash() != item.hash);
        if item.epoch > epoch || item.seq > side.seq() || same_seq_other_hash {
            // The peer took a state that this store never signed: the same book is written elsewhere.
            let first = !self.behind;
            self.behind = true;
            return if first {
                applied(Event::WrittenElsewhere {
                    unit: item.unit.clone(),
                    epoch: item.epoch,
                    seq: item.seq,
                })
            } else {
                Outcome::Duplicate
            };
        }
        let before = side
            .ack
            .as_ref()
            .and_then(|ack| acked_seq(ack.record(), item));
        if before.is_some_and(|seq| item.seq <= seq) {
            return Outcome::Stale;
        }
        let issued = match known {
            Some(newest) if newest.record().seq == item.seq => {
                if item.clear {
                    side.cleared = side.newest.clone();
                }
                side.totals().issued
            }
            _ => side
                .unacked
                .iter()
                .find(|(seq, _)| *seq == item.seq)
                .map_or(side.acked, |(_, issued)| *issued),
        };
        side.acked = side.acked.max(issued);
        side.unacked.retain(|(seq, _)| *seq > item.seq);
        side.payments.retain(|p| p.record().seq > item.seq);
        side.ack = Some(signed.clone());
        applied(Event::Acknowledged {
            unit: item.unit.clone(),
            epoch: item.epoch,
            seq: item.seq,
        })
    }

    fn book_acked(&mut self, item: &BookAck, signed: &Signed<Ack>) -> Result<Outcome, LedgerError> {
        let Some(book) = self.own.book.clone() else {
            return Ok(Outcome::Stale);
        };
        if let Some(at) = self
            .own
            .pending_books
            .iter()
            .position(|pending| pending.hash() == item.hash)
        {
            self.own.pending_books.drain(..=at);
            return Ok(Outcome::Applied {
                events: Vec::new(),
                replies: Vec::new(),
            });
        }
        if book.hash() != item.hash {
            return Ok(Outcome::Stale);
        }
        if self.own.book_ack.is_some() {
            return Ok(Outcome::Duplicate);
        }
        for base in &item.base {
            let totals = Totals {
                issued: base.issued,
                merged: base.merged,
                next: base.next,
            };
            if !self.is_backed(item, &base.unit, &totals) {
                return Ok(Outcome::Pending(PendingReason::HeldUnknown));
            }
            let bound = self.bound_by_cap(&base.unit);
            if base.issued > bound {
                return Err(LedgerError::AckUnfounded {
                    why: "it names totals beyond the cap of the book that ended",
                });
            }
        }
        for base in &item.base {
            let side = self.own.units.entry(base.unit.clone()).or_default();
            let totals = Totals {
                issued: base.issued,
                merged: base.merged,
                next: base.next,
            };
            if side.newest.is_none() && !side.base.falls_to(&totals) {
                side.base = totals;
                side.acked = totals.issued;
                side.carried = side
                    .shown
                    .iter()
                    .find(|state| item.held.contains(&state.hash()))
                    .cloned();
            }
        }
        for side in self.own.units.values_mut() {
            side.shown.clear();
        }
        self.own.book_ack = Some(signed.clone());
        self.own.pending_books.clear();
        self.waiting = false;
        Ok(applied(Event::BookAcknowledged {
            epoch: book.record().epoch,
        }))
    }

    /// Whether a state that the owner's earlier key signed, and that the peer has shown, reaches these totals.
    fn is_backed(&self, item: &BookAck, unit: &crate::Unit, totals: &Totals) -> bool {
        self.own.units.get(unit).is_some_and(|side| {
            !side.base.falls_to(totals) && side.base.issued >= totals.issued
                || side.shown.iter().any(|state| {
                    item.held.contains(&state.hash()) && state.record().issued >= totals.issued
                })
        })
    }

    /// How far the states of the ended epoch bind the owner: to the cap of its book over what the peer has issued.
    fn bound_by_cap(&self, unit: &crate::Unit) -> Total {
        let cap = self
            .own
            .book_before
            .as_ref()
            .map_or(Total::ZERO, |book| book.record().cap_for(unit));
        let base = self
            .own
            .units
            .get(unit)
            .map_or(Total::ZERO, |side| side.base.issued);
        binding(cap, self.theirs.issued(unit), base)
    }
}

/// The greatest total that binds one side beyond `known`: its cap on net debt, over what the other side has issued.
pub(super) fn binding(cap: Total, issued_by_other: Total, known: Total) -> Total {
    let reach = cap.minor().saturating_add(issued_by_other.minor());
    let reach = Total::from_minor(reach).unwrap_or(Total::MAX);
    debug_assert!(Balance::between(reach, issued_by_other).minor() >= 0);
    reach.max(known)
}

fn acked_seq(ack: &Ack, like: &StateAck) -> Option<crate::Seq> {
    ack.items.iter().find_map(|item| match item {
        AckItem::State(s) if s.unit == like.unit && s.epoch == like.epoch => Some(s.seq),
        _ => None,
    })
}

fn applied(event: Event) -> Outcome {
    Outcome::Applied {
        events: vec![event],
        replies: Vec::new(),
    }
}
