//! Payment accounts: keys that the user lets spend through the agent, and what this wallet pays for them.
//!
//! The agent enforces the limits and signs what it can by itself. What it can't, it hands to this wallet, which judges all of it once
//! more by what it knows itself. A spend is claimed durably before anything is promised for it ([`run`]): so it is paid at most once,
//! whatever dies on the way.

mod rate;
mod run;
mod told;

use atomicity_ledger::account::{AccountTerms, day_of};
use atomicity_ledger::authority::delegation_path;
use atomicity_ledger::record::{Delegation, DelegationLimit, Pays, Scope, SpendTo};
use atomicity_ledger::{Name, RecordId, Signed, SignerKey, Timestamp, Total, Unit, UserKey};

use super::agent::agent_error;
use super::create::{check_root, next_serial};
use super::{Fault, HistoryItem, RootKey, Wallet, now, recover};
use crate::account::{AccountKey, AccountStanding, SpendReceipt};
use crate::error::ClientError;
use crate::net::plugin::PluginAddress;
use crate::store::accounts::{self, AccountRow, SpendRow};
use crate::store::pairs::agent;
use crate::store::publications;
use crate::store::rails::OwnRate;

pub use crate::store::accounts::SpendStage;
pub(super) use told::{take_payment, take_spend};

/// A delegation begins a little in the past, so that an agent whose clock is behind takes it.
const CLOCK_SLACK_MS: u64 = 10 * 60 * 1000;
/// Spends of an account that are shown.
const LISTED: u32 = 200;

/// What an account may spend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewAccount {
    /// What the user calls it.
    pub name: Name,
    /// In what.
    pub unit: Unit,
    /// The most on one day (UTC), in minor units.
    pub per_day: Option<u64>,
    /// The most in all; unbounded if `None`.
    pub total: Option<u64>,
    /// Whom it may pay; anybody if `None`.
    pub peers: Option<Vec<UserKey>>,
    /// Whether places outside are paid for it too, by the user's rails, and at which rate.
    pub rails: Option<OwnRate>,
    /// When it ends, Unix milliseconds.
    pub until: u64,
    /// The public key that the app made; a fresh one is made if `None`.
    pub key: Option<SignerKey>,
}

impl NewAccount {
    /// An account of this name, which ends then, with no bound yet.
    #[must_use]
    pub fn new(name: Name, unit: Unit, until: u64) -> Self {
        Self {
            name,
            unit,
            per_day: None,
            total: None,
            peers: None,
            rails: None,
            until,
            key: None,
        }
    }
}

/// An account that was made.
#[derive(Debug)]
#[non_exhaustive]
pub struct MadeAccount {
    /// How it stands.
    pub account: AccountView,
    /// Its key, if it was made here. It is kept nowhere: give it to the app.
    pub key: Option<AccountKey>,
    /// At which plugin it counts.
    pub plugin: PluginAddress,
    /// Why the agent could not be told; that follows by itself.
    pub fault: Option<Fault>,
}

/// A payment account. Amounts are in minor units of `unit`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccountView {
    /// Its key.
    pub key: SignerKey,
    /// What the user calls it.
    pub name: String,
    /// In what.
    pub unit: Unit,
    /// The most on one day (UTC).
    pub per_day: Option<u64>,
    /// The most in all; `None` if that is not bounded.
    pub total: Option<u64>,
    /// Whom it may pay; anybody if `None`.
    pub peers: Option<Vec<UserKey>>,
    /// Whether places outside are paid for it too, by the user's rails, and at which rate.
    pub rails: Option<OwnRate>,
    /// When it ends, Unix milliseconds.
    pub until: u64,
    /// `active`, `revoked`, `ended`, `restored`.
    pub state: String,
    /// What was spent in all, with what is reserved.
    pub spent: u64,
    /// What can still be spent today.
    pub left_today: u64,
    /// What can still be spent in all; `None` if that is not bounded.
    pub left: Option<u64>,
    /// Whether the agent said so just now; else it is what this wallet knows.
    pub fresh: bool,
}

