//! Asking routers for ways. What they say is checked here, and by whom the answer comes is noted.

use std::time::Instant;

use atomicity_ledger::{Amount, Total, Unit, UserKey};
use futures_util::future::join_all;

use super::super::Wallet;
use super::Plan;
use super::check::{check, cost_too_high, fee_too_high};
use super::exchange::{WayExchange, no_exchange};
use super::fault::PaymentFault;
use super::ways::{MAX_PARTS, Need, Way, WayPart, Ways, hints};
use crate::error::ClientError;
use crate::net::plugin::{PluginAddress, PluginClient};
use crate::net::router::{Edge, FirstHop, HintHop, Part, RoutesAnswer, RoutesQuestion};
use crate::net::{NetError, Role};

/// Routers that are asked at once.
const ROUTERS: usize = 3;

impl Wallet {
    pub(super) fn question(
        &self,
        plan: &Plan,
        need: &Need,
        first: Vec<FirstHop>,
        amount: Amount,
    ) -> Result<RoutesQuestion, ClientError> {
        let edge = |(from, to): &(UserKey, UserKey)| Edge {
            from: *from,
            to: *to,
        };
        let not_mine = |(from, _): &&(UserKey, UserKey)| *from != self.user();
        Ok(RoutesQuestion {
            from: None,
            pay_unit: None,
            max_total: None,
            first: Some(first),
            to: plan.payee,
            hints: hints(plan)?.into_iter().map(HintHop::from).collect(),
            unit: plan.unit.clone(),
            amount,
            max_fee: Total::from_minor(need.max_fee)?,
            // Of a payment to somebody who is away one answer comes back: it is not divided.
            max_parts: if plan.invoice.is_some() { MAX_PARTS } else { 1 },
            alternatives: 3,
            via: plan.via,
            avoid_users: [plan.avoid.clone(), vec![self.user()]].concat(),
            avoid_edges: need.avoid_edges.iter().filter(not_mine).map(edge).collect(),
        })
    }

    /// The routers to ask: these, or the best known ones.
    pub(super) async fn routers(&self, named: &[String]) -> Result<Vec<PluginClient>, ClientError> {
        let mut routers = Vec::new();
        for text in named {
            let address = self.plugin_address(text).await?;
            // The user named it: it may be anywhere.
            self.net().trust(&address.key);
            routers.push(PluginClient::new(self.net(), address));
        }
        if routers.is_empty() {
            let known = self.services_for(Role::Router, ROUTERS).await?;
            routers.extend(known.into_iter().map(|service| {
                let address = PluginAddress {
                    key: service.key,
                    url: None,
                };
                PluginClient::new(self.net(), address)
            }));
        }
        routers.truncate(ROUTERS);
        Ok(routers)
    }

    pub(super) async fn ask_routers(
        &self,
        plan: &Plan,
        need: &Need,
        question: &RoutesQuestion,
    ) -> Result<Ways, ClientError> {
        let routers = self.routers(&plan.routers).await?;
        let asked = routers.iter().map(|router| async move {
            let begun = Instant::now();
            let answer = router.routes(question).await;
            (router.address().key, begun.elapsed(), answer)
        });
        let mut found = Ways::default();
        let mut failure = ClientError::from(PaymentFault::NoRouter("none is known".to_owned()));
        for (key, took, answer) in join_all(asked).await {
            let judged = match answer {
                Ok(answer) => match &plan.pay {
                    Some(pay) => self.judge_exchanged(plan, need, pay, answer).await,
                    None => self.judge_answer(plan, need, answer),
                },
                Err(error) => Err(no_way(plan, need, error)),
            };
            let fared = match &judged {
                Ok(_) => Some(took),
                Err(ClientError::Payment(fault)) if is_an_answer(fault) => Some(took),
                Err(_) => None,
            };
            self.note_service(&key, fared).await?;
            match judged {
                Ok(ways) => {
                    found.ways.extend(ways.ways);
                    found.profiles.extend(ways.profiles);
                    found.changed.extend(ways.changed);
                }
                Err(error) => failure = worse(failure, error),
            }
        }
        found.ways.sort_by_key(Way::promised);
        found.ways.dedup_by(|next, held| {
            let same = next.parts == held.parts;
            held.exact |= same && next.exact;
            same
        });
        if found.ways.is_empty() && found.changed.is_empty() {
            return Err(failure);
        }
        Ok(found)
    }

