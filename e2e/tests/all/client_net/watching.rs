//! Hints about counterparties' files.

use std::time::Duration;

use atomicity_client::net::session::{HomeSession, sign_up};
use atomicity_client::net::watch::{Hint, WatchStream};
use atomicity_e2e::World;
use atomicity_ledger::UserKey;
use futures_util::StreamExt as _;

use super::{key_of, net, new_root};

const FILE: &str = "/pub/atomicity/v0/profile";
/// Longer than a test: what comes is not polled for.
const NEVER: Duration = Duration::from_secs(3600);

/// Reads hints until one is as wanted; a test that never gets it hangs until the runner gives up.
async fn wait_for(hints: &mut WatchStream, wanted: impl Fn(&Hint) -> bool) -> Hint {
    loop {
        let hint = hints.next().await.unwrap();
        if wanted(&hint) {
            return hint;
        }
    }
}

/// Writes until a change is reported: the stream may not have begun when the first is written.
async fn report_of_a_change(hints: &mut WatchStream, session: &HomeSession) -> UserKey {
    let mut round = 0u32;
    loop {
        round += 1;
        session
            .put(FILE, round.to_be_bytes().to_vec())
            .await
            .unwrap();
        let wait = wait_for(
            hints,
            |hint| matches!(hint, Hint::Changed { path, .. } if path == FILE),
        );
        if let Ok(Hint::Changed { user, .. }) =
            tokio::time::timeout(Duration::from_millis(500), wait).await
        {
            return user;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_reported_as_they_happen_also_beside_a_stranger_and_after_an_outage() {
    let world = World::start().await.unwrap();
    let mut server = world.homeserver("h").await.unwrap();
    let home = key_of(&server.key());
    let net = net(&world);
    let (one, two) = (new_root(), new_root());
    let mut sessions = Vec::new();
    for root in [&one, &two] {
        sign_up(&net, root, &home, None).await.unwrap();
        sessions.push(HomeSession::sign_in(&net, root, &home).await.unwrap());
    }
    // Says that he lives there, but the homeserver has never heard of him.
    let stranger = new_root();
    net.publish_home(&stranger, &home).await.unwrap();

    let users = vec![one.user_key(), stranger.user_key(), two.user_key()];
    let mut hints = net.watch(users.clone(), NEVER);
    for _ in &users {
        wait_for(&mut hints, |hint| matches!(hint, Hint::Poll { .. })).await;
    }
    for session in &sessions {
        assert_eq!(
            &report_of_a_change(&mut hints, session).await,
            session.user()
        );
    }
    server.stop().await.unwrap();
    wait_for(&mut hints, |hint| {
        matches!(hint, Hint::Down { home: h, error } if *h == home && error.code() != "not_found")
    })
    .await;
    server.restart().await.unwrap();
    wait_for(
        &mut hints,
        |hint| matches!(hint, Hint::Up { home: h } if *h == home),
    )
    .await;
    wait_for(&mut hints, |hint| matches!(hint, Hint::Poll { .. })).await;
    for session in &sessions {
        assert_eq!(
            &report_of_a_change(&mut hints, session).await,
            session.user()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_found_is_polled_all_the_same() {
    let world = World::start().await.unwrap();
    let net = net(&world);
    let nobody = new_root().user_key();
    let mut hints = net.watch(vec![nobody], Duration::from_millis(20));
    for _ in 0..3 {
        assert_eq!(hints.next().await.unwrap(), Hint::Poll { user: nobody });
    }
}
