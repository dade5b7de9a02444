//! Ways to pay somebody: over a friend, along a way that the user names, or as routers say. All are checked here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use atomicity_ledger::hop::Attempt;
use atomicity_ledger::onion::HopKey;
use atomicity_ledger::record::{Advert, Hint, Invoice, advert_path, fee};
use atomicity_ledger::seal::{EncryptionKey, KeyId};
use atomicity_ledger::{Amount, Signed, Total, UserKey};
use futures_util::future::join_all;

use super::super::{Wallet, books, directory, now, profile, receive};
use super::Plan;
use super::check::{check, fee_too_high};
use super::fault::PaymentFault;
use crate::error::ClientError;
use crate::net::plugin::{PluginAddress, PluginClient};
use crate::net::router::{Edge, FirstHop, HintHop, RoutesAnswer, RoutesQuestion};
use crate::net::{NetError, Role, Target};
use crate::store::contacts::{self, ContactStatus};
use crate::store::{pairs, rules};

/// Routers that are asked at once.
const ROUTERS: usize = 3;
/// The most parts of one payment.
pub(super) const MAX_PARTS: usize = 16;
/// The most channels of the payer that a router is told.
const MAX_FIRST: usize = 1024;

/// One way to pay: all of its parts are to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Way {
    /// The parts.
    pub parts: Vec<WayPart>,
}

/// A chain of promises.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WayPart {
    /// Everybody after the payer, the payee last, and what they are promised, in minor units.
    pub hops: Vec<(UserKey, Amount)>,
}

impl WayPart {
    /// What the payer promises, in minor units.
    #[must_use]
    pub fn promised(&self) -> u64 {
        self.hops.first().map_or(0, |(_, amount)| amount.minor())
    }

    /// What arrives, in minor units.
    #[must_use]
    pub fn arrives(&self) -> u64 {
        self.hops.last().map_or(0, |(_, amount)| amount.minor())
    }
}

impl Way {
    /// What the hops take, in minor units.
    #[must_use]
    pub fn fee(&self) -> u64 {
        let fees = self
            .parts
            .iter()
            .map(|p| p.promised().saturating_sub(p.arrives()));
        fees.fold(0, u64::saturating_add)
    }
}

/// What is still to be paid, and with whom not.
#[derive(Clone, Debug, Default)]
pub(super) struct Need {
    /// What is to arrive, in minor units.
    pub(super) amount: u64,
    /// What the hops may take.
    pub(super) max_fee: u64,
    pub(super) avoid_edges: Vec<(UserKey, UserKey)>,
}

impl Need {
    /// All of a payment.
    pub(super) fn all(plan: &Plan) -> Self {
        Self {
            amount: plan.amount.minor(),
            max_fee: plan.most.minor().saturating_sub(plan.amount.minor()),
            avoid_edges: Vec::new(),
        }
    }

    /// What is missing of an attempt.
    pub(super) fn rest(attempt: &Attempt, avoid_edges: Vec<(UserKey, UserKey)>) -> Self {
        let progress = attempt.progress();
        Self {
            amount: progress.missing,
            max_fee: progress.room.saturating_sub(progress.missing),
            avoid_edges,
        }
    }

    pub(super) fn avoids(&self, from: UserKey, to: UserKey) -> bool {
        self.avoid_edges.contains(&(from, to))
    }
}

/// Ways, cheapest first, and the profiles that came with them.
pub(super) struct Ways {
    pub(super) ways: Vec<Way>,
    pub(super) profiles: BTreeMap<UserKey, String>,
}

