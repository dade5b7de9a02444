//! What must hold at any time, and at the end.

use atomicity_ledger::settle::{Discharge, Stage};

use super::{AMOUNT, Iou, OWED, Run, Truth};

impl Run<'_> {
    fn paid(&self) -> usize {
        self.told.iter().filter(|told| told.paid).count()
    }

    /// What must hold at any time.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(what) = self.broken {
            return Err(what.to_owned());
        }
        let may_pay = self.told.iter().filter(|t| t.truth != Truth::Never).count();
        if may_pay > 1 {
            return Err("it is paid twice".to_owned());
        }
        let Some(discharge) = &self.discharge else {
            return Ok(());
        };
        let unpaid = matches!(
            discharge.stage(),
            Stage::Declined { .. } | Stage::Failed { .. }
        );
        if may_pay > 0 && (unpaid || self.iou == Iou::GivenUp) {
            return Err("it is given up, and money went out or will".to_owned());
        }
        if self.claim < OWED && self.paid() == 0 {
            return Err("the claim fell, and no money went out".to_owned());
        }
        Ok(())
    }

    pub(super) fn ended(&self) -> bool {
        let over = self.discharge.as_ref().is_some_and(Discharge::is_over);
        over && self.demand.is_over() && self.outbox.is_empty()
    }

    pub(super) fn check_end(&self) -> Result<(), String> {
        let discharge = self.discharge.as_ref().unwrap();
        let fell = OWED - self.claim;
        let whole = fell == self.paid() as u64 * AMOUNT && self.paid() <= 1;
        let free = self.iou != Iou::Held
            && discharge.reserves().is_none()
            && self.demand.reserves().is_none()
            && !self.demand.is_held();
        if whole && free {
            Ok(())
        } else {
            Err(format!(
                "paid {} times, the claim fell by {fell}, free: {free}",
                self.paid()
            ))
        }
    }
}
