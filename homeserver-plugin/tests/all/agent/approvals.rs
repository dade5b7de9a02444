//! Requests that recur: each turn is asked for and paid once, within what the user approved.

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{
    Every, Goal, Part, PartAnswer, PartReason, PartSaid, PaymentRequest, Period, turn_part,
};
use atomicity_ledger::seal::{Agreement, KeyId, Parcel, seal_known};
use atomicity_ledger::{Amount, RecordHash, RecordId, Signed};
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{Person, Site, allow, befriend, engage, hand_over, now, unit};
use crate::support::plugin::Answer;
use crate::support::until;

const DAY_MS: u64 = 86_400_000;
const APPROVALS: &str = "/v0/me/agent/approvals";

/// An owner whose agent keeps the books towards one friend, and may issue so much.
async fn at_work(site: &Site, issue: u64) -> (Person, Person) {
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(site, &mut owner, &mut friend, 2_000).await;
    let key = engage(site, &mut owner, 5_000, None).await;
    hand_over(site, &mut owner, &mut friend, key, allow(issue)).await;
    (owner, friend)
}

/// The friend asks the owner for 100 every day, of which so many days are due.
fn rent(owner: &Person, friend: &Person, due: u64) -> Signed<PaymentRequest> {
    let from = now().millis() - due * DAY_MS + DAY_MS / 2;
    let request = PaymentRequest {
        v: Version,
        id: RecordId::from_entropy(rand::random()),
        payee: friend.user,
        payer: Some(owner.user),
        unit: unit(),
        amount: Goal::Exact(Amount::from_minor(100).unwrap()),
        targets: Vec::new(),
        memo: Some("bread of the day".parse().unwrap()),
        every: Some(Every {
            period: Period::Day,
            from: atomicity_ledger::Timestamp::from_millis(from).unwrap(),
            count: None,
        }),
        expires: now().plus_millis(30 * DAY_MS),
        at: now(),
    };
    Signed::sign(request, &friend.root).unwrap()
}

async fn approve(site: &Site, owner: &Person, request: &Signed<PaymentRequest>) -> Answer {
    let body = json!({"request": request.jws(), "up_to": "100", "first_turn": 0});
    let path = format!("{APPROVALS}/{}", request.hash());
    owner.call(site, Method::PUT, &path, Some(body)).await
}

async fn revoke(site: &Site, owner: &Person, request: &Signed<PaymentRequest>) -> Answer {
    let path = format!("{APPROVALS}/{}", request.hash());
    owner.call(site, Method::DELETE, &path, None).await
}

/// The approval as the owner sees it.
async fn seen(site: &Site, owner: &Person, request: &Signed<PaymentRequest>) -> Value {
    let list = owner.call(site, Method::GET, APPROVALS, None).await;
    let items = list.assert_status(200).body["items"].as_array().unwrap();
    let hash = request.hash().to_string();
    let found = items.iter().find(|item| item["request"] == hash);
    found.unwrap().clone()
}

/// What was asked for: turn, attempt and state of each.
async fn turns(
    site: &Site,
    owner: &Person,
    request: &Signed<PaymentRequest>,
) -> Vec<(u64, u64, String)> {
    let path = format!("{APPROVALS}/{}/turns", request.hash());
    let list = owner.call(site, Method::GET, &path, None).await;
    let items = list.assert_status(200).body["items"].as_array().unwrap();
    let number = |item: &Value, name: &str| item[name].as_u64().unwrap();
    let one = |item: &Value| {
        let state = item["state"].as_str().unwrap().to_owned();
        (number(item, "turn"), number(item, "attempt"), state)
    };
    items.iter().map(one).collect()
}

async fn until_turns(
    site: &Site,
    owner: &Person,
    request: &Signed<PaymentRequest>,
    wanted: &[(u64, u64, &str)],
) {
    until("the turns are so far", || async {
        let found = turns(site, owner, request).await;
        let found: Vec<_> = found.iter().map(|(t, a, s)| (*t, *a, s.as_str())).collect();
        found == wanted
    })
    .await;
}

