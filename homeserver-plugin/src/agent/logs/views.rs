//! What friends were shown of logs, beside what the logs show here.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use atomicity_witness_log::{Checkpoint, Hash, SignedNote};

use super::lock;
use crate::agent::Agent;
use crate::state::AppState;
use crate::watchtower::examine;

/// How many checkpoints of a log are remembered.
const REMEMBERED: usize = 256;

/// Size and root of the newest checkpoints that each log has shown here.
#[derive(Default)]
pub(super) struct Shown(Mutex<HashMap<String, VecDeque<(u64, Hash)>>>);

impl Shown {
    pub(super) fn add(&self, origin: &str, seen: (u64, Hash)) {
        let mut shown = lock(&self.0);
        let list = shown.entry(origin.to_owned()).or_default();
        if list.back() != Some(&seen) {
            list.push_back(seen);
            if list.len() > REMEMBERED {
                list.pop_front();
            }
        }
    }

    fn has(&self, checkpoint: &Checkpoint) -> bool {
        let shown = lock(&self.0);
        let seen = (checkpoint.size, checkpoint.root);
        let list = shown.get(&checkpoint.origin);
        list.is_some_and(|list| list.contains(&seen))
    }
}

/// Has these checkpoints compared by the watchtower, except those that the logs have shown here too.
pub fn compare(state: &AppState, agent: &Agent, checkpoints: Vec<String>) {
    let notes = checkpoints
        .iter()
        .filter_map(|text| SignedNote::parse(text.as_bytes()).ok());
    let unknown = |note: &SignedNote| {
        let read = Checkpoint::parse(note.text());
        read.is_ok_and(|checkpoint| !agent.logs().shown.has(&checkpoint))
    };
    let notes: Vec<SignedNote> = notes.filter(unknown).collect();
    if notes.is_empty() {
        return;
    }
    let state = state.clone();
    tokio::spawn(async move {
        for note in &notes {
            if let Err(error) = examine::remember(&state, note).await {
                tracing::debug!(code = error.code(), "a friend's checkpoint was not kept");
            }
        }
    });
}
