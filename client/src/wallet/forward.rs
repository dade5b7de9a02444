//! Passing payments on: to whom and for how much; having debts cleared; and what is published about both.

use std::time::Duration;

use atomicity_ledger::hop::{HopPolicy, HopRule};
use atomicity_ledger::jws::Version;
use atomicity_ledger::pair::Pair;
use atomicity_ledger::record::{Advert, AdvertUnit, advert_path};
use atomicity_ledger::{Serial, Signed, Timestamp, Total, Unit, UserKey};
use sqlx::SqliteConnection;

use super::books::{self, Change};
use super::{Wallet, exchange, now, receive};
use crate::error::ClientError;
use crate::store::contacts::{self, Contact};
use crate::store::forwarding::{self, AdvertRow};
use crate::store::pairs::agent;
use crate::store::{json_out, pairs, publications, relays, rules};

pub use crate::store::forwarding::ForwardRule;

/// How long an advert stands, and how long before its end it is renewed, milliseconds.
const STANDS_MS: u64 = 24 * 60 * 60 * 1000;
const RENEW_BEFORE_MS: u64 = 6 * 60 * 60 * 1000;
/// An advert is rewritten at most so often.
pub(crate) const REWRITE_EVERY: Duration = Duration::from_secs(30);
/// Adverts that are looked at in one go.
const BATCH: u32 = 256;
/// How long relays are kept for show, milliseconds.
const KEEP_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// The most relays that are listed.
const MAX_LISTED: u32 = 100;
/// What is noted of an advert that the agent writes.
const BY_AGENT: &str = "agent";
/// What an advert holds at most.
const MAX_UNITS: usize = 64;

/// A payment that was passed on. Amounts are in minor units of `unit`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PassedOn {
    /// Who had promised.
    pub from: UserKey,
    /// Who was promised.
    pub to: UserKey,
    /// In what.
    pub unit: Unit,
    /// What was promised onward.
    pub amount: u64,
    /// What stays here if it is paid.
    pub fee: u64,
    /// `sent`, `due`, `paid` or `returned`.
    pub stage: &'static str,
    /// When it began, Unix milliseconds.
    pub at: u64,
}

impl Wallet {
    /// Passes payments on to these friends (to everybody without a rule of their own, if none is named), on these conditions, from now
    /// on; and publishes that.
    ///
    /// # Errors
    /// [`ClientError::UnknownFriend`], [`ClientError::UnitNotOpen`], or what the store says.
    pub async fn forward_on(&self, rules: &[ForwardRule]) -> Result<(), ClientError> {
        let open = self.identity().await?.units;
        let mut tx = self.store().write().await?;
        for rule in rules {
            if !open.contains(&rule.unit) {
                return Err(ClientError::UnitNotOpen(rule.unit.clone()));
            }
            forwarding::put(tx.conn(), rule).await?;
        }
        forwarding::look_again(tx.conn()).await?;
        agent::limits_changed(tx.conn(), None).await?;
        tx.commit().await?;
        // Tried again by the next look at the agent if it does not answer now.
        self.tend_agent().await?;
        self.flush().await.map(|_| ())
    }

