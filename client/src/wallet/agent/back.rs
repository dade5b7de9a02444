//! Taking books back: from the agent, which signs them over to this device; or, when it is gone or not to be trusted any more, by the
//! root's word, as after the loss of a phone.

use std::collections::BTreeSet;

use atomicity_ledger::UserKey;
use atomicity_ledger::record::Revocation;
use atomicity_ledger::{Signed, SignerKey};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::super::create::check_root;
use super::super::{
    Fault, HistoryItem, RootKey, SyncReport, Wallet, books, now, receive, recover, units,
};
use super::home::STAY_MS;
use super::{agent_error, hand, keeps};
use crate::error::ClientError;
use crate::net::plugin::PluginClient;
use crate::store::contacts::{self, Contact};
use crate::store::pairs::agent::{self, AgentPairRow, AgentRow, AgentStage};
use crate::store::requests::approvals;
use crate::store::{forwarding, json_out, settings};

/// By whose word books came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenBackBy {
    /// They had not been handed over yet.
    Nobody,
    /// The agent signed them over.
    Agent,
    /// The root began a new epoch: the friend has to acknowledge it first.
    Root,
}

/// For how long books come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// The user wants them here.
    ForGood,
    /// They are handed over again.
    ForAWhile,
}

/// Books that came back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TakenBack {
    /// The friend.
    pub contact: Contact,
    /// By whose word.
    pub by: TakenBackBy,
    /// Why they did not, if they did not.
    pub fault: Option<Fault>,
    /// Whether nothing can be given to the friend before they have acknowledged it.
    pub waits: bool,
}

impl Wallet {
    /// Takes books back from the agent: those towards these friends, or all of them.
    ///
    /// # Errors
    /// [`ClientError::AgentAway`] if the agent does not answer, [`ClientError::AgentRefused`] if it says no; [`ClientError::NoAgent`];
    /// [`ClientError::BookKeyInUse`] and the like.
    pub async fn agent_take_back(
        &self,
        friends: &[UserKey],
    ) -> Result<Vec<TakenBack>, ClientError> {
        self.ensure_may_sign().await?;
        let row = self.agent_row().await?;
        let client = self.plugin_client(row.plugin.clone()).await?;
        let pairs = agent::pairs(&mut *self.store().read().await?).await?;
        let stays = |pair: &AgentPairRow| !friends.is_empty() && !friends.contains(&pair.user);
        let with_agent = |pair: &&AgentPairRow| pair.stage != AgentStage::Wanted;
        // First: what the agent pays over these books must be known here before this wallet goes on with it.
        self.take_approvals_back(|payee| friends.is_empty() || friends.contains(payee))
            .await?;
        if !pairs.iter().filter(with_agent).any(stays) {
            self.take_invoices_back(&row, &client).await?;
        }
        let mut back = Vec::new();
        for pair in pairs {
            if stays(&pair) {
                continue;
            }
            let by = match pair.stage {
                AgentStage::Wanted => {
                    let mut tx = self.store().write().await?;
                    agent::remove_pair(tx.conn(), &pair.user).await?;
                    tx.commit().await?;
                    TakenBackBy::Nobody
                }
                AgentStage::Handing => {
                    self.hand_pair(&row, &client, &pair.user).await?;
                    self.take_pair_back(&row, &client, &pair.user, Stay::ForGood)
                        .await?
                }
                AgentStage::Kept | AgentStage::Returning => {
                    self.take_pair_back(&row, &client, &pair.user, Stay::ForGood)
                        .await?
                }
            };
            back.push(self.taken_back(&pair.user, by, None).await?);
        }
        self.forget_directory();
        self.flush().await?;
        Ok(back)
    }

    /// Takes all books back and ends the agent.
    ///
    /// # Errors
    /// As [`Wallet::agent_take_back`]: what came back before stays here, and the agent goes on with the rest.
    pub async fn agent_off(&self) -> Result<Vec<TakenBack>, ClientError> {
        // What the agent has done until now belongs into the history.
        self.tend_agent().await?;
        let back = self.agent_take_back(&[]).await?;
        // What came there until the last moment is still read.
        self.tend_agent().await?;
        let row = self.agent_row().await?;
        let client = self.plugin_client(row.plugin.clone()).await?;
        client.stop_agent(false).await.map_err(agent_error)?;
        self.forget_agent(&row, "ended").await?;
        Ok(back)
    }

