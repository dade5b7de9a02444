//! Lines that rules about many gave, while the user is away: they stand as long as the word of a friend does.
//!
//! The wallet has set the amount of each aside within the caps of its rules, so a line may fall here and rise again to that, and no cap
//! is exceeded. Nobody new is let in, and nothing is given that the wallet did not give.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atomicity_ledger::authority::{Credentials, Purpose, delegation_path};
use atomicity_ledger::pair::{LineTerms, Pair};
use atomicity_ledger::record::{Rating, RatingKind, Verdict, rating_path};
use atomicity_ledger::{AnyRecord, LedgerError, Signed, Timestamp, Total, UserKey};
use serde_json::json;

use super::change::{self, Change};
use super::keeper::Keeper;
use super::settings::RuleLine;
use super::{Agent, lookup, store};
use crate::error::PluginError;
use crate::state::AppState;

/// How long the word of a friend counts who can't be asked again, in milliseconds.
const WORD_STANDS_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// What a friend says of somebody now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// That they are good.
    Good,
    /// That no more, or nothing that verifies.
    TakenBack,
    /// Their homeserver does not say.
    Silent,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Nothing stands for it any more.
    Closed,
    /// Nobody says anything else: it stays as it is.
    Left,
    /// Somebody says so now.
    Given,
}

type Spoken = (UserKey, UserKey, UserKey);

/// When friends were last heard to vouch for somebody, none if they took it back: owner, peer, friend.
#[derive(Default)]
pub struct Heard(Mutex<HashMap<Spoken, Option<Timestamp>>>);

impl Heard {
    /// What follows from the word of a friend at `now`. `until`: how long what the wallet heard counts.
    fn judge(&self, of: Spoken, word: Word, until: Timestamp, now: Timestamp) -> Fate {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match word {
            Word::Good => {
                heard.insert(of, Some(now));
                Fate::Given
            }
            Word::TakenBack => {
                heard.insert(of, None);
                Fate::Closed
            }
            Word::Silent => match heard.get(&of) {
                Some(None) => Fate::Closed,
                Some(Some(at)) => left(now < at.plus_millis(WORD_STANDS_MS).max(until)),
                None => left(now < until),
            },
        }
    }
}

fn left(counts: bool) -> Fate {
    if counts { Fate::Left } else { Fate::Closed }
}

/// What `friend` says of `peer`.
async fn word_of(state: &AppState, friend: &UserKey, peer: &UserKey, now: Timestamp) -> Word {
    let text = match lookup::read(state, friend, &rating_path(peer)).await {
        Ok(Some(text)) => text,
        Ok(None) => return Word::TakenBack,
        Err(_) => return Word::Silent,
    };
    let Ok(signed) = Signed::<Rating>::decode(text.trim()) else {
        return Word::TakenBack;
    };
    let rating = signed.record();
    let about = rating.from == *friend && rating.subject == *peer;
    if !about || rating.kind != RatingKind::User || rating.verdict != Verdict::Good {
        return Word::TakenBack;
    }
    let mut credentials = Credentials::new(*friend);
    let key = signed.kid();
    if !key.is_root_of(friend) {
        match lookup::read(state, friend, &delegation_path(&key)).await {
            Ok(Some(text)) => {
                // What lies there and is no word of the root changes nothing.
                let _ = credentials.learn(text.trim(), now);
            }
            Ok(None) => {}
            Err(_) => return Word::Silent,
        }
    }
    match credentials.judge(key, Purpose::Report, now) {
        Ok(_) => Word::Good,
        Err(_) => Word::TakenBack,
    }
}

/// What becomes of a line by what can be heard now: one friend is enough.
async fn fate(
    state: &AppState,
    agent: &Agent,
    (owner, peer): (UserKey, UserKey),
    line: &RuleLine,
) -> Fate {
    let now = change::now();
    let mut fate = left(line.words.is_empty() && now < line.until);
    for friend in &line.words {
        let word = word_of(state, friend, &peer, now).await;
        let of = (owner, peer, *friend);
        fate = fate.max(agent.heard().judge(of, word, line.until, now));
    }
    fate
}