fn grant() -> PartSaid {
    PartSaid::Granted {
        amount: Amount::from_minor(100).unwrap(),
        until: now().plus_millis(600_000),
        invoice: None,
        target: None,
    }
}

impl Person {
    /// Waits until the `n`th part was asked for.
    async fn asked(&mut self, site: &Site, n: usize) -> Signed<Part> {
        self.pump_until(site, "the agent asked", |person| person.parts.len() >= n)
            .await;
        self.parts[n - 1].clone()
    }

    /// Answers an agent where it waits.
    async fn says(&self, site: &Site, part: &Signed<Part>, said: PartSaid) {
        let record = part.record();
        let answer = PartAnswer {
            v: Version,
            part: part.hash(),
            from: self.user,
            to: record.from,
            said,
            at: now(),
        };
        let signed = Signed::sign(answer, &self.root).unwrap();
        let reply = record.reply.as_ref().unwrap();
        assert_eq!(reply.inbox.plugin.to_string(), site.plugin);
        let key = (&reply.key, KeyId::REPLY);
        let agreement =
            Agreement::outgoing(&self.user, &self.secret, &record.from, key.0, key.1).unwrap();
        let parcel = Parcel::new(self.user, vec![signed.jws().to_owned()]).unwrap();
        let sealed = seal_known(&agreement, rand::random(), &parcel).unwrap();
        let body: Value = serde_json::from_str(&sealed.to_json().unwrap()).unwrap();
        let path = format!("/v0/inbox/{}", record.from);
        let posted = Answer::of(site.request(Method::POST, &path).json(&body)).await;
        assert!(posted.status.is_success(), "{}", posted.body);
    }

    /// Waits until the owner owes so much.
    async fn is_owed(&mut self, site: &Site, owner: &Person, minor: i64) {
        let user = owner.user;
        self.pump_until(site, "it is paid", |friend| {
            friend.pair(&user).balance(&unit()).minor() == minor
        })
        .await;
    }

    /// What payments of `owner` refer to.
    async fn references(&self, site: &Site) -> Vec<String> {
        let journal = self.journal(site).await;
        let payments = journal.iter().filter(|item| item["what"] == "payment");
        let record = |item: &Value| {
            let jws = item["record"].as_str().unwrap();
            let payment: Signed<atomicity_ledger::record::Payment> = Signed::decode(jws).unwrap();
            payment.record().reference.as_ref().unwrap().to_string()
        };
        payments.map(record).collect()
    }
}

fn name(owner: &Person, request: RecordHash, turn: u32, attempt: u32) -> String {
    turn_part(&request, &owner.user, turn, attempt).to_string()
}

#[tokio::test]
async fn what_was_due_meanwhile_is_paid_turn_by_turn_each_once() {
    let site = Site::start().await;
    let (owner, mut friend) = at_work(&site, 1_000).await;
    let request = rent(&owner, &friend, 2);
    for _ in 0..2 {
        let taken = approve(&site, &owner, &request).await;
        assert_eq!(taken.assert_status(200).body["state"], "active");
    }
    let first = friend.asked(&site, 1).await;
    let hash = request.hash();
    assert_eq!(first.record().id.to_string(), name(&owner, hash, 0, 0));
    assert_eq!(first.record().turn, Some(0));
    // Answered twice, and again after it is paid: it is paid once.
    friend.says(&site, &first, grant()).await;
    friend.says(&site, &first, grant()).await;
    friend.is_owed(&site, &owner, 100).await;
    friend.says(&site, &first, grant()).await;
    let second = friend.asked(&site, 2).await;
    assert_eq!(second.record().turn, Some(1));
    friend.says(&site, &second, grant()).await;
    friend.is_owed(&site, &owner, 200).await;
    let wanted = [(0, 0, "paid"), (1, 0, "paid")];
    until_turns(&site, &owner, &request, &wanted).await;
    // Approved once more nothing is paid once more; the next turn is not due.
    approve(&site, &owner, &request).await.assert_status(200);
    until("it was looked at", || async {
        let at = seen(&site, &owner, &request).await["next_at"].as_u64();
        at.unwrap() > now().millis()
    })
    .await;
    until_turns(&site, &owner, &request, &wanted).await;
    let paid = owner.references(&site).await;
    assert_eq!(paid, [name(&owner, hash, 0, 0), name(&owner, hash, 1, 0)]);
    assert_eq!(Person::of_kind(&owner.journal(&site).await, "part"), 2);
}

