//! Payment accounts, and what they asked for.

mod outlays;
mod stage;

use atomicity_ledger::account::Used;
use atomicity_ledger::record::Spend;
use atomicity_ledger::settle::Outlay;
use atomicity_ledger::{RecordId, Signed, SignerKey};
use sqlx::SqliteConnection;

use super::rails::OwnRate;
use super::{from_sql, json_in, parse_own, to_sql};
use crate::error::ClientError;

pub use stage::SpendStage;

pub(crate) use outlays::{
    any_by_rail, open_outlays, outlay_failed, outlay_paid, put_off, put_outlay, set_rate,
};

/// An account.
#[derive(Clone, Debug)]
pub(crate) struct AccountRow {
    pub key: SignerKey,
    pub name: String,
    /// The root's word for it.
    pub delegation: String,
    /// At which plugin it counts: its key.
    pub plugin: String,
    /// Whether the agent knows how it stands.
    pub told: bool,
    /// At which rate places outside are paid for it.
    pub rate: OwnRate,
    pub revoked_at: Option<u64>,
    pub created_at: u64,
}

/// A spend.
#[derive(Clone, Debug)]
pub(crate) struct SpendRow {
    pub id: RecordId,
    pub account: SignerKey,
    pub at: u64,
    pub stage: SpendStage,
    pub told: bool,
    pub record: String,
    pub amount: u64,
    pub reason: Option<String>,
    pub fee: u64,
    pub receipt: Option<String>,
    pub payment: Option<String>,
    /// What is paid outside for it.
    pub outlay: Option<Outlay>,
    /// When that is looked at again, Unix milliseconds.
    pub next_at: u64,
    /// How often nothing came of it.
    pub tries: u64,
    pub ended_at: Option<u64>,
}

impl SpendRow {
    /// What the account signed.
    pub(crate) fn signed(&self) -> Result<Signed<Spend>, ClientError> {
        Signed::decode(&self.record).map_err(|error| ClientError::StoreCorrupt {
            what: "a spend",
            why: error.to_string(),
        })
    }
}

struct Account {
    key: String,
    name: String,
    delegation: String,
    plugin: String,
    told: i64,
    rate_msat: Option<i64>,
    spread_ppm: i64,
    by_source: i64,
    revoked_at: Option<i64>,
    created_at: i64,
}

impl TryFrom<Account> for AccountRow {
    type Error = ClientError;

    fn try_from(row: Account) -> Result<Self, ClientError> {
        Ok(Self {
            key: parse_own(&row.key, "an account's key")?,
            name: row.name,
            delegation: row.delegation,
            plugin: row.plugin,
            told: row.told != 0,
            rate: OwnRate {
                msat: row.rate_msat.map(from_sql),
                spread_ppm: u32::try_from(row.spread_ppm).unwrap_or(0),
                by_source: row.by_source != 0,
            },
            revoked_at: row.revoked_at.map(from_sql),
            created_at: from_sql(row.created_at),
        })
    }
}

struct Row {
    id: String,
    account: String,
    at: i64,
    state: String,
    told: i64,
    record: String,
    amount: i64,
    reason: Option<String>,
    fee: i64,
    receipt: Option<String>,
    payment: Option<String>,
    outlay: Option<String>,
    next_at: i64,
    tries: i64,
    ended_at: Option<i64>,
}

impl TryFrom<Row> for SpendRow {
    type Error = ClientError;

    fn try_from(row: Row) -> Result<Self, ClientError> {
        Ok(Self {
            id: parse_own(&row.id, "a spend's id")?,
            account: parse_own(&row.account, "an account's key")?,
            at: from_sql(row.at),
            stage: SpendStage::read(&row.state),
            told: row.told != 0,
            record: row.record,
            amount: from_sql(row.amount),
            reason: row.reason,
            fee: from_sql(row.fee),
            receipt: row.receipt,
            payment: row.payment,
            outlay: row
                .outlay
                .map(|text| json_in(&text, "what is paid outside for an account"))
                .transpose()?,
            next_at: from_sql(row.next_at),
            tries: from_sql(row.tries),
            ended_at: row.ended_at.map(from_sql),
        })
    }
}