    /// Ends the agent by the root's word, whether it answers or not: its key is revoked, and the books are taken over in a new epoch,
    /// as after the loss of a phone. Asked again, it goes on with what is missing.
    ///
    /// # Errors
    /// [`ClientError::NoAgent`], [`ClientError::OtherRoot`], [`ClientError::BookKeyInUse`] and the like; what hinders publishing the
    /// revocation. What goes wrong with single friends stands in the result.
    pub async fn agent_revoke(&self, root: &RootKey) -> Result<Vec<TakenBack>, ClientError> {
        check_root(root, self.user())?;
        self.ensure_may_sign().await?;
        let row = self.agent_row().await?;
        let revocation = root.revoke(row.key, now())?;
        let mut change = self.change().await?;
        recover::plan_revocation(change.conn(), row.key, revocation.jws()).await?;
        keep_revocation(change.conn(), &revocation).await?;
        change.signed();
        change.commit().await?;
        // At once, before anything else: from here on friends refuse what it signs.
        let path = atomicity_ledger::authority::delegation_path(&row.key);
        let session = self.session().await?;
        session
            .put(&path, revocation.jws().as_bytes().to_vec())
            .await?;
        let client = self.plugin_client(row.plugin.clone()).await?;
        if let Err(error) = client.stop_agent(true).await {
            tracing::info!(code = error.code(), "the agent could not be told: {error}");
        }
        if let Err(error) = self.take_approvals_back(|_| true).await {
            tracing::info!(
                code = error.code(),
                "what it paid of what recurs its payees say: {error}"
            );
        }
        self.lose_invoices().await?;
        let pairs = agent::pairs(&mut *self.store().read().await?).await?;
        let mut back = Vec::new();
        for pair in &pairs {
            let (by, done) = if pair.stage == AgentStage::Wanted {
                (TakenBackBy::Nobody, Ok(()))
            } else {
                let done = self.take_over_pair(root, &row, &client, &pair.user).await;
                (TakenBackBy::Root, done)
            };
            let fault = match done {
                Ok(()) => {
                    let mut tx = self.store().write().await?;
                    agent::remove_pair(tx.conn(), &pair.user).await?;
                    tx.commit().await?;
                    None
                }
                Err(error @ (ClientError::StoreFull | ClientError::Store(_))) => return Err(error),
                Err(error) => Some(Fault::from(&error)),
            };
            back.push(self.taken_back(&pair.user, by, fault).await?);
        }
        if back.iter().all(|one| one.fault.is_none()) {
            self.forget_agent(&row, "revoked").await?;
        }
        self.forget_directory();
        self.flush().await?;
        let users: Vec<UserKey> = pairs.iter().map(|pair| pair.user).collect();
        if !users.is_empty() {
            self.look_at(&users).await?;
        }
        for one in &mut back {
            let mut conn = self.store().read().await?;
            let pair = books::load(&mut conn, self.user(), one.contact.user).await?;
            one.waits = pair.is_waiting();
        }
        Ok(back)
    }

