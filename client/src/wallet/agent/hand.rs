//! Handing books over: first the book that names the agent is durable here, then the agent gets the books. From the first moment on
//! this wallet signs nothing for them.

use std::collections::BTreeMap;

use atomicity_ledger::pair::{NewBook, Pair};
use atomicity_ledger::seal::{Parcel, seal_known};
use atomicity_ledger::{Epoch, Total, Unit, UserKey};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::access::Keys;
use super::super::books::{self, Change};
use super::super::pay::PaymentFault;
use super::super::rules::told;
use super::super::settle;
use super::super::{HistoryItem, Wallet, directory, entropy, units};
use super::ask::line_terms;
use super::home::stays;
use super::{agent_error, delegation, keeps};
use crate::error::ClientError;
use crate::net::plugin::{AgentPair, PluginClient};
use crate::store::pairs::agent::{self, AgentPairRow, AgentRow, AgentStage};
use crate::store::{contacts, forwarding, inbox, invoices, outbox, pairs, rules, settings};

impl Wallet {
    /// Hands the books with one peer over, or goes on where that stopped. Does nothing as long as they stay here to settle a debt.
    pub(super) async fn hand_pair(
        &self,
        row: &AgentRow,
        client: &PluginClient,
        user: &UserKey,
    ) -> Result<(), ClientError> {
        let waits = outbox::waiting(&mut *self.store().read().await?, Some(user)).await?;
        if waits.0 > 0 {
            // What was signed here reaches the friend before the next keeper's book, if it can.
            self.send_now(user).await?;
        }
        if !self.open_agents_book(row, user).await? {
            return Ok(());
        }
        // Nothing that was signed leaves before the mark says so.
        self.show_generation().await?;
        let (pair, settings) = self.told_to_agent(row, user).await?;
        let mut conn = self.store().read().await?;
        let profile = contacts::get(&mut conn, user)
            .await?
            .and_then(|c| c.profile);
        let held = inbox::held(&mut conn, user).await?;
        // What is about settlements is for this wallet, wherever the books are.
        let held = held.into_iter().filter(|held| !settle::is_kind(&held.kind));
        let held: Vec<_> = held.collect();
        drop(conn);
        let raw = RawValue::from_string(pair).map_err(|e| ClientError::Internal(e.to_string()))?;
        let taken = client
            .hand_over(user, &raw, profile.as_deref(), &settings)
            .await;
        let taken = taken.map_err(agent_error)?;
        let copy = books::parse(taken.pair.get())?;
        self.say_lines(client, &copy).await?;
        let waiting: Vec<String> = held.iter().map(|held| held.record.clone()).collect();
        self.pass_to_agent(user, &waiting).await?;
        let mut change = self.change().await?;
        for record in held {
            inbox::release(change.conn(), record.id).await?;
        }
        take_copy(&mut change, row, user, &taken, true).await?;
        change.commit().await
    }

    /// Opens the next epoch for the agent's key, unless that was done before. `false` if the books stay here for now.
    async fn open_agents_book(&self, row: &AgentRow, user: &UserKey) -> Result<bool, ClientError> {
        let mut change = self.change().await?;
        let known = agent::pair(change.conn(), user).await?;
        let Some(mut known) = known.filter(|known| known.stage == AgentStage::Wanted) else {
            return Ok(true);
        };
        let now = change.now;
        // What is being settled here is told to rails from here, and signed here.
        if stays(change.conn(), &known, now).await? {
            return Ok(false);
        }
        let mut pair = change.load(self.user(), *user).await?;
        let contact = contacts::get(change.conn(), user).await?;
        let name = contact.map_or_else(|| user.to_z32(), |contact| contact.name);
        if pair.is_waiting() {
            return Err(ClientError::WaitingForAck(name));
        }
        // What is being collected here is decided here: its secret may be with a log.
        for hash in invoices::busy(change.conn()).await? {
            let busy = invoices::of(change.conn(), &hash).await?;
            if busy.is_some_and(|row| row.collection.neighbours().contains(user)) {
                return Err(PaymentFault::InvoiceBusy(hash.to_string()).into());
            }
        }
        let caps: BTreeMap<Unit, Total> = delegation(row)?
            .limits
            .into_iter()
            .map(|limit| (limit.unit, limit.per_peer))
            .collect();
        pair.learn_own_authority(&row.delegation, now)?;
        let pen = change.keys.pen.clone();
        let new = NewBook {
            key: row.key,
            caps,
            continues: true,
            at_least: Epoch::ZERO,
        };
        if !keeps(&pair, pen.signer_key()) || pair.is_behind() {
            return Err(ClientError::EpochEnded(name));
        }
        let book = pair.open_book(new, &pen, now)?;
        change.save(&pair).await?;
        known.stage = AgentStage::Handing;
        known.home_until = 0;
        agent::put_pair(change.conn(), &known).await?;
        change
            .note(HistoryItem {
                user: Some(*user),
                kind: "book".to_owned(),
                epoch: Some(book.record().epoch.get()),
                note: Some("handed over to the agent".to_owned()),
                ..HistoryItem::default()
            })
            .await?;
        change.signed();
        change.commit().await?;
        Ok(true)
    }

