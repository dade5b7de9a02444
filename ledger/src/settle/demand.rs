//! The holder's side: a claim is to be paid off outside.

use serde::{Deserialize, Serialize};

use super::draft::{Draft, Holding, check_draft, claim, direct};
use crate::amount::Amount;
use crate::error::LedgerError;
use crate::hop::Neighbour;
use crate::jws::{Signed, Version, stored};
use crate::pair::{Event, KnownLogs, PaymentNote};
use crate::record::{
    AnyRecord, ConditionalIou, Pays, SettleReason, Settlement, SettlementSaid, SettlementWithdrawal,
};
use crate::text::{MethodName, RailProof, RecordId};
use crate::time::Timestamp;

/// How long after its expiry a request without a last answer is overdue, in milliseconds.
pub const OVERDUE_MS: u64 = 10 * 60 * 1000;

/// How far a request is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DemandStage {
    /// Signed, and on its way.
    Sent,
    /// The issuer accepted it.
    Accepted,
    /// The issuer says that it was paid; the claim stands until somebody or a rule confirms it.
    Paid {
        /// How.
        method: MethodName,
        /// What shows it.
        proof: RailProof,
    },
    /// The issuer says that it was paid, and the holder that nothing came. The claim stands, and nothing is reserved.
    Disputed {
        /// How, the issuer says.
        method: MethodName,
        /// What is to show it.
        proof: RailProof,
    },
    /// It was paid, and the claim fell by its amount.
    Booked,
    /// It was not accepted.
    Declined {
        /// Why.
        reason: SettleReason,
        /// What the issuer would pay instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offer: Option<Pays>,
    },
    /// It was accepted, and is not paid. Also when the holder took it back.
    Failed {
        /// Why.
        reason: SettleReason,
    },
}

/// What the holder does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemandNext {
    /// Sends [`Demand::to_send`] until there is an answer, and now and then until there is a last one.
    Send,
    /// Confirms that it was paid, if a rule says so, or asks the user: [`Demand::book`].
    Confirm,
    /// Waits for the direct release to come back.
    Wait,
    /// Nothing any more.
    Over,
}

/// One request, as the holder keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    v: Version,
    #[serde(with = "stored::one")]
    settlement: Signed<Settlement>,
    #[serde(with = "stored::option")]
    release: Option<Signed<ConditionalIou>>,
    stage: DemandStage,
    /// Whether the issuer still holds the direct release.
    held: bool,
    #[serde(with = "stored::option")]
    withdrawal: Option<Signed<SettlementWithdrawal>>,
}

impl Demand {
    /// Signs a request, and the direct release that a Lightning invoice needs. Store the pair and what is returned in one transaction,
    /// then send [`Demand::to_send`].
    ///
    /// # Errors
    /// [`LedgerError::CannotSettle`] if the peer owes too little, as what is reserved already counts, or the hash was used; what
    /// hinders every signature or promise. Nothing has changed then.
    pub fn open(
        draft: Draft,
        with: Neighbour<'_>,
        holding: Holding,
        now: Timestamp,
    ) -> Result<Self, LedgerError> {
        check_draft(&draft, with.pair, holding)?;
        with.pair.check_pen(with.pen)?;
        let mut next = with.pair.clone();
        let release = match draft.hash {
            Some(hash) => Some(next.promise(
                direct(&draft, hash),
                None,
                &KnownLogs::default(),
                with.pen,
                now,
            )?),
            None => None,
        };
        let settlement = Settlement {
            v: Version,
            id: draft.id,
            holder: with.pair.me(),
            issuer: with.pair.peer(),
            claim: claim(with.pair, &draft.unit),
            unit: draft.unit,
            amount: draft.amount,
            targets: draft.targets,
            pays: draft.pays,
            release: release.as_ref().map(Signed::hash),
            memo: draft.memo,
            expires: draft.expires,
            at: now,
        };
        let settlement = Signed::sign(settlement, with.pen)?;
        *with.pair = next;
        Ok(Self {
            v: Version,
            settlement,
            held: release.is_some(),
            release,
            stage: DemandStage::Sent,
            withdrawal: None,
        })
    }