    /// Looks at these friends. Boxed: synchronizing goes on with what the user agreed to, and to end the agent may be of it.
    fn look_at<'a>(
        &'a self,
        users: &'a [UserKey],
    ) -> BoxFuture<'a, Result<SyncReport, ClientError>> {
        self.sync(users).boxed()
    }

    /// The agent.
    pub(super) async fn agent_row(&self) -> Result<AgentRow, ClientError> {
        let row = agent::get(&mut *self.store().read().await?).await?;
        row.ok_or(ClientError::NoAgent)
    }

    async fn taken_back(
        &self,
        user: &UserKey,
        by: TakenBackBy,
        fault: Option<Fault>,
    ) -> Result<TakenBack, ClientError> {
        let mut conn = self.store().read().await?;
        let contact = contacts::get(&mut conn, user).await?;
        let waits = books::load(&mut conn, self.user(), *user)
            .await?
            .is_waiting();
        let contact = contact.ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        Ok(TakenBack {
            contact,
            by,
            fault,
            waits,
        })
    }

    /// The agent signs the books over to this device. What it answers is durable here before anything follows from it.
    pub(super) async fn take_pair_back(
        &self,
        row: &AgentRow,
        client: &PluginClient,
        user: &UserKey,
        stay: Stay,
    ) -> Result<TakenBackBy, ClientError> {
        let device = self.keys().await?.pen.signer_key();
        let caps = units::caps(&mut *self.store().read().await?).await?;
        let caps = serde_json::to_value(caps).map_err(|e| ClientError::Internal(e.to_string()))?;
        let given = client
            .take_back(user, device, &caps)
            .await
            .map_err(agent_error)?;
        let pair = books::parse(given.pair.get())?;
        if pair.me() != self.user() || pair.peer() != *user || !keeps(&pair, device) {
            return Err(ClientError::Malformed {
                what: "what the agent gave back".to_owned(),
                why: "these are not the books that were asked for".to_owned(),
            });
        }
        let mut change = self.change().await?;
        let copy = change.load(self.user(), *user).await?;
        if !agent::keeps(change.conn(), user).await? || pair.own().epoch() <= copy.own().epoch() {
            // Another process was faster, and may have handed them over anew since.
            return Ok(TakenBackBy::Agent);
        }
        self.keep_again(&mut change, row, pair, stay).await?;
        change.commit().await?;
        if !given.pending.is_empty() {
            self.receive(user, &given.pending, &[], receive::Source::Nowhere)
                .await?;
        }
        Ok(TakenBackBy::Agent)
    }

    async fn keep_again(
        &self,
        change: &mut books::Change,
        row: &AgentRow,
        mut pair: atomicity_ledger::pair::Pair,
        stay: Stay,
    ) -> Result<(), ClientError> {
        let user = pair.peer();
        let now = change.now;
        let own = settings::need(change.conn(), settings::DELEGATION).await?;
        pair.learn_own_authority(&own, now)?;
        let epoch = pair.own().epoch().map(|epoch| epoch.get());
        let book = pair.own().book().map(|book| book.jws().to_owned());
        let pen = change.keys.pen.clone();
        // The agent has sent the book. The lines count in its epoch, and what the agent took and gave up is said anew: the friend may
        // hear of the book first.
        let mut records = vec![row.delegation.clone(), own];
        records.extend(book);
        let before: BTreeSet<String> = pair.file_records().own.into_iter().collect();
        for terms in units::own_lines(&pair) {
            pair.set_line(terms, &pen, now)?;
        }
        pair.renew_acks(&pen, now)?;
        let signed = pair.file_records().own.into_iter();
        records.extend(signed.filter(|jws| !before.contains(jws)));
        change.save(&pair).await?;
        change.send(&user, &records).await?;
        match stay {
            Stay::ForGood => agent::remove_pair(change.conn(), &user).await?,
            Stay::ForAWhile => {
                let mut row = AgentPairRow::wanted(user);
                row.home_until = now.millis().saturating_add(STAY_MS);
                agent::put_pair(change.conn(), &row).await?;
            }
        }
        // What is published depends on how many are left.
        agent::limits_changed(change.conn(), None).await?;
        forwarding::look_again(change.conn()).await?;
        settings::set(change.conn(), settings::TAGS_STALE, "1").await?;
        settings::set(
            change.conn(),
            settings::LOGS_WANTED,
            &now.millis().to_string(),
        )
        .await?;
        change
            .note(HistoryItem {
                user: Some(user),
                kind: "book".to_owned(),
                epoch,
                note: Some("taken back from the agent".to_owned()),
                ..HistoryItem::default()
            })
            .await?;
        change.signed();
        Ok(())
    }

    /// The root begins a new epoch for this device, from whatever is known of the books: the copy here, what the agent still answers,
    /// the files on both homeservers.
    async fn take_over_pair(
        &self,
        root: &RootKey,
        row: &AgentRow,
        client: &PluginClient,
        user: &UserKey,
    ) -> Result<(), ClientError> {
        // The newest that the agent shows. It may be gone: then the rest has to do.
        if let Ok(taken) = client.agent_pair(user).await {
            let mut change = self.change().await?;
            hand::take_copy(&mut change, row, user, &taken, false).await?;
            change.commit().await?;
        }
        self.recover_kept(root, user).await
    }

    async fn forget_agent(&self, row: &AgentRow, how: &str) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        agent::remove(change.conn()).await?;
        approvals::all_here(change.conn()).await?;
        let read = json_out(&(row.plugin.key, row.event, row.signature))?;
        settings::set(change.conn(), settings::AGENT_READ, &read).await?;
        change
            .note(HistoryItem {
                kind: "agent".to_owned(),
                note: Some(format!("{} {how}", row.key)),
                ..HistoryItem::default()
            })
            .await?;
        change.commit().await
    }
}

/// Keeps a revocation, so that it goes along when the user moves.
pub(in super::super) async fn keep_revocation(
    conn: &mut sqlx::SqliteConnection,
    revocation: &Signed<Revocation>,
) -> Result<(), ClientError> {
    let known = settings::get(conn, settings::REVOCATIONS).await?;
    let mut lines: Vec<String> = known
        .iter()
        .flat_map(|text| text.lines())
        .filter(|jws| revokes(jws) != Some(revocation.record().key))
        .map(str::to_owned)
        .collect();
    lines.push(revocation.jws().to_owned());
    settings::set(conn, settings::REVOCATIONS, &lines.join("\n")).await
}

fn revokes(jws: &str) -> Option<SignerKey> {
    let revocation: Signed<Revocation> = Signed::decode(jws).ok()?;
    Some(revocation.record().key)
}
