//! Circles of debts, compared with trying everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use atomicity_ledger::record::Clears;
use atomicity_ledger::{Amount, Keypair, Seq, Timestamp, Unit, UserKey};
use atomicity_routing::{Applied, CircleRequest, Debt, DebtCircle, Debts, RouteError};
use proptest::prelude::*;

const NOW: u64 = 1_000;

fn user(n: u8) -> UserKey {
    Keypair::from_secret(&[n + 1; 32]).user_key()
}

fn amount(minor: u64) -> Amount {
    Amount::from_minor(minor).unwrap()
}

fn unit() -> Unit {
    "BREAD/2".parse().unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms).unwrap()
}

fn says(from: u8, to: u8, clears: Clears, seq: u64) -> Debt {
    Debt {
        from: user(from),
        to: user(to),
        seq: Seq::new(seq).unwrap(),
        clears,
        expires: at(2 * NOW),
    }
}

/// b owes a, and both say so.
fn owe(debts: &mut Debts, a: u8, b: u8, minor: u64) {
    for debt in [
        says(a, b, Clears::Owed(amount(minor)), 1),
        says(b, a, Clears::Owes(amount(minor)), 1),
    ] {
        debts.apply(&unit(), &debt).unwrap();
    }
}

fn graph(edges: &[(u8, u8, u64)]) -> Debts {
    let mut debts = Debts::new();
    for (a, b, minor) in edges {
        owe(&mut debts, *a, *b, *minor);
    }
    debts
}

fn request(of: u8) -> CircleRequest {
    CircleRequest {
        user: user(of),
        unit: unit(),
        max_edges: 10,
        most: 32,
        min: amount(1),
        now: at(NOW),
    }
}

fn circle(nodes: &[u8], minor: u64) -> DebtCircle {
    DebtCircle {
        users: nodes.iter().map(|n| user(*n)).collect(),
        amount: amount(minor),
    }
}

#[test]
fn the_shortest_come_first_the_widest_of_those_and_each_takes_its_share() {
    let debts = graph(&[
        (0, 1, 500),
        (1, 2, 300),
        (2, 0, 1_000),
        (1, 3, 400),
        (3, 0, 200),
        (2, 4, 50),
        (4, 3, 50),
        (5, 0, 70),
    ]);
    let found = debts.circles(&request(0)).unwrap();
    // The first leaves 200 of what 1 owes 0 to the second, and that leaves nothing to the third.
    assert_eq!(found, [circle(&[1, 2, 0], 300), circle(&[1, 3, 0], 200)]);
    let one = CircleRequest {
        most: 1,
        ..request(0)
    };
    assert_eq!(debts.circles(&one).unwrap().len(), 1);
    let large = CircleRequest {
        min: amount(201),
        ..request(0)
    };
    assert_eq!(debts.circles(&large).unwrap(), [circle(&[1, 2, 0], 300)]);
    // The same circle from elsewhere; nobody else's.
    assert_eq!(
        debts.circles(&request(2)).unwrap()[0],
        circle(&[0, 1, 2], 300)
    );
    assert_eq!(debts.circles(&request(5)).unwrap(), []);
    assert_eq!(debts.circles(&request(9)).unwrap(), []);
    let elsewhere = CircleRequest {
        unit: "HOUR".parse().unwrap(),
        ..request(0)
    };
    assert_eq!(debts.circles(&elsewhere).unwrap(), []);
}

#[test]
fn only_what_both_say_at_once_counts() {
    let edges = [(0, 1, 500), (1, 2, 300), (2, 0, 1_000)];
    let whole = graph(&edges);
    assert_eq!(whole.len(), 6);
    let found = |debts: &Debts| debts.circles(&request(0)).unwrap().len();
    assert_eq!(found(&whole), 1);
    let mut gone = whole.clone();
    assert!(gone.remove(&user(2), &user(1), &unit()));
    assert!(!gone.remove(&user(2), &user(1), &unit()));
    assert_eq!((found(&gone), gone.len()), (0, 5));
    assert_eq!(gone.edge(&user(1), &user(2), &unit(), at(NOW)), None);
    // Each says that the other owes.
    let mut apart = whole.clone();
    let mut turned = says(2, 1, Clears::Owed(amount(300)), 1);
    assert_eq!(apart.apply(&unit(), &turned), Ok(Applied::Stale));
    turned.seq = Seq::new(2).unwrap();
    assert_eq!(apart.apply(&unit(), &turned), Ok(Applied::Taken));
    assert_eq!(found(&apart), 0);
    // Less than the other says.
    let mut less = whole.clone();
    less.apply(&unit(), &says(2, 1, Clears::Owes(amount(20)), 2))
        .unwrap();
    assert_eq!(less.circles(&request(0)).unwrap(), [circle(&[1, 2, 0], 20)]);
    let mut left = whole.clone();
    assert_eq!(left.remove_user(&user(1)), 2);
    assert_eq!(found(&left), 0);
    // Time.
    let mut soon = says(2, 1, Clears::Owes(amount(300)), 2);
    soon.expires = at(NOW + 1);
    let mut late = whole.clone();
    late.apply(&unit(), &soon).unwrap();
    assert_eq!(found(&late), 1);
    let later = CircleRequest {
        now: at(NOW + 1),
        ..request(0)
    };
    assert_eq!(late.circles(&later).unwrap(), []);
    assert_eq!((late.purge(at(NOW)), late.purge(at(NOW + 1))), (0, 1));
    assert_eq!(late.len(), 5);
    assert_eq!(found(&whole.compacted()), 1);
    assert_eq!((late.purge(at(2 * NOW)), late.is_empty()), (5, true));
    let oneself = says(1, 1, Clears::Owed(amount(1)), 1);
    assert_eq!(
        late.apply(&unit(), &oneself),
        Err(RouteError::EdgeToOneself)
    );
}

