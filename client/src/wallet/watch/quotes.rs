//! For which proposed payments a running wallet looks for a way by itself, so that the page shows it before anybody agrees: one after another,
//! each a few times, and no more in an hour than a user would read, since whoever has a session could propose without end.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use atomicity_ledger::RecordId;

use super::super::ProposalView;

/// How often it is tried: routers may hear of a channel a little later.
const TRIES: u32 = 5;
/// How long it is waited after the first try. Each time it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Most tries in an hour.
const MOST: usize = 60;
const HOUR: Duration = Duration::from_secs(3600);

/// What was tried.
#[derive(Default)]
pub(super) struct Quotes {
    busy: bool,
    /// How often, and when it may be tried again.
    tried: BTreeMap<RecordId, (u32, Instant)>,
    /// When it was tried within the last hour, the oldest first.
    lately: VecDeque<Instant>,
}

impl Quotes {
    /// The first of those that `wait` for which it may be tried now, and whether it is for the last time. That it is tried is noted.
    pub(super) fn next(
        &mut self,
        wait: Vec<ProposalView>,
        now: Instant,
    ) -> Option<(ProposalView, bool)> {
        while self.lately.front().is_some_and(|at| *at + HOUR <= now) {
            self.lately.pop_front();
        }
        // Where nothing waits, it may only not have been looked: what was tried is remembered.
        if self.busy || wait.is_empty() || self.lately.len() >= MOST {
            return None;
        }
        self.tried
            .retain(|id, _| wait.iter().any(|view| view.id == *id));
        let found = wait.into_iter().find(|view| {
            let tried = self.tried.get(&view.id);
            tried.is_none_or(|(times, again)| *times < TRIES && *again <= now)
        })?;
        let times = self.tried.get(&found.id).map_or(0, |(times, _)| *times);
        let pause = FIRST_PAUSE.saturating_mul(1 << times.min(TRIES));
        let times = times.saturating_add(1);
        self.tried.insert(found.id, (times, now + pause));
        self.lately.push_back(now);
        self.busy = true;
        Some((found, times == TRIES))
    }

    /// The one that was tried is over.
    pub(super) fn ended(&mut self) {
        self.busy = false;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::net::plugin::Wish;

    fn waiting(n: u8) -> ProposalView {
        ProposalView {
            id: RecordId::from_entropy([n; 16]),
            plugin: "somewhere".to_owned(),
            wish: Wish::Pay {
                link: String::new(),
                max_fee: None,
            },
            state: None,
            fee: 0,
            amount: None,
            request: None,
            reason: None,
            at: 0,
            expires: None,
        }
    }

    #[test]
    fn each_is_tried_a_few_times_with_growing_pauses_and_one_after_another() {
        let mut quotes = Quotes::default();
        let mut now = Instant::now();
        let both = || vec![waiting(1), waiting(2)];
        let (first, _) = quotes.next(both(), now).unwrap();
        assert!(quotes.next(both(), now).is_none());
        quotes.ended();
        let (second, _) = quotes.next(both(), now).unwrap();
        assert_ne!(first.id, second.id);
        quotes.ended();
        assert!(quotes.next(both(), now).is_none());
        let mut last = Vec::new();
        for _ in 0..3_600 {
            now += Duration::from_secs(1);
            assert!(quotes.next(Vec::new(), now).is_none());
            if let Some((view, is_last)) = quotes.next(vec![waiting(1)], now) {
                assert_eq!(view.id, first.id);
                last.push(is_last);
                quotes.ended();
            }
        }
        assert_eq!(last, [false, false, false, true]);
    }

    #[test]
    fn whoever_proposes_without_end_is_not_served_without_end() {
        let mut quotes = Quotes::default();
        let start = Instant::now();
        let mut tried = 0;
        for n in 0..=255 {
            tried += usize::from(quotes.next(vec![waiting(n)], start).is_some());
            quotes.ended();
        }
        assert_eq!(tried, MOST);
        assert!(quotes.next(vec![waiting(1)], start + HOUR).is_some());
    }
}
