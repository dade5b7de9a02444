//! A change of books: one transaction that holds the pairs, what was signed, what must be sent, and what people are told. Nothing
//! leaves before it has committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atomicity_ledger::hop::{CollectionStage, Relay, Tally};
use atomicity_ledger::pair::{Event, Pair};
use atomicity_ledger::record::Spend;
use atomicity_ledger::{AnyRecord, PaymentHash, Preimage, RecordHash, Signed, Timestamp, UserKey};
use serde_json::Value;
use sqlx::{Postgres, Transaction};

use super::hanging::{self, Hanging};
use super::keeper::{Keeper, Leave};
use super::numbers::Reserved;
use super::settings::PeerSettings;
use super::store::{self, EventRow, InvoiceRow, JournalRow, SavedPair, SpendRow, TurnRow};
use super::{Agent, keys, publish, told};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;
use crate::witness_log::fault;

/// The books towards one peer, locked.
pub struct Loaded {
    /// The books.
    pub pair: Pair,
    before: Arc<Pair>,
    version: i64,
    weight: usize,
    /// What the user allows.
    pub settings: PeerSettings,
    /// The peer's profile.
    pub profile: Option<String>,
    /// Records that can't be judged yet.
    pub held: i32,
    /// How many payments of the peer failed lately.
    pub tally: Tally,
    tally_before: Tally,
    /// Promises to be looked at in the logs once this has committed.
    pub look_at: BTreeSet<RecordHash>,
}

impl Loaded {
    /// The books as they were when this began.
    #[must_use]
    pub fn before(&self) -> &Pair {
        &self.before
    }
}

/// A transaction on books.
///
/// Whoever works on several pairs of a user at once is alone in that ([`super::engine`]); whoever asks for one may come between. So
/// no two can wait for each other, in whatever order pairs are locked.
pub struct Change {
    /// Whose agent.
    pub keeper: Arc<Keeper>,
    /// The time.
    pub now: Timestamp,
    state: AppState,
    agent: Agent,
    _leave: Leave,
    tx: Transaction<'static, Postgres>,
    pairs: BTreeMap<UserKey, Loaded>,
    asked: BTreeSet<UserKey>,
    relays: BTreeMap<RecordHash, Relay>,
    invoices: BTreeMap<PaymentHash, (InvoiceRow, InvoiceRow)>,
    out: BTreeMap<UserKey, Vec<String>>,
    journal: Vec<JournalRow>,
    events: Vec<EventRow>,
}

/// Now.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::saturating_from_millis(u64::try_from(clock::now_ms()).unwrap_or(0))
}

impl Change {
    /// Begins one and locks the books towards `peers`. Those that are not kept here are left out.
    ///
    /// # Errors
    /// `agent_stopped`; [`PluginError::NotReady`] without the database's lock; [`PluginError::Database`].
    pub async fn begin(
        state: &AppState,
        keeper: &Arc<Keeper>,
        peers: &BTreeSet<UserKey>,
    ) -> Result<Self, PluginError> {
        if !state.readiness.lock_held() {
            return Err(PluginError::NotReady);
        }
        let agent = state.agent.clone();
        let agent = agent.ok_or_else(|| PluginError::Internal("there is no agent".to_owned()))?;
        let now = now();
        let leave = keeper.leave(now).await?;
        let mut change = Self {
            keeper: keeper.clone(),
            now,
            state: state.clone(),
            agent,
            _leave: leave,
            tx: state.pool.begin().await?,
            pairs: BTreeMap::new(),
            asked: BTreeSet::new(),
            relays: BTreeMap::new(),
            invoices: BTreeMap::new(),
            out: BTreeMap::new(),
            journal: Vec::new(),
            events: Vec::new(),
        };
        change.lock(peers).await?;
        Ok(change)
    }

