//! One thing that a user does: what it changed, what it sends, and how it becomes lasting. Store, then send.

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::hop::Relay;
use atomicity_ledger::pair::Pair;
use atomicity_ledger::record::{AckItem, Terms};
use atomicity_ledger::{Amount, AnyRecord, PaymentHash, RecordHash, Unit};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::SimError;
use crate::plan::Lie;
use crate::world::World;

/// Something that a user did or learnt, for those who watch.
#[derive(Clone, Debug)]
pub enum Fact {
    /// Signed a promise.
    Signed {
        /// To whom.
        peer: usize,
        /// The promise.
        iou: AnyRecord,
    },
    /// Took a promise.
    Promised {
        /// Of whom.
        peer: usize,
        /// The promise.
        iou: AnyRecord,
    },
    /// Has the proof that a promise of a friend is due.
    Due {
        /// Of whom.
        peer: usize,
        /// Which.
        iou: RecordHash,
    },
    /// Booked a promise of its own.
    Merged {
        /// To whom.
        peer: usize,
        /// Which.
        iou: RecordHash,
    },
    /// A friend gave one of its promises up.
    Released {
        /// Who.
        peer: usize,
        /// Which.
        iou: RecordHash,
    },
    /// It is proven that a promise was not published.
    Expired {
        /// Between whom.
        peer: usize,
        /// Which.
        iou: RecordHash,
    },
    /// Paid directly.
    Paid {
        /// Whom.
        peer: usize,
        /// In what.
        unit: Unit,
        /// How much.
        amount: Amount,
    },
    /// Took a state.
    Took {
        /// Of whom.
        peer: usize,
        /// In what.
        unit: Unit,
        /// By how much what was paid grew.
        paid: u64,
        /// By how much what was given back grew.
        returned: u64,
        /// How much was given back for it.
        back: u64,
    },
    /// A friend's book came.
    Booked {
        /// Whose.
        peer: usize,
    },
    /// Promised onward.
    PassedOn {
        /// What for what.
        relay: Box<Relay>,
    },
    /// Something followed from what became of one side.
    Followed {
        /// How far it is now.
        relay: Box<Relay>,
    },
    /// All is there, and the preimage may be shown to a log.
    Publishes {
        /// Of which invoice.
        hash: PaymentHash,
        /// On which terms.
        terms: Terms,
    },
    /// Began anew from the files.
    Recovered {
        /// Towards whom.
        peer: usize,
    },
}

/// What a user does in one step.
#[derive(Debug, Default)]
pub struct Work {
    /// What is sent once all is stored.
    pub out: Vec<(usize, AnyRecord)>,
    /// What the watch is told.
    pub facts: Vec<Fact>,
    /// The friends whose channels changed.
    pub touched: BTreeSet<usize>,
}

impl Work {
    /// Something about one friend.
    #[must_use]
    pub fn of(peer: usize) -> Self {
        Self {
            touched: BTreeSet::from([peer]),
            ..Self::default()
        }
    }

    /// Sends a record when all is stored.
    pub fn send(&mut self, peer: usize, record: impl Into<AnyRecord>) {
        self.touched.insert(peer);
        self.out.push((peer, record.into()));
    }

    /// Sends records when all is stored.
    pub fn send_all(&mut self, peer: usize, records: impl IntoIterator<Item = AnyRecord>) {
        self.touched.insert(peer);
        self.out
            .extend(records.into_iter().map(|record| (peer, record)));
    }
}

impl World {
    /// Stores what was done, tells the watch, and sends. Sometimes a crash comes before one of these.
    ///
    /// # Errors
    /// [`SimError::Store`] if what was stored can't be read again.
    pub fn commit(&mut self, n: usize, work: Work) -> Result<(), SimError> {
        if self.crashes() {
            self.trace
                .line(format_args!("{n} crashes before it stores"));
            return self.restart(n);
        }
        for peer in &work.touched {
            let node = &mut self.nodes[n];
            if let Some(pair) = node.live.pairs.get(peer) {
                node.stored.pairs.insert(*peer, pair.clone());
                self.stats.stored += 1;
            }
        }
        let node = &mut self.nodes[n];
        node.stored.pens.clone_from(&node.live.pens);
        let live = &node.live;
        node.stored.relays.clone_from(&live.relays);
        node.stored.tallies.clone_from(&live.tallies);
        node.stored.payments.clone_from(&live.payments);
        node.stored.collections.clone_from(&live.collections);
        node.stored.secrets.clone_from(&live.secrets);
        self.see(n, &work);
        let crash = self.crashes();
        if crash {
            self.trace.line(format_args!("{n} crashes before it sends"));
            self.restart(n)?;
            // An outbox sends again what may have been sent; a friend without one reads the file.
            if self.rng.chance(500) {
                return Ok(());
            }
        }
        for (peer, record) in work.out {
            self.send(n, peer, record);
        }
        Ok(())
    }