#[test]
fn questions_without_bounds_are_refused() {
    let debts = graph(&[(0, 1, 5), (1, 2, 5), (2, 3, 5), (3, 0, 5)]);
    for (max_edges, most) in [(2, 1), (11, 1), (10, 0), (10, 33)] {
        let asked = CircleRequest {
            max_edges,
            most,
            ..request(0)
        };
        let refused = debts.circles(&asked).unwrap_err();
        assert_eq!(refused.code(), "limit_invalid");
    }
    let short = CircleRequest {
        max_edges: 3,
        ..request(0)
    };
    assert_eq!(debts.circles(&short).unwrap(), []);
    let enough = CircleRequest {
        max_edges: 4,
        ..request(0)
    };
    assert_eq!(debts.circles(&enough).unwrap().len(), 1);
}

type Edges = BTreeMap<(u8, u8), u64>;

/// Every circle from `start` that visits nobody twice, of at most so many edges: its nodes and its width.
fn all_circles(edges: &Edges, start: u8, most: usize) -> Vec<(Vec<u8>, u64)> {
    let mut found = Vec::new();
    let mut open = vec![(vec![start], u64::MAX)];
    while let Some((nodes, width)) = open.pop() {
        let last = *nodes.last().unwrap();
        for ((from, to), left) in edges {
            if *from != last || *left == 0 {
                continue;
            }
            let mut longer = nodes.clone();
            longer.push(*to);
            let width = width.min(*left);
            if *to == start {
                found.push((longer, width));
            } else if !nodes.contains(to) && longer.len() <= most {
                open.push((longer, width));
            }
        }
    }
    found.retain(|(nodes, _)| nodes.len() <= most + 1);
    found
}

fn edges() -> impl Strategy<Value = Vec<(u8, u8, u64)>> {
    let edge = (0u8..7, 0u8..7, 1u64..9);
    proptest::collection::vec(edge, 0..22).prop_map(|all| {
        let mut seen = std::collections::BTreeSet::new();
        // One net debt between two people.
        let fresh = |(a, b, _): &(u8, u8, u64)| a != b && seen.insert((*a.min(b), *a.max(b)));
        all.into_iter().filter(fresh).collect()
    })
}

proptest! {
    #[test]
    fn each_is_the_shortest_and_widest_that_is_left_and_none_is_left_at_the_end(list in edges(), most in 3usize..8) {
        let debts = graph(&list);
        let asked = CircleRequest { max_edges: most, ..request(0) };
        let found = debts.circles(&asked).unwrap();
        let mut left: Edges = list.iter().map(|(a, b, minor)| ((*a, *b), *minor)).collect();
        for circle in &found {
            let all = all_circles(&left, 0, most);
            let shortest = all.iter().map(|(nodes, _)| nodes.len()).min().unwrap();
            let widest = all.iter().filter(|(n, _)| n.len() == shortest).map(|(_, w)| *w).max().unwrap();
            prop_assert_eq!((circle.users.len() + 1, circle.amount.minor()), (shortest, widest));
            let id = |key: &UserKey| (0u8..7).find(|n| user(*n) == *key).unwrap();
            let nodes: Vec<u8> = std::iter::once(0).chain(circle.users.iter().map(id)).collect();
            for pair in nodes.windows(2) {
                let edge = left.get_mut(&(pair[0], pair[1])).unwrap();
                *edge = edge.checked_sub(widest).unwrap();
            }
        }
        prop_assert!(found.len() == 32 || all_circles(&left, 0, most).is_empty());
        // In whatever order they were heard of.
        let mut turned = list.clone();
        turned.reverse();
        prop_assert_eq!(graph(&turned).circles(&asked).unwrap(), found);
    }
}
