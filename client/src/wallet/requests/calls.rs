//! Calling debts in: when somebody owes more than the user wants to wait for, or for longer, the wallet asks for it by itself.
//!
//! A debt is called once: as long as a rule holds for it, whatever became of the request, it is not called again. When no rule holds
//! any more the request is taken back, and the debt can be called anew.

use std::time::Duration;

use atomicity_ledger::pair::Pair;
use atomicity_ledger::record::{Goal, Target};
use atomicity_ledger::{Amount, Memo, RecordId, Unit, UserKey};

use super::super::books::Change;
use super::super::{Wallet, WalletEvent, WalletEventKind, books, now};
use super::own::keep;
use super::{RequestFault, RequestTerms, is_grave};
use crate::error::ClientError;
use crate::store::contacts::{self, Contact, ContactStatus};
use crate::store::requests::calls::{self, CallRow};
use crate::store::rules::facts;
use crate::store::{pairs, requests, settings};

/// What a request that calls a debt in says it is for.
const MEMO: &str = "what you owe me";

/// How often the user's tags are read for rules about them, milliseconds.
const TAGS_EVERY_MS: u64 = 10 * 60 * 1000;

/// When to call a debt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallWhen {
    /// More than so many minor units of it are owed.
    Over(u64, Unit),
    /// It is owed for longer than this, in every unit or in this one.
    After(Duration, Option<Unit>),
}

/// Whose debts to call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallWho {
    /// Every friend's.
    All,
    /// This friend's.
    Friend(UserKey),
    /// Those of friends whom the user has tagged so.
    Tag(String),
}

/// A rule that calls debts in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallRule {
    /// Its number.
    pub id: i64,
    /// Whose debts.
    pub who: CallWho,
    /// When.
    pub when: CallWhen,
    /// Ways to pay them, the best first.
    pub targets: Vec<Target>,
}

impl CallRule {
    fn of(row: &CallRow) -> Option<Self> {
        let who = match (row.user, &row.tag) {
            (Some(user), _) => CallWho::Friend(user),
            (None, Some(tag)) => CallWho::Tag(tag.clone()),
            (None, None) => CallWho::All,
        };
        let when = match (row.over, &row.unit, row.after_ms) {
            (Some(over), Some(unit), _) => CallWhen::Over(over, unit.clone()),
            (_, unit, Some(after)) => CallWhen::After(Duration::from_millis(after), unit.clone()),
            _ => return None,
        };
        Some(Self {
            id: row.id,
            who,
            when,
            targets: row.targets.clone(),
        })
    }

    /// Whether a debt is to be called by it: so much of this unit, owed for so long.
    fn holds(&self, unit: &Unit, owed: u64, for_ms: u64) -> bool {
        match &self.when {
            CallWhen::Over(over, of) => of == unit && owed > *over,
            CallWhen::After(after, of) => {
                let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                of.as_ref().is_none_or(|of| of == unit) && owed > 0 && for_ms >= after
            }
        }
    }
}

impl Wallet {
    /// Calls debts in by itself from now on. The number of the rule.
    ///
    /// # Errors
    /// [`ClientError::Usage`] for a rule that says nothing; what the store says.
    pub async fn call_debts(
        &self,
        who: CallWho,
        when: CallWhen,
        targets: Vec<Target>,
    ) -> Result<CallRule, ClientError> {
        let (user, tag) = match &who {
            CallWho::All => (None, None),
            CallWho::Friend(user) => (Some(*user), None),
            CallWho::Tag(tag) => (None, Some(tag.clone())),
        };
        let (unit, over, after) = match &when {
            CallWhen::Over(over, unit) => (Some(unit.clone()), Some(*over), None),
            CallWhen::After(after, unit) => {
                let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                (unit.clone(), None, Some(after.max(1)))
            }
        };
        let mut row = CallRow {
            id: 0,
            user,
            tag,
            unit,
            over,
            after_ms: after,
            targets: targets.clone(),
            created_at: now().millis(),
        };
        let mut tx = self.store().write().await?;
        row.id = calls::add(tx.conn(), &row).await?;
        tx.commit().await?;
        Ok(CallRule {
            id: row.id,
            who,
            when,
            targets,
        })
    }

