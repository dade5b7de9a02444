//! Wallets with many friends, the friends' names, and where a page leads that can't be shown.

use atomicity_ledger::record::Profile;
use atomicity_ledger::seal::EncryptionSecret;
use atomicity_ledger::{Keypair as LedgerKeypair, Signed, UserKey};
use reqwest::Method;
use serde_json::json;

use super::{approve, approved, log_in, pages, told};
use crate::support::browser::{Browser, Relay, Shown};
use crate::support::plugin::{Account, Plugin};
use crate::support::until;
use crate::support::user::User;
use crate::support::world::{File, HomeServer, World};

const PROFILE: &str = "/pub/atomicity/v0/profile";

fn browser(plugin: &Plugin) -> Browser {
    Browser::new(&format!("http://{}", plugin.addresses.http))
}

fn stranger() -> UserKey {
    User::new().z32().parse().unwrap()
}

/// Has the wallet tell of so many balances as there are friends.
async fn tell(account: &Account<'_>, friends: &[UserKey]) {
    let root = LedgerKeypair::from_secret(&account.user.root.secret());
    let mut friends = friends.to_vec();
    friends.sort();
    let balances = friends.iter().map(|friend| (*friend, "HOUR/2", 150));
    let balances: Vec<_> = balances.collect();
    let body = Some(told(&root, &balances));
    let pushed = account.call(Method::PUT, "/v0/me/snapshot", body);
    pushed.await.assert_status(200);
}

fn profile(root: &LedgerKeypair, name: &str) -> String {
    let secret = EncryptionSecret::of_root(&LedgerKeypair::from_secret(&[7; 32]));
    let record: Profile = serde_json::from_value(json!({
        "v": 1, "user": root.user_key(), "serial": 1, "name": name,
        "encryption": [{"n": 1, "key": secret.public().to_string()}], "inboxes": [],
        "units": [], "logs_trusted": [], "logs_refused": [], "at": 1_700_000_000_000u64, "page": true,
    }))
    .unwrap();
    Signed::sign(record, root).unwrap().jws().to_owned()
}

/// The friends of a view, by their keys.
fn friends_of(shown: &Shown) -> Vec<UserKey> {
    let links = shown.html.split("href=\"/wallet/friends/").skip(1);
    links
        .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
        .collect()
}

#[tokio::test]
async fn a_wallet_with_many_friends_is_shown_in_views_that_stay_small() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_with(|config| pages(config, &relay)).await;
    let account = plugin.user().await;
    let mut friends: Vec<UserKey> = (0..200).map(|_| stranger()).collect();
    tell(&account, &friends).await;
    friends.sort();
    let mine = browser(&plugin);
    let mut shown = log_in(&mine, &account.user.root).await;
    let mut weight = shown.html.len();
    for path in shown
        .html
        .split('"')
        .filter(|part| part.starts_with("/assets/"))
    {
        weight += mine.get(path).await.html.len();
    }
    assert!(weight < 100_000, "{weight}");
    // The sums are of all of them.
    assert!(shown.html.contains("300.00 HOUR"), "{}", shown.html);
    let mut seen = friends_of(&shown);
    assert_eq!(seen.len(), 30);
    // Without a script, every friend is reached.
    while let Some(more) = shown.html.split("href=\"/wallet?after=").nth(1) {
        let after = more.split(['"', '#']).next().unwrap();
        let path = format!("/wallet?after={after}");
        shown = mine.get(&path).await;
        seen.extend(friends_of(&shown));
    }
    assert_eq!(seen, friends);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_behind_friends_that_do_not_answer_and_stay_when_a_homeserver_goes() {
    let (relay, world) = (Relay::start().await, World::new());
    let home = HomeServer::open(&world).await;
    let plugin = Plugin::start_with(|config| {
        pages(config, &relay);
        world.join(config);
        // What is remembered is old at once.
        config.network.profile_max_age_s = 0;
    })
    .await;
    // More than are asked for in one page come before the one who answers.
    let (mut first, mut second) = (home.resident(&world).await, home.resident(&world).await);
    if second.user_key() < first.user_key() {
        std::mem::swap(&mut first, &mut second);
    }
    let ben = second.user_key();
    home.put(
        &ben,
        PROFILE,
        File::Is(profile(&second, "Ben of Bree"), "\"a\""),
    );
    let mut friends = vec![first.user_key(), ben];
    while friends.len() < 32 {
        let other = stranger();
        if other < ben {
            friends.push(other);
        }
    }
    let account = plugin.user().await;
    tell(&account, &friends).await;
    let mine = browser(&plugin);
    log_in(&mine, &account.user.root).await;
    until("the name is found", || async {
        let page = mine.get(&format!("/wallet/friends/{ben}")).await;
        page.html.contains("Ben of Bree")
    })
    .await;
    home.stop();
    let page = mine.get(&format!("/wallet/friends/{ben}")).await;
    assert!(page.html.contains("Ben of Bree"), "{}", page.html);
}