    /// The books as they are here, and what is allowed towards the peer.
    async fn told_to_agent(
        &self,
        row: &AgentRow,
        user: &UserKey,
    ) -> Result<(String, Value), ClientError> {
        let mut conn = self.store().read().await?;
        let known = pairs::get(&mut conn, user).await?;
        let body = known.ok_or(ClientError::StoreCorrupt {
            what: "the books",
            why: "those with the agent are missing".to_owned(),
        })?;
        let clearing = forwarding::clearing(&mut conn).await?;
        let mut allowed = Vec::new();
        for limit in delegation(row)?.limits {
            let own = rules::verdict(&mut conn, user, &limit.unit).await?.issue;
            let issue = own.map_or(limit.per_peer, |own| own.min(limit.per_peer));
            let forward = forwarding::rule_for(&mut conn, user, &limit.unit).await?;
            let forward = forward
                .filter(|rule| rule.allowed)
                .map(|rule| json!({ "base": rule.base, "ppm": rule.ppm, "min": rule.min }));
            let clearing = clearing.contains(&limit.unit);
            let mut unit = json!({ "unit": limit.unit, "issue": issue, "clearing": clearing });
            if let (Some(forward), Some(unit)) = (forward, unit.as_object_mut()) {
                unit.insert("forward".to_owned(), forward);
            }
            allowed.push(unit);
        }
        let adverts = agent::keeps_most(&mut conn).await?;
        let by_rule = told::lines(&mut conn, user).await?;
        let mut settings = json!({ "units": allowed, "adverts": adverts });
        if let (false, Some(settings)) = (by_rule.is_empty(), settings.as_object_mut()) {
            settings.insert("by_rule".to_owned(), by_rule.into());
        }
        Ok((body.body, settings))
    }

    /// Tells the agent the newest limits towards a peer.
    pub(super) async fn renew_limits(
        &self,
        row: &AgentRow,
        client: &PluginClient,
        user: &UserKey,
    ) -> Result<(), ClientError> {
        let mut conn = self.store().read().await?;
        let before = agent::pair(&mut conn, user).await?;
        drop(conn);
        let (pair, settings) = self.told_to_agent(row, user).await?;
        let raw = RawValue::from_string(pair).map_err(|e| ClientError::Internal(e.to_string()))?;
        let taken = client.hand_over(user, &raw, None, &settings).await;
        let taken = taken.map_err(agent_error)?;
        let mut change = self.change().await?;
        if before.is_some() {
            take_copy(&mut change, row, user, &taken, true).await?;
        }
        change.commit().await
    }

    /// The credit lines count in the epoch of their book: the agent signs them anew.
    async fn say_lines(&self, client: &PluginClient, pair: &Pair) -> Result<(), ClientError> {
        let epoch = pair.own().epoch();
        for terms in units::own_lines(pair) {
            let line = pair.own().unit(&terms.unit).and_then(|side| side.line());
            if line.map(|line| line.record().epoch) != epoch {
                let what = format!("lines/{}", pair.peer());
                let asked = client.ask_agent(&what, &line_terms(&terms)).await;
                asked.map_err(agent_error)?;
            }
        }
        Ok(())
    }

    /// Records of a peer that came here although the agent keeps the books: into the own inbox, under the peer's tag, where the agent
    /// takes them.
    pub(in super::super) async fn pass_to_agent(
        &self,
        user: &UserKey,
        records: &[String],
    ) -> Result<(), ClientError> {
        if records.is_empty() {
            return Ok(());
        }
        let Some(client) = self.agent_for(user).await? else {
            return Ok(());
        };
        let mut conn = self.store().read().await?;
        let keys = Keys::load(&mut conn, self.user()).await?;
        let Some(contact) = contacts::get(&mut conn, user).await? else {
            return Ok(());
        };
        drop(conn);
        let me = self.user();
        let first = directory::incoming(&me, &keys, &contact)?.next();
        let Some(agreement) = first.transpose()? else {
            return Ok(());
        };
        for parcel in Parcel::split(*user, records.to_vec())? {
            let envelope = seal_known(&agreement, entropy(), &parcel)?;
            client.post(&me, &envelope).await.map_err(agent_error)?;
        }
        Ok(())
    }
}

/// Replaces the copy of books that the agent keeps, if the agent's is another.
pub(super) async fn take_copy(
    change: &mut Change,
    row: &AgentRow,
    user: &UserKey,
    taken: &AgentPair,
    told: bool,
) -> Result<bool, ClientError> {
    let known = agent::pair(change.conn(), user).await?;
    let Some(known) = known.filter(|known| known.stage != AgentStage::Wanted) else {
        return Ok(false);
    };
    let pair = books::parse(taken.pair.get()).map_err(|error| ClientError::Malformed {
        what: "the agent's books".to_owned(),
        why: error.to_string(),
    })?;
    if pair.peer() != *user || !keeps(&pair, row.key) {
        return Ok(false);
    }
    let newer = known.version.parse::<u64>().ok() < taken.version.parse::<u64>().ok();
    let first = known.stage == AgentStage::Handing;
    if newer || first {
        change.save(&pair).await?;
    }
    let next = AgentPairRow {
        user: *user,
        stage: match known.stage {
            AgentStage::Returning => AgentStage::Returning,
            _ => AgentStage::Kept,
        },
        home_until: known.home_until,
        version: match newer || first {
            true => taken.version.clone(),
            false => known.version,
        },
        stale: known.stale && !told,
    };
    agent::put_pair(change.conn(), &next).await?;
    if first {
        invoices::look_again(change.conn()).await?;
        forwarding::look_again(change.conn()).await?;
        // The agent registers the tags of this pair itself; the others are told anew.
        settings::set(change.conn(), settings::TAGS_STALE, "1").await?;
    }
    Ok(newer || first)
}