#[tokio::test]
async fn what_can_not_be_paid_is_refused_when_it_is_handed_over() {
    let site = Site::start().await;
    let (owner, friend) = at_work(&site, 1_000).await;
    let request = rent(&owner, &friend, 1);
    let put = |request: Signed<PaymentRequest>, up_to: &'static str| {
        let body = json!({"request": request.jws(), "up_to": up_to, "first_turn": 0});
        let path = format!("{APPROVALS}/{}", request.hash());
        let (owner, site) = (&owner, &site);
        async move { owner.call(site, Method::PUT, &path, Some(body)).await }
    };
    put(request.clone(), "99")
        .await
        .assert_problem(409, "above_ceiling");
    // Whom the agent keeps no books with.
    let stranger = site.person().await;
    put(rent(&owner, &stranger, 1), "100")
        .await
        .assert_problem(404, "pair_unknown");
    // Who is asked is somebody else; what is asked for does not recur; nothing may be issued in its unit.
    put(rent(&stranger, &friend, 1), "100")
        .await
        .assert_problem(409, "not_asked");
    let other = |change: &dyn Fn(&mut PaymentRequest)| {
        let mut record = request.record().clone();
        change(&mut record);
        Signed::sign(record, &friend.root).unwrap()
    };
    put(other(&|request| request.every = None), "100")
        .await
        .assert_problem(400, "approval_malformed");
    let eggs = other(&|request| request.unit = "EGG".parse().unwrap());
    put(eggs, "100")
        .await
        .assert_problem(409, "unit_not_allowed");
    // Under the hash of another, and nobody's.
    let body = json!({"request": request.jws(), "up_to": "100", "first_turn": 0});
    let path = format!("{APPROVALS}/{}", RecordHash::of("another"));
    owner
        .call(&site, Method::PUT, &path, Some(body))
        .await
        .assert_problem(400, "approval_malformed");
    owner
        .call(&site, Method::DELETE, &path, None)
        .await
        .assert_problem(404, "approval_unknown");
    let list = owner.call(&site, Method::GET, APPROVALS, None).await;
    assert_eq!(list.assert_status(200).body["items"], json!([]));
}

#[tokio::test]
async fn once_it_is_revoked_nothing_is_paid_until_it_is_approved_again() {
    let site = Site::start().await;
    let (owner, mut friend) = at_work(&site, 1_000).await;
    let request = rent(&owner, &friend, 1);
    approve(&site, &owner, &request).await.assert_status(200);
    let part = friend.asked(&site, 1).await;
    for _ in 0..2 {
        let ended = revoke(&site, &owner, &request).await;
        assert_eq!(ended.assert_status(200).body["state"], "ended");
        assert_eq!(ended.body["why"], "revoked");
    }
    friend.says(&site, &part, grant()).await;
    assert_eq!(turns(&site, &owner, &request).await.len(), 1);
    assert_eq!(turns(&site, &owner, &request).await[0].2, "ended");
    // What the owner does by hand meanwhile is served, so the answer was read long ago.
    let by_hand = super::world::payment(1, &friend.user, 7);
    owner
        .call(&site, Method::POST, "/v0/me/agent/issue", Some(by_hand))
        .await
        .assert_status(200);
    friend.is_owed(&site, &owner, 7).await;
    // Approved again it is asked for under the next name.
    approve(&site, &owner, &request).await.assert_status(200);
    let again = friend.asked(&site, 2).await;
    let expected = name(&owner, request.hash(), 0, 1);
    assert_eq!(again.record().id.to_string(), expected);
    friend.says(&site, &again, grant()).await;
    friend.is_owed(&site, &owner, 107).await;
    until_turns(&site, &owner, &request, &[(0, 0, "ended"), (0, 1, "paid")]).await;
}

