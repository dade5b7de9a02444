//! What follows from a change of the books for payments over several hops: passing promises on, collecting for invoices, paying.
//!
//! Whoever changes the books of a pair calls [`react`] in the same transaction. What it signs, and whatever it notes, becomes
//! durable with that change or not at all; so nothing has to be taken up again after a crash but what waits for a server.

mod act;
mod follow;

use std::collections::{BTreeMap, VecDeque};

use atomicity_ledger::hop::{Context, Step};
use atomicity_ledger::pair::{Event, KnownLogs, Pair};
use atomicity_ledger::record::{LogProof, ReleaseReason, Reply};
use atomicity_ledger::seal::EncryptionSecret;
use atomicity_ledger::text::Layers;
use atomicity_ledger::{AnyRecord, Keypair, Preimage, RecordHash, UserKey};

use super::books::Change;
use super::event::{WalletEvent, WalletEventKind};
use super::{decide, entropy, history, logs, now, requests, settle};
use crate::error::ClientError;
use crate::store::contacts::{self, Contact};
use crate::store::pairs::agent;

/// Changes of books that may follow from one, at most.
const ROUNDS: usize = 256;
/// How much time must be left for publishing, milliseconds.
pub(crate) const MIN_LEFT_MS: u64 = 8_000;

/// The books with one friend while they are worked on.
struct Books {
    before: Pair,
    pair: Pair,
    contact: Contact,
    send: Vec<AnyRecord>,
    events: Vec<Event>,
}

/// Everything at hand while the consequences of a change are drawn.
struct Desk<'c> {
    change: &'c mut Change,
    me: UserKey,
    pen: Keypair,
    secrets: Vec<EncryptionSecret>,
    logs: KnownLogs,
    books: BTreeMap<UserKey, Books>,
    queue: VecDeque<(UserKey, Vec<Event>)>,
    told: Vec<WalletEvent>,
}

/// Draws the consequences of a change of the books with `peer`, which are stored already. `events` came with the change.
///
/// # Errors
/// What the store says. What can't be signed now is left as it is.
pub(crate) async fn react(
    change: &mut Change,
    me: UserKey,
    peer: UserKey,
    events: &[Event],
) -> Result<Vec<WalletEvent>, ClientError> {
    let mut told = settle::follow(change, me, peer, events).await?;
    told.extend(requests::follow(change, peer, events).await?);
    let logs = logs::known(change.conn()).await?;
    let (pen, secrets) = (change.keys.pen.clone(), change.keys.encryption.clone());
    let mut desk = Desk {
        change,
        me,
        pen,
        secrets,
        logs,
        books: BTreeMap::new(),
        queue: VecDeque::from([(peer, events.to_vec())]),
        told,
    };
    desk.run().await?;
    desk.finish().await
}

/// Gives back what came for invoices and can't be completed any more, and looks at all that is collected anew.
///
/// # Errors
/// As [`react`].
pub(crate) async fn tidy(
    change: &mut Change,
    me: UserKey,
) -> Result<Vec<WalletEvent>, ClientError> {
    let logs = logs::known(change.conn()).await?;
    let (pen, secrets) = (change.keys.pen.clone(), change.keys.encryption.clone());
    let mut desk = Desk {
        change,
        me,
        pen,
        secrets,
        logs,
        books: BTreeMap::new(),
        queue: VecDeque::new(),
        told: Vec::new(),
    };
    desk.collect_all().await?;
    desk.run().await?;
    desk.finish().await
}

/// What follows for this user's own payments when the copy of books that the agent keeps was replaced. Nothing is signed.
///
/// # Errors
/// As [`react`].
pub(crate) async fn follow_copy(
    change: &mut Change,
    me: UserKey,
    peer: UserKey,
    word: Option<&Word>,
) -> Result<Vec<WalletEvent>, ClientError> {
    let logs = logs::known(change.conn()).await?;
    let (pen, secrets) = (change.keys.pen.clone(), change.keys.encryption.clone());
    let mut desk = Desk {
        change,
        me,
        pen,
        secrets,
        logs,
        books: BTreeMap::new(),
        queue: VecDeque::new(),
        told: Vec::new(),
    };
    desk.put_books(&peer).await?;
    match word {
        Some(Word::Reply(reply)) => desk.read_replies(reply).await?,
        Some(word) => desk.hear_word(&peer, word).await?,
        None => desk.follow_payments(&peer, &[]).await?,
    }
    desk.finish().await
}

