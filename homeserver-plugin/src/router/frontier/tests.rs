#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use atomicity_ledger::{Keypair, UserKey};

use super::types::MAX_CHANGES;
use super::*;

fn key(n: u16) -> UserKey {
    let mut secret = [7; 32];
    secret[..2].copy_from_slice(&n.to_be_bytes());
    Keypair::from_secret(&secret).user_key()
}

const LIAR: u16 = 60_001;
const HONEST: u16 = 60_002;

fn config() -> RouterConfig {
    RouterConfig {
        max_users: 20,
        max_homeservers: 3,
        users_per_homeserver: 12,
        waiting_per_source: 10,
        ..RouterConfig::default()
    }
}

fn frontier() -> Frontier {
    Frontier::new(config())
}

fn done() -> Outcome {
    Outcome {
        profile: true,
        full: true,
        adverts: 1,
        ..Outcome::default()
    }
}

/// Settles users `from..to` at a home.
fn settle(frontier: &mut Frontier, home: u16, users: std::ops::Range<u16>) -> Vec<Settled> {
    users
        .map(|user| frontier.settle(key(user), Some(key(home)), 0))
        .collect()
}

#[test]
fn homeservers_take_turns_however_many_users_they_have() {
    let mut frontier = frontier();
    settle(&mut frontier, LIAR, 0..10);
    settle(&mut frontier, HONEST, 20..22);
    let mut turns = HashMap::new();
    for _ in 0..4 {
        let visit = frontier.next_visit(1).unwrap();
        *turns.entry(visit.home).or_insert(0) += 1;
        frontier.finish(&visit, &done(), 1, 0.0);
    }
    assert_eq!((turns[&key(LIAR)], turns[&key(HONEST)]), (2, 2));
}

#[test]
fn a_homeserver_is_asked_by_few_at_once_and_rests_after_failures() {
    let mut frontier = frontier();
    settle(&mut frontier, LIAR, 0..5);
    let first = frontier.next_visit(1).unwrap();
    let second = frontier.next_visit(1).unwrap();
    assert!(frontier.next_visit(1).is_none(), "two at once are enough");
    let failed = Outcome {
        home_failed: true,
        ..Outcome::default()
    };
    let mut pauses = Vec::new();
    let mut visit = first;
    frontier.finish(&second, &failed, 1, 0.0);
    let mut now = 1;
    for _ in 0..4 {
        frontier.finish(&visit, &failed, now, 0.0);
        let rests_until = frontier.home(&key(LIAR)).unwrap().next_at;
        pauses.push(rests_until - now);
        assert!(frontier.next_visit(rests_until - 1).is_none());
        now = rests_until;
        visit = frontier.next_visit(now).unwrap();
    }
    assert!(
        pauses.windows(2).all(|pair| pair[0] < pair[1]),
        "{pauses:?}"
    );
    frontier.finish(&visit, &done(), now, 0.0);
    assert_eq!(frontier.home(&key(LIAR)).unwrap().failures, 0);
}

#[test]
fn a_flood_of_users_of_one_homeserver_pushes_nobody_out() {
    let mut frontier = frontier();
    settle(&mut frontier, HONEST, 100..108);
    let flood = settle(&mut frontier, LIAR, 0..50);
    let taken = |settled: &&Settled| matches!(settled, Settled::New(_));
    assert!(flood.iter().filter(taken).count() >= 12);
    assert!(frontier.home(&key(LIAR)).unwrap().users <= 12);
    for user in 100..108 {
        assert!(frontier.user(&key(user)).is_some(), "{user} was pushed out");
    }
    // And the flood gives way to others.
    settle(&mut frontier, HONEST, 108..110);
    assert!(frontier.user(&key(109)).is_some());
    assert!(frontier.users() <= 20);
}

#[test]
fn who_is_pinned_or_advertises_stays() {
    let mut frontier = frontier();
    frontier.pin(key(1), 0);
    settle(&mut frontier, LIAR, 0..12);
    for _ in 0..12 {
        let Some(visit) = frontier.next_visit(1) else {
            break;
        };
        let adverts = usize::from(visit.user == key(5));
        let outcome = Outcome { adverts, ..done() };
        frontier.finish(&visit, &outcome, 1, 0.0);
    }
    settle(&mut frontier, LIAR, 200..240);
    assert!(frontier.user(&key(1)).unwrap().pinned);
    assert!(frontier.user(&key(5)).is_some());
}