    /// The rules that call debts in.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn call_rules(&self) -> Result<Vec<CallRule>, ClientError> {
        let rows = calls::list(&mut *self.store().read().await?).await?;
        Ok(rows.iter().filter_map(CallRule::of).collect())
    }

    /// Forgets such a rule. What was called by it is taken back if no other rule holds.
    ///
    /// # Errors
    /// [`RequestFault::NoRule`].
    pub async fn forget_call_rule(&self, id: i64) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        if !calls::remove(tx.conn(), id).await? {
            return Err(RequestFault::NoRule(id).into());
        }
        tx.commit().await
    }

    /// Applies the rules to all debts: calls what is to be called, and takes back what was called and is settled.
    pub(super) async fn apply_call_rules(&self) -> Result<Vec<WalletEvent>, ClientError> {
        let rules = self.call_rules().await?;
        if rules.iter().any(|rule| matches!(rule.who, CallWho::Tag(_))) {
            self.read_tags_for_calls().await?;
        }
        let mut conn = self.store().read().await?;
        if rules.is_empty() && calls::none_called(&mut conn).await? {
            return Ok(Vec::new());
        }
        let friends = contacts::list(&mut conn, ContactStatus::Friend).await?;
        drop(conn);
        let mut told = Vec::new();
        for friend in friends {
            let done = self.call_friend(&rules, &friend).await;
            match done {
                Ok(events) => told.extend(events),
                Err(error) if is_grave(&error) => return Err(error),
                Err(error) => tracing::info!(code = error.code(), "called later: {error}"),
            }
        }
        Ok(told)
    }

    /// The user's own tags, now and then.
    async fn read_tags_for_calls(&self) -> Result<(), ClientError> {
        let at = now().millis();
        let mut conn = self.store().read().await?;
        let read = settings::number(&mut conn, settings::CALL_TAGS_READ, 0).await?;
        drop(conn);
        if at.saturating_sub(read) < TAGS_EVERY_MS {
            return Ok(());
        }
        self.read_tags().await?;
        let mut tx = self.store().write().await?;
        settings::set(tx.conn(), settings::CALL_TAGS_READ, &at.to_string()).await?;
        tx.commit().await
    }

    async fn call_friend(
        &self,
        rules: &[CallRule],
        friend: &Contact,
    ) -> Result<Vec<WalletEvent>, ClientError> {
        let mut conn = self.store().read().await?;
        let Some(row) = pairs::get(&mut conn, &friend.user).await? else {
            return Ok(Vec::new());
        };
        let mine = rules_for(&mut conn, rules, &friend.user).await?;
        drop(conn);
        let pair = books::parse(&row.body)?;
        let mut told = Vec::new();
        for unit in pair.units() {
            let owed = owed(&pair, &unit);
            let mut conn = self.store().read().await?;
            let since = calls::owes_since(&mut conn, &friend.user, &unit).await?;
            let called = calls::called(&mut conn, &friend.user, &unit).await?;
            drop(conn);
            let at = now().millis();
            // Books from before this was noted count from now on.
            let for_ms = since.map_or(0, |since| at.saturating_sub(since));
            let rule = mine.iter().find(|rule| rule.holds(&unit, owed, for_ms));
            match (rule, called) {
                (Some(rule), None) => {
                    let event = self.call(friend, &unit, rule).await?;
                    told.extend(event);
                }
                (None, Some(request)) => self.settle_call(friend, &unit, &request).await?,
                (None, None) if since.is_none() && owed > 0 => {
                    let mut change = self.change().await?;
                    note_debts(&mut change, &pair).await?;
                    change.commit().await?;
                }
                _ => {}
            }
        }
        Ok(told)
    }

    /// Asks for a debt.
    async fn call(
        &self,
        friend: &Contact,
        unit: &Unit,
        rule: &CallRule,
    ) -> Result<Option<WalletEvent>, ClientError> {
        self.ensure_may_sign().await?;
        let mut change = self.change().await?;
        if calls::called(change.conn(), &friend.user, unit)
            .await?
            .is_some()
        {
            return Ok(None);
        }
        let pair = change.load(self.user(), friend.user).await?;
        let Ok(amount) = Amount::from_minor(owed(&pair, unit)) else {
            return Ok(None);
        };
        let mut terms = RequestTerms::new(unit.clone(), Goal::Exact(amount));
        terms.payer = Some(friend.user);
        terms.targets.clone_from(&rule.targets);
        terms.memo = Some(MEMO.parse::<Memo>()?);
        let row = self.sign_request(&mut change, terms, true).await?;
        let id = row.record.record().id;
        let at = change.now.millis();
        calls::put_called(change.conn(), &friend.user, unit, &id, at).await?;
        change.commit().await?;
        Ok(Some(WalletEvent {
            at,
            user: Some(friend.user),
            friend: Some(friend.name.clone()),
            kind: WalletEventKind::Called {
                request: id,
                unit: unit.clone(),
                amount: amount.minor(),
            },
        }))
    }

    /// No rule holds any more: the request is taken back, and the next may come.
    async fn settle_call(
        &self,
        friend: &Contact,
        unit: &Unit,
        request: &RecordId,
    ) -> Result<(), ClientError> {
        self.ensure_may_sign().await?;
        let mut change = self.change().await?;
        let row = requests::named(change.conn(), request).await?;
        if let Some(mut row) = row.filter(|row| !row.over) {
            row.fills.cancel();
            keep(&mut change, &mut row).await?;
        }
        calls::settled(change.conn(), &friend.user, unit).await?;
        change.commit().await
    }
}

