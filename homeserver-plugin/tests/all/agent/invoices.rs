//! The agent is paid while its user is away.

use atomicity_ledger::onion::{Failure, FailureCode, Payload, seal};
use atomicity_ledger::pair::Event;
use atomicity_ledger::record::{Invoice, LogTerm, Terms};
use atomicity_ledger::{Amount, PaymentHash, Preimage, RecordHash, RecordId, Signed};
use reqwest::Method;
use serde_json::{Value, json};

use super::log::{Log, hop, promise};
use super::world::{Person, Site, allow, befriend, engage, hand_over, now, unit};
use crate::support::plugin::{Answer, b64};
use crate::support::sse::Events;
use crate::support::until;

const INVOICES: &str = "/v0/me/agent/invoices";

fn request(n: u8, amount: Option<u64>) -> Value {
    let mut body = json!({"id": b64(&[n; 16]), "unit": unit(), "expires": now().millis() + 600_000,
        "memo": "a book"});
    if let Some(amount) = amount {
        body["amount"] = amount.to_string().into();
    }
    body
}

async fn create(site: &Site, owner: &Person, body: &Value) -> Answer {
    loop {
        let answer = owner.call(site, Method::POST, INVOICES, Some(body.clone()));
        let answer = answer.await;
        // The log may not have shown anything yet.
        if answer.code() != "no_log" {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn record(answer: &Answer) -> Invoice {
    let jws = answer.assert_status(200).body["invoice"].as_str().unwrap();
    let signed: Signed<Invoice> = Signed::decode(jws).unwrap();
    signed.record().clone()
}

async fn read(site: &Site, owner: &Person, n: u8) -> Value {
    let path = format!("{INVOICES}/{}", b64(&[n; 16]));
    let answer = owner.call(site, Method::GET, &path, None).await;
    answer.assert_status(200).body.clone()
}

/// An owner whose agent keeps the books towards two friends.
async fn with_friends(site: &Site) -> (Person, Person, Person) {
    let (mut owner, mut a) = (site.person().await, site.person().await);
    let mut b = site.person().await;
    befriend(site, &mut owner, &mut a, 2_000).await;
    befriend(site, &mut owner, &mut b, 2_000).await;
    let key = engage(site, &mut owner, 5_000, None).await;
    hand_over(site, &mut owner, &mut a, key, allow(0)).await;
    hand_over(site, &mut owner, &mut b, key, allow(0)).await;
    (owner, a, b)
}

async fn terms(site: &Site, log: &Log, hash: PaymentHash, left_ms: u64) -> Terms {
    let mut terms = log.terms(site, 0, left_ms).await;
    terms.hash = hash;
    terms
}

/// A friend promises a part of what an invoice asks for.
async fn pay_part(
    site: &Site,
    log: &Log,
    (from, owner): (&mut Person, &Person),
    invoice: &Invoice,
    (minor, total): (u64, u64),
    terms: &Terms,
) -> RecordHash {
    log.know(site, from).await;
    let deliver = Payload::Deliver {
        invoice: invoice.id,
        total: Amount::from_minor(total).unwrap(),
    };
    let (onion, _) = seal(&[(hop(owner), deliver)], &terms.hash, &rand::random()).unwrap();
    let user = owner.user;
    promise(site, from, &user, minor, terms.clone(), Some(onion)).await
}

fn released(person: &Person, iou: RecordHash) -> bool {
    let is_it =
        |event: &Event| matches!(event, Event::Released { iou: given, .. } if *given == iou);
    person.events.iter().any(is_it)
}

#[tokio::test]
async fn an_invoice_is_paid_in_parts_while_the_user_is_away() {
    let site = Site::with_log().await;
    let log = Log::of(&site).await;
    let (owner, mut a, mut b) = with_friends(&site).await;
    let asked = request(1, Some(500));
    let made = create(&site, &owner, &asked).await;
    let invoice = record(&made);
    assert_eq!(
        (invoice.payee, made.body["state"].as_str()),
        (owner.user, Some("open"))
    );
    let again = create(&site, &owner, &asked).await;
    assert_eq!(again.assert_status(200).body, made.body);
    create(&site, &owner, &request(1, Some(501)))
        .await
        .assert_problem(409, "id_reused");

    let terms = terms(&site, &log, invoice.hash, 60_000).await;
    pay_part(&site, &log, (&mut a, &owner), &invoice, (300, 500), &terms).await;
    until("the first part is there", || async {
        read(&site, &owner, 1).await["received"] == "300"
    })
    .await;
    assert_eq!(read(&site, &owner, 1).await["state"], "open");
    pay_part(&site, &log, (&mut b, &owner), &invoice, (200, 500), &terms).await;
    let user = owner.user;
    for (friend, minor) in [(&mut a, -300), (&mut b, -200)] {
        friend
            .pump_until(&site, "the friend booked it", |friend| {
                friend.pair(&user).balance(&unit()).minor() == minor
            })
            .await;
    }
    until("the invoice is paid", || async {
        read(&site, &owner, 1).await["state"] == "paid"
    })
    .await;
    let paid = read(&site, &owner, 1).await;
    assert_eq!(paid["received"], "500");
    let preimage: Preimage = serde_json::from_value(paid["preimage"].clone()).unwrap();
    assert_eq!(preimage.hash(), invoice.hash);
    let journal = owner.journal(&site).await;
    assert_eq!(Person::of_kind(&journal, "invoice"), 1);
    let path = format!("{INVOICES}/{}", b64(&[1; 16]));
    owner
        .call(&site, Method::DELETE, &path, None)
        .await
        .assert_problem(409, "invoice_busy");
}

#[tokio::test]
async fn too_little_unknown_or_withdrawn_is_given_back_and_nothing_is_published() {
    let site = Site::with_log().await;
    let log = Log::of(&site).await;
    let (owner, mut a, _) = with_friends(&site).await;
    let invoice = record(&create(&site, &owner, &request(1, Some(500))).await);
    // Eight seconds must be left for publishing.
    let short = terms(&site, &log, invoice.hash, 11_000).await;
    let part = pay_part(&site, &log, (&mut a, &owner), &invoice, (300, 500), &short).await;
    a.pump_until(&site, "too little was given back", |a| released(a, part))
        .await;
    let long = terms(&site, &log, invoice.hash, 60_000).await;
    let poor = pay_part(&site, &log, (&mut a, &owner), &invoice, (400, 400), &long).await;
    a.pump_until(&site, "less than was asked for is not taken", |a| {
        released(a, poor)
    })
    .await;
    let part = pay_part(&site, &log, (&mut a, &owner), &invoice, (300, 500), &long).await;
    until("a part is there", || async {
        read(&site, &owner, 1).await["received"] == "300"
    })
    .await;
    // Books without which it can't be told what became of it do not leave meanwhile.
    let back = format!("/v0/me/agent/peers/{}/return", a.user);
    let device = json!({"key": owner.root.signer_key()});
    owner
        .call(&site, Method::POST, &back, Some(device.clone()))
        .await
        .assert_problem(409, "invoice_busy");
    let path = format!("{INVOICES}/{}", b64(&[1; 16]));
    for _ in 0..2 {
        let gone = owner.call(&site, Method::DELETE, &path, None).await;
        assert_eq!(gone.assert_status(200).body["state"], "withdrawn");
    }
    a.pump_until(&site, "what had come was given back", |a| released(a, part))
        .await;
    let late = pay_part(&site, &log, (&mut a, &owner), &invoice, (500, 500), &long).await;
    a.pump_until(&site, "nothing more is taken", |a| released(a, late))
        .await;
    let mut other = invoice.clone();
    other.id = RecordId::from_entropy([7; 16]);
    // The root has just opened these books: what it took before may be forgotten, so an unknown invoice is left to the logs.
    let hash = Preimage::from_bytes([9; 32]).hash();
    let strange = terms(&site, &log, hash, 60_000).await;
    let unknown = pay_part(&site, &log, (&mut a, &owner), &other, (500, 500), &strange).await;
    let last = pay_part(&site, &log, (&mut a, &owner), &invoice, (500, 500), &long).await;
    a.pump_until(&site, "nothing more is taken", |a| released(a, last))
        .await;
    assert!(!released(&a, unknown));
    let pair = owner.agents_pair(&site, &a.user).await;
    assert_eq!(pair.balance(&unit()).minor(), 0);
    owner
        .call(&site, Method::POST, &back, Some(device))
        .await
        .assert_status(200);
}

#[tokio::test]
async fn the_wallet_hands_over_an_invoice_that_it_has_signed() {
    let site = Site::with_log().await;
    let log = Log::of(&site).await;
    let (owner, mut a, _) = with_friends(&site).await;
    let made = record(&create(&site, &owner, &request(1, None)).await);
    let preimage = Preimage::from_bytes([5; 32]);
    let invoice = Invoice {
        id: RecordId::from_entropy([2; 16]),
        hash: preimage.hash(),
        ..made
    };
    let signed = Signed::sign(invoice.clone(), &owner.root).unwrap();
    let path = format!("{INVOICES}/{}", b64(&[2; 16]));
    let put = |preimage: [u8; 32]| {
        let body = json!({"invoice": signed.jws(), "preimage": b64(&preimage)});
        owner.call(&site, Method::PUT, &path, Some(body))
    };
    put([6; 32]).await.assert_problem(400, "invoice_malformed");
    for _ in 0..2 {
        assert_eq!(put([5; 32]).await.assert_status(200).body["state"], "open");
    }
    let terms = terms(&site, &log, invoice.hash, 60_000).await;
    pay_part(&site, &log, (&mut a, &owner), &invoice, (250, 250), &terms).await;
    let user = owner.user;
    a.pump_until(&site, "the friend booked it", |a| {
        a.pair(&user).balance(&unit()).minor() == -250
    })
    .await;
    let page = owner.call(&site, Method::GET, "/v0/me/agent/invoices?limit=1", None);
    let page = page.await.assert_status(200).body.clone();
    assert_eq!(page["items"][0]["state"], "paid");
    let next = page["next"].as_str().unwrap();
    let path = format!("/v0/me/agent/invoices?after={next}");
    let rest = owner.call(&site, Method::GET, &path, None).await;
    assert_eq!(rest.assert_status(200).body["items"][0]["state"], "open");
    assert!(rest.body["next"].is_null());
}

/// The plugin dies at `point` once all is there; the invoice is paid all the same, and once.
async fn dies_at(point: &str) {
    let mut site = Site::with_log().await;
    let log = Log::of(&site).await;
    let (owner, mut a, _) = with_friends(&site).await;
    let invoice = record(&create(&site, &owner, &request(1, Some(500))).await);
    site.restart(Some(&format!("{point}:1")));
    let terms = terms(&site, &log, invoice.hash, 60_000).await;
    pay_part(&site, &log, (&mut a, &owner), &invoice, (500, 500), &terms).await;
    site.after_death();
    let user = owner.user;
    a.pump_until(&site, "the friend booked it", |a| {
        a.pair(&user).balance(&unit()).minor() == -500
    })
    .await;
    until("the invoice is paid", || async {
        read(&site, &owner, 1).await["state"] == "paid"
    })
    .await;
    let pair = owner.agents_pair(&site, &a.user).await;
    assert_eq!(pair.net_claim(&unit()).minor(), 500, "{point}");
}

#[tokio::test]
async fn a_plugin_that_dies_around_publishing_is_paid_all_the_same() {
    for point in ["agent_before_publish", "agent_after_publish"] {
        dies_at(point).await;
    }
}

/// What a payer who promises through the agent learns.
#[tokio::test]
async fn the_payer_learns_what_became_of_a_promise() {
    let site = Site::with_log().await;
    let log = Log::of(&site).await;
    let (mut owner, mut a) = (site.person().await, site.person().await);
    befriend(&site, &mut owner, &mut a, 2_000).await;
    let key = engage(&site, &mut owner, 5_000, None).await;
    hand_over(&site, &mut owner, &mut a, key, allow(2_000)).await;
    log.know(&site, &mut a).await;
    let preimage = Preimage::from_bytes([1; 32]);
    let (paid, _) = ask(&site, &log, (&owner, &mut a), 1, preimage.hash()).await;
    let term: LogTerm = log.terms(&site, 1, 1).await.logs.remove(0);
    log.publish(&site, 1, term.from_size.saturating_sub(50))
        .await;
    let (given_up, secret) = ask(
        &site,
        &log,
        (&owner, &mut a),
        2,
        Preimage::from_bytes([2; 32]).hash(),
    )
    .await;
    let user = owner.user;
    a.pump_until(&site, "both arrived", |a| {
        let promised = |e: &&Event| matches!(e, Event::Promised(_));
        a.events.iter().filter(promised).count() == 2
    })
    .await;
    let failure = Failure::here(FailureCode::Busy);
    let sealed = secret.seal_failure(&failure, &rand::random()).unwrap();
    let root = a.root.clone();
    let pair = a.pairs.get_mut(&user).unwrap();
    let reason = atomicity_ledger::record::ReleaseReason::Declined;
    let records = pair
        .release(given_up, reason, Some(sealed.clone()), &root, now())
        .unwrap();
    let records = records.iter().map(|r| r.jws().to_owned()).collect();
    a.send(&site, &user, records).await;
    let standing = |iou: RecordHash| {
        let path = format!("/v0/me/agent/peers/{}/promises/{iou}", a.user);
        let (owner, site) = (&owner, &site);
        async move { owner.call(site, Method::GET, &path, None).await }
    };
    until("the release is there", || async {
        standing(given_up).await.body["standing"] == "released"
    })
    .await;
    let seen = standing(given_up).await;
    let release = seen.assert_status(200).body["release"].as_str().unwrap();
    let release: Signed<atomicity_ledger::record::Release> = Signed::decode(release).unwrap();
    assert_eq!(release.record().failure, Some(sealed.clone()));
    let events = events(&site, &owner).await;
    let of = |kind: &str, iou: RecordHash| {
        let found = events
            .iter()
            .find(|event| event["kind"] == kind && event["body"]["iou"] == iou.to_string());
        found.map(|event| event["body"].clone())
    };
    assert_eq!(of("released", given_up).unwrap()["failure"], json!(sealed));
    let merged = of("merged", paid).unwrap();
    assert_eq!(merged["preimage"], json!(preimage));
    assert!(
        merged["proof"]["proof"]
            .as_str()
            .unwrap()
            .starts_with("c2sp.org/tlog-proof")
    );
}

/// The owner's agent promises 100 to a friend, with layers that the friend can open.
async fn ask(
    site: &Site,
    log: &Log,
    (owner, a): (&Person, &mut Person),
    n: u8,
    hash: PaymentHash,
) -> (RecordHash, atomicity_ledger::onion::HopSecret) {
    let terms = terms(site, log, hash, 60_000).await;
    log.know(site, a).await;
    let gift = Payload::Gift { memo: None };
    let (onion, _) = seal(&[(hop(a), gift)], &hash, &rand::random()).unwrap();
    let secrets = std::slice::from_ref(&a.secret);
    let opened = atomicity_ledger::onion::open(&onion, &hash, &a.user, secrets).unwrap();
    let body = json!({"id": b64(&[n; 16]), "peer": a.user, "unit": unit(), "amount": "100",
        "terms": terms, "onward": onion});
    loop {
        let path = "/v0/me/agent/promise";
        let answer = owner
            .call(site, Method::POST, path, Some(body.clone()))
            .await;
        // The agent may not have read the log as far as the terms begin.
        if answer.code() != "terms_refused" {
            let records = answer.assert_status(200).body["records"].clone();
            return (RecordHash::of(records[0].as_str().unwrap()), opened.secret);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Everything that the owner was told so far.
pub async fn events(site: &Site, owner: &Person) -> Vec<Value> {
    let request = site.request(Method::GET, "/v0/me/agent/events");
    let request = request
        .bearer_auth(&owner.token)
        .header("last-event-id", "0");
    let mut live = Events::of(request.send().await.unwrap());
    let mut all = Vec::new();
    loop {
        let event = live.next().await.unwrap();
        if event.name == "ready" {
            return all;
        }
        all.push(event.json());
    }
}