/// Something that an account asked for. Amounts are in minor units of `unit`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpendView {
    /// Its name.
    pub id: RecordId,
    /// The account.
    pub account: SignerKey,
    /// When the agent took it, Unix milliseconds.
    pub at: u64,
    /// In what.
    pub unit: Unit,
    /// What is to arrive.
    pub amount: u64,
    /// What it cost beyond that.
    pub fee: u64,
    /// Who is paid; `None` for a place outside.
    pub payee: Option<UserKey>,
    /// What the user calls them, else their key, else where.
    pub to: String,
    /// What arrives, at a place outside.
    pub pays: Option<Pays>,
    /// By which rail, once that was chosen.
    pub rail: Option<String>,
    /// When that rail is asked again, Unix milliseconds; `None` if there is nothing to ask.
    pub next_look: Option<u64>,
    /// A few words for the payee.
    pub memo: Option<String>,
    /// How far it is.
    pub stage: SpendStage,
    /// Why it failed: a code.
    pub reason: Option<String>,
    /// What shows that it was paid.
    pub receipt: Option<SpendReceipt>,
    /// The payment over friends.
    pub payment: Option<String>,
    /// When it ended.
    pub ended_at: Option<u64>,
}

impl Wallet {
    /// Lets a key spend: the root signs what it may, that is published, and the agent is told.
    ///
    /// # Errors
    /// [`ClientError::NoAgent`]; [`ClientError::OtherRoot`]; [`ClientError::Usage`] for terms that can't be, or a name that is taken.
    pub async fn new_account(
        &self,
        root: &RootKey,
        new: NewAccount,
    ) -> Result<MadeAccount, ClientError> {
        check_root(root, self.user())?;
        let agent = agent::get(&mut *self.store().read().await?).await?;
        let plugin = agent.ok_or(ClientError::NoAgent)?.plugin;
        let made = match new.key {
            Some(_) => None,
            None => Some(AccountKey::random(self.user(), plugin.clone())),
        };
        let key = made.as_ref().map(AccountKey::account).or(new.key);
        let key =
            key.ok_or_else(|| ClientError::Internal("an account without a key".to_owned()))?;
        if new.per_day.is_none() && new.total.is_none() {
            return Err(ClientError::Usage(
                "an account needs a limit: for a day, or in all".to_owned(),
            ));
        }
        let peers = new.peers.map(|mut peers| {
            peers.sort();
            peers.dedup();
            peers
        });
        let mut change = self.change().await?;
        let delegation = Delegation {
            v: Default::default(),
            root: self.user(),
            key,
            scopes: match new.rails {
                Some(_) => vec![Scope::Request, Scope::Rails],
                None => vec![Scope::Request],
            },
            peers,
            limits: vec![DelegationLimit {
                unit: new.unit,
                per_peer: new.total.map_or(Ok(Total::MAX), Total::from_minor)?,
                per_day: new.per_day.map(Total::from_minor).transpose()?,
            }],
            not_before: Timestamp::from_millis(now().millis().saturating_sub(CLOCK_SLACK_MS))?,
            not_after: Timestamp::from_millis(new.until)?,
            serial: next_serial(change.conn()).await?,
        };
        let delegation = Signed::sign(delegation, root.keypair())?;
        let row = AccountRow {
            key,
            name: new.name.to_string(),
            delegation: delegation.jws().to_owned(),
            plugin: plugin.key.to_z32(),
            told: false,
            rate: new.rails.unwrap_or_default(),
            revoked_at: None,
            created_at: now().millis(),
        };
        if !accounts::add(change.conn(), &row).await? {
            return Err(ClientError::Usage(format!(
                "there is an account {:?} already, or one with this key",
                row.name
            )));
        }
        plan(change.conn(), &row).await?;
        change
            .note(HistoryItem {
                kind: "account".to_owned(),
                note: Some(format!("{:?} may spend", row.name)),
                ..HistoryItem::default()
            })
            .await?;
        change.signed();
        change.commit().await?;
        let fault = self.publish_accounts().await?;
        Ok(MadeAccount {
            account: view(&row, &mut *self.store().read().await?).await?,
            key: made,
            plugin,
            fault,
        })
    }

