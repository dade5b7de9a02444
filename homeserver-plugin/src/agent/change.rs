//! A change of books: one transaction that holds the pairs, what was signed, what must be sent, and what people are told. Nothing
//! leaves before it has committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atomicity_ledger::hop::{Relay, Tally};
use atomicity_ledger::pair::{Event, Pair, Standing};
use atomicity_ledger::{AnyRecord, RecordHash, Timestamp, UserKey};
use serde_json::Value;
use sqlx::{Postgres, Transaction};

use super::keeper::{Keeper, Leave};
use super::numbers::Reserved;
use super::settings::PeerSettings;
use super::store::{self, EventRow, JournalRow, PromiseRow};
use super::{Agent, told};
use crate::clock;
use crate::error::PluginError;
use crate::state::AppState;
use crate::witness_log::fault;

/// The books towards one peer, locked.
pub struct Loaded {
    /// The books.
    pub pair: Pair,
    before: Pair,
    version: i64,
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

/// A transaction on books.
pub struct Change {
    /// Whose agent.
    pub keeper: Arc<Keeper>,
    /// The time.
    pub now: Timestamp,
    _leave: Leave,
    tx: Transaction<'static, Postgres>,
    pairs: BTreeMap<UserKey, Loaded>,
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
    /// Begins one and locks the books towards `peers`, in the order of their keys. Those that are not kept here are left out.
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
        let now = now();
        let leave = keeper.leave(now).await?;
        let mut tx = state.pool.begin().await?;
        let mut pairs = BTreeMap::new();
        for row in store::lock_pairs(&mut tx, &keeper.owner, peers).await? {
            let pair = store::parse_pair(&row.body)?;
            let tally: Tally = store::parse("tally", &row.tally)?;
            let loaded = Loaded {
                before: pair.clone(),
                pair,
                version: row.version,
                settings: store::parse("settings", &row.settings)?,
                profile: row.profile,
                held: row.held,
                tally_before: tally.clone(),
                tally,
                look_at: BTreeSet::new(),
            };
            pairs.insert(row.peer, loaded);
        }
        Ok(Self {
            keeper: keeper.clone(),
            now,
            _leave: leave,
            tx,
            pairs,
            out: BTreeMap::new(),
            journal: Vec::new(),
            events: Vec::new(),
        })
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
        self.send_text(peer, record.jws().to_owned());
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

    /// Notes what happened to the books towards `peer`.
    pub fn tell_event(&mut self, peer: UserKey, event: &Event) {
        if told::is_news(event) {
            let (kind, body) = told::event(event);
            self.tell(peer, kind, body);
        }
    }

    /// Keeps what is known of a promise that was passed on.
    ///
    /// # Errors
    /// [`PluginError::Database`].
    pub async fn keep_relay(&mut self, relay: &Relay) -> Result<(), PluginError> {
        store::put_relay(&mut self.tx, &self.keeper.owner, relay).await
    }

    /// Writes everything; its numbers must be kept until the transaction has ended.
    async fn save(&mut self, agent: &Agent) -> Result<Option<Reserved>, PluginError> {
        let peers: Vec<UserKey> = self.pairs.keys().copied().collect();
        for peer in peers {
            let Some(mut loaded) = self.take(&peer) else {
                continue;
            };
            if loaded.pair != loaded.before {
                // What came due while nobody here could sign is booked as soon as it can be.
                if let Ok(states) = loaded.pair.book_due(&self.keeper.pen, self.now) {
                    for state in states {
                        self.send(peer, &AnyRecord::from(state));
                    }
                }
            }
            let changed = loaded.pair != loaded.before;
            if changed || loaded.tally != loaded.tally_before {
                self.write(&mut loaded, changed).await?;
            }
            self.put(loaded);
        }
        let count = self.out.len() + self.journal.len() + self.events.len();
        if count == 0 {
            return Ok(None);
        }
        let mut numbers = agent.numbers().reserve(count);
        let at = i64::try_from(self.now.millis()).unwrap_or(i64::MAX);
        let owner = self.keeper.owner;
        store::add_outbox(&mut self.tx, &owner, &self.out, &mut numbers).await?;
        store::add_journal(&mut self.tx, &owner, at, &self.journal, &mut numbers).await?;
        store::add_events(&mut self.tx, &owner, at, &self.events, &mut numbers).await?;
        Ok(Some(numbers))
    }

    async fn write(&mut self, loaded: &mut Loaded, changed: bool) -> Result<(), PluginError> {
        let owner = self.keeper.owner;
        let (before, after) = (hanging(&loaded.before), hanging(&loaded.pair));
        let gone: Vec<RecordHash> = before
            .keys()
            .filter(|iou| !after.contains_key(iou))
            .copied()
            .collect();
        let new: Vec<PromiseRow> = after
            .iter()
            .filter(|(iou, _)| !before.contains_key(iou))
            .flat_map(|(_, rows)| rows.clone())
            .collect();
        loaded.look_at.extend(new.iter().map(|row| row.iou));
        let version = loaded.version + i64::from(changed);
        store::save_pair(&mut self.tx, &owner, loaded, (loaded.version, version)).await?;
        loaded.version = version;
        let peer = loaded.pair.peer();
        store::change_promises(&mut self.tx, &owner, &peer, &new, &gone).await
    }

    /// Makes everything durable at once. Then, and not before, it is sent.
    ///
    /// # Errors
    /// [`PluginError::Database`]: nothing has changed.
    pub async fn commit(mut self, agent: &Agent) -> Result<(), PluginError> {
        let numbers = self.save(agent).await?;
        fault::point("agent_before_commit");
        self.tx.commit().await?;
        fault::point("agent_after_commit");
        drop(numbers);
        agent.metrics().signed(&self.journal);
        let owner = self.keeper.owner;
        for peer in self.out.keys() {
            agent.deliver(owner, *peer);
        }
        for (peer, loaded) in &self.pairs {
            if !loaded.look_at.is_empty() {
                agent.look_at_logs((owner, *peer), &loaded.look_at);
            }
        }
        if !self.events.is_empty() {
            agent.hub().wake(owner.as_bytes());
        }
        Ok(())
    }
}

/// The promises that hang on logs and are undecided, both directions.
fn hanging(pair: &Pair) -> BTreeMap<RecordHash, Vec<PromiseRow>> {
    let sides = [pair.own(), pair.theirs()];
    let units = sides.into_iter().flat_map(|side| side.units());
    let promises = units.flat_map(|(_, side)| side.promises());
    let open = promises.filter(|p| p.standing() == Standing::Undecided);
    let mut found = BTreeMap::new();
    for promise in open {
        let terms = &promise.iou().record().terms;
        let iou = promise.iou().hash();
        let rows = terms.logs.iter().map(|log| PromiseRow {
            iou,
            origin: log.origin.as_str().to_owned(),
            hash: *terms.hash.as_bytes(),
            deadline_ms: terms.deadline_ms,
        });
        let rows: Vec<PromiseRow> = rows.collect();
        if !rows.is_empty() {
            found.insert(iou, rows);
        }
    }
    found
}

/// The same as rows.
#[must_use]
pub fn hanging_rows(pair: &Pair) -> Vec<PromiseRow> {
    hanging(pair).into_values().flatten().collect()
}

/// The agent does not keep these books.
#[must_use]
pub fn pair_unknown() -> PluginError {
    PluginError::NotFound {
        code: "pair_unknown",
        detail: "the agent does not keep your books towards this peer",
    }
}