/// What the agent tells of a promise of this user.
pub(crate) enum Word {
    /// The first hop gave it up, or it is proven that it was not published in time.
    Failed(RecordHash, ReleaseReason, Option<Layers>),
    /// It was published in time, and is booked.
    Paid(RecordHash, Preimage, Option<LogProof>),
    /// What the last hop shows.
    Reply(Reply),
}

impl Desk<'_> {
    async fn run(&mut self) -> Result<(), ClientError> {
        for _ in 0..ROUNDS {
            let Some((peer, events)) = self.queue.pop_front() else {
                return Ok(());
            };
            if !self.load(&peer).await? {
                continue;
            }
            self.take_replies(&peer, &events).await?;
            self.follow_relays(&peer, &events).await?;
            self.follow_payments(&peer, &events).await?;
            self.follow_invoices(&peer, &events).await?;
            self.run_errands(&peer).await?;
        }
        tracing::warn!("the consequences of one change are many: the rest follows later");
        Ok(())
    }

    /// Whether there are books with somebody that are kept here; they are at hand then.
    async fn load(&mut self, user: &UserKey) -> Result<bool, ClientError> {
        if self.books.contains_key(user) {
            return Ok(true);
        }
        if agent::keeps(self.change.conn(), user).await? {
            return Ok(false);
        }
        self.put_books(user).await
    }

    async fn put_books(&mut self, user: &UserKey) -> Result<bool, ClientError> {
        let Some(contact) = contacts::get(self.change.conn(), user).await? else {
            return Ok(false);
        };
        let pair = self.change.load(self.me, *user).await?;
        let books = Books {
            before: pair.clone(),
            pair,
            contact,
            send: Vec::new(),
            events: Vec::new(),
        };
        self.books.insert(*user, books);
        Ok(true)
    }

    fn context(&self) -> Context<'_> {
        Context {
            now: self.change.now,
            logs: &self.logs,
            secrets: &self.secrets,
            entropy: entropy(),
        }
    }

    /// Takes what a step did: it is sent and told at the end; what it changed may lead to more.
    fn absorb(&mut self, step: Step) {
        for (to, record) in step.send {
            if let Some(books) = self.books.get_mut(&to) {
                books.send.push(record);
            }
        }
        for (peer, event) in step.events {
            if let Some(books) = self.books.get_mut(&peer) {
                books.events.push(event.clone());
            }
            self.queue.push_back((peer, vec![event]));
        }
    }

    fn tell(&mut self, about: Option<&UserKey>, kind: WalletEventKind) {
        let contact = about.and_then(|user| self.books.get(user));
        self.told.push(WalletEvent {
            at: now().millis(),
            user: about.copied(),
            friend: contact.map(|books| books.contact.name.clone()),
            kind,
        });
    }

    /// Stores the books that changed, and what is to be sent.
    async fn finish(mut self) -> Result<Vec<WalletEvent>, ClientError> {
        let mut told = Vec::new();
        for (_, mut books) in std::mem::take(&mut self.books) {
            if books.pair != books.before {
                if let Ok(states) = books.pair.book_due(&self.pen, self.change.now) {
                    let states = states.into_iter().map(AnyRecord::State);
                    books.send.extend(states);
                }
                self.change.save(&books.pair).await?;
            }
            let send = std::mem::take(&mut books.send);
            if !send.is_empty() {
                decide::dispatch(self.change, self.me, &books.pair, send).await?;
                decide::want_logs(self.change).await?;
            }
            let pairs = (&books.before, &books.pair);
            told.extend(history::tell(self.change, pairs, &books.contact, books.events).await?);
        }
        told.extend(self.told);
        Ok(told)
    }
}