    /// Ends an account for good: the root's revocation is published, and the agent is told.
    ///
    /// # Errors
    /// [`ClientError::UnknownAccount`], [`ClientError::OtherRoot`]. What can't be reached is told later; the fault says so.
    pub async fn revoke_account(
        &self,
        root: &RootKey,
        name: &str,
    ) -> Result<(AccountView, Option<Fault>), ClientError> {
        check_root(root, self.user())?;
        let row = self.account_row(name).await?;
        let revocation = root.revoke(row.key, now())?;
        let mut change = self.change().await?;
        recover::plan_revocation(change.conn(), row.key, revocation.jws()).await?;
        super::agent::keep_revocation(change.conn(), &revocation).await?;
        let at = change.now.millis();
        accounts::revoke(change.conn(), &row.key, at).await?;
        change
            .note(HistoryItem {
                kind: "account".to_owned(),
                note: Some(format!("{:?} was revoked", row.name)),
                ..HistoryItem::default()
            })
            .await?;
        change.signed();
        change.commit().await?;
        let fault = self.publish_accounts().await?;
        let mut conn = self.store().read().await?;
        let row = accounts::get(&mut conn, &row.key).await?.unwrap_or(row);
        Ok((view(&row, &mut conn).await?, fault))
    }

    /// Tells the agent first, then the world. Both are done later if they can't be done now.
    async fn publish_accounts(&self) -> Result<Option<Fault>, ClientError> {
        let told = match self.agent_client().await? {
            Some(client) => self.tell_accounts(&client).await,
            None => Ok(()),
        };
        let flushed = self.flush().await;
        match (told, flushed) {
            (Err(error @ (ClientError::Store(_) | ClientError::StoreFull)), _)
            | (_, Err(error @ (ClientError::Store(_) | ClientError::StoreFull))) => Err(error),
            (Err(error), _) | (_, Err(error)) => Ok(Some(Fault::from(&error))),
            (Ok(()), Ok(flushed)) => Ok(flushed.fault),
        }
    }

    /// The accounts, the oldest first; what is left of each, as the agent says if it can be asked.
    ///
    /// # Errors
    /// What the store says.
    pub async fn accounts(&self) -> Result<(Vec<AccountView>, Option<Fault>), ClientError> {
        let rows = accounts::list(&mut *self.store().read().await?).await?;
        let (standing, fault) = self.standings(&rows).await?;
        let mut shown = Vec::new();
        for row in &rows {
            shown.push(self.account_view(row, &standing).await?);
        }
        Ok((shown, fault))
    }

    /// One account, and what it asked for, newest first.
    ///
    /// # Errors
    /// [`ClientError::UnknownAccount`], or what the store says.
    pub async fn account(
        &self,
        name: &str,
    ) -> Result<(AccountView, Vec<SpendView>, Option<Fault>), ClientError> {
        let mut fault = self.tend_agent().await?.failed.as_ref().map(Fault::from);
        let row = self.account_row(name).await?;
        let (standing, away) = self.standings(std::slice::from_ref(&row)).await?;
        fault = fault.or(away);
        let spends =
            accounts::spends_of(&mut *self.store().read().await?, &row.key, LISTED).await?;
        let mut shown = Vec::new();
        for spend in &spends {
            shown.push(self.spend_view(spend).await?);
        }
        Ok((self.account_view(&row, &standing).await?, shown, fault))
    }

    /// What the agent says of the accounts, if there is anything to ask for.
    async fn standings(
        &self,
        rows: &[AccountRow],
    ) -> Result<(Vec<AccountStanding>, Option<Fault>), ClientError> {
        if rows.iter().all(|row| row.revoked_at.is_some() && row.told) {
            return Ok((Vec::new(), None));
        }
        let Some(client) = self.agent_client().await? else {
            return Ok((Vec::new(), None));
        };
        let asked = async {
            self.tell_accounts(&client).await?;
            client.accounts().await.map_err(agent_error)
        };
        match asked.await {
            Ok(standing) => Ok((standing, None)),
            Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => Err(error),
            Err(error) => Ok((Vec::new(), Some(Fault::from(&error)))),
        }
    }

    async fn account_view(
        &self,
        row: &AccountRow,
        standing: &[AccountStanding],
    ) -> Result<AccountView, ClientError> {
        let mut shown = view(row, &mut *self.store().read().await?).await?;
        let theirs = standing.iter().find(|theirs| theirs.account == row.key);
        if let Some(theirs) = theirs.filter(|_| shown.state != "revoked") {
            let number = |text: &str| text.parse::<u64>().unwrap_or(0);
            shown.spent = number(&theirs.spent);
            shown.left_today = number(&theirs.left_today);
            shown.left = shown.total.map(|_| number(&theirs.left));
            shown.fresh = true;
            if theirs.state != "active" {
                shown.state.clone_from(&theirs.state);
            }
        }
        Ok(shown)
    }

