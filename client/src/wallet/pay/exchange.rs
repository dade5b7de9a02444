//! Ways on which somebody exchanges units, as routers say, or over a friend of the payer's, or whom they name. The rates are read where
//! whoever exchanges publishes them, each time anew.

use std::collections::BTreeMap;

use atomicity_ledger::record::Rate;
use atomicity_ledger::{Amount, Total, Unit, UserKey};
use futures_util::future::join_all;

use super::super::{Wallet, now};
use super::Plan;
use super::check::{check, cost_too_high};
use super::fault::PaymentFault;
use super::ways::{Need, Way, WayPart, Ways, hints};
use crate::error::ClientError;
use crate::net::router::{Edge, FirstHop, HintHop, RoutesQuestion};

/// Friends whose rates are read for one payment, those who can be promised most.
const MAX_ASKED: usize = 16;

/// Where on a way units are exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WayExchange {
    /// How many are promised the payer's unit; the last of them exchanges.
    pub at: usize,
    /// At which rate.
    pub rate: Rate,
}

/// Hops and what they are promised, and the profiles that came with them.
type Leg = (Vec<(UserKey, Amount)>, BTreeMap<UserKey, String>);

pub(super) fn no_exchange(plan: &Plan, pay: &Unit) -> PaymentFault {
    PaymentFault::NoWay {
        code: "no_exchange",
        why: format!("nobody who was asked gives {} for {pay}", plan.unit),
    }
}

fn no_way(code: &'static str, why: String) -> ClientError {
    PaymentFault::NoWay { code, why }.into()
}

impl Wallet {
    /// Ways on which `pay` is exchanged for the payee's unit, cheapest first; never without one.
    ///
    /// # Errors
    /// [`ClientError::Payment`] saying why there is none.
    pub(super) async fn exchanged_ways(
        &self,
        plan: &Plan,
        need: &Need,
        pay: &Unit,
    ) -> Result<Ways, ClientError> {
        let amount = Amount::from_minor(need.amount)?;
        let reach = Need {
            amount: need.room,
            max_fee: 0,
            ..need.clone()
        };
        let first = self.first_hops(&paying(plan, pay), &reach).await?;
        if first.is_empty() {
            return Err(PaymentFault::NoFirstHop(pay.clone()).into());
        }
        let mut question = self.question(plan, need, first.clone(), amount)?;
        question.pay_unit = Some(pay.clone());
        question.max_total = Some(Total::from_minor(need.room)?);
        question.max_fee = Total::MAX;
        question.max_parts = 1;
        question.alternatives = 1;
        let (mut found, mut failure) = match self.ask_routers(plan, need, &question).await {
            Ok(told) if !told.ways.is_empty() => return Ok(told),
            Ok(told) => (told, PaymentFault::RateChanged.into()),
            Err(error @ ClientError::Payment(_)) => (Ways::default(), error),
            Err(error) => return Err(error),
        };
        // Whose rate has changed since the router read it; else friends, of whom no router may know.
        let mut others = std::mem::take(&mut found.changed);
        if others.is_empty() {
            others = self.exchangers(plan, pay, first, amount).await?;
            if others.is_empty() && plan.via.is_some() {
                // No router is needed to say that.
                failure = no_exchange(plan, pay).into();
            }
        }
        for (by, rate) in others {
            match self.way_over(plan, need, (by, &rate), amount).await {
                Ok((way, profiles)) => {
                    found.ways.push(way);
                    found.profiles.extend(profiles);
                }
                Err(error @ ClientError::Payment(_)) => failure = error,
                Err(error) => return Err(error),
            }
        }
        if found.ways.is_empty() {
            return Err(failure);
        }
        found.ways.sort_by_key(Way::promised);
        Ok(found)
    }

    /// Who exchanges so much, the best rate first.
    async fn exchangers(
        &self,
        plan: &Plan,
        pay: &Unit,
        first: Vec<FirstHop>,
        amount: Amount,
    ) -> Result<Vec<(UserKey, Rate)>, ClientError> {
        let asked = match plan.via {
            Some(via) => vec![via],
            None => {
                let friends = first.into_iter().map(|hop| hop.user);
                let others = friends.filter(|user| *user != plan.payee);
                others.take(MAX_ASKED).collect()
            }
        };
        let read = asked.iter().map(|user| async move {
            let rate = self.rate_of(user, (pay, &plan.unit), None).await;
            (*user, rate)
        });
        let mut all = Vec::new();
        for (user, rate) in join_all(read).await {
            let rate = match rate {
                Ok(Some(rate)) if rate.max >= amount => rate,
                Ok(_) => continue,
                Err(error @ ClientError::Store(_)) => return Err(error),
                Err(error) => {
                    tracing::info!(%user, code = error.code(), "rates can't be read: {error}");
                    continue;
                }
            };
            if let Ok(least) = rate.taken(amount) {
                all.push((least, user, rate));
            }
        }
        all.sort_by_key(|(least, user, _)| (*least, *user));
        Ok(all
            .into_iter()
            .map(|(_, user, rate)| (user, rate))
            .collect())
    }