#[test]
fn sources_take_turns_and_have_few_places() {
    let mut frontier = frontier();
    let liar = Source::Introduced(key(LIAR));
    let taken = (0..100).filter(|n| frontier.suggest(key(*n), liar, 0));
    assert_eq!(taken.count(), 10);
    assert!(frontier.suggest(key(500), Source::Introduced(key(HONEST)), 0));
    frontier.pin(key(501), 0);
    let order: Vec<UserKey> = (0..3).filter_map(|_| frontier.next_unresolved(0)).collect();
    assert!(order.contains(&key(500)) && order.contains(&key(501)));
}

#[test]
fn a_key_without_homeserver_is_left_alone_for_a_while() {
    let mut frontier = frontier();
    assert!(frontier.suggest(key(1), Source::Hello, 0));
    assert_eq!(frontier.next_unresolved(0), Some(key(1)));
    assert_eq!(frontier.settle(key(1), None, 0), Settled::Nowhere);
    assert!(!frontier.suggest(key(1), Source::Hello, 1));
    assert!(frontier.suggest(key(1), Source::Hello, NOWHERE_MS + 1));
}

#[test]
fn a_change_brings_a_visit_at_once_and_is_not_lost_while_one_is_under_way() {
    let mut frontier = frontier();
    settle(&mut frontier, HONEST, 0..1);
    let visit = frontier.next_visit(1).unwrap();
    assert!(visit.work.full, "who is new is read whole");
    let change = Work {
        peers: [key(9)].into(),
        ..Work::default()
    };
    frontier.touch(&key(0), change.clone(), 2);
    frontier.finish(&visit, &done(), 3, 0.0);
    let visit = frontier.next_visit(3).unwrap();
    assert_eq!(visit.work, change);
    frontier.finish(&visit, &done(), 4, 0.0);
    assert!(frontier.next_visit(5).is_none());
    // What failed is done again.
    frontier.touch(&key(0), change.clone(), 6);
    let visit = frontier.next_visit(6).unwrap();
    let failed = Outcome {
        home_failed: true,
        ..Outcome::default()
    };
    frontier.finish(&visit, &failed, 7, 0.0);
    let later = frontier.home(&key(HONEST)).unwrap().next_at;
    let visit = frontier.next_visit(later.max(60_007)).unwrap();
    assert_eq!(visit.work.peers, change.peers);
}

#[test]
fn who_moves_is_visited_at_the_new_home() {
    let mut frontier = frontier();
    settle(&mut frontier, LIAR, 0..1);
    let visit = frontier.next_visit(1).unwrap();
    frontier.settle(key(0), Some(key(HONEST)), 2);
    frontier.finish(&visit, &done(), 3, 0.0);
    assert!(frontier.home(&key(LIAR)).is_none(), "nobody lives there");
    let home = frontier.home(&key(HONEST)).unwrap();
    assert_eq!((home.users, home.adverts), (1, 1));
    assert_eq!(frontier.next_visit(3_600_000).unwrap().home, key(HONEST));
}

#[test]
fn revocations_are_looked_for_within_ten_minutes() {
    let mut frontier = frontier();
    settle(&mut frontier, HONEST, 0..1);
    frontier.set_followed(&[key(0)], true);
    let visit = frontier.next_visit(1).unwrap();
    let outcome = Outcome {
        delegates: true,
        ..done()
    };
    frontier.finish(&visit, &outcome, 1, 0.0);
    let visit = frontier.next_visit(600_000).unwrap();
    assert_eq!(visit.work, Work::keys_only());
}

#[test]
fn many_changes_become_one_reading_of_everything() {
    let mut work = Work::default();
    for n in 0..100 {
        work.merge(Work {
            peers: [key(n)].into(),
            ..Work::default()
        });
    }
    assert!(work.full && work.peers.len() <= MAX_CHANGES);
}

#[test]
fn what_was_not_there_is_looked_for_again_soon() {
    let mut frontier = frontier();
    settle(&mut frontier, HONEST, 0..1);
    frontier.set_followed(&[key(0)], true);
    let visit = frontier.next_visit(1).unwrap();
    let outcome = Outcome {
        doubtful: [key(9)].into(),
        ..done()
    };
    frontier.finish(&visit, &outcome, 1, 0.0);
    assert!(frontier.next_visit(2).is_none(), "not at once");
    let visit = frontier.next_visit(1 + DOUBTFUL_MS).unwrap();
    assert_eq!(visit.work.peers, outcome.doubtful);
    frontier.finish(&visit, &done(), 1 + DOUBTFUL_MS, 0.0);
    assert!(frontier.next_visit(2 * DOUBTFUL_MS + 2).is_none());
}