    /// The request.
    #[must_use]
    pub fn settlement(&self) -> &Signed<Settlement> {
        &self.settlement
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> &DemandStage {
        &self.stage
    }

    /// Whether the issuer still holds a direct release for it: its hash can't be released to anybody else.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Whether nothing can come of it any more, and nothing is reserved for it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.next() == DemandNext::Over
    }

    /// Whether the issuer should have given a last answer long ago. A direct release stays theirs until they give it back: the preimage
    /// may be shown at any time. Without one, [`Demand::abandon`] ends it.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        let end = self.settlement.record().expires.plus_millis(OVERDUE_MS);
        now > end && self.next() == DemandNext::Send
    }

    /// What of the claim is kept for it and not by a direct release: the holder neither spends it nor asks for it twice.
    #[must_use]
    pub fn reserves(&self) -> Option<Amount> {
        let open = matches!(
            self.stage,
            DemandStage::Sent | DemandStage::Accepted | DemandStage::Paid { .. }
        );
        let asked = self.settlement.record();
        (open && asked.release.is_none()).then_some(asked.amount)
    }

    /// What the holder does next.
    #[must_use]
    pub fn next(&self) -> DemandNext {
        match self.stage {
            DemandStage::Sent | DemandStage::Accepted => DemandNext::Send,
            DemandStage::Paid { .. } => DemandNext::Confirm,
            _ if self.held => DemandNext::Wait,
            _ => DemandNext::Over,
        }
    }

    /// What is sent to the issuer, also again: the direct release, the request, and the withdrawal if there is one.
    #[must_use]
    pub fn to_send(&self) -> Vec<AnyRecord> {
        let release = self.release.iter().cloned().map(AnyRecord::from);
        let withdrawal = self.withdrawal.iter().cloned().map(AnyRecord::from);
        release
            .chain([self.settlement.clone().into()])
            .chain(withdrawal)
            .collect()
    }

    /// Takes an answer of the issuer, whose signature was judged. Answers may come late, twice, or out of order. Returns whether it
    /// changed anything.
    pub fn heard(&mut self, said: &SettlementSaid) -> bool {
        let invoice = self.settlement.record().is_invoice();
        let open = matches!(self.stage, DemandStage::Sent | DemandStage::Accepted);
        // Where the direct release came back first, the answer still says why.
        let unpaid = open || invoice && self.stage != DemandStage::Booked;
        let stage = match said {
            SettlementSaid::Accepted | SettlementSaid::Dispatched if open => DemandStage::Accepted,
            SettlementSaid::Declined { reason, offer } if unpaid => DemandStage::Declined {
                reason: *reason,
                offer: offer.clone(),
            },
            SettlementSaid::Failed { reason } if unpaid => DemandStage::Failed { reason: *reason },
            // Of a Lightning payment only the preimage counts. Elsewhere money may come after it was said that none would.
            SettlementSaid::Paid { method, proof }
                if !invoice
                    && !matches!(
                        self.stage,
                        DemandStage::Booked | DemandStage::Disputed { .. }
                    ) =>
            {
                DemandStage::Paid {
                    method: method.clone(),
                    proof: proof.clone(),
                }
            }
            _ => return false,
        };
        let changed = self.stage != stage;
        self.stage = stage;
        changed
    }

    /// Takes what happened in the books with the issuer: the direct release was booked, or came back. Returns whether it changed
    /// anything. To be called in the transaction that stores the pair.
    pub fn follow(&mut self, event: &Event) -> bool {
        let release = self.release.as_ref().map(Signed::hash);
        match event {
            Event::Merged { iou, .. } if Some(*iou) == release => self.merged(),
            Event::Released { iou, .. } if Some(*iou) == release => self.given_back(),
            _ => false,
        }
    }

    fn merged(&mut self) -> bool {
        let changed = self.held;
        self.held = false;
        self.stage = DemandStage::Booked;
        changed
    }

    fn given_back(&mut self) -> bool {
        let changed = self.held;
        self.held = false;
        if matches!(self.stage, DemandStage::Sent | DemandStage::Accepted) {
            let reason = if self.withdrawal.is_some() {
                SettleReason::Withdrawn
            } else {
                SettleReason::RailFailed
            };
            self.stage = DemandStage::Failed { reason };
        }
        changed
    }

    /// Takes the request back, if that may still count: signs the withdrawal once, and sends it with the rest until there is an answer.
    ///
    /// # Errors
    /// What hinders every signature.
    pub fn withdraw(&mut self, with: &Neighbour<'_>, now: Timestamp) -> Result<bool, LedgerError> {
        if self.next() != DemandNext::Send || self.withdrawal.is_some() {
            return Ok(false);
        }
        self.sign_withdrawal(with, now)?;
        Ok(true)
    }

    /// Says that nothing came of what the issuer says was paid: the claim stands, and what was reserved of it is free. The issuer is told
    /// by a withdrawal, which it can't follow any more. If the money comes after all, [`Demand::book`] still counts. Returns whether
    /// it changed anything.
    ///
    /// # Errors
    /// What hinders every signature; nothing has changed then.
    pub fn dispute(&mut self, with: &Neighbour<'_>, now: Timestamp) -> Result<bool, LedgerError> {
        let DemandStage::Paid { method, proof } = self.stage.clone() else {
            return Ok(false);
        };
        self.sign_withdrawal(with, now)?;
        self.stage = DemandStage::Disputed { method, proof };
        Ok(true)
    }

    fn sign_withdrawal(&mut self, with: &Neighbour<'_>, now: Timestamp) -> Result<(), LedgerError> {
        with.pair.check_pen(with.pen)?;
        let asked = self.settlement.record();
        let withdrawal = SettlementWithdrawal {
            v: Version,
            settlement: self.settlement.hash(),
            from: asked.holder,
            to: asked.issuer,
            at: now,
        };
        self.withdrawal = Some(Signed::sign(withdrawal, with.pen)?);
        Ok(())
    }

    /// Ends an overdue request without a direct release: its claim is free again. If it was paid after all, `paid` still counts, and so
    /// does [`Demand::book`]. Returns whether it changed anything.
    pub fn abandon(&mut self, now: Timestamp) -> bool {
        let may = self.is_overdue(now) && self.release.is_none();
        if may {
            self.stage = DemandStage::Failed {
                reason: SettleReason::Expired,
            };
        }
        may
    }

    /// Notes that it was paid, for a rail without a preimage: `true` once, and then the claim must fall in the same transaction, as
    /// [`Demand::book`] makes it. By hand also when the issuer never said so: the money was seen.
    pub fn confirm(&mut self, by_hand: bool) -> bool {
        let said = matches!(self.stage, DemandStage::Paid { .. });
        let may = self.release.is_none() && self.stage != DemandStage::Booked && (said || by_hand);
        if may {
            self.stage = DemandStage::Booked;
        }
        may
    }

    /// Confirms that it was paid: the holder's total grows by the amount, once, with a payment that refers to the request. Nothing if it
    /// was booked before, or can't be confirmed. Store the pair and this in one transaction, then send.
    ///
    /// # Errors
    /// What hinders every payment; nothing has changed then.
    pub fn book(
        &mut self,
        by_hand: bool,
        payment: RecordId,
        with: Neighbour<'_>,
        now: Timestamp,
    ) -> Result<Vec<AnyRecord>, LedgerError> {
        let mut next = self.clone();
        if !next.confirm(by_hand) {
            return Ok(Vec::new());
        }
        let asked = self.settlement.record();
        let note = PaymentNote {
            id: payment,
            reference: Some(asked.id.to_string().parse()?),
            memo: asked.memo.clone(),
        };
        let issued = with
            .pair
            .issue(&asked.unit, asked.amount, None, note, with.pen, now)?;
        *self = next;
        Ok(vec![issued.state.into(), issued.payment.into()])
    }
}