#[tokio::test]
async fn who_has_to_log_in_first_gets_to_where_they_wanted_and_nowhere_else() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_with(|config| pages(config, &relay)).await;
    let mine = browser(&plugin);
    let wanted = "/wallet/proposals?link=atomicity:abc";
    let refused = mine.get(wanted).await;
    refused.assert_code(401, "session_invalid");
    assert!(
        refused.html.contains("href=\"/wallet\""),
        "{}",
        refused.html
    );
    let link = refused.html.split("href=\"/wallet?next=").nth(1).unwrap();
    let link = format!("/wallet?next={}", link.split('"').next().unwrap());
    let page = mine.get(&link).await;
    assert_eq!(page.field("/wallet/login", "next"), wanted);
    // The code runs out, and another one is asked for: the address of the page and its forms still know it.
    let begun = mine.post("/wallet/login", &[("next", wanted)]).await;
    assert_eq!(begun.headers["location"], link.as_str());
    let scan = mine.get(&link).await;
    for form in ["/wallet/login/finish", "/wallet/login/stop"] {
        assert_eq!(scan.field(form, "next"), wanted);
    }
    let early = mine.post("/wallet/login/finish", &[("next", wanted)]).await;
    assert_eq!(early.headers["location"], link.as_str());
    for _ in 0..2 {
        let gone = mine.submit("/wallet/login/stop", &[("next", wanted)]).await;
        assert_eq!(gone.field("/wallet/login", "next"), wanted);
    }
    let late = mine
        .submit("/wallet/login/finish", &[("next", wanted)])
        .await;
    assert_eq!(late.field("/wallet/login", "next"), wanted);
    let scan = mine.submit("/wallet/login", &[("next", wanted)]).await;
    let root = pubky::Keypair::random();
    approve(&root, &scan.authenticator_link()).await;
    approved(&mine).await;
    let done = mine.post("/wallet/login/finish", &[]).await;
    assert_eq!(done.headers["location"], wanted);
    let again = mine.get(&link).await;
    assert_eq!(again.headers["location"], wanted);

    // Nobody is led to another server, or to what is no page of the wallet.
    for foreign in ["https://evil.example/", "//evil.example/wallet", "/v0/me"] {
        let other = browser(&plugin);
        let page = other.get(&format!("/wallet?next={foreign}")).await;
        assert!(!page.html.contains("name=\"next\""), "{}", page.html);
        let scan = other.submit("/wallet/login", &[("next", foreign)]).await;
        approve(&root, &scan.authenticator_link()).await;
        approved(&other).await;
        let done = other.post("/wallet/login/finish", &[]).await;
        assert_eq!(done.headers["location"], "/wallet");
    }
}

#[tokio::test]
async fn an_error_leads_back_and_says_nothing_that_is_meant_for_programs() {
    let relay = Relay::start().await;
    let plugin = Plugin::start_with(|config| pages(config, &relay)).await;
    let mine = browser(&plugin);
    log_in(&mine, &pubky::Keypair::random()).await;
    let friend = stranger();
    let lost = mine.get(&format!("/wallet/friends/{friend}")).await;
    lost.assert_code(404, "friend_unknown");
    assert!(lost.html.contains("<a href=\"/wallet\">"), "{}", lost.html);
    // Whoever has no account here can log in, and propose nothing.
    let page = mine.get("/wallet/proposals").await;
    let fields = ["csrf", "id"].map(|name| page.field("/wallet/proposals/friend", name));
    let key = friend.to_string();
    let fields = [
        ("csrf", fields[0].as_str()),
        ("id", fields[1].as_str()),
        ("user", key.as_str()),
    ];
    let refused = mine.post("/wallet/proposals/friend", &fields).await;
    refused.assert_code(404, "account_unknown");
    assert!(
        refused.html.contains("You have no account"),
        "{}",
        refused.html
    );
    assert!(!refused.html.contains("PUT"), "{}", refused.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_a_wallet_page_adds_a_friend_from_their_page() {
    let (relay, world) = (Relay::start().await, World::new());
    let home = HomeServer::open(&world).await;
    let plugin = Plugin::start_with(|config| {
        pages(config, &relay);
        world.join(config);
        config.pages.strangers = true;
    })
    .await;
    let root = home.resident(&world).await;
    let user = root.user_key();
    home.put(&user, PROFILE, File::Is(profile(&root, "Ben"), "\"a\""));
    let page = browser(&plugin).get(&format!("/u/{user}")).await;
    let link = format!("href=\"/wallet/proposals?user={user}\"");
    assert!(page.html.contains(&link), "{}", page.html);
}