#[tokio::test]
async fn what_the_payee_says_decides_how_it_goes_on() {
    let site = Site::start().await;
    let (owner, mut friend) = at_work(&site, 1_000).await;
    // Paid by the wallet, as it turns out: the turn is done, and nothing was signed for it.
    let known = rent(&owner, &friend, 1);
    approve(&site, &owner, &known).await.assert_status(200);
    let part = friend.asked(&site, 1).await;
    let refuse = |reason| PartSaid::Refused { reason };
    friend.says(&site, &part, refuse(PartReason::Paid)).await;
    until_turns(&site, &owner, &known, &[(0, 0, "paid")]).await;
    let request = rent(&owner, &friend, 1);
    approve(&site, &owner, &request).await.assert_status(200);
    let part = friend.asked(&site, 2).await;
    // More than was asked for, or something that the agent can't pay.
    let dear = PartSaid::Granted {
        amount: Amount::from_minor(101).unwrap(),
        until: now().plus_millis(600_000),
        invoice: None,
        target: None,
    };
    friend.says(&site, &part, dear).await;
    until_turns(&site, &owner, &request, &[(0, 0, "refused")]).await;
    // It is asked for again a while later. What is closed has ended.
    let again = friend.asked(&site, 3).await;
    assert_eq!(
        again.record().id.to_string(),
        name(&owner, request.hash(), 0, 1)
    );
    friend.says(&site, &again, refuse(PartReason::Closed)).await;
    until("it has ended", || async {
        seen(&site, &owner, &request).await["why"] == "request_closed"
    })
    .await;
    assert_eq!(seen(&site, &owner, &request).await["state"], "ended");
    assert_eq!(owner.references(&site).await, [] as [String; 0]);
}

#[tokio::test]
async fn no_turn_is_paid_above_a_limit_of_the_books() {
    let site = Site::start().await;
    let (owner, mut friend) = at_work(&site, 150).await;
    let request = rent(&owner, &friend, 2);
    approve(&site, &owner, &request).await.assert_status(200);
    for n in 1..=2 {
        let part = friend.asked(&site, n).await;
        friend.says(&site, &part, grant()).await;
    }
    until("the second waits", || async {
        seen(&site, &owner, &request).await["why"] == "limit_exceeded"
    })
    .await;
    let wanted = [(0, 0, "paid"), (1, 0, "granted")];
    until_turns(&site, &owner, &request, &wanted).await;
    friend.is_owed(&site, &owner, 100).await;
    // The owner allows more.
    let room = json!({"units": [{"unit": unit(), "issue": "1000"}]});
    let path = format!("/v0/me/agent/peers/{}", friend.user);
    let pair = serde_json::to_value(owner.pair(&friend.user)).unwrap();
    let body = json!({"pair": pair, "profile": owner.profiles[&friend.user], "settings": room});
    owner
        .call(&site, Method::PUT, &path, Some(body))
        .await
        .assert_status(200);
    friend.is_owed(&site, &owner, 200).await;
    until_turns(&site, &owner, &request, &[(0, 0, "paid"), (1, 0, "paid")]).await;
}

#[tokio::test]
async fn books_that_are_taken_back_take_along_what_is_paid_over_them() {
    let site = Site::start().await;
    let (owner, mut friend) = at_work(&site, 1_000).await;
    let request = rent(&owner, &friend, 1);
    approve(&site, &owner, &request).await.assert_status(200);
    friend.asked(&site, 1).await;
    let path = format!("/v0/me/agent/peers/{}/return", friend.user);
    let body = json!({"key": owner.root.signer_key()});
    owner
        .call(&site, Method::POST, &path, Some(body))
        .await
        .assert_status(200);
    let ended = seen(&site, &owner, &request).await;
    assert_eq!(
        (&ended["state"], &ended["why"]),
        (&json!("ended"), &json!("books_returned"))
    );
    assert_eq!(turns(&site, &owner, &request).await[0].2, "ended");
    approve(&site, &owner, &request)
        .await
        .assert_problem(404, "pair_unknown");
}

