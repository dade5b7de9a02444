//! Channel files, which friends read when they like, and which are sometimes old; books that are handed over or begun anew.

use atomicity_ledger::pair::{FileRecords, Pair, Recovered};
use atomicity_ledger::{AnyRecord, Epoch};

use crate::error::SimError;
use crate::plan::Lie;
use crate::view::View;
use crate::work::{Fact, Work};
use crate::world::{Store, World};

impl World {
    /// Reads a record that lay in a file; each is checked once.
    fn decode(&mut self, jws: &str) -> Result<AnyRecord, SimError> {
        if let Some(record) = self.decoded.get(jws) {
            return Ok(record.clone());
        }
        let record = AnyRecord::decode(jws)?;
        self.decoded.insert(jws.to_owned(), record.clone());
        Ok(record)
    }

    fn decode_all(&mut self, list: &[String]) -> Result<Vec<AnyRecord>, SimError> {
        list.iter().map(|jws| self.decode(jws)).collect()
    }

    /// What `n` publishes for `peer` now. Who gives nothing up doesn't write it there either.
    #[must_use]
    pub fn file_of(&self, n: usize, peer: usize) -> FileRecords {
        let node = &self.nodes[n];
        let Some(pair) = node.stored.pairs.get(&peer) else {
            return FileRecords::default();
        };
        let mut file = pair.file_records();
        let hidden: &[&str] = if node.does(Lie::WithholdsReleases) {
            &["atomicity-release", "atomicity-ack"]
        } else if node.does(Lie::LateProofs) && self.faulty {
            &["atomicity-publication"]
        } else {
            &[]
        };
        if !hidden.is_empty() {
            let shown = |jws: &String| {
                let typ = AnyRecord::decode(jws).map(|record| record.typ());
                typ.is_ok_and(|typ| !hidden.contains(&typ))
            };
            file.own.retain(shown);
        }
        file
    }

    /// `n` writes its channel files.
    pub(crate) fn flush(&mut self, n: usize) -> Result<(), SimError> {
        let peers: Vec<usize> = self.nodes[n].live.pairs.keys().copied().collect();
        for peer in peers {
            let file = self.file_of(n, peer);
            self.nodes[n].flushed.insert(peer, file);
        }
        Ok(())
    }

    /// `n` reads the file of a friend: as it is, or as it was.
    pub(crate) fn read_a_file(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        let old = self.nodes[peer].flushed.get(&n).cloned();
        let file = match old {
            Some(old) if self.rng.chance(500) => old,
            _ => self.file_of(peer, n),
        };
        self.trace
            .line(format_args!("{n} reads the file of {peer}"));
        self.read(n, peer, &file)
    }

