//! Clearing circles of debts: a payment to oneself, over friends whose debts it lowers and who take nothing for that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use atomicity_ledger::onion::{HopKey, MAX_HOPS};
use atomicity_ledger::record::Invoice;
use atomicity_ledger::{Amount, Signed, Unit, UserKey};
use futures_util::future::join_all;

use super::super::{InvoiceKeeper, InvoiceTerms, Wallet, books, now, receive};
use super::drive::PayProgress;
use super::fault::PaymentFault;
use super::ways::{Way, WayPart};
use super::{PaymentView, Plan};
use crate::error::ClientError;
use crate::net::router::{CirclesAnswer, CirclesQuestion};
use crate::store::{contacts, forwarding, pairs};

/// The fewest users on a circle, the wallet's own among them.
const MIN_USERS: usize = 3;
/// The most circles that are taken of all answers together.
const MAX_CIRCLES: usize = 32;
/// How long after the last promise the invoice of a circle ends.
const SPARE: Duration = Duration::from_secs(60);

/// A circle of debts, as a router says and as far as the own books bear it out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Circle {
    /// In what.
    pub unit: Unit,
    /// What every debt on it can be lowered by.
    pub amount: Amount,
    /// Everybody on it after the user, who comes last: each owes the amount to the one before, and the first owes it to the user.
    pub users: Vec<UserKey>,
    /// The profiles that came with it.
    profiles: BTreeMap<UserKey, String>,
}

impl Circle {
    /// The friend whose debt to the user falls.
    #[must_use]
    pub fn debtor(&self) -> Option<UserKey> {
        self.users.first().copied()
    }

    /// The friend to whom the user's debt falls.
    #[must_use]
    pub fn creditor(&self) -> Option<UserKey> {
        let before_last = self.users.len().checked_sub(2)?;
        self.users.get(before_last).copied()
    }
}

impl Wallet {
    /// The circles of debts in `unit` that could be cleared now, the shortest first: asks the routers (the best known ones if none is
    /// named), and keeps what the own books bear out.
    ///
    /// # Errors
    /// [`PaymentFault::ClearingOff`] if the user has not agreed to it; [`PaymentFault::NoRouter`] if nobody could be asked.
    pub async fn circles(
        &self,
        unit: &Unit,
        routers: &[String],
    ) -> Result<Vec<Circle>, ClientError> {
        let agreed = forwarding::clearing(&mut *self.store().read().await?).await?;
        if !agreed.contains(unit) {
            return Err(PaymentFault::ClearingOff(unit.clone()).into());
        }
        let question = CirclesQuestion {
            user: self.user(),
            unit: unit.clone(),
            max_edges: MAX_HOPS,
        };
        let mut circles = Vec::new();
        for answer in self.ask_for_circles(&question, routers).await? {
            for told in answer.circles {
                let circle = Circle {
                    unit: unit.clone(),
                    amount: told.amount,
                    users: told.users,
                    profiles: answer.profiles.clone(),
                };
                match self.judge_circle(circle).await {
                    Ok(circle) => circles.push(circle),
                    Err(ClientError::Payment(fault)) => tracing::info!("{fault}"),
                    Err(error) => return Err(error),
                }
            }
        }
        let order = |circle: &Circle| {
            let amount = std::cmp::Reverse(circle.amount);
            (circle.users.len(), amount, circle.users.clone())
        };
        circles.sort_by_key(order);
        let mut seen = BTreeSet::new();
        circles.retain(|circle| seen.insert(circle.users.clone()));
        circles.truncate(MAX_CIRCLES);
        Ok(circles)
    }

    async fn ask_for_circles(
        &self,
        question: &CirclesQuestion,
        routers: &[String],
    ) -> Result<Vec<CirclesAnswer>, ClientError> {
        let routers = self.routers(routers).await?;
        let asked = routers.iter().map(|router| async move {
            let begun = Instant::now();
            let answer = router.circles(question).await;
            (router.address().key, begun.elapsed(), answer)
        });
        let mut answers = Vec::new();
        let mut failure = "none is known".to_owned();
        for (key, took, answer) in join_all(asked).await {
            let fared = answer.is_ok().then_some(took);
            self.note_service(&key, fared).await?;
            match answer {
                Ok(answer) => answers.push(answer),
                Err(error) => failure = error.to_string(),
            }
        }
        if answers.is_empty() {
            return Err(PaymentFault::NoRouter(failure).into());
        }
        Ok(answers)
    }