    fn crashes(&mut self) -> bool {
        self.faulty && self.plan.crash > 0 && self.rng.chance(self.plan.crash)
    }

    /// The memory is lost; the store is read again, byte by byte.
    ///
    /// # Errors
    /// [`SimError::Store`] if it can't be read.
    pub fn restart(&mut self, n: usize) -> Result<(), SimError> {
        self.stats.crashes += 1;
        let node = &mut self.nodes[n];
        node.pending.clear();
        node.live = node.stored.clone();
        for (peer, pair) in &mut node.live.pairs {
            let text = serde_json::to_string(pair)?;
            let read: Pair = serde_json::from_str(&text)?;
            if read != *pair {
                self.watch.violated(format!(
                    "what {n} stored about {peer} is read as something else"
                ));
            }
            *pair = read;
        }
        self.reread(n)
    }

    /// What is kept beside the channels is read again too.
    fn reread(&mut self, n: usize) -> Result<(), SimError> {
        fn again<K: Ord, V>(map: &BTreeMap<K, V>) -> Result<bool, serde_json::Error>
        where
            V: Serialize + DeserializeOwned + PartialEq,
        {
            for value in map.values() {
                if serde_json::from_str::<V>(&serde_json::to_string(value)?)? != *value {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        let store = &self.nodes[n].live;
        let attempts = store.payments.iter();
        let attempts = attempts.map(|(hash, payment)| (*hash, payment.attempt.clone()));
        let same = again(&store.relays)?
            && again(&store.tallies)?
            && again(&store.collections)?
            && again(&attempts.collect())?;
        if !same {
            self.watch.violated(format!(
                "what {n} stored about payments is read as something else"
            ));
        }
        Ok(())
    }

    /// Gives a record to the network.
    pub fn send(&mut self, from: usize, to: usize, record: AnyRecord) {
        let words = brief(&record);
        self.trace.line(format_args!("{from} -> {to} {words}"));
        self.trace.bytes(record.hash().as_bytes());
        self.stats.records += 1;
        let node = &mut self.nodes[from];
        match &record {
            AnyRecord::Release(_) => {
                if self.old_releases.len() < 64 {
                    self.old_releases.push((from, to, record.clone()));
                }
                if node.does(Lie::WithholdsReleases) {
                    return;
                }
            }
            AnyRecord::Reply(reply) if self.old_replies.len() < 64 => {
                self.old_replies.push((from, reply.record().clone()));
            }
            AnyRecord::Ack(_) if node.does(Lie::WithholdsReleases) => return,
            AnyRecord::Publication(_) if node.does(Lie::LateProofs) => {
                node.drawer.push((to, record));
                return;
            }
            _ => {}
        }
        if self.faulty && self.rng.chance(self.plan.drop) {
            self.stats.dropped += 1;
            self.trace.line(format_args!("lost"));
            return;
        }
        // Of what is sent, and lies in a file later, one record in eight is read there anew; of the others the signature was made here.
        if record.hash().as_bytes()[0] & 7 != 0 {
            self.decoded.insert(record.jws().to_owned(), record.clone());
        }
        self.net.entry((from, to)).or_default().push(record);
    }
}

/// A record in a few words.
pub(crate) fn brief(record: &AnyRecord) -> String {
    match record {
        AnyRecord::ConditionalIou(iou) => {
            let of = iou.record();
            let (number, amount) = (of.number.get(), of.amount.minor());
            format!("iou {} #{number} {amount} {}", short(iou.hash()), of.unit)
        }
        AnyRecord::Release(release) => format!("release of {}", short(release.record().iou)),
        AnyRecord::Publication(shown) => format!("publication of {}", short(shown.record().iou)),
        AnyRecord::State(state) => {
            let of = state.record();
            let (seq, issued, merged) = (of.seq, of.issued.minor(), of.merged.minor());
            let open: Vec<u64> = of.open.iter().map(|number| number.get()).collect();
            let (epoch, next) = (of.epoch, of.next.get());
            format!(
                "state {epoch}/{seq} {issued} merged {merged} next {next} open {open:?} {}",
                of.unit
            )
        }
        AnyRecord::Ack(ack) => {
            let items = ack.record().items.iter().map(|item| match item {
                AckItem::State(item) => {
                    let clear = if item.clear { " clear" } else { "" };
                    format!("state {}/{}{clear} {}", item.epoch, item.seq, item.unit)
                }
                AckItem::Iou(item) => format!("iou {}", short(item.hash)),
                AckItem::Book(item) => {
                    format!("book {} held {}", short(item.hash), item.held.len())
                }
            });
            format!("ack of {}", items.collect::<Vec<_>>().join(", "))
        }
        AnyRecord::Book(book) => format!("book {}", book.record().epoch),
        other => other.typ().to_owned(),
    }
}

/// The beginning of a hash.
pub(crate) fn short(hash: RecordHash) -> String {
    let begin = hash.as_bytes().iter().take(3);
    begin.map(|byte| format!("{byte:02x}")).collect()
}
