//! Promises that only lower debts: passed on for nothing by an agent whose user agrees.

use atomicity_ledger::pair::{Event, PaymentNote};
use atomicity_ledger::{Amount, RecordId};
use reqwest::Method;
use serde_json::json;

use super::hops::layers;
use super::log::{Log, promise};
use super::world::{Person, Site, allow, befriend, engage, hand_over, now, payment, unit};
use crate::support::until;

/// The friend before the owner is owed 600 by the owner, who is owed 500 by the one after; the owner's agent clears towards that one, and
/// passes nothing else on.
async fn in_debt(site: &Site) -> (Person, Person, Person) {
    let (mut before, mut owner) = (site.person().await, site.person().await);
    let mut after = site.person().await;
    befriend(site, &mut before, &mut owner, 2_000).await;
    befriend(site, &mut owner, &mut after, 2_000).await;
    let key = engage(site, &mut owner, 5_000, None).await;
    hand_over(site, &mut owner, &mut before, key, allow(2_000)).await;
    let clears = json!({"units": [{"unit": unit(), "issue": "0", "clearing": true}]});
    hand_over(site, &mut owner, &mut after, key, clears).await;
    let body = Some(payment(1, &before.user, 600));
    owner
        .call(site, Method::POST, "/v0/me/agent/issue", body)
        .await
        .assert_status(200);
    let user = owner.user;
    before
        .pump_until(site, "600 arrived", |before| {
            before.pair(&user).balance(&unit()).minor() == 600
        })
        .await;
    let note = PaymentNote {
        id: RecordId::from_entropy([9; 16]),
        reference: None,
        memo: None,
    };
    let (root, five) = (after.root.clone(), Amount::from_minor(500).unwrap());
    let pair = after.pairs.get_mut(&user).unwrap();
    let given = pair.issue(&unit(), five, None, note, &root, now()).unwrap();
    let records = vec![given.state.jws().to_owned(), given.payment.jws().to_owned()];
    after.send(site, &user, records).await;
    after
        .pump_until(site, "the agent has 500", |after| {
            let side = after.pair(&user).own().unit(&unit()).unwrap();
            side.unacknowledged() == 0
        })
        .await;
    (before, owner, after)
}

#[tokio::test]
async fn debts_that_fall_on_both_sides_are_cleared_for_nothing_and_no_others() {
    let site = Site::with_log().await;
    let log = Log::of(&site).await;
    let (mut before, owner, mut after) = in_debt(&site).await;
    let user = owner.user;
    // 501 is more than is owed to the owner.
    let terms = log.terms(&site, 1, 60_000).await;
    log.know(&site, &mut before).await;
    let onion = layers(&owner, &after, &terms, 501);
    let wide = promise(&site, &mut before, &user, 501, terms, Some(onion)).await;
    before
        .pump_until(&site, "it was given back", |before| {
            before
                .events
                .iter()
                .any(|event| matches!(event, Event::Released { iou, .. } if *iou == wide))
        })
        .await;
    let terms = log.terms(&site, 2, 60_000).await;
    log.know(&site, &mut before).await;
    log.know(&site, &mut after).await;
    let onion = layers(&owner, &after, &terms, 400);
    promise(&site, &mut before, &user, 400, terms.clone(), Some(onion)).await;
    after
        .pump_until(&site, "the promise went on", |after| {
            let promised =
                |event: &Event| matches!(event, Event::Promised(iou) if iou.amount.minor() == 400);
            after.events.iter().any(promised)
        })
        .await;
    log.publish(&site, 2, terms.logs[0].from_size).await;
    until("both debts have fallen by 400", || async {
        let came = owner.agents_pair(&site, &before.user).await;
        let went = owner.agents_pair(&site, &after.user).await;
        came.net_claim(&unit()).minor() == -200 && went.net_claim(&unit()).minor() == 100
    })
    .await;
}