/// Keeps a new account. `false` if another one that stands has the name, or the key was used.
pub(crate) async fn add(
    conn: &mut SqliteConnection,
    row: &AccountRow,
) -> Result<bool, ClientError> {
    let (key, created) = (row.key.to_string(), to_sql(row.created_at));
    let rate_msat = row.rate.msat.map(to_sql);
    let done = sqlx::query!(
        "INSERT INTO account (key, name, delegation, plugin, told, rate_msat, spread_ppm, by_source, created_at)
         VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        key,
        row.name,
        row.delegation,
        row.plugin,
        rate_msat,
        row.rate.spread_ppm,
        row.rate.by_source,
        created
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All accounts, the oldest first.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<AccountRow>, ClientError> {
    let rows = sqlx::query_as!(
        Account,
        "SELECT key, name, delegation, plugin, told, rate_msat, spread_ppm, by_source, revoked_at, created_at FROM account ORDER BY created_at, key"
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The account of a key.
pub(crate) async fn get(
    conn: &mut SqliteConnection,
    key: &SignerKey,
) -> Result<Option<AccountRow>, ClientError> {
    let key = key.to_string();
    let row = sqlx::query_as!(
        Account,
        "SELECT key, name, delegation, plugin, told, rate_msat, spread_ppm, by_source, revoked_at, created_at FROM account WHERE key = ?",
        key
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Notes whether the agent knows how an account stands.
pub(crate) async fn set_told(
    conn: &mut SqliteConnection,
    key: &SignerKey,
    told: bool,
) -> Result<(), ClientError> {
    let key = key.to_string();
    sqlx::query!("UPDATE account SET told = ? WHERE key = ?", told, key)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends an account.
pub(crate) async fn revoke(
    conn: &mut SqliteConnection,
    key: &SignerKey,
    now: u64,
) -> Result<(), ClientError> {
    let (key, now) = (key.to_string(), to_sql(now));
    sqlx::query!(
        "UPDATE account SET revoked_at = COALESCE(revoked_at, ?), told = 0 WHERE key = ?",
        now,
        key
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps a spend that was not known yet. Returns whether it is new.
pub(crate) async fn add_spend(
    conn: &mut SqliteConnection,
    spend: &Signed<Spend>,
    (at, day): (u64, u64),
) -> Result<bool, ClientError> {
    let record = spend.record();
    let (id, account) = (record.id.to_string(), spend.kid().to_string());
    let payee = record.payee().map(|payee| payee.to_z32());
    let (unit, amount) = (record.unit.to_string(), to_sql(record.amount.minor()));
    let (at, day, jws) = (to_sql(at), to_sql(day), spend.jws());
    let done = sqlx::query!(
        "INSERT INTO account_spend (id, account, at, day, record, payee, unit, amount, cost, state, told)
         SELECT ?, key, ?, ?, ?, ?, ?, ?, 0, 'seen', 1 FROM account WHERE key = ? ON CONFLICT DO NOTHING",
        id,
        at,
        day,
        jws,
        payee,
        unit,
        amount,
        account
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a spend is for this wallet to pay, if it is the one that is known and nothing was done about it.
pub(crate) async fn wanted(
    conn: &mut SqliteConnection,
    id: &RecordId,
    record: &str,
) -> Result<(), ClientError> {
    let id = id.to_string();
    sqlx::query!(
        "UPDATE account_spend SET state = 'waiting' WHERE id = ? AND record = ? AND state = 'seen'",
        id,
        record
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that the agent has paid a spend itself. Returns whether it is one.
pub(crate) async fn paid_by_agent(
    conn: &mut SqliteConnection,
    id: &str,
    (payee, receipt): (&str, &str),
    now: u64,
) -> Result<bool, ClientError> {
    let now = to_sql(now);
    let done = sqlx::query!(
        "UPDATE account_spend SET state = 'paid', told = 1, cost = amount, receipt = ?, ended_at = ?
         WHERE id = ? AND payee = ? AND state IN ('seen', 'waiting')",
        receipt,
        now,
        id,
        payee
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A spend.
pub(crate) async fn spend(
    conn: &mut SqliteConnection,
    id: &RecordId,
) -> Result<Option<SpendRow>, ClientError> {
    let id = id.to_string();
    let row = sqlx::query_as!(
        Row,
        "SELECT id, account, at, state, told, record, amount, reason, fee, receipt, payment, outlay, next_at, tries, ended_at
         FROM account_spend WHERE id = ?",
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// What is to be gone on with: the oldest first.
pub(crate) async fn open_spends(
    conn: &mut SqliteConnection,
    limit: u32,
) -> Result<Vec<SpendRow>, ClientError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, account, at, state, told, record, amount, reason, fee, receipt, payment, outlay, next_at, tries, ended_at
         FROM account_spend WHERE state IN ('waiting', 'claimed', 'paying', 'unknown') OR told = 0 ORDER BY at, id LIMIT ?",
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The spends of an account, newest first.
pub(crate) async fn spends_of(
    conn: &mut SqliteConnection,
    account: &SignerKey,
    limit: u32,
) -> Result<Vec<SpendRow>, ClientError> {
    let account = account.to_string();
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, account, at, state, told, record, amount, reason, fee, receipt, payment, outlay, next_at, tries, ended_at
         FROM account_spend WHERE account = ? ORDER BY at DESC, id DESC LIMIT ?",
        account,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// What an account has spent, as far as this wallet knows: on a day, and in all.
pub(crate) async fn used(
    conn: &mut SqliteConnection,
    account: &SignerKey,
    day: u64,
) -> Result<Used, ClientError> {
    let (account, day) = (account.to_string(), to_sql(day));
    let row = sqlx::query!(
        r#"SELECT COALESCE(SUM(cost), 0) AS "in_all!: i64", COALESCE(SUM(CASE WHEN day = ? THEN cost END), 0) AS "today!: i64"
           FROM account_spend WHERE account = ?"#,
        day,
        account
    )
    .fetch_one(conn)
    .await?;
    Ok(Used {
        today: from_sql(row.today),
        in_all: from_sql(row.in_all),
    })
}

/// Takes a spend on: from here on it counts. `false` if another process was faster.
pub(crate) async fn claim(
    conn: &mut SqliteConnection,
    id: &RecordId,
    (day, cost): (u64, u64),
) -> Result<bool, ClientError> {
    let (id, day, cost) = (id.to_string(), to_sql(day), to_sql(cost));
    let done = sqlx::query!(
        "UPDATE account_spend SET state = 'claimed', told = 0, day = ?, cost = ? WHERE id = ? AND state = 'waiting'",
        day,
        cost,
        id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that the agent knows how a spend stands, if that is still so.
pub(crate) async fn spend_told(
    conn: &mut SqliteConnection,
    id: &RecordId,
    stage: SpendStage,
) -> Result<(), ClientError> {
    let (id, state) = (id.to_string(), stage.as_str());
    sqlx::query!(
        "UPDATE account_spend SET told = 1 WHERE id = ? AND state = ?",
        id,
        state
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Binds a payment over friends to the spend for which it is made, in the transaction that makes it. `false` if there is one already.
pub(crate) async fn begun(
    conn: &mut SqliteConnection,
    id: &RecordId,
    payment: &RecordId,
) -> Result<bool, ClientError> {
    let (id, payment) = (id.to_string(), payment.to_string());
    let done = sqlx::query!(
        "UPDATE account_spend SET state = 'paying', payment = ? WHERE id = ? AND state = 'claimed'",
        payment,
        id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a spend is paid. `false` if it was not being paid.
pub(crate) async fn paid(
    conn: &mut SqliteConnection,
    id: &RecordId,
    (fee, receipt): (u64, &str),
    now: u64,
) -> Result<bool, ClientError> {
    let (id, fee, now) = (id.to_string(), to_sql(fee), to_sql(now));
    let done = sqlx::query!(
        "UPDATE account_spend SET state = 'paid', told = 0, fee = ?, cost = amount + ?, receipt = ?, ended_at = ?
         WHERE id = ? AND state IN ('claimed', 'paying')",
        fee,
        fee,
        receipt,
        now,
        id
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Notes that a spend is not paid and will not be, if it stands as it was seen to stand. `told`: whether the agent knows.
pub(crate) async fn failed(
    conn: &mut SqliteConnection,
    id: &RecordId,
    stage: SpendStage,
    (reason, told): (&str, bool),
    now: u64,
) -> Result<bool, ClientError> {
    let (id, state, now) = (id.to_string(), stage.as_str(), to_sql(now));
    let done = sqlx::query!(
        "UPDATE account_spend SET state = 'failed', told = ?, cost = 0, reason = ?, ended_at = ? WHERE id = ? AND state = ?",
        told,
        reason,
        now,
        id,
        state
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
