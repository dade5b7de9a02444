//! The agent that keeps books for this user, and which books those are.

use atomicity_ledger::{SignerKey, UserKey};
use sqlx::SqliteConnection;

use super::super::{from_sql, parse_own, to_sql};
use crate::error::ClientError;
use crate::net::grant::may_advertise;
use crate::net::plugin::PluginAddress;

/// How far handing books over got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentStage {
    /// They are to be handed over, and still kept here.
    Wanted,
    /// Their book names the agent: nothing is signed here any more, and the agent may or may not have them.
    Handing,
    /// The agent keeps them.
    Kept,
    /// They are to come home for a while, and the agent may have signed them over already.
    Returning,
}

impl AgentStage {
    /// `wanted`, `handing`, `kept` or `returning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Handing => "handing",
            Self::Kept => "kept",
            Self::Returning => "returning",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "wanted" => Self::Wanted,
            "handing" => Self::Handing,
            "returning" => Self::Returning,
            _ => Self::Kept,
        }
    }
}

/// The agent.
#[derive(Clone, Debug)]
pub(crate) struct AgentRow {
    /// Where it is.
    pub plugin: PluginAddress,
    /// With which key it signs.
    pub key: SignerKey,
    /// When it ends by itself, Unix milliseconds.
    pub until: u64,
    /// The root's word for its key.
    pub delegation: String,
    /// A grant to write channel files.
    pub storage: String,
    /// Whether the plugin has not been told of this yet.
    pub stale: bool,
    /// The last event that was read.
    pub event: u64,
    /// The last signature that was read.
    pub signature: u64,
}

/// Books that are with the agent, or on their way to it.
#[derive(Clone, Debug)]
pub(crate) struct AgentPairRow {
    /// Towards whom.
    pub user: UserKey,
    /// How far it got.
    pub stage: AgentStage,
    /// What the copy here shows.
    pub version: String,
    /// Whether the agent does not know the newest limits.
    pub stale: bool,
    /// Until when they are not handed over, Unix milliseconds.
    pub home_until: u64,
}

impl AgentPairRow {
    /// Books that are to be handed over.
    pub(crate) fn wanted(user: UserKey) -> Self {
        Self {
            user,
            stage: AgentStage::Wanted,
            version: String::new(),
            stale: false,
            home_until: 0,
        }
    }
}

/// The agent, if there is one.
pub(crate) async fn get(conn: &mut SqliteConnection) -> Result<Option<AgentRow>, ClientError> {
    let row = sqlx::query!(
        "SELECT plugin, key, until, delegation, storage, stale, event, signature FROM agent"
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some(AgentRow {
        plugin: parse_own(&row.plugin, "the agent's plugin")?,
        key: parse_own(&row.key, "the agent's key")?,
        until: from_sql(row.until),
        delegation: row.delegation,
        storage: row.storage,
        stale: row.stale != 0,
        event: from_sql(row.event),
        signature: from_sql(row.signature),
    }))
}

