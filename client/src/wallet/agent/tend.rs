//! Going on with whatever the agent is to be told, and reading what it did.

use std::collections::BTreeSet;
use std::time::Duration;

use atomicity_ledger::{RecordId, UserKey};

use super::super::event::WalletEvent;
use super::super::{Fault, Wallet, routed, settle};
use super::home::is_busy;
use super::{agent_error, follow, hand, invoices, settling, turns};
use crate::error::ClientError;
use crate::net::plugin::{
    AgentConnection, AgentEvent, AgentInvoice, AgentNews, AgentPair, PluginClient,
};
use crate::store::contacts;
use crate::store::pairs::agent::{self, AgentPairRow, AgentRow, AgentStage};

/// How long to wait for the next event of those that have happened.
const EVENT_PATIENCE: Duration = Duration::from_secs(5);
/// Events that become durable at once.
const EVENT_BATCH: usize = 100;
/// Batches of events, and pages of signatures, that are read in one go at most.
const BATCHES: usize = 100;

/// What looking at the agent brought.
#[derive(Debug, Default)]
pub(crate) struct Tended {
    /// What happened.
    pub(crate) events: Vec<WalletEvent>,
    /// What hindered handing over the books with single friends.
    pub(crate) faults: Vec<(UserKey, Fault)>,
    /// What kept the agent from being asked.
    pub(crate) failed: Option<ClientError>,
    /// Whether payments of this user went on.
    pub(crate) moved: bool,
}

impl Wallet {
    /// Tells the agent what it has not been told yet, hands over what is to be handed over, copies the books that have changed, and
    /// reads what happened. Does nothing if there is no agent.
    ///
    /// # Errors
    /// What the store says. What the agent does wrong stands in the result.
    pub(crate) async fn tend_agent(&self) -> Result<Tended, ClientError> {
        let mut tended = Tended::default();
        let row = agent::get(&mut *self.store().read().await?).await?;
        let Some(row) = row else {
            return Ok(tended);
        };
        let client = self.plugin_client(row.plugin.clone()).await?;
        match self.tend(&row, &client, &mut tended).await {
            Ok(()) => {}
            Err(error) if is_ours(&error) => return Err(error),
            Err(error) => tended.failed = Some(error),
        }
        Ok(tended)
    }

    async fn tend(
        &self,
        row: &AgentRow,
        client: &PluginClient,
        tended: &mut Tended,
    ) -> Result<(), ClientError> {
        if row.stale {
            self.tell_order(row, client).await?;
        }
        let pairs = agent::pairs(&mut *self.store().read().await?).await?;
        for pair in &pairs {
            match self.tend_pair(row, client, pair).await {
                Ok(()) => {}
                Err(error) if is_ours(&error) || matches!(error, ClientError::AgentAway(_)) => {
                    return Err(error);
                }
                Err(error) => tended.faults.push((pair.user, Fault::from(&error))),
            }
        }
        self.hand_invoices(row, client).await?;
        self.copy_changed(row, client, tended).await?;
        // What was signed first: an acknowledgement of it finds it in the history then.
        self.read_signatures(client).await?;
        self.read_spends(client).await?;
        self.read_agent_events(client, tended).await?;
        self.place_approvals().await?;
        self.take_passed_on(tended).await
    }

    async fn tell_order(&self, row: &AgentRow, client: &PluginClient) -> Result<(), ClientError> {
        let authority = Some(row.delegation.clone());
        let storage = Some(row.storage.clone());
        let order = self.agent_order(row.until, authority, storage).await?;
        let made = client.put_agent(&order).await.map_err(agent_error)?;
        if made.agent_key != row.key {
            return Err(ClientError::AgentRefused {
                code: "agent_unknown",
                detail: "it no longer has the key with which it kept the books".to_owned(),
            });
        }
        let mut tx = self.store().write().await?;
        agent::set_stale(tx.conn(), false).await?;
        tx.commit().await
    }

    async fn tend_pair(
        &self,
        row: &AgentRow,
        client: &PluginClient,
        pair: &AgentPairRow,
    ) -> Result<(), ClientError> {
        match (pair.stage, pair.stale) {
            (AgentStage::Wanted, _) => {
                self.ensure_may_sign().await?;
                self.hand_pair(row, client, &pair.user).await
            }
            (AgentStage::Handing, _) => self.hand_pair(row, client, &pair.user).await,
            (AgentStage::Kept, true) => self.renew_limits(row, client, &pair.user).await,
            (AgentStage::Kept, false) => Ok(()),
            (AgentStage::Returning, _) => {
                self.ensure_may_sign().await?;
                match self.come_home(row, client, &pair.user).await {
                    // They come the next time.
                    Err(error) if is_busy(&error) => Ok(()),
                    done => done,
                }
            }
        }
    }

