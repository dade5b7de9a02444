//! What friends ask to be paid outside, which the agent leaves to the wallet, and where one friend alone can pay.

use atomicity_ledger::hop::Neighbour;
use atomicity_ledger::settle::{Demand, Draft, Holding};
use atomicity_ledger::{Amount, AnyRecord, RecordId};
use reqwest::Method;
use serde_json::{Value, json};

use super::invoices::events;
use super::kept::at_work;
use super::world::{now, payment, unit};
use crate::support::until;

fn draft() -> Draft {
    Draft {
        id: RecordId::from_entropy([7; 16]),
        unit: unit(),
        amount: Amount::from_minor(200).unwrap(),
        targets: Vec::new(),
        pays: None,
        hash: None,
        memo: None,
        expires: now().plus_millis(600_000),
    }
}

#[tokio::test]
async fn a_request_to_settle_is_passed_on_to_the_wallet_and_answered_by_nobody() {
    let site = super::world::Site::start().await;
    let (owner, mut friend) = at_work(&site).await;
    let user = owner.user;
    owner
        .call(
            &site,
            Method::POST,
            "/v0/me/agent/issue",
            Some(payment(1, &friend.user, 600)),
        )
        .await
        .assert_status(200);
    friend
        .pump_until(&site, "600 arrived", |friend| {
            friend.pair(&user).balance(&unit()).minor() == 600
        })
        .await;
    let root = friend.root.clone();
    let pair = friend.pairs.get_mut(&user).unwrap();
    let with = Neighbour { pair, pen: &root };
    let demand = Demand::open(draft(), with, Holding::default(), now()).unwrap();
    let asked = AnyRecord::from(demand.settlement().clone());
    // One that somebody else signed is not passed on.
    let mut forged = demand.settlement().record().clone();
    forged.memo = Some("forged".parse().unwrap());
    let forged = atomicity_ledger::Signed::sign(forged, &owner.root).unwrap();
    let records = [forged.jws(), asked.jws()].map(str::to_owned);
    friend.send(&site, &user, records.to_vec()).await;
    let told = || async {
        let all = events(&site, &owner).await.into_iter();
        let told = all.filter(|event| event["kind"] == "settlement");
        told.collect::<Vec<Value>>()
    };
    until("the wallet to be told", || async {
        !told().await.is_empty()
    })
    .await;
    let told = told().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["body"]["record"], asked.jws());
    assert_eq!(told[0]["peer"], friend.user.to_string());
    let journal = owner.journal(&site).await;
    let about = journal.iter().filter(|item| {
        let what = item["what"].as_str().unwrap();
        what == "other" || what == "release"
    });
    assert_eq!(about.count(), 0, "{journal:?}");
}

#[tokio::test]
async fn a_list_of_endpoints_is_signed_once_and_replaces_the_one_that_was_seen() {
    let site = super::world::Site::start().await;
    let (owner, mut friend) = at_work(&site).await;
    let path = format!("/v0/me/agent/endpoints/{}", friend.user);
    let say = |replaces: u64, places: &[&str]| {
        let places = places
            .iter()
            .map(|at| json!({"method": "usd-cash-hand", "value": at}));
        let endpoints: Vec<Value> = places.collect();
        let body = json!({"replaces": replaces, "endpoints": endpoints});
        let (owner, site, path) = (&owner, &site, &path);
        async move { owner.call(site, Method::POST, path, Some(body)).await }
    };
    let first = say(0, &["at home"]).await;
    first.assert_status(200);
    let again = say(0, &["at home"]).await;
    assert_eq!(again.assert_status(200).body, first.body);
    say(0, &["at work"])
        .await
        .assert_problem(409, "list_changed");
    say(1, &["at work", "at home"]).await.assert_status(200);
    let twice = vec!["at home"; 2];
    say(2, &twice).await.assert_problem(409, "contradiction");
    let user = owner.user;
    friend
        .pump_until(&site, "both places arrived", |friend| {
            friend.pair(&user).private_endpoints(now()).len() == 2
        })
        .await;
    let kept = owner.agents_pair(&site, &friend.user).await;
    let list = kept.own_endpoints().unwrap().record();
    assert_eq!(list.endpoints[0].value.as_str(), "at work");
    assert_eq!(
        super::world::Person::of_kind(&owner.journal(&site).await, "endpoints"),
        2
    );
    owner
        .call(
            &site,
            Method::POST,
            &format!("/v0/me/agent/endpoints/{user}"),
            Some(json!({"replaces": 0, "endpoints": []})),
        )
        .await
        .assert_problem(404, "pair_unknown");
}