/// The plugin dies at `point` while two turns are paid, and is started again.
async fn dies_at(point: &str) {
    let mut site = Site::start().await;
    let (owner, mut friend) = at_work(&site, 1_000).await;
    let request = rent(&owner, &friend, 2);
    site.restart(Some(&format!("{point}:1")));
    // It may die before it has answered.
    let body = json!({"request": request.jws(), "up_to": "100", "first_turn": 0});
    let path = format!("{APPROVALS}/{}", request.hash());
    let asked = site.request(Method::PUT, &path).bearer_auth(&owner.token);
    let _ = asked.json(&body).send().await;
    if point == "agent_turn_granted" {
        let part = friend.asked(&site, 1).await;
        friend.says(&site, &part, grant()).await;
    }
    site.after_death();
    approve(&site, &owner, &request).await.assert_status(200);
    for turn in 0..2_u32 {
        let hash = request.hash();
        let wanted = name(&owner, hash, turn, 0);
        friend
            .pump_until(&site, "the turn is asked for", |friend| {
                let id = |part: &Signed<Part>| part.record().id.to_string();
                friend.parts.iter().any(|part| id(part) == wanted)
            })
            .await;
        let part = friend
            .parts
            .iter()
            .rfind(|part| part.record().turn == Some(turn));
        let part = part.unwrap().clone();
        friend.says(&site, &part, grant()).await;
        friend
            .is_owed(&site, &owner, 100 * (i64::from(turn) + 1))
            .await;
    }
    let wanted = [(0, 0, "paid"), (1, 0, "paid")];
    until_turns(&site, &owner, &request, &wanted).await;
    assert_eq!(owner.references(&site).await.len(), 2, "{point}");
    let pair = owner.agents_pair(&site, &friend.user).await;
    assert_eq!(pair.balance(&unit()).minor(), -200, "{point}");
}

#[tokio::test]
async fn a_plugin_that_dies_asks_and_pays_once_all_the_same() {
    for point in [
        "agent_before_commit",
        "agent_after_commit",
        "agent_turn_asked",
        "agent_turn_granted",
    ] {
        dies_at(point).await;
    }
}

#[tokio::test]
async fn a_turn_that_was_paid_before_a_death_is_not_paid_after_it() {
    let mut site = Site::start().await;
    let (owner, mut friend) = at_work(&site, 1_000).await;
    let request = rent(&owner, &friend, 1);
    approve(&site, &owner, &request).await.assert_status(200);
    let part = friend.asked(&site, 1).await;
    // What is paid is stored and not sent when it dies.
    site.restart(Some("agent_before_send:1"));
    friend.says(&site, &part, grant()).await;
    site.after_death();
    friend.says(&site, &part, grant()).await;
    friend.is_owed(&site, &owner, 100).await;
    until_turns(&site, &owner, &request, &[(0, 0, "paid")]).await;
    assert_eq!(owner.references(&site).await.len(), 1);
}

#[tokio::test]
async fn a_database_that_was_restored_pays_nothing() {
    let mut site = Site::start().await;
    let (owner, mut friend) = at_work(&site, 1_000).await;
    let request = rent(&owner, &friend, 1);
    approve(&site, &owner, &request).await.assert_status(200);
    let part = friend.asked(&site, 1).await;
    let backup = site.back_up().await;
    friend.says(&site, &part, grant()).await;
    friend.is_owed(&site, &owner, 100).await;
    site.restore(backup);
    let ended = seen(&site, &owner, &request).await;
    assert_eq!(
        (&ended["state"], &ended["why"]),
        (&json!("ended"), &json!("books_restored"))
    );
    approve(&site, &owner, &request)
        .await
        .assert_problem(409, "books_restored");
}