    /// Locks more books, those that are kept here.
    ///
    /// # Errors
    /// [`PluginError::Database`].
    pub async fn lock(&mut self, peers: &BTreeSet<UserKey>) -> Result<(), PluginError> {
        let new: BTreeSet<UserKey> = peers.difference(&self.asked).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let owner = self.keeper.owner;
        let rows = store::lock_pairs(&mut self.tx, &owner, &new).await?;
        let mut missing = BTreeSet::new();
        let mut found = BTreeMap::new();
        for row in &rows {
            match self.agent.books().get(&(owner, row.peer), row.version) {
                Some(books) => drop(found.insert(row.peer, books)),
                None => drop(missing.insert(row.peer)),
            }
        }
        if !missing.is_empty() {
            for (peer, body) in store::bodies_of_pairs(&mut self.tx, &owner, &missing).await? {
                let pair = Arc::new(store::parse_pair(&body)?);
                found.insert(peer, (pair, body.len()));
            }
        }
        for row in rows {
            let Some((pair, weight)) = found.remove(&row.peer) else {
                continue;
            };
            let tally: Tally = store::parse("tally", &row.tally)?;
            let loaded = Loaded {
                pair: Pair::clone(&pair),
                before: pair,
                version: row.version,
                weight,
                settings: store::parse("settings", &row.settings)?,
                profile: row.profile,
                held: row.held,
                tally_before: tally.clone(),
                tally,
                look_at: BTreeSet::new(),
            };
            self.pairs.insert(row.peer, loaded);
        }
        self.asked.extend(new);
        Ok(())
    }