/// The rules that are about a friend.
async fn rules_for(
    conn: &mut sqlx::SqliteConnection,
    rules: &[CallRule],
    user: &UserKey,
) -> Result<Vec<CallRule>, ClientError> {
    let mut tags = None;
    let mut mine = Vec::new();
    for rule in rules {
        let is_about = match &rule.who {
            CallWho::All => true,
            CallWho::Friend(friend) => friend == user,
            CallWho::Tag(tag) => {
                if tags.is_none() {
                    tags = Some(facts::of(conn, user).await?.tags);
                }
                let mut known = tags.iter().flatten();
                known.any(|known| known.to_string() == *tag)
            }
        };
        if is_about {
            mine.push(rule.clone());
        }
    }
    Ok(mine)
}

/// What the peer owes, in minor units.
fn owed(pair: &Pair, unit: &Unit) -> u64 {
    u64::try_from(pair.balance(unit).minor()).unwrap_or(0)
}

/// Notes since when the peer owes something, whenever the books change.
pub(in super::super) async fn note_debts(
    change: &mut Change,
    pair: &Pair,
) -> Result<(), ClientError> {
    let (user, now) = (pair.peer(), change.now.millis());
    for unit in pair.units() {
        let owes = owed(pair, &unit) > 0;
        calls::note_debt(change.conn(), &user, &unit, owes, now).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rule(when: CallWhen) -> CallRule {
        CallRule {
            id: 1,
            who: CallWho::All,
            when,
            targets: vec![],
        }
    }

    #[test]
    fn a_rule_holds_above_its_bound_and_in_its_unit_only() {
        let (usd, eur): (Unit, Unit) = ("USD/2".parse().unwrap(), "EUR/2".parse().unwrap());
        let over = rule(CallWhen::Over(5000, usd.clone()));
        assert!(!over.holds(&usd, 5000, u64::MAX));
        assert!(over.holds(&usd, 5001, 0));
        assert!(!over.holds(&eur, 9000, u64::MAX));
        let month = Duration::from_secs(30 * 86_400);
        let after = rule(CallWhen::After(month, None));
        assert!(!after.holds(&usd, 1, 30 * 86_400_000 - 1));
        assert!(after.holds(&eur, 1, 30 * 86_400_000));
        assert!(!after.holds(&eur, 0, u64::MAX));
        let only = rule(CallWhen::After(month, Some(usd)));
        assert!(!only.holds(&eur, 1, u64::MAX));
    }
}