    /// `n` reads a file of `peer`.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn read(&mut self, n: usize, peer: usize, file: &FileRecords) -> Result<(), SimError> {
        let now = self.clock(n);
        let (held, own) = (self.decode_all(&file.held)?, self.decode_all(&file.own)?);
        for record in held {
            let (pair, _) = self.nodes[n].with(peer)?;
            // What is refused is traced by what does not change.
            let _ = pair.show_own(&record, now);
        }
        self.commit(n, Work::of(peer))?;
        for record in own {
            self.receive(n, peer, &record)?;
        }
        Ok(())
    }

    /// The book goes to another key, or the device is lost.
    pub(crate) fn change_books(&mut self, n: usize) -> Result<(), SimError> {
        if !self.plan.epochs {
            return Ok(());
        }
        if self.rng.chance(350) && self.nodes[n].is_honest() {
            return self.recover(n);
        }
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        self.hand_over(n, peer)
    }

    /// The same store goes on with another key.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn hand_over(&mut self, n: usize, peer: usize) -> Result<(), SimError> {
        let now = self.clock(n);
        let pair = &self.nodes[n].live.pairs[&peer];
        let known = self.nodes[peer].live.pairs[&n].theirs().epoch();
        let number = |epoch: Option<Epoch>| epoch.map_or(0, |epoch| epoch.get());
        // A friend finds three earlier books in the file, and none before.
        if pair.is_behind() || number(pair.own().epoch()) >= number(known) + 3 {
            return Ok(());
        }
        let key = self.new_key(n)?;
        let new = self.new_book(&key, true)?;
        let word = self.nodes[n].published.last().cloned();
        let (pair, pen) = self.nodes[n].with(peer)?;
        let mut work = Work::of(peer);
        if let Some(word) = word {
            pair.learn_own_authority(&word, now)?;
        }
        let old = (pair.own().epoch().unwrap_or_default(), pen.clone());
        if let Ok(book) = pair.open_book(new, &pen.clone(), now) {
            self.nodes[n].old_pens.insert(peer, old);
            self.stats.epochs += 1;
            self.trace
                .line(format_args!("{n} hands its book towards {peer} over"));
            self.nodes[n].live.pens.insert(peer, key);
            work.send(peer, book);
        }
        self.commit(n, work)
    }

    /// The store is lost: all channels are put together from the files, and the root opens new books.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn recover(&mut self, n: usize) -> Result<(), SimError> {
        self.stats.epochs += 1;
        self.trace.line(format_args!("{n} recovers"));
        let key = self.new_key(n)?;
        let peers: Vec<usize> = self.nodes[n].live.pairs.keys().copied().collect();
        let liars = peers.iter().any(|peer| !self.nodes[*peer].is_honest());
        let mut work = Work::default();
        for peer in peers {
            // What friends who tell the truth hold makes up for an old file.
            let old = self.nodes[n].flushed.get(&peer).cloned();
            let own = match old {
                Some(old) if !liars && self.faulty && self.rng.chance(300) => old,
                _ => self.file_of(n, peer),
            };
            let theirs = self.file_of(peer, n);
            self.recover_pair(n, peer, &own, &theirs, &key, &mut work)?;
        }
        let node = &mut self.nodes[n];
        node.pending.clear();
        // Everything beside the channels is gone, but for what the root derives.
        node.live = Store {
            pairs: std::mem::take(&mut node.live.pairs),
            pens: std::mem::take(&mut node.live.pens),
            secrets: std::mem::take(&mut node.live.secrets),
            ..Store::default()
        };
        let views = self.logs.logs.iter().map(View::new);
        node.views = views.collect::<Result<_, _>>()?;
        self.new_sealing_key(n);
        self.watch.forget(n);
        self.follow_all(n)?;
        let faulty = std::mem::replace(&mut self.faulty, false);
        let done = self.commit(n, work);
        self.faulty = faulty;
        done
    }

    fn recover_pair(
        &mut self,
        n: usize,
        peer: usize,
        own: &FileRecords,
        theirs: &FileRecords,
        key: &atomicity_ledger::Keypair,
        work: &mut Work,
    ) -> Result<(), SimError> {
        let now = self.clock(n);
        let mut mine = self.decode_all(&own.own)?;
        mine.extend(self.decode_all(&theirs.held)?);
        let mut held = self.decode_all(&own.held)?;
        let shown = self.decode_all(&theirs.own)?;
        held.extend(Recovered::taken_before(&mine, &shown));
        let mut words = self.nodes[n].published.clone();
        words.extend(self.nodes[peer].published.iter().cloned());
        let node = &self.nodes[n];
        let caps = self.new_book(key, false)?.caps;
        let recovered = Pair::recover(
            node.user(),
            self.nodes[peer].user(),
            &mine,
            &held,
            &words,
            caps,
            &node.root,
            key,
            now,
        )?;
        let node = &mut self.nodes[n];
        node.live.pairs.insert(peer, recovered.pair);
        node.live.pens.insert(peer, key.clone());
        work.facts.push(Fact::Recovered { peer });
        work.send(peer, recovered.book);
        work.send_all(peer, recovered.lines.into_iter().map(AnyRecord::from));
        work.send_all(peer, recovered.acks.into_iter().map(AnyRecord::from));
        // What the friend's file says beyond that comes as if it had been sent.
        self.net.entry((peer, n)).or_default().extend(shown);
        Ok(())
    }

    /// Whether a user began anew and does not know everything yet that it had signed.
    #[must_use]
    pub fn is_recovering(&self, n: usize) -> bool {
        self.nodes[n].live.pairs.values().any(Pair::is_waiting)
    }
}