    /// The transaction.
    pub fn tx(&mut self) -> &mut Transaction<'static, Postgres> {
        &mut self.tx
    }

    /// The books towards `peer`, if they are kept here.
    #[must_use]
    pub fn pair(&self, peer: &UserKey) -> Option<&Loaded> {
        self.pairs.get(peer)
    }

    /// The same, to be changed, with the key that signs.
    ///
    /// # Errors
    /// `pair_unknown`.
    pub fn pair_mut(
        &mut self,
        peer: &UserKey,
    ) -> Result<(&mut Loaded, &atomicity_ledger::Keypair), PluginError> {
        let loaded = self.pairs.get_mut(peer).ok_or_else(pair_unknown)?;
        Ok((loaded, &self.keeper.pen))
    }

    /// Refuses to go on if the books towards `peer` are not kept here.
    ///
    /// # Errors
    /// `books_restored`, `pair_unknown`, [`PluginError::Database`].
    pub async fn require(&mut self, peer: &UserKey) -> Result<(), PluginError> {
        if self.pairs.contains_key(peer) {
            return Ok(());
        }
        let owner = self.keeper.owner;
        if store::is_restored(&mut self.tx, &owner, peer).await? {
            return Err(books_restored());
        }
        Err(pair_unknown())
    }

    /// Takes books out, to work on two of them at once; [`Change::put`] brings them back.
    pub fn take(&mut self, peer: &UserKey) -> Option<Loaded> {
        self.pairs.remove(peer)
    }

    /// Brings books back.
    pub fn put(&mut self, loaded: Loaded) {
        self.pairs.insert(loaded.pair.peer(), loaded);
    }

    /// Notes a record that must be sent. What the agent itself signed goes into the journal.
    pub fn send(&mut self, peer: UserKey, record: &AnyRecord) {
        self.note(peer, record);
        self.send_text(peer, record.jws().to_owned());
    }

    /// Notes what the agent signed. What it signed for nobody in particular stands under the user's own key.
    pub fn note(&mut self, peer: UserKey, record: &AnyRecord) {
        if record.kid() == self.keeper.pen.signer_key() {
            let (what, unit, amount) = told::signature(record);
            self.journal.push(JournalRow {
                peer,
                what,
                unit,
                amount,
                hash: *record.hash().as_bytes(),
                record: record.jws().to_owned(),
            });
        }
    }

    /// Notes a record of somebody else's that must be sent.
    pub fn send_text(&mut self, peer: UserKey, record: String) {
        self.out.entry(peer).or_default().push(record);
    }

    /// Notes what happened.
    pub fn tell(&mut self, peer: UserKey, kind: &'static str, body: Value) {
        self.events.push(EventRow {
            peer: Some(peer),
            kind,
            body: body.to_string(),
        });
    }

    /// Notes how far an invoice is.
    pub fn tell_of_invoice(&mut self, row: &InvoiceRow) {
        let body = serde_json::json!({"id": row.id, "state": row.state(), "received": row.received.to_string()});
        self.events.push(EventRow {
            peer: None,
            kind: "invoice",
            body: body.to_string(),
        });
    }

    /// Notes what the key of a payment account asked to be paid to `payee`.
    pub fn note_spend(&mut self, payee: UserKey, spend: &Signed<Spend>) {
        let record = spend.record();
        self.journal.push(JournalRow {
            peer: payee,
            what: "spend",
            unit: Some(record.unit.to_string()),
            amount: i64::try_from(record.amount.minor()).ok(),
            hash: *spend.hash().as_bytes(),
            record: spend.jws().to_owned(),
        });
    }

    /// Notes how far a spend of the account of this name is.
    pub fn tell_of_spend(&mut self, name: &str, row: &SpendRow) {
        let body = serde_json::json!({
            "id": row.id, "account": row.key, "name": name, "unit": row.unit,
            "amount": row.amount.to_string(), "state": row.state, "direct": row.direct,
            "reason": row.reason,
        });
        self.events.push(EventRow {
            peer: None,
            kind: "spend",
            body: body.to_string(),
        });
    }

    /// Notes how far a turn of what recurs is.
    pub fn tell_of_turn(
        &mut self,
        payee: UserKey,
        request: &RecordHash,
        unit: &str,
        turn: &TurnRow,
    ) {
        let body = serde_json::json!({
            "request": request, "turn": turn.turn, "id": turn.id, "unit": unit,
            "amount": turn.amount.to_string(), "state": turn.state, "reason": turn.reason,
        });
        self.tell(payee, "turn", body);
    }

    /// Notes that nothing more is paid of a request.
    pub fn tell_of_approval(&mut self, payee: UserKey, request: &RecordHash, why: &str) {
        let body = serde_json::json!({"request": request, "state": "ended", "why": why});
        self.tell(payee, "approval", body);
    }

    /// Notes what happened to the books towards `peer`.
    pub fn tell_event(&mut self, peer: UserKey, event: &Event) {
        if told::is_news(event) {
            let (kind, body) = told::event(event);
            self.tell(peer, kind, body);
        }
    }

    /// Keeps what is known of a promise that was passed on.
    pub fn keep_relay(&mut self, relay: Relay) {
        self.relays.insert(relay.incoming.iou, relay);
    }

    /// The promises that were passed on and that one of these hashes names, on either side.
    ///
    /// # Errors
    /// [`PluginError::Database`].
    pub async fn relays_about(&mut self, ious: &[RecordHash]) -> Result<Vec<Relay>, PluginError> {
        let stored = store::relays_about(&mut self.tx, &self.keeper.owner, ious).await?;
        let mut found: Vec<Relay> = stored
            .into_iter()
            .filter(|relay| !self.relays.contains_key(&relay.incoming.iou))
            .collect();
        let named = |relay: &&Relay| {
            ious.contains(&relay.incoming.iou) || ious.contains(&relay.outgoing.iou)
        };
        found.extend(self.relays.values().filter(named).cloned());
        Ok(found)
    }

    /// Takes the invoice of a hash out, to work on it; [`Change::put_invoice`] brings it back.
    ///
    /// # Errors
    /// [`PluginError::Database`].
    pub async fn take_invoice(
        &mut self,
        hash: &PaymentHash,
    ) -> Result<Option<InvoiceRow>, PluginError> {
        if let Some((row, _)) = self.invoices.get(hash) {
            return Ok(Some(row.clone()));
        }
        let owner = self.keeper.owner;
        let row = store::lock_invoice(&mut self.tx, &owner, hash).await?;
        if let Some(row) = &row {
            self.invoices.insert(*hash, (row.clone(), row.clone()));
        }
        Ok(row)
    }

    /// The secret of an invoice.
    ///
    /// # Errors
    /// [`PluginError::Internal`] if it does not open.
    pub fn open_secret(&self, row: &InvoiceRow) -> Result<Preimage, PluginError> {
        let (keypair, owner) = (&self.state.keypair, self.keeper.owner);
        keys::open_secret(keypair, owner, &row.hash, &row.sealed)
    }

    /// Brings an invoice back.
    pub fn put_invoice(&mut self, row: InvoiceRow) {
        if let Some((kept, _)) = self.invoices.get_mut(&row.hash) {
            *kept = row;
        }
    }

    /// Writes everything; its numbers must be kept until the transaction has ended.
    async fn save(&mut self) -> Result<Option<Reserved>, PluginError> {
        self.save_pairs().await?;
        let owner = self.keeper.owner;
        let relays: Vec<Relay> = std::mem::take(&mut self.relays).into_values().collect();
        store::put_relays(&mut self.tx, &owner, &relays).await?;
        for (row, before) in self.invoices.values() {
            if row != before {
                store::put_invoice(&mut self.tx, &owner, row).await?;
            }
        }
        let count = self.out.len() + self.journal.len() + self.events.len();
        if count == 0 {
            return Ok(None);
        }
        let mut numbers = self.agent.numbers().reserve(count);
        let at = i64::try_from(self.now.millis()).unwrap_or(i64::MAX);
        store::add_outbox(&mut self.tx, &owner, &self.out, &mut numbers).await?;
        store::add_journal(&mut self.tx, &owner, at, &self.journal, &mut numbers).await?;
        store::add_events(&mut self.tx, &owner, at, &self.events, &mut numbers).await?;
        Ok(Some(numbers))
    }

    async fn save_pairs(&mut self) -> Result<(), PluginError> {
        let peers: Vec<UserKey> = self.pairs.keys().copied().collect();
        let mut hanging = Hanging::default();
        let (mut changed, mut tallies) = (Vec::new(), Vec::new());
        for peer in peers {
            let Some(mut loaded) = self.take(&peer) else {
                continue;
            };
            if loaded.pair != *loaded.before {
                // What came due while nobody here could sign is booked as soon as it can be.
                if let Ok(states) = loaded.pair.book_due(&self.keeper.pen, self.now) {
                    for state in states {
                        self.send(peer, &AnyRecord::from(state));
                    }
                }
                let new = hanging.compare(&loaded.before, &loaded.pair);
                loaded.look_at.extend(new);
                let body = store::text(&loaded.pair)?;
                loaded.weight = body.len();
                changed.push(SavedPair {
                    peer,
                    body,
                    tally: store::text(&loaded.tally)?,
                    from: loaded.version,
                });
                loaded.version += 1;
            } else if loaded.tally != loaded.tally_before {
                tallies.push((peer, store::text(&loaded.tally)?));
            }
            self.put(loaded);
        }
        let owner = self.keeper.owner;
        store::save_pairs(&mut self.tx, &owner, &changed).await?;
        store::save_tallies(&mut self.tx, &owner, &tallies).await?;
        store::change_promises(&mut self.tx, &owner, &hanging.new, &hanging.gone).await
    }

    /// Makes everything durable at once. Then, and not before, it is sent.
    ///
    /// # Errors
    /// [`PluginError::Database`]: nothing has changed, or nobody knows yet.
    pub async fn commit(self) -> Result<(), PluginError> {
        // A caller that goes away half-way must not keep from being sent what is durable.
        let done = tokio::spawn(self.commit_now()).await;
        done.map_err(|error| PluginError::Internal(error.to_string()))?
    }

    async fn commit_now(mut self) -> Result<(), PluginError> {
        let numbers = self.save().await?;
        self.agent.mark().changed();
        let (agent, owner) = (self.agent, self.keeper.owner);
        fault::point("agent_before_commit");
        if let Err(error) = self.tx.commit().await {
            for peer in self.pairs.keys() {
                agent.books().forget(&(owner, *peer));
            }
            return Err(error.into());
        }
        fault::point("agent_after_commit");
        drop(numbers);
        agent.metrics().signed(&self.journal);
        for (peer, loaded) in self.pairs {
            let key = (owner, peer);
            let pair = match loaded.pair == *loaded.before {
                true => loaded.before,
                false => Arc::new(loaded.pair),
            };
            agent.books().put(key, loaded.version, pair, loaded.weight);
            if !loaded.look_at.is_empty() {
                agent.look_at_logs(key, &loaded.look_at);
            }
        }
        for (row, before) in self.invoices.values() {
            if row != before && *row.collection.stage() == CollectionStage::Publishing {
                publish::start(&self.state, &agent, owner, row.hash);
            }
        }
        for peer in self.out.keys() {
            agent.deliver(owner, *peer);
        }
        // Who looks at the books wants to see what was signed, too.
        if !self.events.is_empty() || !self.journal.is_empty() {
            agent.hub().wake(owner.as_bytes());
        }
        Ok(())
    }
}

/// The promises that hang on logs, as rows.
#[must_use]
pub fn hanging_rows(pair: &Pair) -> Vec<store::PromiseRow> {
    hanging::rows(pair)
}

/// These books are of a database that was restored: they must not be signed.
#[must_use]
pub fn books_restored() -> PluginError {
    PluginError::Refused {
        code: "books_restored",
        detail: "these books are older than what was signed: open the next epoch".to_owned(),
    }
}

/// The agent does not keep these books.
#[must_use]
pub fn pair_unknown() -> PluginError {
    PluginError::NotFound {
        code: "pair_unknown",
        detail: "the agent does not keep your books towards this peer",
    }
}