/// The same terms as before, with another amount.
fn terms(pair: &Pair, line: &RuleLine, accept: Total) -> Result<LineTerms, LedgerError> {
    let mut terms = LineTerms::simple(line.unit.clone(), accept)?;
    let before = pair.own().unit(&line.unit).and_then(|side| side.line());
    if let Some(before) = before.map(|line| line.record()) {
        terms.min_amount = before.min_amount;
        terms.max_deadline_s = before.max_deadline_s;
        terms.slots = before.slots;
        terms.unattended = before.unattended.clone();
        terms.logs_refused = before.logs_refused.clone();
        terms.expires = before.expires;
    }
    Ok(terms)
}

/// Brings a line to what its rule gave, or to nothing.
async fn bring(
    state: &AppState,
    keeper: &Arc<Keeper>,
    peer: UserKey,
    line: &RuleLine,
    accept: Total,
) -> Result<(), PluginError> {
    let mut change = Change::begin(state, keeper, &BTreeSet::from([peer])).await?;
    let now = change.now;
    let Ok((loaded, pen)) = change.pair_mut(&peer) else {
        return Ok(());
    };
    // The wallet, or an app, may have said something else meanwhile.
    let same = loaded.settings.by_rule.contains(line);
    if !same || loaded.pair.own().accept_at(&line.unit, now) == accept {
        return Ok(());
    }
    let signed =
        terms(&loaded.pair, line, accept).and_then(|terms| loaded.pair.set_line(terms, pen, now));
    match signed {
        Ok(signed) => {
            change.send(peer, &AnyRecord::from(signed));
            let body = json!({"unit": line.unit, "line": accept});
            change.tell(peer, "line_by_rule", body);
            change.commit().await
        }
        Err(error) => {
            tracing::info!(
                code = error.code(),
                "a line by a rule can't be signed: {error}"
            );
            Ok(())
        }
    }
}

async fn look(state: &AppState, agent: &Agent, keeper: &Arc<Keeper>) -> Result<(), PluginError> {
    for (peer, lines) in store::lines_by_rule(&state.pool, &keeper.owner).await? {
        for line in lines {
            if state.shutdown.is_cancelled() {
                return Ok(());
            }
            let accept = match fate(state, agent, (keeper.owner, peer), &line).await {
                Fate::Given => line.line,
                Fate::Left => continue,
                Fate::Closed => Total::ZERO,
            };
            bring(state, keeper, peer, &line, accept).await?;
        }
    }
    Ok(())
}

/// Asks for the words on which lines stand again and again, until the process stops.
pub async fn run(state: AppState, agent: Agent) {
    let every = Duration::from_secs(agent.config().word_poll_s);
    loop {
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = tokio::time::sleep(every.mul_f64(rand::random_range(0.9..1.1))) => {}
        }
        for keeper in agent.keepers() {
            if state.shutdown.is_cancelled() {
                return;
            }
            if let Err(error) = look(&state, &agent, &keeper).await {
                tracing::debug!(code = error.code(), "lines by rules were not looked after");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;

    #[test]
    fn silence_counts_for_a_week_and_a_word_taken_back_not_at_all() {
        let user = |n| Keypair::from_secret(&[n; 32]).user_key();
        let of = (user(1), user(2), user(3));
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let heard = Heard::default();
        let until = at(100);
        let judge = |word, now| heard.judge(of, word, until, at(now));
        assert_eq!(judge(Word::Silent, 99), Fate::Left);
        assert_eq!(judge(Word::Silent, 100), Fate::Closed);
        assert_eq!(judge(Word::Good, 1_000), Fate::Given);
        assert_eq!(judge(Word::Silent, 999 + WORD_STANDS_MS), Fate::Left);
        assert_eq!(judge(Word::Silent, 1_000 + WORD_STANDS_MS), Fate::Closed);
        assert_eq!(judge(Word::Good, 50), Fate::Given);
        assert_eq!(judge(Word::TakenBack, 51), Fate::Closed);
        // Who has taken it back says nothing else by saying nothing.
        assert_eq!(judge(Word::Silent, 52), Fate::Closed);
    }
}