impl Wallet {
    /// Looks for ways to pay what is needed, cheapest first; never without one.
    ///
    /// # Errors
    /// [`ClientError::Payment`] saying why there is none.
    pub(super) async fn find_ways(&self, plan: &Plan, need: &Need) -> Result<Ways, ClientError> {
        let amount = Amount::from_minor(need.amount)?;
        let first = self.first_hops(plan, need).await?;
        if let Some(along) = &plan.along {
            return self.way_along(plan, need, along, amount).await;
        }
        let direct = first.iter().find(|hop| hop.user == plan.payee);
        let direct = direct.filter(|hop| plan.via.is_none() && hop.capacity >= amount);
        if direct.is_some() {
            let hops = vec![(plan.payee, amount)];
            return Ok(Ways {
                ways: vec![Way {
                    parts: vec![WayPart { hops }],
                }],
                profiles: BTreeMap::new(),
            });
        }
        if first.is_empty() {
            return Err(PaymentFault::NoFirstHop(plan.unit.clone()).into());
        }
        let question = self.question(plan, need, first, amount)?;
        self.ask_routers(plan, need, &question).await
    }

    /// What this user can promise each friend now; no more than could be needed, which tells nobody more than they must know.
    async fn first_hops(&self, plan: &Plan, need: &Need) -> Result<Vec<FirstHop>, ClientError> {
        let most = need.amount.saturating_add(need.max_fee);
        let mut conn = self.store().read().await?;
        let friends = contacts::list(&mut conn, ContactStatus::Friend).await?;
        let friends: BTreeSet<UserKey> = friends.into_iter().map(|friend| friend.user).collect();
        let mut first = Vec::new();
        for row in pairs::list(&mut conn).await? {
            let avoided = plan.avoid.contains(&row.user) || need.avoids(self.user(), row.user);
            if avoided || !friends.contains(&row.user) {
                continue;
            }
            let pair = books::parse(&row.body)?;
            let ceiling = rules::verdict(&mut conn, &row.user, &plan.unit)
                .await?
                .issue;
            let limits = pair.limits(&plan.unit, ceiling, now());
            let least = limits.min_amount.map_or(1, Amount::minor);
            let can = limits.can_issue.min(most);
            let usable = !pair.is_waiting() && pair.frozen(&plan.unit).is_none() && can >= least;
            if usable && let Ok(capacity) = Amount::from_minor(can) {
                let user = row.user;
                first.push(FirstHop { user, capacity });
            }
        }
        // The widest, if there are too many.
        first.sort_by_key(|hop| std::cmp::Reverse(hop.capacity));
        first.truncate(MAX_FIRST);
        Ok(first)
    }