    /// Copies the books that the agent has changed.
    async fn copy_changed(
        &self,
        row: &AgentRow,
        client: &PluginClient,
        tended: &mut Tended,
    ) -> Result<(), ClientError> {
        let view = client.agent().await.map_err(agent_error)?;
        let mut conn = self.store().read().await?;
        let known = agent::pairs(&mut conn).await?;
        drop(conn);
        for pair in known.iter().filter(|pair| pair.stage == AgentStage::Kept) {
            let theirs = view.peers.iter().find(|peer| peer.peer == pair.user);
            if theirs.is_some_and(|peer| peer.state == "kept" && peer.version != pair.version) {
                self.copy_pair(row, client, &pair.user, tended).await?;
            }
        }
        if view.state == "active" {
            return Ok(());
        }
        Err(ClientError::AgentRefused {
            code: match view.state.as_str() {
                "restored" => "books_restored",
                _ => "agent_stopped",
            },
            detail: match view.why.as_deref() {
                Some("ended") => "its time is over".to_owned(),
                Some("revoked") => "it was revoked".to_owned(),
                _ if view.state == "restored" => {
                    "its plugin found its database older than what it had signed".to_owned()
                }
                _ => "it was stopped".to_owned(),
            },
        })
    }

    /// Copies the books with one peer as the agent has them now, and draws what follows for this user's own payments.
    pub(super) async fn copy_pair(
        &self,
        row: &AgentRow,
        client: &PluginClient,
        user: &UserKey,
        tended: &mut Tended,
    ) -> Result<AgentPair, ClientError> {
        let taken = client.agent_pair(user).await.map_err(agent_error)?;
        let mut change = self.change().await?;
        if hand::take_copy(&mut change, row, user, &taken, false).await? {
            let told = routed::follow_copy(&mut change, self.user(), *user, None).await?;
            tended.moved |= !told.is_empty();
            tended.events.extend(told);
            let told = settle::follow(&mut change, self.user(), *user, &[]).await?;
            tended.events.extend(told);
        }
        change.commit().await?;
        Ok(taken)
    }

    /// Reads what has happened since the last time.
    async fn read_agent_events(
        &self,
        client: &PluginClient,
        tended: &mut Tended,
    ) -> Result<(), ClientError> {
        let known = agent::get(&mut *self.store().read().await?).await?;
        let Some(known) = known else {
            return Ok(());
        };
        let mut stream = client
            .agent_events(known.event)
            .await
            .map_err(agent_error)?;
        for _ in 0..BATCHES {
            let (batch, more) = next_batch(&mut stream).await?;
            let asked = batch.iter().filter_map(follow::invoice_named);
            let asked: BTreeSet<RecordId> = asked.collect();
            let seen = self.see_invoices(client, asked).await?;
            self.take_agent_events(&batch, &seen, tended).await?;
            if !more {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes what happened into the history, and remembers up to where.
    async fn take_agent_events(
        &self,
        batch: &[AgentEvent],
        seen: &[(RecordId, AgentInvoice)],
        tended: &mut Tended,
    ) -> Result<(), ClientError> {
        let Some(last) = batch.last().and_then(|event| event.id.parse::<u64>().ok()) else {
            return Ok(());
        };
        let mut change = self.change().await?;
        let known = agent::get(change.conn()).await?;
        let read_to = known.as_ref().map_or(u64::MAX, |row| row.event);
        for event in batch {
            // Another process may have read it meanwhile.
            if event.id.parse::<u64>().is_ok_and(|id| id > read_to) {
                let contact = match &event.peer {
                    Some(peer) => contacts::get(change.conn(), peer).await?,
                    None => None,
                };
                tended.events.extend(follow::spend(event));
                if contact.is_some() {
                    settling::keep_passed_on(&mut change, event).await?;
                }
                let turn = turns::take(&mut change, event).await?;
                tended.events.extend(turn);
                let told = follow::take(&mut change, self.user(), contact, event).await?;
                tended.moved |= told.iter().any(|event| event.kind.is_about_payments());
                tended.events.extend(told);
            }
        }
        for (id, invoice) in seen {
            if let Some(row) = &known {
                let (_, told) = invoices::take(&mut change, self.user(), row, id, invoice).await?;
                tended.events.extend(told);
            }
        }
        agent::read_event(change.conn(), last).await?;
        change.commit().await
    }

    /// Writes what the user's apps had the agent pay into the history.
    async fn read_signatures(&self, client: &PluginClient) -> Result<(), ClientError> {
        for _ in 0..BATCHES {
            let known = agent::get(&mut *self.store().read().await?).await?;
            let Some(known) = known else {
                return Ok(());
            };
            let page = client.journal(known.signature).await.map_err(agent_error)?;
            let Some(last) = page.items.last().and_then(|item| item.id.parse().ok()) else {
                return Ok(());
            };
            let mut change = self.change().await?;
            for item in &page.items {
                follow::take_signature(&mut change, item).await?;
            }
            agent::read_signature(change.conn(), last).await?;
            change.commit().await?;
            if page.next.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The next events; `false` if no more wait.
async fn next_batch(stream: &mut AgentConnection) -> Result<(Vec<AgentEvent>, bool), ClientError> {
    let mut batch = Vec::new();
    while batch.len() < EVENT_BATCH {
        match stream
            .next_within(EVENT_PATIENCE)
            .await
            .map_err(agent_error)?
        {
            Some(AgentNews::Event(event)) => batch.push(event),
            Some(AgentNews::Ready) | None => return Ok((batch, false)),
        }
    }
    Ok((batch, true))
}

/// Whether this wallet itself can't go on.
fn is_ours(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::StoreFull
            | ClientError::Store(_)
            | ClientError::StoreCorrupt { .. }
            | ClientError::BookKeyInUse(_)
            | ClientError::NoHomeserver
    )
}
