//! Handing over, paying, being paid, taking back.

use atomicity_ledger::pair::PaymentNote;
use atomicity_ledger::{Amount, AnyRecord, Keypair, RecordId};
use reqwest::Method;
use serde_json::json;

use super::world::{
    Person, Site, allow, befriend, engage, hand_over, hand_over_body, now, payment, total, unit,
};
use crate::support::plugin::b64;
use crate::support::until;

const ISSUE: &str = "/v0/me/agent/issue";

/// An owner whose agent keeps the books towards one friend.
pub async fn at_work(site: &Site) -> (Person, Person) {
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(site, &mut owner, &mut friend, 2_000).await;
    let key = engage(site, &mut owner, 5_000, Some(1_500)).await;
    hand_over(site, &mut owner, &mut friend, key, allow(1_000)).await;
    (owner, friend)
}

#[tokio::test]
async fn the_agent_pays_within_every_limit_and_not_beyond() {
    let site = Site::start().await;
    let (owner, mut friend) = at_work(&site).await;
    let issue = |body| owner.call(&site, Method::POST, ISSUE, Some(body));
    let paid = issue(payment(1, &friend.user, 600)).await;
    assert_eq!(
        paid.assert_status(200).body["records"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    // The same number again pays once; with other words it is refused.
    let again = issue(payment(1, &friend.user, 600)).await;
    assert_eq!(again.assert_status(200).body, paid.body);
    issue(payment(1, &friend.user, 601))
        .await
        .assert_problem(409, "id_reused");
    // The owner allows 1000 towards this friend.
    issue(payment(2, &friend.user, 500))
        .await
        .assert_problem(409, "limit_exceeded");
    issue(payment(3, &friend.user, 400))
        .await
        .assert_status(200);
    let user = owner.user;
    friend
        .pump_until(&site, "1000 arrived", |friend| {
            friend.pair(&user).balance(&unit()).minor() == 1_000
        })
        .await;
    // The friend pays 900 back, so the limit has room; the day has not.
    let note = PaymentNote {
        id: RecordId::from_entropy([9; 16]),
        reference: None,
        memo: None,
    };
    let root = friend.root.clone();
    let pair = friend.pairs.get_mut(&user).unwrap();
    let amount = Amount::from_minor(900).unwrap();
    let back = pair
        .issue(&unit(), amount, None, note, &root, now())
        .unwrap();
    let records = vec![back.state.jws().to_owned(), back.payment.jws().to_owned()];
    friend.send(&site, &user, records).await;
    friend
        .pump_until(&site, "the agent acknowledged", |friend| {
            let side = friend.pair(&user).own().unit(&unit()).unwrap();
            side.unacknowledged() == 0
        })
        .await;
    issue(payment(4, &friend.user, 501))
        .await
        .assert_problem(409, "day_limit_exceeded");
    issue(payment(5, &friend.user, 500))
        .await
        .assert_status(200);
    let pair = owner.agents_pair(&site, &friend.user).await;
    assert_eq!(pair.balance(&unit()).minor(), -600);
    let journal = owner.journal(&site).await;
    assert_eq!(Person::of_kind(&journal, "payment"), 3);
    assert_eq!(Person::of_kind(&journal, "state"), 3);
    let ids: Vec<i64> = journal
        .iter()
        .map(|item| item["id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(ids.windows(2).all(|two| two[0] < two[1]), "{ids:?}");
}

#[tokio::test]
async fn what_comes_while_the_wallet_is_away_is_acknowledged_and_told() {
    let site = Site::start().await;
    let (owner, mut friend) = at_work(&site).await;
    let user = owner.user;
    let root = friend.root.clone();
    for n in 1..=5 {
        let note = PaymentNote {
            id: RecordId::from_entropy([n; 16]),
            reference: None,
            memo: Some("for bread".parse().unwrap()),
        };
        let pair = friend.pairs.get_mut(&user).unwrap();
        let amount = Amount::from_minor(100).unwrap();
        let paid = pair
            .issue(&unit(), amount, None, note, &root, now())
            .unwrap();
        let records = vec![paid.state.jws().to_owned(), paid.payment.jws().to_owned()];
        friend.send(&site, &user, records).await;
    }
    friend
        .pump_until(&site, "all is acknowledged", |friend| {
            let side = friend.pair(&user).own().unit(&unit()).unwrap();
            side.unacknowledged() == 0
        })
        .await;
    let pair = owner.agents_pair(&site, &friend.user).await;
    assert_eq!(pair.balance(&unit()).minor(), 500);
    until("the inbox is empty", || async {
        let page = owner.call(&site, Method::GET, "/v0/inbox", None).await;
        page.body["items"].as_array().unwrap().is_empty()
    })
    .await;
    let page = owner.call(&site, Method::GET, "/v0/me/agent", None).await;
    assert_eq!(page.body["peers"][0]["pending"], 0);
    // Every record that was signed is in the journal, and is what it says.
    for item in owner.journal(&site).await {
        let record = AnyRecord::decode(item["record"].as_str().unwrap()).unwrap();
        assert_eq!(record.author(), user);
        assert_eq!(item["peer"], friend.user.to_string());
    }
}

#[tokio::test]
async fn what_the_wallet_took_the_agent_acknowledges_anew() {
    let site = Site::start().await;
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(&site, &mut owner, &mut friend, 2_000).await;
    let note = PaymentNote {
        id: RecordId::from_entropy([1; 16]),
        reference: None,
        memo: None,
    };
    let (user, root) = (owner.user, friend.root.clone());
    let pair = friend.pairs.get_mut(&user).unwrap();
    let amount = Amount::from_minor(300).unwrap();
    let paid = pair.issue(&unit(), amount, None, note, &root, now());
    // The wallet's ack gets lost, and the books go to the agent.
    owner.take(friend.user, paid.unwrap().state.jws());
    let key = engage(&site, &mut owner, 5_000, None).await;
    hand_over(&site, &mut owner, &mut friend, key, allow(1_000)).await;
    let signer = |friend: &Person| {
        let side = friend.pair(&user).own().unit(&unit()).unwrap();
        side.ack().map(|ack| ack.kid())
    };
    friend
        .pump_until(&site, "the agent has said what arrived", |friend| {
            signer(friend) == Some(key)
        })
        .await;
    let side = friend.pair(&user).own().unit(&unit()).unwrap();
    assert_eq!(side.unacknowledged(), 0);
    assert!(Person::of_kind(&owner.journal(&site).await, "ack") > 0);
}

#[tokio::test]
async fn books_that_do_not_name_the_agent_or_exceed_its_word_are_refused() {
    let site = Site::start().await;
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(&site, &mut owner, &mut friend, 2_000).await;
    let path = format!("/v0/me/agent/peers/{}", friend.user);
    let put = |owner: &Person, body| {
        let token = owner.token.clone();
        let (site, path) = (&site, &path);
        async move { site.call(Method::PUT, path, &token, Some(body)).await }
    };
    let stranger = Keypair::from_secret(&[7; 32]).signer_key();
    let body = hand_over_body(&mut owner, &friend.user, stranger, 100, allow(100));
    put(&owner, body.clone())
        .await
        .assert_problem(409, "agent_stopped");
    let key = engage(&site, &mut owner, 5_000, None).await;
    put(&owner, body)
        .await
        .assert_problem(409, "book_not_for_agent");
    let mut body = hand_over_body(&mut owner, &friend.user, key, 5_001, allow(100));
    put(&owner, body.clone())
        .await
        .assert_problem(409, "cap_above_authority");
    body = hand_over_body(&mut owner, &friend.user, key, 5_000, allow(100));
    body["pair"]["peer"] = json!(owner.user);
    put(&owner, body)
        .await
        .assert_problem(400, "pair_malformed");
}

#[tokio::test]
async fn books_come_back_with_everything_in_them_and_the_agent_stops_there() {
    let site = Site::start().await;
    let (mut owner, mut friend) = at_work(&site).await;
    owner
        .call(
            &site,
            Method::POST,
            ISSUE,
            Some(payment(1, &friend.user, 250)),
        )
        .await
        .assert_status(200);
    let path = format!("/v0/me/agent/peers/{}/return", friend.user);
    let root = owner.root.signer_key();
    let back = |key: &str| owner.call(&site, Method::POST, &path, Some(json!({"key": key})));
    let first = back(&root.to_string()).await;
    let again = back(&root.to_string()).await;
    assert_eq!(first.assert_status(200).body, again.assert_status(200).body);
    let other = Keypair::from_secret(&[7; 32]).signer_key().to_string();
    back(&other).await.assert_problem(409, "returned_already");
    owner
        .call(
            &site,
            Method::POST,
            ISSUE,
            Some(payment(2, &friend.user, 1)),
        )
        .await
        .assert_problem(404, "pair_unknown");
    // The wallet goes on with the same totals, and the friend follows.
    let pair = serde_json::from_value(first.body["pair"].clone()).unwrap();
    owner.pairs.insert(friend.user, pair);
    let (user, root) = (owner.user, owner.root.clone());
    friend
        .pump_until(&site, "the friend heard of the wallet's key", |friend| {
            let book = friend.pair(&user).theirs().book();
            book.is_some_and(|book| book.record().key == root.signer_key())
        })
        .await;
    owner.pump(&site).await;
    let pair = owner.pairs.get_mut(&friend.user).unwrap();
    assert_eq!(pair.balance(&unit()).minor(), -250);
    let note = PaymentNote {
        id: RecordId::from_entropy([3; 16]),
        reference: None,
        memo: None,
    };
    let amount = Amount::from_minor(50).unwrap();
    let paid = pair.issue(&unit(), amount, Some(total(9_999)), note, &root, now());
    let records = vec![paid.unwrap().state.jws().to_owned()];
    owner.send(&site, &friend.user, records).await;
    friend
        .pump_until(&site, "300 in all", |friend| {
            friend.pair(&user).balance(&unit()).minor() == 300
        })
        .await;
}

#[tokio::test]
async fn an_agent_that_is_stopped_signs_nothing_more_and_its_keys_are_gone() {
    let site = Site::start().await;
    let (owner, mut friend) = at_work(&site).await;
    let closed = owner
        .call(&site, Method::DELETE, "/v0/me/agent", None)
        .await;
    assert_eq!(closed.assert_status(200).body["wiped"], true);
    let before = owner.journal(&site).await.len();
    owner
        .call(
            &site,
            Method::POST,
            ISSUE,
            Some(payment(1, &friend.user, 1)),
        )
        .await
        .assert_problem(409, "agent_stopped");
    // What comes now waits for the wallet.
    let root = friend.root.clone();
    let pair = friend.pairs.get_mut(&owner.user).unwrap();
    let note = PaymentNote {
        id: RecordId::from_entropy([9; 16]),
        reference: None,
        memo: None,
    };
    let amount = Amount::from_minor(5).unwrap();
    let paid = pair
        .issue(&unit(), amount, None, note, &root, now())
        .unwrap();
    friend
        .send(&site, &owner.user, vec![paid.state.jws().to_owned()])
        .await;
    let page = owner.call(&site, Method::GET, "/v0/inbox", None).await;
    assert_eq!(page.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(owner.journal(&site).await.len(), before);
    let view = owner.call(&site, Method::GET, "/v0/me/agent", None).await;
    assert_eq!(view.body["state"], "stopped");
    assert_eq!(view.body["why"], "closed");
    assert_eq!(view.body["has_keys"], false);
}

#[tokio::test]
async fn an_agent_ends_by_itself_when_its_time_is_over() {
    let site = Site::with_log_and(&["agent.authority_poll_s=1"]).await;
    let (owner, friend) = at_work(&site).await;
    let body = json!({"until": now().millis() + 2_000,
        "encryption": [{"n": 1, "secret": b64(&owner.secret_bytes)}]});
    let shorter = owner.call(&site, Method::PUT, "/v0/me/agent", Some(body));
    assert_eq!(shorter.await.assert_status(200).body["state"], "active");
    let view = || owner.call(&site, Method::GET, "/v0/me/agent", None);
    until("its time is over", || async {
        let view = view().await;
        view.body["state"] == "stopped" && view.body["why"] == "ended"
    })
    .await;
    let before = owner.journal(&site).await.len();
    owner
        .call(
            &site,
            Method::POST,
            ISSUE,
            Some(payment(1, &friend.user, 1)),
        )
        .await
        .assert_problem(409, "agent_stopped");
    assert_eq!(owner.journal(&site).await.len(), before);
}
