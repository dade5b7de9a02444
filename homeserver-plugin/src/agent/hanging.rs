//! Which promises hang on logs: those of both directions that are undecided.

use std::collections::BTreeSet;

use atomicity_ledger::pair::{Pair, Promise, Standing};
use atomicity_ledger::{RecordHash, UserKey};

use super::store::PromiseRow;

fn undecided(pair: &Pair) -> impl Iterator<Item = &Promise> {
    let sides = [pair.own(), pair.theirs()];
    let units = sides.into_iter().flat_map(|side| side.units());
    let promises = units.flat_map(|(_, side)| side.promises());
    promises
        .filter(|p| p.standing() == Standing::Undecided && !p.iou().record().terms.logs.is_empty())
}

fn rows_of(peer: UserKey, promise: &Promise) -> impl Iterator<Item = PromiseRow> {
    let terms = &promise.iou().record().terms;
    let iou = promise.iou().hash();
    terms.logs.iter().map(move |log| PromiseRow {
        peer,
        iou,
        origin: log.origin.as_str().to_owned(),
        hash: *terms.hash.as_bytes(),
        deadline_ms: terms.deadline_ms,
    })
}

/// What a change of books began and ended to wait for.
#[derive(Default)]
pub struct Hanging {
    /// New ones.
    pub new: Vec<PromiseRow>,
    /// Those that wait no longer.
    pub gone: Vec<RecordHash>,
}

impl Hanging {
    /// Adds what is different between two versions of the same books. Returns the new promises.
    pub fn compare(&mut self, before: &Pair, after: &Pair) -> BTreeSet<RecordHash> {
        let hashes = |pair| undecided(pair).map(|p| p.iou().hash()).collect();
        let (old, now): (BTreeSet<RecordHash>, BTreeSet<RecordHash>) =
            (hashes(before), hashes(after));
        self.gone.extend(old.difference(&now));
        let new: BTreeSet<RecordHash> = now.difference(&old).copied().collect();
        if !new.is_empty() {
            let begun = undecided(after).filter(|p| new.contains(&p.iou().hash()));
            self.new
                .extend(begun.flat_map(|promise| rows_of(after.peer(), promise)));
        }
        new
    }
}

/// All of them.
#[must_use]
pub fn rows(pair: &Pair) -> Vec<PromiseRow> {
    let peer = pair.peer();
    undecided(pair).flat_map(|p| rows_of(peer, p)).collect()
}