    /// Whether the circle is one, and the own books bear it out; its amount cut to what they say.
    async fn judge_circle(&self, mut circle: Circle) -> Result<Circle, ClientError> {
        let me = self.user();
        check(me, &circle.users).map_err(PaymentFault::CircleInvalid)?;
        let gone = || PaymentFault::CircleInvalid("the debts are no longer what they were");
        let (Some(debtor), Some(creditor)) = (circle.debtor(), circle.creditor()) else {
            return Err(gone().into());
        };
        let mut conn = self.store().read().await?;
        let mut most = circle.amount.minor();
        for user in [debtor, creditor] {
            let contact = contacts::get(&mut conn, &user).await?;
            let row = pairs::get(&mut conn, &user).await?;
            let row = row.filter(|_| receive::is_friend(contact.as_ref()));
            let pair = books::parse(&row.ok_or_else(gone)?.body)?;
            if pair.is_waiting() || pair.frozen(&circle.unit).is_some() {
                return Err(gone().into());
            }
            most = most.min(match user == debtor {
                true => pair.surely_owed(&circle.unit),
                false => pair.surely_owes(&circle.unit),
            });
        }
        circle.amount = Amount::from_minor(most).map_err(|_| gone())?;
        Ok(circle)
    }

    /// Clears a circle: pays the user over it, for no fee. It is done when the payment is [`PaymentState::Paid`](super::PaymentState::Paid).
    ///
    /// # Errors
    /// [`PaymentFault::CircleInvalid`] if the debts have changed; [`PaymentFault::NotThrough`] if somebody on it did not take part
    /// (nothing is owed then, and nothing has changed); as [`Wallet::pay`].
    pub async fn clear(
        &self,
        circle: &Circle,
        deadline: Duration,
        progress: impl FnMut(PayProgress),
    ) -> Result<PaymentView, ClientError> {
        self.ensure_may_sign().await?;
        let circle = self.judge_circle(circle.clone()).await?;
        let mut terms = InvoiceTerms::new(circle.unit.clone(), Some(circle.amount));
        terms.expires_in = deadline.saturating_add(SPARE);
        let creditor = circle
            .creditor()
            .ok_or(PaymentFault::CircleInvalid("it is none"))?;
        // It comes back over the books with the creditor: whoever keeps them collects it.
        let kept_by = match self.is_with_agent(&creditor).await? {
            true => InvoiceKeeper::Agent,
            false => InvoiceKeeper::Device,
        };
        terms.kept_by = Some(kept_by);
        let invoice = self.make_invoice(terms, Vec::new(), kept_by).await?;
        let invoice: Signed<Invoice> = Signed::decode(&invoice.record)?;
        let plan = Plan {
            payee: self.user(),
            unit: circle.unit.clone(),
            amount: circle.amount,
            // Nobody takes anything.
            most: circle.amount,
            pay: None,
            logs: self.common_logs(Some(invoice.record())).await?,
            invoice: Some(invoice.jws().to_owned()),
            memo: None,
            via: None,
            avoid: Vec::new(),
            routers: Vec::new(),
            along: Some(circle.users.clone()),
            deadline_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
            until: now().millis(),
            from_claim: false,
            spend: None,
        };
        let hops = circle.users.iter().map(|user| (*user, circle.amount));
        let way = Way {
            parts: vec![WayPart {
                hops: hops.collect(),
                exchange: None,
            }],
            exact: true,
        };
        let keys = self.keys_round(&circle).await?;
        let id = self.begin(&plan, &way, &keys).await?;
        self.wait_for_payment(&id, progress).await
    }

    async fn keys_round(&self, circle: &Circle) -> Result<BTreeMap<UserKey, HopKey>, ClientError> {
        let me = self.user();
        let mut keys = BTreeMap::new();
        for user in circle.users.iter().filter(|user| **user != me) {
            let key = self.hop_key(*user, circle.profiles.get(user)).await?;
            keys.insert(*user, key);
        }
        let own = self.keys().await?;
        let own = own.current()?;
        let (key, id) = (own.public(), own.id());
        keys.insert(me, HopKey { user: me, key, id });
        Ok(keys)
    }
}

fn check(me: UserKey, users: &[UserKey]) -> Result<(), &'static str> {
    if !(MIN_USERS..=MAX_HOPS).contains(&users.len()) {
        return Err("it has too few users or too many");
    }
    if users.last() != Some(&me) {
        return Err("it does not lead back");
    }
    let apart: BTreeSet<&UserKey> = users.iter().collect();
    if apart.len() != users.len() {
        return Err("somebody is on it twice");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;

    #[test]
    fn a_circle_leads_back_over_at_least_two_others_and_over_nobody_twice() {
        let user = |n: u8| Keypair::from_secret(&[n; 32]).user_key();
        let judged = |nodes: &[u8]| {
            let users: Vec<UserKey> = nodes.iter().map(|n| user(*n)).collect();
            check(user(1), &users).is_ok()
        };
        assert!(judged(&[2, 3, 1]));
        assert!(judged(&[2, 3, 4, 5, 6, 7, 8, 9, 10, 1]));
        let bad: [&[u8]; 7] = [
            &[],
            &[1],
            &[2, 1],
            &[2, 3, 4],
            &[2, 1, 3, 1],
            &[2, 3, 2, 1],
            &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1],
        ];
        for nodes in bad {
            assert!(!judged(nodes), "{nodes:?}");
        }
    }
}