/// Stores the agent. What was read of the same key's events stays.
pub(crate) async fn put(conn: &mut SqliteConnection, row: &AgentRow) -> Result<(), ClientError> {
    let (plugin, key) = (row.plugin.to_string(), row.key.to_string());
    let until = to_sql(row.until);
    let stale = i64::from(row.stale);
    let (event, signature) = (to_sql(row.event), to_sql(row.signature));
    sqlx::query!(
        "INSERT INTO agent (id, plugin, key, until, delegation, storage, stale, event, signature) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET plugin = excluded.plugin, key = excluded.key, until = excluded.until,
            delegation = excluded.delegation, storage = excluded.storage, stale = excluded.stale, event = excluded.event,
            signature = excluded.signature",
        plugin,
        key,
        until,
        row.delegation,
        row.storage,
        stale,
        event,
        signature,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the agent.
pub(crate) async fn remove(conn: &mut SqliteConnection) -> Result<(), ClientError> {
    sqlx::query!("DELETE FROM agent").execute(conn).await?;
    Ok(())
}

/// Notes whether the plugin must be told of the agent's settings.
pub(crate) async fn set_stale(conn: &mut SqliteConnection, stale: bool) -> Result<(), ClientError> {
    let stale = i64::from(stale);
    sqlx::query!("UPDATE agent SET stale = ?", stale)
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes up to where events were read.
pub(crate) async fn read_event(conn: &mut SqliteConnection, id: u64) -> Result<(), ClientError> {
    let id = to_sql(id);
    sqlx::query!("UPDATE agent SET event = max(event, ?)", id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes up to where signatures were read.
pub(crate) async fn read_signature(
    conn: &mut SqliteConnection,
    id: u64,
) -> Result<(), ClientError> {
    let id = to_sql(id);
    sqlx::query!("UPDATE agent SET signature = max(signature, ?)", id)
        .execute(conn)
        .await?;
    Ok(())
}

/// How far handing over the books with somebody got, if they are to be with the agent.
pub(crate) async fn pair(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Option<AgentPairRow>, ClientError> {
    let name = user.to_string();
    let row = sqlx::query!(
        "SELECT stage, version, stale, home_until FROM agent_pair WHERE user = ?",
        name
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| AgentPairRow {
        user: *user,
        stage: AgentStage::read(&row.stage),
        version: row.version,
        stale: row.stale != 0,
        home_until: from_sql(row.home_until),
    }))
}

/// Whether nothing may be signed here for somebody, because the agent keeps the books or may do so.
pub(crate) async fn keeps(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<bool, ClientError> {
    let known = pair(conn, user).await?;
    Ok(known.is_some_and(|row| row.stage != AgentStage::Wanted))
}

/// Whether the agent publishes what goes over the channel with somebody: it keeps the books, and has leave to write there.
pub(crate) async fn advertises(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<bool, ClientError> {
    let agent = match keeps(conn, user).await? {
        true => get(conn).await?,
        false => None,
    };
    Ok(agent.is_some_and(|agent| may_advertise(&agent.storage)))
}

/// Whether half of the books or more are with the agent, or are to be.
pub(crate) async fn keeps_most(conn: &mut SqliteConnection) -> Result<bool, ClientError> {
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM agent_pair) AS "kept!: i64", (SELECT count(*) FROM pair) AS "all!: i64""#
    )
    .fetch_one(conn)
    .await?;
    Ok(row.kept > 0 && row.kept.saturating_mul(2) >= row.all)
}

/// All books that are with the agent, or on their way to it.
pub(crate) async fn pairs(conn: &mut SqliteConnection) -> Result<Vec<AgentPairRow>, ClientError> {
    let rows = sqlx::query!(
        "SELECT user, stage, version, stale, home_until FROM agent_pair ORDER BY user"
    )
    .fetch_all(conn)
    .await?;
    let read = rows.into_iter().map(|row| {
        Ok(AgentPairRow {
            user: parse_own(&row.user, "a peer's key")?,
            stage: AgentStage::read(&row.stage),
            version: row.version,
            stale: row.stale != 0,
            home_until: from_sql(row.home_until),
        })
    });
    read.collect()
}

/// Notes how far handing over got.
pub(crate) async fn put_pair(
    conn: &mut SqliteConnection,
    row: &AgentPairRow,
) -> Result<(), ClientError> {
    let (user, stage) = (row.user.to_string(), row.stage.as_str());
    let (stale, home_until) = (i64::from(row.stale), to_sql(row.home_until));
    sqlx::query!(
        "INSERT INTO agent_pair (user, stage, version, stale, home_until) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (user) DO UPDATE SET stage = excluded.stage, version = excluded.version, stale = excluded.stale,
             home_until = excluded.home_until",
        user,
        stage,
        row.version,
        stale,
        home_until
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that the agent must be told of new limits: towards one friend, or towards all.
pub(crate) async fn limits_changed(
    conn: &mut SqliteConnection,
    user: Option<&UserKey>,
) -> Result<(), ClientError> {
    let user = user.map(ToString::to_string);
    sqlx::query!(
        "UPDATE agent_pair SET stale = 1 WHERE ?1 IS NULL OR user = ?1",
        user
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The books with somebody are kept here again.
pub(crate) async fn remove_pair(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<(), ClientError> {
    let user = user.to_string();
    sqlx::query!("DELETE FROM agent_pair WHERE user = ?", user)
        .execute(conn)
        .await?;
    Ok(())
}

/// What kept the books with somebody here for a while has ended: they may be handed over again.
pub(crate) async fn may_go(conn: &mut SqliteConnection, user: &UserKey) -> Result<(), ClientError> {
    let user = user.to_string();
    sqlx::query!("UPDATE agent_pair SET home_until = 0 WHERE user = ?", user)
        .execute(conn)
        .await?;
    Ok(())
}