    /// Passes nothing on any more: to nobody, or not to one friend; in one unit or in all. What is promised already goes on.
    ///
    /// # Errors
    /// What the store says.
    pub async fn forward_off(
        &self,
        to: Option<&UserKey>,
        unit: Option<&Unit>,
    ) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        match (to, unit) {
            (None, None) => {
                forwarding::clear(tx.conn()).await?;
            }
            (None, Some(_)) => {
                for rule in forwarding::list(tx.conn()).await? {
                    forwarding::remove(tx.conn(), rule.to.as_ref(), unit).await?;
                }
            }
            (Some(user), _) => {
                forwarding::remove(tx.conn(), Some(user), unit).await?;
                // What holds for everybody must not hold for this friend.
                for rule in forwarding::list(tx.conn()).await? {
                    if rule.to.is_none() && unit.is_none_or(|unit| *unit == rule.unit) {
                        let not = ForwardRule {
                            to: Some(*user),
                            allowed: false,
                            ..rule
                        };
                        forwarding::put(tx.conn(), &not).await?;
                    }
                }
            }
        }
        forwarding::look_again(tx.conn()).await?;
        agent::limits_changed(tx.conn(), None).await?;
        tx.commit().await?;
        // Tried again by the next look at the agent if it does not answer now.
        self.tend_agent().await?;
        self.flush().await.map(|_| ())
    }

    /// Agrees that debts in `unit`, to this user and of this user, are cleared round circles, from now on or no more. A rough figure of each
    /// such debt to or of a friend becomes public.
    ///
    /// # Errors
    /// [`ClientError::UnitNotOpen`], or what the store says.
    pub async fn agree_to_clear(&self, unit: &Unit, agree: bool) -> Result<(), ClientError> {
        if agree && !self.identity().await?.units.contains(unit) {
            return Err(ClientError::UnitNotOpen(unit.clone()));
        }
        let mut tx = self.store().write().await?;
        let mut units = forwarding::clearing(tx.conn()).await?;
        units.retain(|known| known != unit);
        if agree {
            units.push(unit.clone());
            units.sort();
        }
        forwarding::set_clearing(tx.conn(), &units).await?;
        forwarding::look_again(tx.conn()).await?;
        agent::limits_changed(tx.conn(), None).await?;
        tx.commit().await?;
        self.tend_agent().await?;
        self.flush().await.map(|_| ())
    }

    /// The units in which this user agrees to have debts cleared.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn clearing_units(&self) -> Result<Vec<Unit>, ClientError> {
        forwarding::clearing(&mut *self.store().read().await?).await
    }

    /// To whom payments are passed on.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn forward_rules(&self) -> Result<Vec<ForwardRule>, ClientError> {
        forwarding::list(&mut *self.store().read().await?).await
    }

    /// The payments that were passed on lately, newest first.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn passed_on(&self) -> Result<Vec<PassedOn>, ClientError> {
        use atomicity_ledger::hop::RelayStage;
        let kept = relays::list(&mut *self.store().read().await?, MAX_LISTED).await?;
        let shown = kept.into_iter().map(|(at, relay)| PassedOn {
            from: relay.incoming.peer,
            to: relay.outgoing.peer,
            amount: relay.outgoing.amount.minor(),
            fee: relay.fee(),
            stage: match relay.stage {
                RelayStage::Sent => "sent",
                RelayStage::Due { .. } => "due",
                RelayStage::Paid => "paid",
                RelayStage::Returned => "returned",
            },
            unit: relay.unit_onward().clone(),
            at,
        });
        Ok(shown.collect())
    }

    /// Plans to write the adverts that are not as the books are now: after payments each at most every 30 seconds, at once after a change
    /// of rules or lines.
    pub(crate) async fn plan_adverts(&self) -> Result<(), ClientError> {
        let at = now();
        let mut conn = self.store().read().await?;
        let clears = !forwarding::clearing(&mut conn).await?.is_empty();
        if !clears && !forwarding::is_used(&mut conn).await? {
            return Ok(());
        }
        let soon = at.plus_millis(RENEW_BEFORE_MS).millis();
        let rewrite_ms = u64::try_from(REWRITE_EVERY.as_millis()).unwrap_or(u64::MAX);
        let written = at.millis().saturating_sub(rewrite_ms);
        let due = forwarding::due(&mut conn, (soon, written), BATCH).await?;
        drop(conn);
        if due.is_empty() {
            return Ok(());
        }
        let mut change = self.change().await?;
        for (user, version) in due {
            self.plan_advert(&mut change, &user, version).await?;
        }
        let before = at.millis().saturating_sub(KEEP_MS);
        relays::forget(change.conn(), before).await?;
        change.commit().await
    }

    async fn plan_advert(
        &self,
        change: &mut Change,
        user: &UserKey,
        version: u64,
    ) -> Result<(), ClientError> {
        let at = change.now;
        let known = forwarding::advert(change.conn(), user).await?;
        if agent::advertises(change.conn(), user).await? {
            // The agent does it; when the books come back, whatever it wrote is written over.
            let row = AdvertRow {
                body: BY_AGENT.to_owned(),
                expires_at: u64::MAX >> 1,
                ..known.unwrap_or_default()
            };
            return forwarding::put_advert(change.conn(), user, &row, version).await;
        }
        let contact = contacts::get(change.conn(), user).await?;
        let units = match contact.filter(|contact| receive::is_friend(Some(contact))) {
            Some(contact) => self.advert_units(change, &contact).await?,
            None => Vec::new(),
        };
        let body = if units.is_empty() {
            String::new()
        } else {
            json_out(&units)?
        };
        let mut row = known.unwrap_or_default();
        let renewed = row.expires_at < at.plus_millis(RENEW_BEFORE_MS).millis();
        if row.body != body || (renewed && !body.is_empty()) {
            row.serial = at.millis().max(row.serial.saturating_add(1));
            row.written_at = at.millis();
            row.expires_at = at.plus_millis(STANDS_MS).millis();
            row.body = body;
            let signed = sign(change, self.user(), *user, &row, units)?;
            let jws = signed.as_ref().map(|advert| advert.jws().as_bytes());
            publications::put(change.conn(), &advert_path(user), jws, at.millis()).await?;
        }
        forwarding::put_advert(change.conn(), user, &row, version).await
    }

    /// What can go over the channel with a friend, in every unit that the rules name.
    async fn advert_units(
        &self,
        change: &mut Change,
        contact: &Contact,
    ) -> Result<Vec<AdvertUnit>, ClientError> {
        let Some(row) = pairs::get(change.conn(), &contact.user).await? else {
            return Ok(Vec::new());
        };
        let pair: Pair = books::parse(&row.body)?;
        if pair.is_waiting() {
            return Ok(Vec::new());
        }
        // Where books are kept in two places nothing is passed on from one to the other: what is published is the way over the larger.
        let conn = change.conn();
        let by_agent = agent::keeps(conn, &contact.user).await?;
        if by_agent != agent::keeps_most(conn).await? {
            return Ok(Vec::new());
        }
        let clearing = forwarding::clearing(conn).await?;
        let mut names = forwarding::units(conn).await?;
        names.extend(clearing);
        let mut units = Vec::new();
        for unit in names.into_iter().take(MAX_UNITS) {
            let now = change.now;
            let policy = policy(change.conn(), (&contact.user, &unit), now).await?;
            units.extend(policy.advertise(&pair, &unit, change.now));
        }
        Ok(units)
    }
}

