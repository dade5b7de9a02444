//! An app that holds the key of a payment account, and nothing else.

use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{
    Delegation, DelegationLimit, Invoice, InvoiceLog, Pass, Pays, Scope, Spend, SpendTo, Target,
};
use atomicity_ledger::{
    Amount, Keypair, PolicyHash, Preimage, RecordId, Serial, Signed, Timestamp, UserKey,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::world::{Person, Site, allow, befriend, engage, hand_over, now, total, unit};
use crate::support::plugin::Answer;

/// An owner whose agent keeps the books towards one friend: 1000 at most, and 1200 a day.
pub async fn at_work(site: &Site) -> (Person, Person) {
    let (mut owner, mut friend) = (site.person().await, site.person().await);
    befriend(site, &mut owner, &mut friend, 2_000).await;
    let key = engage(site, &mut owner, 5_000, Some(1_200)).await;
    hand_over(site, &mut owner, &mut friend, key, allow(1_000)).await;
    (owner, friend)
}

/// What is posted to have something paid.
pub fn body_of(spend: &Signed<Spend>) -> Value {
    json!({ "spend": spend.jws() })
}

/// Turns an order into one for a Lightning invoice over 5,000 satoshi.
pub fn outside(order: &mut Spend) {
    let (method, value) = ("btc-lightning-bolt11".parse(), "lnbc1".parse());
    let (method, value) = (method.unwrap(), value.unwrap());
    order.to = SpendTo::Target(Target { method, value });
    order.pays = Some(Pays {
        asset: "BTC".parse().unwrap(),
        amount: "0.00005".parse().unwrap(),
    });
}

pub struct App {
    pub key: Keypair,
    pub owner: UserKey,
    plugin: UserKey,
    n: u8,
}

impl App {
    pub fn new(site: &Site, owner: &Person, n: u8) -> Self {
        Self {
            key: Keypair::from_secret(&rand::random()),
            owner: owner.user,
            plugin: site.plugin.parse().unwrap(),
            n,
        }
    }

    /// What the owner's root says of the key: the most on a day, and in all.
    pub fn word(
        &self,
        owner: &Person,
        (per_day, in_all): (Option<u64>, u64),
        peer: Option<&Person>,
        serial: u64,
    ) -> Delegation {
        Delegation {
            v: Version,
            root: owner.user,
            key: self.key.signer_key(),
            scopes: vec![Scope::Request],
            peers: peer.map(|peer| vec![peer.user]),
            limits: vec![DelegationLimit {
                unit: unit(),
                per_peer: total(in_all),
                per_day: per_day.map(total),
            }],
            not_before: Timestamp::saturating_from_millis(now().millis() - 10_000),
            not_after: now().plus_millis(3_600_000),
            serial: Serial::new(serial).unwrap(),
        }
    }

    /// The owner makes it known to the agent.
    pub async fn open(
        &self,
        site: &Site,
        owner: &Person,
        limits: (Option<u64>, u64),
        peer: Option<&Person>,
    ) {
        self.open_as(site, owner, self.word(owner, limits, peer, 1))
            .await;
    }

    /// The same, with places outside.
    pub async fn open_outward(
        &self,
        site: &Site,
        owner: &Person,
        limits: (Option<u64>, u64),
        peer: Option<&Person>,
    ) {
        let word = Delegation {
            scopes: vec![Scope::Request, Scope::Rails],
            ..self.word(owner, limits, peer, 1)
        };
        self.open_as(site, owner, word).await;
    }

    async fn open_as(&self, site: &Site, owner: &Person, word: Delegation) {
        let word = Signed::sign(word, &owner.root).unwrap();
        let path = format!("/v0/me/agent/accounts/{}", self.key.signer_key());
        let body = json!({"delegation": word.jws(), "name": format!("shop {}", self.n)});
        for _ in 0..2 {
            let put = owner
                .call(site, Method::PUT, &path, Some(body.clone()))
                .await;
            assert_eq!(put.assert_status(200).body["state"], "active");
        }
    }

    pub fn order(&self, n: u8, friend: &Person, amount: u64) -> Spend {
        Spend {
            v: Version,
            id: RecordId::from_entropy([n; 16]),
            owner: self.owner,
            plugin: self.plugin,
            unit: unit(),
            amount: Amount::from_minor(amount).unwrap(),
            to: SpendTo::Peer(friend.user),
            pays: None,
            max_fee: None,
            memo: None,
            expires: now().plus_millis(60_000),
            at: now(),
        }
    }

    pub fn pays(&self, n: u8, friend: &Person, amount: u64) -> Signed<Spend> {
        Signed::sign(self.order(n, friend, amount), &self.key).unwrap()
    }

    /// Has something paid outside.
    pub fn pays_outside(&self, n: u8, friend: &Person, amount: u64) -> Signed<Spend> {
        let mut order = self.order(n, friend, amount);
        outside(&mut order);
        Signed::sign(order, &self.key).unwrap()
    }

    /// Pays somebody's invoice, for at most this fee.
    pub fn pays_invoice(
        &self,
        n: u8,
        payee: &Person,
        (amount, fee, lives): (u64, u64, u64),
    ) -> Signed<Spend> {
        let invoice = Invoice {
            v: Version,
            id: RecordId::from_entropy([n; 16]),
            payee: payee.user,
            unit: unit(),
            amount: Amount::from_minor(amount).ok(),
            hash: Preimage::from_bytes([n; 32]).hash(),
            logs: vec![InvoiceLog {
                origin: "log.example/1".parse().unwrap(),
                policy_hash: PolicyHash::from_bytes([1; 32]),
                url: None,
            }],
            logs_refused: Vec::new(),
            hints: Vec::new(),
            expires: now().plus_millis(3_600_000),
            memo: None,
            at: now(),
        };
        let invoice = Signed::sign(invoice, &payee.root).unwrap();
        let spend = Spend {
            to: SpendTo::Invoice(Box::new(invoice)),
            max_fee: Amount::from_minor(fee).ok(),
            expires: now().plus_millis(lives),
            ..self.order(n, payee, amount)
        };
        Signed::sign(spend, &self.key).unwrap()
    }

    pub fn path(&self) -> String {
        format!("/v0/accounts/{}/spends", self.owner)
    }

    pub async fn post(&self, site: &Site, spend: &Signed<Spend>) -> Answer {
        let request = site.request(Method::POST, &self.path());
        Answer::of(request.json(&body_of(spend))).await
    }

    pub async fn status(&self, site: &Site, spend: &Signed<Spend>) -> Value {
        let path = format!("{}/{}", self.path(), spend.record().id);
        let answer = Answer::of(site.request(Method::GET, &path)).await;
        answer.assert_status(200).body.clone()
    }

    /// A pass that lives so many milliseconds.
    pub fn pass(&self, lives: u64) -> Signed<Pass> {
        let pass = Pass {
            v: Version,
            owner: self.owner,
            plugin: self.plugin,
            expires: now().plus_millis(lives),
            at: now(),
        };
        Signed::sign(pass, &self.key).unwrap()
    }

    /// What the agent tells whoever has the key.
    pub async fn left(&self, site: &Site) -> Value {
        let path = format!("/v0/accounts/{}/{}", self.owner, self.key.signer_key());
        let header = format!("Atomicity {}", self.pass(60_000).jws());
        let request = site
            .request(Method::GET, &path)
            .header("authorization", header);
        Answer::of(request).await.assert_status(200).body.clone()
    }

    /// What the agent tells the owner.
    pub async fn seen(&self, site: &Site, owner: &Person) -> Value {
        let list = owner
            .call(site, Method::GET, "/v0/me/agent/accounts", None)
            .await;
        let items = list.assert_status(200).body["items"].as_array().unwrap();
        let key = self.key.signer_key().to_string();
        items
            .iter()
            .find(|item| item["account"] == key)
            .unwrap()
            .clone()
    }
}