    async fn spend_view(&self, row: &SpendRow) -> Result<SpendView, ClientError> {
        let signed = row.signed()?;
        let record = signed.record();
        let payee = record.payee();
        let to = match (&record.to, payee) {
            (SpendTo::Target(target), _) => format!("{} {}", target.method, target.value),
            (_, Some(payee)) => self.name_of(&payee).await?,
            _ => String::new(),
        };
        Ok(SpendView {
            id: row.id,
            account: row.account,
            at: row.at,
            unit: record.unit.clone(),
            amount: row.amount,
            fee: row.fee,
            payee,
            to,
            pays: match &record.to {
                SpendTo::Target(_) => record.payment().ok(),
                _ => None,
            },
            next_look: row
                .outlay
                .as_ref()
                .filter(|_| row.ended_at.is_none())
                .map(|_| row.next_at),
            rail: row
                .outlay
                .as_ref()
                .and_then(|outlay| outlay.way())
                .map(|way| way.rail.to_string()),
            memo: record.memo.as_ref().map(ToString::to_string),
            stage: row.stage,
            reason: row.reason.clone(),
            receipt: row
                .receipt
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok()),
            payment: row.payment.clone(),
            ended_at: row.ended_at,
        })
    }

    /// The account of this key as this wallet itself knows it, whatever the agent says of it.
    pub(super) async fn account_of(
        &self,
        key: &SignerKey,
    ) -> Result<Option<AccountView>, ClientError> {
        let mut conn = self.store().read().await?;
        match accounts::get(&mut conn, key).await? {
            Some(row) => view(&row, &mut conn).await.map(Some),
            None => Ok(None),
        }
    }

    /// The account of this name that stands, else the newest of the name, or the one with this key.
    async fn account_row(&self, name: &str) -> Result<AccountRow, ClientError> {
        let rows = accounts::list(&mut *self.store().read().await?).await?;
        let named = |row: &&AccountRow| row.name == name || row.key.to_string() == name;
        let standing = rows
            .iter()
            .find(|row| named(row) && row.revoked_at.is_none());
        let found = standing.or_else(|| rows.iter().rev().find(named));
        found
            .cloned()
            .ok_or_else(|| ClientError::UnknownAccount(name.to_owned()))
    }
}

/// Plans to publish the root's word for an account that stands.
async fn plan(conn: &mut sqlx::SqliteConnection, row: &AccountRow) -> Result<(), ClientError> {
    let path = delegation_path(&row.key);
    let body = row.delegation.as_bytes();
    publications::put(conn, &path, Some(body), now().millis()).await
}

/// Plans to publish the words for all accounts that stand: at a new homeserver.
pub(crate) async fn plan_all(conn: &mut sqlx::SqliteConnection) -> Result<(), ClientError> {
    for row in accounts::list(conn).await? {
        if row.revoked_at.is_none() {
            plan(conn, &row).await?;
        }
    }
    Ok(())
}

/// An account as this wallet knows it.
async fn view(
    row: &AccountRow,
    conn: &mut sqlx::SqliteConnection,
) -> Result<AccountView, ClientError> {
    let corrupt = |why: String| ClientError::StoreCorrupt {
        what: "an account",
        why,
    };
    let word: Signed<Delegation> =
        Signed::decode(&row.delegation).map_err(|error| corrupt(error.to_string()))?;
    let word = word.record();
    let terms = AccountTerms::of(word).map_err(|error| corrupt(error.to_string()))?;
    let used = accounts::used(conn, &row.key, day_of(now())).await?;
    let (left_today, left) = terms.left(used);
    let total = (terms.in_all < Total::MAX).then(|| terms.in_all.minor());
    let state = match row.revoked_at {
        Some(_) => "revoked",
        None if now() >= word.not_after => "ended",
        None => "active",
    };
    Ok(AccountView {
        key: row.key,
        name: row.name.clone(),
        unit: terms.unit,
        per_day: terms.per_day.map(Total::minor),
        total,
        peers: word.peers.clone(),
        rails: terms.rails.then_some(row.rate),
        until: word.not_after.millis(),
        state: state.to_owned(),
        spent: used.in_all,
        left_today,
        left: total.map(|_| left),
        fresh: false,
    })
}
