//! The issuer's side: the holder's books say that a request was paid.

use atomicity_ledger::UserKey;
use atomicity_ledger::record::Payment;
use atomicity_ledger::settle::Stage;

use super::super::books::Change;
use super::super::decide;
use super::hand::under_way;
use super::intake::{carry, keep};
use super::{SettlementView, of_discharge};
use crate::error::ClientError;
use crate::store::{hand, settlements};

/// A payment came that may be the holder's word that a request was paid. `pair` is stored already.
pub(super) async fn payment_came(
    change: &mut Change,
    me: UserKey,
    peer: UserKey,
    payment: &Payment,
) -> Result<Vec<SettlementView>, ClientError> {
    let mut told = Vec::new();
    for mut row in settlements::open_with(change.conn(), &peer).await? {
        if !row.discharge.is_paid_by(payment) {
            continue;
        }
        match row.discharge.stage() {
            Stage::Proven { .. } => {
                row.discharge.booked();
            }
            Stage::Dispatched => {
                // The rail has the last word, and whoever was paid by hand is believed by it.
                row.confirmed = true;
                row.next_at = 0;
                if let Some(id) = under_way(&row) {
                    let words = format!("confirmed: {}", payment.id).parse()?;
                    hand::received(change.conn(), &id.to_string(), &words).await?;
                }
            }
            _ => {
                // It was paid outside of all this: no rail is told any more.
                let mut pair = change.load(me, peer).await?;
                let step = row.discharge.withdraw();
                let entries = &step.entries;
                let records = carry(change, &mut pair, &row.discharge, entries).await?;
                if let Ok(records) = records {
                    decide::dispatch(change, me, &pair, records).await?;
                }
            }
        }
        keep(change, &mut row).await?;
        told.push(of_discharge(&row));
    }
    Ok(told)
}
