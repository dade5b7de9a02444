//! Promises: published and merged, expired and released, passed on, with the plugin's own log.

use atomicity_ledger::onion::{Payload, seal};
use atomicity_ledger::pair::{Event, Standing};
use atomicity_ledger::record::Terms;
use atomicity_ledger::text::Layers;
use atomicity_ledger::{Amount, AnyRecord, RecordHash, UserKey};
use reqwest::Method;
use serde_json::{Value, json};

use super::log::{Log, hop, promise};
use super::world::{Person, Site, allow, befriend, engage, hand_over, now, unit};
use crate::support::plugin::b64;
use crate::support::until;

fn amount(minor: u64) -> Amount {
    Amount::from_minor(minor).unwrap()
}

async fn ask_promise(
    site: &Site,
    owner: &Person,
    peer: &UserKey,
    n: u8,
    terms: &Terms,
) -> RecordHash {
    let body =
        json!({"id": b64(&[n; 16]), "peer": peer, "unit": unit(), "amount": "700", "terms": terms});
    let mut answer;
    loop {
        // The agent may not have read the log as far as the terms begin.
        answer = owner
            .call(
                site,
                Method::POST,
                "/v0/me/agent/promise",
                Some(body.clone()),
            )
            .await;
        if answer.code() != "terms_refused" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let records = answer.assert_status(200).body["records"].clone();
    RecordHash::of(records[0].as_str().unwrap())
}

async fn standing(
    site: &Site,
    owner: &Person,
    peer: &UserKey,
    iou: RecordHash,
) -> Option<Standing> {
    let pair = owner.agents_pair(site, peer).await;
    let promise = pair.promise_given(iou).or_else(|| pair.promise_held(iou));
    promise.map(|promise| promise.standing())
}

#[tokio::test]
async fn the_agent_books_what_was_published_and_frees_what_was_not() {
    let site = Site::with_log().await;
    let log = Log::of(&site).await;
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(&site, &mut owner, &mut friend, 2_000).await;
    let key = engage(&site, &mut owner, 5_000, None).await;
    hand_over(&site, &mut owner, &mut friend, key, allow(2_000)).await;
    log.know(&site, &mut friend).await;

    let terms = log.terms(&site, 1, 60_000).await;
    log.know(&site, &mut friend).await;
    let published = ask_promise(&site, &owner, &friend.user, 1, &terms).await;
    log.publish(&site, 1, terms.logs[0].from_size).await;
    // Nobody tells the agent: it reads the log.
    until("the published promise is booked", || async {
        let standing = standing(&site, &owner, &friend.user, published).await;
        standing.is_none_or(|standing| standing == Standing::Merged)
    })
    .await;
    let pair = owner.agents_pair(&site, &friend.user).await;
    assert_eq!(pair.balance(&unit()).minor(), -700);

    let terms = log.terms(&site, 2, 2_000).await;
    log.know(&site, &mut friend).await;
    let expired = ask_promise(&site, &owner, &friend.user, 2, &terms).await;
    until("the promise has expired", || async {
        standing(&site, &owner, &friend.user, expired).await == Some(Standing::Expired)
    })
    .await;
    // One of the friend's that expires is released by the agent.
    let terms = log.terms(&site, 3, 2_000).await;
    log.know(&site, &mut friend).await;
    let user = owner.user;
    let iou = promise(&site, &mut friend, &user, 300, terms, None).await;
    friend
        .pump_until(&site, "the agent released it", |friend| {
            friend.events.iter().any(
                |event| matches!(event, Event::Released { iou: released, .. } if *released == iou),
            )
        })
        .await;
}

/// A payer, the owner in the middle with an agent at work, and a payee.
async fn chain(site: &Site) -> (Person, Person, Person) {
    let (mut payer, mut owner) = (site.person().await, site.person().await);
    let mut payee = site.person().await;
    befriend(site, &mut payer, &mut owner, 2_000).await;
    befriend(site, &mut owner, &mut payee, 2_000).await;
    let key = engage(site, &mut owner, 5_000, None).await;
    hand_over(site, &mut owner, &mut payer, key, allow(0)).await;
    let settings: Value = json!({"units": [{"unit": unit(), "issue": "2000",
        "forward": {"base": "5", "ppm": 10_000, "min": "1"}}]});
    hand_over(site, &mut owner, &mut payee, key, settings).await;
    (payer, owner, payee)
}

pub fn layers(owner: &Person, payee: &Person, terms: &Terms, onward: u64) -> Layers {
    let forward = Payload::Forward {
        next: payee.user,
        amount: amount(onward),
        reply: false,
    };
    let gift = Payload::Gift { memo: None };
    let path = [(hop(owner), forward), (hop(payee), gift)];
    seal(&path, &terms.hash, &rand::random()).unwrap().0
}

#[tokio::test]
async fn the_agent_passes_a_promise_on_and_ends_with_exactly_its_fee() {
    let site = Site::with_log().await;
    let log = Log::of(&site).await;
    let (mut payer, owner, mut payee) = chain(&site).await;
    let user = owner.user;
    let terms = log.terms(&site, 1, 60_000).await;
    log.know(&site, &mut payer).await;
    log.know(&site, &mut payee).await;
    let onion = layers(&owner, &payee, &terms, 500);
    promise(&site, &mut payer, &user, 510, terms.clone(), Some(onion)).await;
    payee
        .pump_until(&site, "the promise arrived at the payee", |payee| {
            payee.events.iter().any(|e| matches!(e, Event::Promised(_)))
        })
        .await;
    let arrived = payee.events.iter().find_map(|event| match event {
        Event::Promised(iou) => Some(iou.clone()),
        _ => None,
    });
    let arrived = arrived.unwrap();
    assert_eq!((arrived.amount, &arrived.terms), (amount(500), &terms));
    log.publish(&site, 1, terms.logs[0].from_size).await;
    until("the agent has both sides", || async {
        let came = owner.agents_pair(&site, &payer.user).await;
        let went = owner.agents_pair(&site, &payee.user).await;
        came.net_claim(&unit()).minor() == 510 && went.balance(&unit()).minor() == -500
    })
    .await;
    payer
        .pump_until(&site, "the payer booked it", |payer| {
            payer.pair(&user).balance(&unit()).minor() == -510
        })
        .await;
    let journal = owner.journal(&site).await;
    assert_eq!(Person::of_kind(&journal, "promise"), 1);
}

#[tokio::test]
async fn too_small_a_fee_is_released_at_once_and_a_release_travels_back() {
    let site = Site::with_log().await;
    let log = Log::of(&site).await;
    let (mut payer, owner, mut payee) = chain(&site).await;
    let user = owner.user;
    let released = |person: &Person, iou: RecordHash| {
        person
            .events
            .iter()
            .any(|event| matches!(event, Event::Released { iou: given, .. } if *given == iou))
    };
    let terms = log.terms(&site, 1, 60_000).await;
    log.know(&site, &mut payer).await;
    log.know(&site, &mut payee).await;
    // 5 and one per cent of 500 are asked for.
    let onion = layers(&owner, &payee, &terms, 500);
    let poor = promise(&site, &mut payer, &user, 509, terms, Some(onion)).await;
    payer
        .pump_until(&site, "it was given back", |payer| released(payer, poor))
        .await;
    let terms = log.terms(&site, 2, 60_000).await;
    log.know(&site, &mut payer).await;
    log.know(&site, &mut payee).await;
    let onion = layers(&owner, &payee, &terms, 500);
    let rich = promise(&site, &mut payer, &user, 510, terms, Some(onion)).await;
    payee
        .pump_until(&site, "the promise arrived at the payee", |payee| {
            payee.events.iter().any(|e| matches!(e, Event::Promised(_)))
        })
        .await;
    // The agent must not give up what it has passed on.
    let body = json!({"peer": payer.user, "iou": rich});
    owner
        .call(&site, Method::POST, "/v0/me/agent/release", Some(body))
        .await
        .assert_problem(409, "not_releasable");
    let root = payee.root.clone();
    let pair = payee.pairs.get_mut(&user).unwrap();
    let held = pair.theirs().unit(&unit()).unwrap().promises()[0]
        .iou()
        .hash();
    let reason = atomicity_ledger::record::ReleaseReason::Declined;
    let records = pair.release(held, reason, None, &root, now()).unwrap();
    let records = records.iter().map(AnyRecord::jws).map(str::to_owned);
    payee.send(&site, &user, records.collect()).await;
    payer
        .pump_until(&site, "the release travelled back", |payer| {
            released(payer, rich)
        })
        .await;
}
