//! Telling rails to pay, and asking them what became of it.

use atomicity_ledger::PaymentHash;
use atomicity_ledger::settle::{Next, Order, Proof, RailSaid, ReleaseStanding, Standing, Way};
use atomicity_paykit_adapter::rail::{self, Outcome, PaymentId};

use super::super::{Wallet, now};
use super::OpenRail;
use super::hand::id_of;
use crate::error::ClientError;
use crate::store::settlements::DischargeRow;

/// How long a rail may try, in milliseconds.
const TRY_MS: u64 = 60_000;

/// What the rail calls an attempt: an invoice is paid once for its hash, whoever asks; elsewhere each attempt has a name of its own.
fn name_of(order: &Order, hash: Option<PaymentHash>) -> PaymentId {
    hash.map_or_else(|| id_of(&order.ticket), PaymentId::from)
}

impl Wallet {
    /// Whether the rail of the next attempt answers questions.
    pub(super) async fn answers(&self, row: &DischargeRow) -> Result<bool, ClientError> {
        let mut ahead = row.discharge.clone();
        let Some(plan) = ahead.plan().cloned() else {
            return Ok(true);
        };
        let standing = Standing {
            owed: u64::MAX,
            reserved: 0,
            claim_stands: true,
            release: if plan.hash.is_some() {
                ReleaseStanding::Good
            } else {
                ReleaseStanding::NotNeeded
            },
            hash_taken: false,
        };
        // What the next step would ask for; this copy is thrown away.
        let Next::Pay(order) = ahead.dispatch(&standing, now()).next else {
            return Ok(true);
        };
        self.rail_answers(&order.way, plan.hash).await
    }

    /// Whether the rail of a way answers questions.
    pub(super) async fn rail_answers(
        &self,
        way: &Way,
        hash: Option<PaymentHash>,
    ) -> Result<bool, ClientError> {
        let Some(rail) = self.open_rail(&way.rail).await? else {
            return Ok(false);
        };
        Ok(match hash {
            Some(hash) => rail.rail.look_up(PaymentId::from(hash)).await.is_ok(),
            None => rail.rail.health().await.is_ok_and(|health| health.ready),
        })
    }

    /// Tells the rail to pay, once: the attempt was just stored.
    pub(super) async fn tell_rail(
        &self,
        order: &Order,
        hash: Option<PaymentHash>,
    ) -> Result<RailSaid, ClientError> {
        // If there is none, there is nobody here to tell.
        let rail = self.open_rail(&order.way.rail).await?;
        Ok(match rail {
            Some(rail) => pay(&rail, order, hash).await,
            None => RailSaid::NotSent,
        })
    }

    /// Asks the rail what became of an attempt.
    pub(super) async fn ask_rail(
        &self,
        order: &Order,
        hash: Option<PaymentHash>,
    ) -> Result<RailSaid, ClientError> {
        let Some(rail) = self.open_rail(&order.way.rail).await? else {
            return Ok(RailSaid::Unknown);
        };
        Ok(match rail.rail.look_up(name_of(order, hash)).await {
            Ok(rail::Standing::Succeeded(receipt)) => proven(&receipt, hash),
            Ok(rail::Standing::FailedForGood(_)) => RailSaid::FailedForGood,
            Ok(rail::Standing::InFlight) => RailSaid::InFlight,
            // What it remembers lies in this wallet's own store: the same order again is the same payment.
            Ok(rail::Standing::NeverSeen) if rail.resumes() && now() < order.not_after => {
                pay(&rail, order, hash).await
            }
            // It refuses orders after their deadline, and keeps what it took.
            Ok(rail::Standing::NeverSeen) => RailSaid::NeverSeen {
                authoritative: true,
            },
            Err(error) => {
                tracing::info!(code = error.code(), "the rail does not say: {error}");
                RailSaid::Unknown
            }
        })
    }
}

async fn pay(rail: &OpenRail, order: &Order, hash: Option<PaymentHash>) -> RailSaid {
    let Some(money) = rail.money(&order.pays) else {
        // Nothing was sent: this rail can't pay such an amount.
        return RailSaid::FailedForGood;
    };
    let outcome = rail
        .rail
        .pay(&rail::Order {
            id: name_of(order, hash),
            target: order.way.target.value.as_str().to_owned(),
            max_fee: rail.max_fee(&money),
            amount: money,
            deadline: order.not_after.min(now().plus_millis(TRY_MS)),
        })
        .await;
    match outcome {
        Outcome::Succeeded(receipt) => proven(&receipt, hash),
        Outcome::FailedForGood(failure) => {
            tracing::info!(rail = rail.name.as_str(), "not paid: {failure}");
            RailSaid::FailedForGood
        }
        Outcome::Unknown(error) => {
            tracing::warn!(
                code = error.code(),
                "nobody knows whether it is paid: {error}"
            );
            RailSaid::Unknown
        }
    }
}

fn proven(receipt: &rail::Receipt, hash: Option<PaymentHash>) -> RailSaid {
    let proof = match (&receipt.proof, hash) {
        (rail::Proof::Preimage(preimage), Some(_)) => Some(Proof::Preimage(*preimage)),
        (rail::Proof::Transaction(words) | rail::Proof::Statement(words), None) => {
            words.parse().ok().map(Proof::Text)
        }
        // An invoice is proven by its preimage only, and nothing else by one.
        _ => None,
    };
    proof.map_or(RailSaid::Unknown, RailSaid::Succeeded)
}