    /// Takes of an answer what adds up.
    fn judge_answer(
        &self,
        plan: &Plan,
        need: &Need,
        answer: RoutesAnswer,
    ) -> Result<Ways, ClientError> {
        let mut ways = Vec::new();
        let mut failure = PaymentFault::RouteInvalid("it names no route");
        for route in answer.routes {
            let parts = route.parts.into_iter().map(|part| WayPart {
                hops: part.hops.into_iter().map(|h| (h.user, h.amount)).collect(),
                exchange: None,
            });
            let way = Way {
                parts: parts.collect(),
                exact: route.exact,
            };
            match check(self.user(), plan, need, &way) {
                Ok(()) => ways.push(way),
                Err(fault) => failure = fault,
            }
        }
        if ways.is_empty() {
            return Err(failure.into());
        }
        Ok(Ways {
            ways,
            profiles: answer.profiles,
            ..Ways::default()
        })
    }

    /// Takes of an answer with exchanges what adds up at the rates that those who exchange have signed: a router's word about them
    /// counts for nothing.
    async fn judge_exchanged(
        &self,
        plan: &Plan,
        need: &Need,
        pay: &Unit,
        answer: RoutesAnswer,
    ) -> Result<Ways, ClientError> {
        let mut judged = Ways {
            profiles: answer.profiles,
            ..Ways::default()
        };
        let mut failure = PaymentFault::RouteInvalid("it names no route").into();
        for route in answer.routes {
            let part = <[Part; 1]>::try_from(route.parts);
            let Some((part, told)) = part.ok().and_then(|[mut part]| {
                let told = part.exchange.take()?;
                Some((part, told))
            }) else {
                failure = PaymentFault::RouteInvalid("it is not one way with an exchange").into();
                continue;
            };
            let by = told.at.checked_sub(1).and_then(|at| part.hops.get(at));
            let by = by.map_or(self.user(), |hop| hop.user);
            let rate = match self
                .rate_of(&by, (pay, &plan.unit), Some(&told.rates))
                .await
            {
                Ok(Some(rate)) => rate,
                Ok(None) => {
                    failure = no_exchange(plan, pay).into();
                    continue;
                }
                Err(error @ ClientError::Store(_)) => return Err(error),
                Err(error) => {
                    failure = error;
                    continue;
                }
            };
            let exchange = WayExchange { at: told.at, rate };
            let way = Way {
                parts: vec![WayPart {
                    hops: part.hops.into_iter().map(|h| (h.user, h.amount)).collect(),
                    exchange: Some(exchange.clone()),
                }],
                exact: route.exact,
            };
            match check(self.user(), plan, need, &way) {
                Ok(()) => judged.ways.push(way),
                // What the router calculated with is not what is asked now.
                Err(PaymentFault::RateChanged) => judged.changed.push((by, exchange.rate)),
                Err(fault) => failure = fault.into(),
            }
        }
        if judged.ways.is_empty() && judged.changed.is_empty() {
            return Err(failure);
        }
        Ok(judged)
    }
}

/// What a router's refusal means.
fn no_way(plan: &Plan, need: &Need, error: NetError) -> ClientError {
    let code = match error.code() {
        "fee_too_high" => return fee_too_high(plan, None, need.max_fee).into(),
        "cost_too_high" => return cost_too_high(plan.paying(), None, need.room).into(),
        "no_exchange" => "no_exchange",
        "no_route" => "no_route",
        "gave_up" => "gave_up",
        "too_narrow" => "too_narrow",
        "unknown_payee" => "unknown_payee",
        "unknown_via" => "unknown_via",
        _ => return error.into(),
    };
    let why = match &error {
        NetError::Refused { detail, .. } => detail.clone(),
        other => other.to_string(),
    };
    PaymentFault::NoWay { code, why }.into()
}

/// Whether the router did its work, though there is no way.
fn is_an_answer(fault: &PaymentFault) -> bool {
    matches!(
        fault,
        PaymentFault::NoWay { .. }
            | PaymentFault::FeeTooHigh { .. }
            | PaymentFault::CostTooHigh { .. }
    )
}

/// Of two reasons the one that says more: an answer more than silence.
fn worse(old: ClientError, new: ClientError) -> ClientError {
    match (&old, &new) {
        (ClientError::Payment(fault), _) if is_an_answer(fault) => old,
        (_, ClientError::Net(error)) => PaymentFault::NoRouter(error.to_string()).into(),
        _ => new,
    }
}