    /// A way over one who exchanges: first what is behind them, which says how much they must be promised.
    async fn way_over(
        &self,
        plan: &Plan,
        need: &Need,
        (by, rate): (UserKey, &Rate),
        amount: Amount,
    ) -> Result<(Way, BTreeMap<UserKey, String>), ClientError> {
        let (behind, mut profiles) = self.leg_behind(plan, need, by, amount).await?;
        let first = behind.first().copied();
        let (to, onward) = first.ok_or(PaymentFault::RouteInvalid("it has no hops"))?;
        let fee = self.fee_at(plan, by, to, onward).await?;
        let needed = Amount::from_minor(onward.minor().saturating_add(fee))?;
        let asked = rate.taken(needed)?;
        if onward > rate.max {
            let most = plan.unit.format_minor(rate.max.minor());
            let why = format!("{by} gives at most {most} {}", plan.unit.code());
            return Err(no_way("too_narrow", why));
        }
        if asked.minor() > need.room {
            return Err(cost_too_high(&rate.take, Some(asked.minor()), need.room).into());
        }
        let mut before = Plan {
            payee: by,
            amount: asked,
            ..paying(plan, &rate.take)
        };
        before.avoid.extend(behind.iter().map(|(user, _)| *user));
        let before_need = Need {
            amount: asked.minor(),
            max_fee: need.room - asked.minor(),
            ..need.clone()
        };
        let found = self.plain_ways(&before, &before_need).await?;
        let head = found
            .ways
            .into_iter()
            .find_map(|way| match way.parts.len() {
                1 => way.parts.into_iter().next(),
                _ => None,
            });
        let head = head.ok_or(PaymentFault::RouteInvalid("it names no route"))?;
        let mut hops = head.hops;
        let at = hops.len();
        hops.extend(behind);
        let rate = rate.clone();
        let part = WayPart {
            hops,
            exchange: Some(WayExchange { at, rate }),
        };
        let way = Way {
            parts: vec![part],
            // Others exchange as well, perhaps for less.
            exact: false,
        };
        check(self.user(), plan, need, &way)?;
        profiles.extend(found.profiles);
        Ok((way, profiles))
    }

    /// What whoever exchanges takes for promising that onward: as they publish it now, or as the invoice says.
    async fn fee_at(
        &self,
        plan: &Plan,
        from: UserKey,
        to: UserKey,
        onward: Amount,
    ) -> Result<u64, ClientError> {
        let offer = self.advert_of(&from, &to).await?.and_then(|advert| {
            let unit = advert.record().unit_at(&plan.unit, now());
            unit.and_then(|unit| unit.send.clone())
        });
        match offer {
            Some(offer) => Ok(offer.fee(onward)?.minor()),
            None => self.fee_of(plan, from, to, onward).await,
        }
    }

    /// From whoever exchanges to the payee, in the payee's unit: straight, or as a router says.
    async fn leg_behind(
        &self,
        plan: &Plan,
        need: &Need,
        by: UserKey,
        amount: Amount,
    ) -> Result<Leg, ClientError> {
        let straight =
            !need.avoids(by, plan.payee) && self.fee_at(plan, by, plan.payee, amount).await.is_ok();
        if straight {
            return Ok((vec![(plan.payee, amount)], BTreeMap::new()));
        }
        let behind = Plan {
            pay: None,
            via: None,
            ..plan.clone()
        };
        let behind_need = Need {
            max_fee: Total::MAX.minor() - amount.minor(),
            room: Total::MAX.minor(),
            ..need.clone()
        };
        let not_mine = |(from, _): &&(UserKey, UserKey)| *from != self.user();
        let edges = need.avoid_edges.iter().filter(not_mine);
        let question = RoutesQuestion {
            from: Some(by),
            pay_unit: None,
            max_total: None,
            first: None,
            to: plan.payee,
            hints: hints(plan)?.into_iter().map(HintHop::from).collect(),
            unit: plan.unit.clone(),
            amount,
            max_fee: Total::MAX,
            max_parts: 1,
            alternatives: 1,
            via: None,
            avoid_users: [plan.avoid.clone(), vec![self.user()]].concat(),
            avoid_edges: edges
                .map(|(from, to)| Edge {
                    from: *from,
                    to: *to,
                })
                .collect(),
        };
        let found = self.ask_routers(&behind, &behind_need, &question).await?;
        let part = found
            .ways
            .into_iter()
            .find_map(|way| match way.parts.len() {
                1 => way.parts.into_iter().next(),
                _ => None,
            });
        let part = part.ok_or(PaymentFault::RouteInvalid("it names no route"))?;
        if part.hops.iter().any(|(user, _)| *user == by) {
            return Err(PaymentFault::RouteInvalid("somebody is on it twice").into());
        }
        Ok((part.hops, found.profiles))
    }
}

/// The plan for the way in the payer's own unit.
fn paying(plan: &Plan, pay: &Unit) -> Plan {
    Plan {
        unit: pay.clone(),
        pay: None,
        invoice: None,
        via: None,
        along: None,
        ..plan.clone()
    }
}
