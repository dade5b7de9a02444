//! Books that come home for a while: what only this device can do with them, settle a debt say, is done here, and then the agent gets
//! them again. That they are to come home, and how long they stay at least, stands in the store before the agent is asked.

use std::time::Duration;

use atomicity_ledger::{Timestamp, UserKey};
use sqlx::SqliteConnection;

use super::super::receive::{Received, Source};
use super::super::{PendingRecord, Wallet, WalletEvent, now, settle};
use super::Tended;
use super::back::Stay;
use crate::error::ClientError;
use crate::net::plugin::PluginClient;
use crate::store::inbox;
use crate::store::pairs::agent::{self, AgentPairRow, AgentRow, AgentStage};

/// How long books stay at least for what they came for, in milliseconds: after that, what is under way keeps them.
pub(super) const STAY_MS: u64 = 20_000;
/// How often the agent is asked for books that it can't let go of at the moment, and how long to wait between.
const ASKED: u32 = 10;
const ASKED_EVERY: Duration = Duration::from_secs(2);
/// Why a record waits that calls for a signature which nobody here may make.
const NO_PEN: &str = "no_pen";

impl Wallet {
    /// Brings the books with a friend home, if the agent keeps them: from here on they can be signed here. The agent gets them again when
    /// nothing that is settled with the friend needs them any more.
    ///
    /// # Errors
    /// [`ClientError::AgentAway`] if it does not answer: they come home as soon as it does. [`ClientError::AgentRefused`].
    pub(in super::super) async fn bring_home(&self, user: &UserKey) -> Result<(), ClientError> {
        let Some(stage) = self.call_home(user).await? else {
            return Ok(());
        };
        self.ensure_may_sign().await?;
        let row = self.agent_row().await?;
        let client = self.plugin_client(row.plugin.clone()).await?;
        if stage == AgentStage::Handing {
            self.hand_pair(&row, &client, user).await?;
            self.call_home(user).await?;
        }
        for _ in 0..ASKED {
            match self.come_home(&row, &client, user).await {
                Err(error) if is_busy(&error) => tokio::time::sleep(ASKED_EVERY).await,
                done => return done,
            }
        }
        self.come_home(&row, &client, user).await
    }

    /// Notes that books are to come home, and stay for a moment. Says how far they are from it; nothing if they are here.
    async fn call_home(&self, user: &UserKey) -> Result<Option<AgentStage>, ClientError> {
        if agent::pair(&mut *self.store().read().await?, user)
            .await?
            .is_none()
        {
            return Ok(None);
        }
        let mut change = self.change().await?;
        let Some(mut pair) = agent::pair(change.conn(), user).await? else {
            return Ok(None);
        };
        pair.home_until = change.now.millis().saturating_add(STAY_MS);
        if pair.stage == AgentStage::Kept {
            pair.stage = AgentStage::Returning;
        }
        agent::put_pair(change.conn(), &pair).await?;
        change.commit().await?;
        Ok(Some(pair.stage).filter(|stage| *stage != AgentStage::Wanted))
    }

    /// Takes the books from the agent, and whatever waited for them.
    pub(super) async fn come_home(
        &self,
        row: &AgentRow,
        client: &PluginClient,
        user: &UserKey,
    ) -> Result<(), ClientError> {
        self.take_pair_back(row, client, user, Stay::ForAWhile)
            .await?;
        self.forget_directory();
        // What came for the books since the agent let go of them was left where it lies.
        if let Some(fault) = self.read_inboxes().await?.fault {
            tracing::info!(code = fault.code, "an inbox is read later");
        }
        self.take_held(user).await.map(|_| ())
    }

    /// Tries the records of a friend again that wait here: with the books, or, if the agent has them, as far as that goes without them.
    async fn take_held(&self, user: &UserKey) -> Result<Received, ClientError> {
        let mut received = self.receive(user, &[], &[], Source::Nowhere).await?;
        match self.look_up_authority(user, &mut received).await {
            Err(error) if error.is_network() || error.is_transient() => {
                tracing::info!(code = error.code(), "looked up later: {error}");
            }
            looked => looked?,
        }
        Ok(received)
    }

    /// Goes on with records about settlements that came to the agent: it passes them on, and does not judge what they ask for. What can't be
    /// answered without the books brings them home.
    pub(super) async fn take_passed_on(&self, tended: &mut Tended) -> Result<(), ClientError> {
        let pairs = agent::pairs(&mut *self.store().read().await?).await?;
        for pair in pairs {
            let mut conn = self.store().read().await?;
            let waits = inbox::count_held(&mut conn, &pair.user).await? > 0;
            drop(conn);
            if !waits {
                continue;
            }
            let received = self.take_held(&pair.user).await?;
            tended.events.extend(received.events);
            let held = inbox::held(&mut *self.store().read().await?, &pair.user).await?;
            let unsigned = |one: &PendingRecord| one.reason == NO_PEN && settle::is_kind(&one.kind);
            if pair.stage == AgentStage::Kept && held.iter().any(unsigned) {
                self.bring_home(&pair.user).await?;
            }
        }
        Ok(())
    }

    /// Books that were here for a while go to the agent again, if nothing keeps them. Whatever hinders it is tried again later. Returns
    /// what the agent had to tell.
    ///
    /// # Errors
    /// What the store says.
    pub async fn let_books_go(&self) -> Result<Vec<WalletEvent>, ClientError> {
        if !self.books_may_go().await? {
            return Ok(Vec::new());
        }
        let tended = self.tend_agent().await?;
        for (user, fault) in tended.faults {
            tracing::info!(%user, code = fault.code, "books are not with the agent again yet");
        }
        if let Some(error) = tended.failed {
            tracing::info!(code = error.code(), "the agent is told later: {error}");
        }
        Ok(tended.events)
    }

    /// Whether books wait for nothing but to go to the agent, or to come home.
    pub(in super::super) async fn books_may_go(&self) -> Result<bool, ClientError> {
        let mut conn = self.store().read().await?;
        let now = now();
        for pair in agent::pairs(&mut conn).await? {
            let goes = match pair.stage {
                AgentStage::Kept => false,
                AgentStage::Handing | AgentStage::Returning => true,
                AgentStage::Wanted => !stays(&mut conn, &pair, now).await?,
            };
            if goes {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether books that are to be handed over stay here for now: they have just come home, or something is being settled.
pub(super) async fn stays(
    conn: &mut SqliteConnection,
    pair: &AgentPairRow,
    now: Timestamp,
) -> Result<bool, ClientError> {
    Ok(pair.home_until > now.millis() || settle::is_under_way(conn, &pair.user, now).await?)
}

/// Whether the agent lets go of the books in a moment: what it collects over them is decided first.
pub(super) fn is_busy(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::AgentRefused {
            code: "invoice_busy",
            ..
        }
    )
}