/// What the user passes on to one friend, in one unit.
pub(crate) async fn policy(
    conn: &mut SqliteConnection,
    (next, unit): (&UserKey, &Unit),
    now: Timestamp,
) -> Result<HopPolicy, ClientError> {
    let mut policy = HopPolicy::none();
    let rule = forwarding::rule_for(conn, next, unit).await?;
    let verdict = rules::verdict(conn, next, unit).await?;
    let clearing = forwarding::clearing(conn).await?.contains(unit) && !verdict.blocked;
    let allowed = rule.filter(|rule| rule.allowed);
    if allowed.is_none() && !clearing {
        return Ok(policy);
    }
    let plain = HopRule::allow(Some(*next), Some(unit.clone()), Total::ZERO, 0)?;
    policy.rules.push(match allowed {
        Some(rule) => HopRule {
            clearing,
            min: rule.min,
            base: rule.base,
            ppm: rule.ppm,
            ceiling: verdict.issue,
            ..plain
        },
        None => HopRule {
            forward: false,
            clearing,
            ..plain
        },
    });
    policy.exchange = exchange::in_force(conn, now).await?;
    Ok(policy)
}

/// The advert; `None` if there is nothing to say any more.
fn sign(
    change: &Change,
    from: UserKey,
    to: UserKey,
    row: &AdvertRow,
    units: Vec<AdvertUnit>,
) -> Result<Option<Signed<Advert>>, ClientError> {
    if units.is_empty() {
        return Ok(None);
    }
    let advert = Advert {
        v: Version,
        from,
        to,
        serial: Serial::new(row.serial)?,
        units,
        slots: None,
        max_deadline_s: 120,
        expires: Timestamp::saturating_from_millis(row.expires_at),
        at: change.now,
    };
    Ok(Some(Signed::sign(advert, &change.keys.pen)?))
}