    fn question(
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
            first,
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

    async fn ask_routers(
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
        let mut found = Ways {
            ways: Vec::new(),
            profiles: BTreeMap::new(),
        };
        let mut failure = ClientError::from(PaymentFault::NoRouter("none is known".to_owned()));
        for (key, took, answer) in join_all(asked).await {
            let judged = match answer {
                Ok(answer) => self.judge_answer(plan, need, answer),
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
                }
                Err(error) => failure = worse(failure, error),
            }
        }
        found.ways.sort_by_key(Way::fee);
        found.ways.dedup();
        if found.ways.is_empty() {
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
            });
            let way = Way {
                parts: parts.collect(),
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
        })
    }

    /// A way that the user names. What its hops take, they publish themselves.
    async fn way_along(
        &self,
        plan: &Plan,
        need: &Need,
        along: &[UserKey],
        amount: Amount,
    ) -> Result<Ways, ClientError> {
        let mut hops = vec![(
            *along
                .last()
                .ok_or(PaymentFault::RouteInvalid("it has no hops"))?,
            amount,
        )];
        let mut onward = amount;
        for pair in along.windows(2).rev() {
            let &[from, to] = pair else { continue };
            let taken = self.fee_of(plan, from, to, onward).await?;
            onward = Amount::from_minor(onward.minor().saturating_add(taken))?;
            hops.insert(0, (from, onward));
        }
        let way = Way {
            parts: vec![WayPart { hops }],
        };
        check(self.user(), plan, need, &way)?;
        Ok(Ways {
            ways: vec![way],
            profiles: BTreeMap::new(),
        })
    }

    async fn fee_of(
        &self,
        plan: &Plan,
        from: UserKey,
        to: UserKey,
        onward: Amount,
    ) -> Result<u64, ClientError> {
        let hint = hints(plan)?.into_iter().find(|hint| hint.peer == from);
        if let Some(hint) = hint.filter(|_| to == plan.payee) {
            return Ok(hint.fee(onward)?.minor());
        }
        let offer = self.advert_of(&from, &to).await?.and_then(|advert| {
            let unit = advert.record().unit_at(&plan.unit, now());
            unit.and_then(|unit| unit.send.clone())
        });
        let offer = offer.ok_or_else(|| PaymentFault::NoWay {
            code: "no_route",
            why: format!("{from} publishes no way to {to} in {}", plan.unit),
        })?;
        Ok(fee(offer.base, offer.ppm, onward)?.minor())
    }

    /// What `from` publishes about the channel with `to`, its signature checked.
    pub(crate) async fn advert_of(
        &self,
        from: &UserKey,
        to: &UserKey,
    ) -> Result<Option<Signed<Advert>>, ClientError> {
        let target = Target::new(*from, advert_path(to)).at_most(profile::MAX_BYTES);
        let text = match self.net().fetch(&target).await {
            Ok(fetched) => fetched.body.bytes().map(profile::text).transpose()?,
            Err(NetError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(text) = text else { return Ok(None) };
        let advert: Signed<Advert> = Signed::decode(&text)?;
        let record = advert.record();
        Ok(((record.from, record.to) == (*from, *to)).then_some(advert))
    }

    /// The keys to seal to, of everybody on a way.
    pub(super) async fn hop_keys(
        &self,
        way: &Way,
        profiles: &BTreeMap<UserKey, String>,
    ) -> Result<BTreeMap<UserKey, HopKey>, ClientError> {
        let mut keys = BTreeMap::new();
        let users: BTreeSet<UserKey> = way
            .parts
            .iter()
            .flat_map(|part| part.hops.iter().map(|(user, _)| *user))
            .collect();
        for user in users {
            keys.insert(user, self.hop_key(user, profiles.get(&user)).await?);
        }
        Ok(keys)
    }

    pub(super) async fn hop_key(
        &self,
        user: UserKey,
        shown: Option<&String>,
    ) -> Result<HopKey, ClientError> {
        let contact = contacts::get(&mut *self.store().read().await?, &user).await?;
        if let Some(contact) = contact.filter(|contact| contact.profile.is_some())
            && let Some((id, key)) = directory::peer_keys(&contact)?.first()
        {
            let (id, key) = (*id, *key);
            return Ok(HopKey { user, key, id });
        }
        let judged = |jws: &str| receive::judge_profile(jws, user, None, now()).ok();
        let profile = match shown.and_then(|jws| judged(jws)) {
            Some(profile) => Some(profile),
            None => self
                .fetch_profile(&user)
                .await?
                .and_then(|jws| judged(&jws)),
        };
        let current = profile.as_ref().and_then(|p| p.record().current_key());
        Ok(match current {
            Some(entry) => HopKey {
                user,
                key: entry.key,
                id: entry.n,
            },
            None => HopKey {
                user,
                key: EncryptionKey::of_root(&user)?,
                id: KeyId::ROOT,
            },
        })
    }
}

/// The last hops that the invoice names.
fn hints(plan: &Plan) -> Result<Vec<Hint>, ClientError> {
    let Some(jws) = &plan.invoice else {
        return Ok(Vec::new());
    };
    let invoice: Signed<Invoice> = Signed::decode(jws)?;
    Ok(invoice.record().hints.clone())
}

/// What a router's refusal means.
fn no_way(plan: &Plan, need: &Need, error: NetError) -> ClientError {
    let code = match error.code() {
        "fee_too_high" => return fee_too_high(plan, None, need.max_fee).into(),
        "no_route" => "no_route",
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
        PaymentFault::NoWay { .. } | PaymentFault::FeeTooHigh { .. }
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
