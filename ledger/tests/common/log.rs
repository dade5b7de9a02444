//! A log with one cosigner, in memory: what it publishes is real, down to the signatures.

use atomicity_ledger::pair::{Expiry, KnownLog, KnownLogs};
use atomicity_ledger::record::{LogProof, LogTerm, Terms};
use atomicity_ledger::{PaymentHash, PolicyHash, Preimage};
use atomicity_witness_log::checkpoint::cosign;
use atomicity_witness_log::tree::RangeSource;
use atomicity_witness_log::{
    CompactRange, ExpiryProof, KeyKind, Leaf, LogState, MemoryTree, Policy, PublicationProof,
    SignedCheckpoint, SignedNote, SigningKey, Tombstone,
};

use super::NOW;

pub const ORIGIN: &str = "log.example/1";

pub fn preimage(n: u8) -> Preimage {
    Preimage::from_bytes([n; 32])
}

pub fn hash(n: u8) -> PaymentHash {
    preimage(n).hash()
}

/// A log and its cosigner.
#[derive(Clone)]
pub struct TestLog {
    origin: String,
    state: LogState,
    tree: MemoryTree,
    leaves: Vec<Leaf>,
    log: SigningKey,
    cosigner: SigningKey,
}

impl TestLog {
    pub fn new(n: u8) -> Self {
        let origin = format!("log.example/{n}");
        let log = SigningKey::from_secret(&origin, KeyKind::Ed25519, [n; 32]).unwrap();
        let name = format!("cosigner.example/{n}");
        let cosigner = SigningKey::from_secret(&name, KeyKind::Cosignature, [100 + n; 32]).unwrap();
        let mut new = Self {
            state: LogState::new(&origin),
            origin,
            tree: MemoryTree::new(),
            leaves: Vec::new(),
            log,
            cosigner,
        };
        new.tick(0);
        new
    }

    pub fn policy(&self) -> Policy {
        let (log, cosigner) = (self.log.verifier(), self.cosigner.verifier());
        Policy::from_parts(&[(log, None)], &[(cosigner, None)], 1).unwrap()
    }

    fn policy_text(&self) -> String {
        String::from_utf8(self.policy().as_bytes().to_vec()).unwrap()
    }

    /// Publishes preimages at a time after [`NOW`].
    pub fn publish(&mut self, preimages: &[Preimage], at_ms: u64) {
        let preimages: Vec<[u8; 32]> = preimages.iter().map(|p| *p.as_bytes()).collect();
        let batch = self.state.append(&preimages, NOW + at_ms).unwrap();
        for leaf in batch.leaves {
            self.tree.push(leaf.hash());
            self.leaves.push(leaf);
        }
    }

    pub fn tick(&mut self, at_ms: u64) {
        self.publish(&[], at_ms);
    }

    pub fn size(&self) -> u64 {
        self.state.size()
    }

    /// Whether it has published this.
    pub fn holds(&self, preimage: Preimage) -> bool {
        let is = |leaf: &Leaf| leaf.preimage() == Some(preimage.as_bytes());
        self.leaves.iter().any(is)
    }

    /// Whether its time has passed this.
    pub fn is_past(&self, ms: u64) -> bool {
        self.leaves.iter().any(|leaf| leaf.time_ms() > ms)
    }

    /// The newest checkpoint, cosigned.
    pub fn checkpoint(&self) -> SignedNote {
        let note = self.state.checkpoint().sign(&self.log).unwrap();
        let mut signed = SignedCheckpoint::new(note).unwrap();
        let seconds = self.state.last_time_ms().unwrap() / 1000;
        let cosignature = cosign(&signed, &self.cosigner, seconds).unwrap();
        signed.add(&[cosignature]).unwrap();
        signed.note().clone()
    }

    pub fn known(&self) -> KnownLogs {
        let mut logs = KnownLogs::default();
        self.add_to(&mut logs);
        logs
    }

    pub fn add_to(&self, logs: &mut KnownLogs) {
        let log = KnownLog {
            policies: [PolicyHash::from_bytes(self.policy().hash())].into(),
            newest_size: self.size(),
            refused: false,
        };
        logs.insert(self.origin.parse().unwrap(), log);
    }

    pub fn term(&self) -> LogTerm {
        LogTerm {
            origin: self.origin.parse().unwrap(),
            policy_hash: PolicyHash::from_bytes(self.policy().hash()),
            from_size: self.size(),
        }
    }

    /// Terms that hang on this log from now on until so long after [`NOW`].
    pub fn terms(&self, n: u8, deadline_ms: u64) -> Terms {
        Terms {
            hash: hash(n),
            logs: vec![self.term()],
            deadline_ms: NOW + deadline_ms,
        }
    }

    /// The proof that this preimage is in the log.
    pub fn proof(&self, preimage: Preimage) -> LogProof {
        let is = |leaf: &Leaf| leaf.preimage() == Some(preimage.as_bytes());
        let index = self.leaves.iter().position(is).unwrap();
        let note = self.checkpoint();
        let proof = PublicationProof::build(&self.tree, index as u64, self.leaves[index], note);
        LogProof {
            policy: self.policy_text().parse().unwrap(),
            proof: proof.unwrap().to_string().parse().unwrap(),
        }
    }

    fn range(&self, size: u64) -> CompactRange {
        CompactRange::from_source(&self.tree, size).unwrap()
    }

    /// The proof that nothing that these terms want was published in time.
    pub fn expiry(&self, terms: &Terms) -> Expiry {
        let from = self.window_start(terms);
        let after = self
            .leaves
            .iter()
            .position(|leaf| leaf.time_ms() > terms.deadline_ms)
            .unwrap();
        let leaves = self.leaves[from as usize..=after].to_vec();
        let hashes = self.leaves[from as usize..]
            .iter()
            .map(Leaf::hash)
            .collect();
        let source = RangeSource::new(self.range(from), hashes);
        let proof =
            ExpiryProof::build(self.range(from), leaves, &source, self.checkpoint()).unwrap();
        Expiry {
            policy: self.policy_text(),
            proof: proof.encode(),
        }
    }

    /// The proof that the log ended before the deadline: its cosigner will never sign a larger tree.
    pub fn tombstoned(&self, terms: &Terms) -> Expiry {
        let from = self.window_start(terms);
        let stone = Tombstone {
            origin: self.origin.clone(),
            size: self.size(),
            root: self.state.root(),
        };
        let note = stone.sign(&self.cosigner).unwrap();
        let leaves = self.leaves[from as usize..].to_vec();
        let (range, last) = if leaves.is_empty() {
            (CompactRange::new(), None)
        } else {
            (self.range(from), Some(self.checkpoint()))
        };
        let proof = ExpiryProof::build_tombstoned(range, leaves, last, vec![note]);
        Expiry {
            policy: self.policy_text(),
            proof: proof.unwrap().encode(),
        }
    }

    fn window_start(&self, terms: &Terms) -> u64 {
        let log = terms.logs.iter().find(|l| l.origin.as_str() == self.origin);
        log.unwrap().from_size
    }
}
