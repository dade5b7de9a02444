//! The plugin's own log, and promises that hang on it.

use atomicity_ledger::onion::HopKey;
use atomicity_ledger::pair::{KnownLog, NewPromise};
use atomicity_ledger::record::{LogProof, LogTerm, Terms};
use atomicity_ledger::seal::KeyId;
use atomicity_ledger::text::{Layers, ProofText};
use atomicity_ledger::{Amount, PolicyHash, Preimage, RecordHash, UserKey};
use atomicity_witness_log::{Checkpoint, Policy, SignedNote};
use reqwest::Method;
use serde_json::json;

use super::world::{Person, Site, now, unit};
use crate::support::plugin::{Answer, b64};

/// The plugin's log as a friend knows it.
pub struct Log {
    pub policy: String,
    pub origin: String,
}

impl Log {
    pub async fn of(site: &Site) -> Self {
        let policy = site.request(Method::GET, "/log/policy").send().await;
        let policy = policy.unwrap().text().await.unwrap();
        let parsed = Policy::parse(policy.as_bytes()).unwrap();
        let origin = parsed.logs()[0].key.name().to_owned();
        Self { policy, origin }
    }

    pub async fn size(&self, site: &Site) -> u64 {
        loop {
            let answer = site.request(Method::GET, "/log/checkpoint").send().await;
            let answer = answer.unwrap();
            if answer.status().is_success() {
                let note = SignedNote::parse(&answer.bytes().await.unwrap()).unwrap();
                return Checkpoint::parse(note.text()).unwrap().size;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    pub async fn terms(&self, site: &Site, n: u8, deadline_ms: u64) -> Terms {
        Terms {
            hash: Preimage::from_bytes([n; 32]).hash(),
            logs: vec![LogTerm {
                origin: self.origin.parse().unwrap(),
                policy_hash: PolicyHash::of(&self.policy),
                from_size: self.size(site).await,
            }],
            deadline_ms: now().millis() + deadline_ms,
        }
    }

    /// Lets `person` rely on the log as far as it is now.
    pub async fn know(&self, site: &Site, person: &mut Person) {
        let log = KnownLog {
            policies: [PolicyHash::of(&self.policy)].into(),
            newest_size: self.size(site).await,
            refused: false,
        };
        person.logs.insert(self.origin.parse().unwrap(), log);
    }

    pub async fn publish(&self, site: &Site, n: u8, from: u64) -> LogProof {
        let body = json!({"preimage": b64(&[n; 32]), "min_index": from});
        let request = site.request(Method::POST, "/log/preimages").json(&body);
        let answer = Answer::of(request).await;
        assert!(answer.status.is_success(), "{}", answer.body);
        LogProof {
            policy: self.policy.parse().unwrap(),
            proof: ProofText::try_from(answer.body["proof"].as_str().unwrap().to_owned()).unwrap(),
        }
    }
}

/// A friend promises something to the owner of an agent.
pub async fn promise(
    site: &Site,
    from: &mut Person,
    to: &UserKey,
    minor: u64,
    terms: Terms,
    onward: Option<Layers>,
) -> RecordHash {
    let (root, logs) = (from.root.clone(), from.logs.clone());
    let new = NewPromise {
        unit: unit(),
        amount: Amount::from_minor(minor).unwrap(),
        terms,
        onward,
    };
    let pair = from.pairs.get_mut(to).unwrap();
    let iou = pair.promise(new, None, &logs, &root, now()).unwrap();
    from.send(site, to, vec![iou.jws().to_owned()]).await;
    iou.hash()
}

pub fn hop(person: &Person) -> HopKey {
    HopKey {
        user: person.user,
        key: person.secret.public(),
        id: KeyId::new(1),
    }
}
