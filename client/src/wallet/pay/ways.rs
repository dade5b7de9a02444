//! Ways to pay somebody: over a friend, along a way that the user names, or as routers say. All are checked here.

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::hop::Attempt;
use atomicity_ledger::onion::HopKey;
use atomicity_ledger::record::{Advert, Hint, Invoice, Rate, advert_path, fee};
use atomicity_ledger::seal::{EncryptionKey, KeyId};
use atomicity_ledger::{Amount, Signed, Unit, UserKey};

use super::super::{Wallet, books, directory, now, profile, receive};
use super::Plan;
use super::check::check;
use super::exchange::WayExchange;
use super::fault::PaymentFault;
use crate::error::ClientError;
use crate::net::router::FirstHop;
use crate::net::{NetError, Target};
use crate::store::contacts::{self, ContactStatus};
use crate::store::{pairs, rules};

/// The most parts of one payment.
pub(super) const MAX_PARTS: usize = 16;
/// The most channels of the payer that a router is told.
const MAX_FIRST: usize = 1024;
/// How many times what may be spent a router is told at most of what the payer can promise a friend. With no room above what may be
/// spent, a way whose hops take more would look too narrow instead of too dear.
const ROOM_TIMES: u64 = 4;

/// One way to pay: all of its parts are to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Way {
    /// The parts.
    pub parts: Vec<WayPart>,
    /// Whether nothing cheaper is known to whoever found it: not where a router did not look to the end.
    pub exact: bool,
}

/// A chain of promises.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WayPart {
    /// Everybody after the payer, the payee last, and what they are promised, in minor units.
    pub hops: Vec<(UserKey, Amount)>,
    /// Where units are exchanged, if they are: what is promised before is in the payer's unit.
    pub exchange: Option<WayExchange>,
}

impl WayPart {
    /// What the payer promises, in minor units.
    #[must_use]
    pub fn promised(&self) -> u64 {
        self.hops.first().map_or(0, |(_, amount)| amount.minor())
    }

    /// The unit in which a hop is promised something, if that is another one than the hop before is promised.
    pub(super) fn unit_from(&self, at: usize) -> Option<Unit> {
        let exchange = self.exchange.as_ref().filter(|e| e.at == at);
        exchange.map(|exchange| exchange.rate.give.clone())
    }

    /// What arrives, in minor units.
    #[must_use]
    pub fn arrives(&self) -> u64 {
        self.hops.last().map_or(0, |(_, amount)| amount.minor())
    }
}

impl Way {
    /// What the payer promises in all parts, in minor units.
    #[must_use]
    pub fn promised(&self) -> u64 {
        let parts = self.parts.iter().map(WayPart::promised);
        parts.fold(0, u64::saturating_add)
    }

    /// What the hops take, in minor units; not what is exchanged, and what that costs.
    #[must_use]
    pub fn fee(&self) -> u64 {
        let fees = self
            .parts
            .iter()
            .filter(|p| p.exchange.is_none())
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
    /// What may be promised in all.
    pub(super) room: u64,
    pub(super) avoid_edges: Vec<(UserKey, UserKey)>,
}

impl Need {
    /// All of a payment.
    pub(super) fn all(plan: &Plan) -> Self {
        Self {
            amount: plan.amount.minor(),
            max_fee: plan.most.minor().saturating_sub(plan.amount.minor()),
            room: plan.most.minor(),
            avoid_edges: Vec::new(),
        }
    }

    /// What is missing of an attempt.
    pub(super) fn rest(attempt: &Attempt, avoid_edges: Vec<(UserKey, UserKey)>) -> Self {
        let progress = attempt.progress();
        Self {
            amount: progress.missing,
            max_fee: progress.room.saturating_sub(progress.missing),
            room: progress.room,
            avoid_edges,
        }
    }

    pub(super) fn avoids(&self, from: UserKey, to: UserKey) -> bool {
        self.avoid_edges.contains(&(from, to))
    }
}

/// Ways, cheapest first, and the profiles that came with them.
#[derive(Default)]
pub(super) struct Ways {
    pub(super) ways: Vec<Way>,
    pub(super) profiles: BTreeMap<UserKey, String>,
    /// Who exchanges as well, at a rate of which routers don't know yet.
    pub(super) changed: Vec<(UserKey, Rate)>,
}

impl Wallet {
    /// Looks for ways to pay what is needed, cheapest first; never without one.
    ///
    /// # Errors
    /// [`ClientError::Payment`] saying why there is none.
    pub(super) async fn find_ways(&self, plan: &Plan, need: &Need) -> Result<Ways, ClientError> {
        match &plan.pay {
            Some(pay) => self.exchanged_ways(plan, need, pay).await,
            None => self.plain_ways(plan, need).await,
        }
    }

    /// Ways in one unit.
    pub(super) async fn plain_ways(&self, plan: &Plan, need: &Need) -> Result<Ways, ClientError> {
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
                    parts: vec![WayPart {
                        hops,
                        exchange: None,
                    }],
                    exact: true,
                }],
                ..Ways::default()
            });
        }
        if first.is_empty() {
            return Err(PaymentFault::NoFirstHop(plan.unit.clone()).into());
        }
        let question = self.question(plan, need, first, amount)?;
        self.ask_routers(plan, need, &question).await
    }

    /// What this user can promise each friend now; no more than a few times what could be needed: whoever is asked need not know more.
    pub(super) async fn first_hops(
        &self,
        plan: &Plan,
        need: &Need,
    ) -> Result<Vec<FirstHop>, ClientError> {
        let most = need.amount.saturating_add(need.max_fee);
        let most = most.saturating_mul(ROOM_TIMES);
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
            parts: vec![WayPart {
                hops,
                exchange: None,
            }],
            // It is the one that was asked for.
            exact: true,
        };
        check(self.user(), plan, need, &way)?;
        Ok(Ways {
            ways: vec![way],
            ..Ways::default()
        })
    }

    pub(super) async fn fee_of(
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
pub(super) fn hints(plan: &Plan) -> Result<Vec<Hint>, ClientError> {
    let Some(jws) = &plan.invoice else {
        return Ok(Vec::new());
    };
    let invoice: Signed<Invoice> = Signed::decode(jws)?;
    Ok(invoice.record().hints.clone())
}
