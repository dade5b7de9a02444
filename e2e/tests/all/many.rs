//! A wallet with many friends, one of whose homeservers falls silent.

#[path = "../../benches/sync/peer.rs"]
mod peer;

use atomicity_client::config::{Config, NetworkConfig, Overrides};
use atomicity_client::net::{Net, ServiceKey};
use atomicity_client::wallet::{RootKey, Wallet};
use atomicity_e2e::World;
use atomicity_e2e::proxy::Mode;
use atomicity_ledger::{Unit, UserKey};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;

use self::peer::Peer;
use crate::common::BREAD;

const FRIENDS: usize = 100;
/// Friends who sign up, are added or answer at once.
const AT_ONCE: usize = 8;
/// What the wallet lets each friend owe, in minor units.
const LINE: u64 = 1_000;
/// What each friend gives, in minor units.
const GIVEN: i64 = 150;

/// Settings of the wallet. A silent homeserver is given up later than everybody else needs on the busiest machine.
fn config(world: &World) -> Config {
    let file = world.new_path("wallet.toml");
    let more = "request_timeout_ms = 300000\nconnect_timeout_ms = 300000\n";
    std::fs::write(&file, world.network_toml() + more).unwrap();
    Config::load(&Overrides {
        home: Some(world.new_path("wallet")),
        config: Some(file),
        testnet: None,
    })
    .unwrap()
}

/// A wallet at `home` with friends there, and a last one `elsewhere`, who all wrote what it has not read yet.
async fn wallet_with_friends(
    config: &Config,
    home: &ServiceKey,
    elsewhere: &ServiceKey,
) -> (Wallet, Vec<UserKey>) {
    let unit: Unit = BREAD.parse().unwrap();
    let root = RootKey::random();
    let made = Wallet::create(config, &root, "a passphrase", None).await;
    let wallet = made.unwrap().wallet;
    wallet.sign_up(&root, home, None, &[]).await.unwrap();
    wallet.open_unit(&root, unit.clone(), None).await.unwrap();

    let net = Net::new(&NetworkConfig {
        lookups: AT_ONCE,
        ..config.network.clone()
    })
    .unwrap();
    let homes = std::iter::repeat_n(home, FRIENDS - 1).chain([elsewhere]);
    let peers: Vec<Peer> = stream::iter(homes)
        .map(|home| Peer::join(&net, home, &unit))
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .unwrap();
    let befriend = async |peer: &Peer| {
        let added = wallet.add_friend(&peer.user(), None).await.unwrap();
        assert!(added.has_profile, "{:?}", added.warning);
        wallet.set_limit(&peer.user(), &unit, LINE).await.unwrap();
    };
    let befriend = &befriend;
    stream::iter(&peers)
        .for_each_concurrent(AT_ONCE, |peer| async move { befriend(peer).await })
        .await;
    wallet.flush().await.unwrap();

    let own = wallet.published_profile(None).await.unwrap().profile;
    let (net, own) = (&net, own.record());
    let files: Vec<_> = stream::iter(&peers)
        .map(|peer| peer.answer(net, own))
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .unwrap();
    let (last, others) = files.split_last().unwrap();
    assert_eq!(last.home, *elsewhere);
    for file in others {
        assert_eq!(file.home, *home);
        assert!(file.content < file.bytes, "{} is not sealed", file.path);
    }
    (wallet, files.iter().map(|file| file.user).collect())
}

/// Who gave something, as the wallet's store has it.
async fn givers(wallet: &Wallet) -> Vec<UserKey> {
    let channels = wallet.balances(None, None).await.unwrap();
    let given = channels.iter().filter(|channel| channel.net.minor() != 0);
    given
        .map(|channel| {
            assert_eq!(channel.net.minor(), GIVEN, "{}", channel.user);
            channel.user
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_news_of_99_friends_are_applied_before_a_black_hole_is_given_up() {
    let world = World::start().await.unwrap();
    let alive = world.homeserver("alive").await.unwrap();
    let (dead, proxy) = world.homeserver_behind_proxy("dead").await.unwrap();
    let config = config(&world);
    let homes = [alive.z32(), dead.z32()].map(|key| key.parse().unwrap());
    let (wallet, friends) = wallet_with_friends(&config, &homes[0], &homes[1]).await;
    let (lost, others) = friends.split_last().unwrap();
    assert!(givers(&wallet).await.is_empty());
    // As a process that starts: no connection is open any more.
    wallet.close().await;
    proxy.set(Mode::BlackHole);
    let wallet = Wallet::open(&config).await.unwrap();

    let (tell, mut told) = mpsc::unbounded_channel();
    let sync = wallet.sync_with(&[], move |done, all| tell.send((done, all)).unwrap());
    let look = async {
        for done in 1..FRIENDS {
            assert_eq!(told.recv().await, Some((done as u64, FRIENDS as u64)));
        }
        let given = givers(&wallet).await;
        let silent = told.try_recv().is_err();
        // Nobody needs to wait for its time to be over.
        proxy.set(Mode::Refuse);
        let last = told.recv().await;
        (given, silent, last, told.recv().await)
    };
    let (report, (mut given, silent, last, more)) = tokio::join!(sync, look);

    // What was read from the store before the last friend was done with.
    assert!(silent, "the black hole was given up before the others");
    given.sort_unstable();
    let mut others = others.to_vec();
    others.sort_unstable();
    assert_eq!(given, others);
    assert_eq!((last, more), (Some((100, 100)), None));
    let report = report.unwrap();
    assert_eq!(
        (report.friends, report.refused, report.pending),
        (100, 0, 0)
    );
    let unreachable: Vec<_> = report
        .unreachable
        .iter()
        .map(|friend| friend.user)
        .collect();
    assert_eq!(unreachable, [*lost]);
    wallet.close().await;
}
