//! What proofs that somebody lied mean for whoever relies on a log.

use std::collections::BTreeSet;

use crate::fork::Role;
use crate::note::VerifierKey;
use crate::policy::Policy;

/// Who was proven to have lied about one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liars {
    log: bool,
    cosigners: BTreeSet<[u8; 32]>,
}

/// Why nothing new may hang on a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// The log itself lied.
    Log,
    /// So many of the policy's cosigners lied that no quorum is left.
    Cosigners,
}

impl Liars {
    /// Adds a culprit of a proof that was verified.
    pub fn add(&mut self, role: Role, key: &VerifierKey) {
        match role {
            Role::Log => self.log = true,
            Role::Cosigner => {
                self.cosigners.insert(*key.public());
            }
        }
    }

    /// Whether nobody was caught.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.log && self.cosigners.is_empty()
    }

    /// Why nothing new may hang on the log under this policy, if it is so.
    #[must_use]
    pub fn distrust(&self, policy: &Policy) -> Option<Distrust> {
        if self.log {
            return Some(Distrust::Log);
        }
        let lost = !self.cosigners.is_empty() && !policy.can_still_reach_quorum(&self.cosigners);
        lost.then_some(Distrust::Cosigners)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::note::{KeyKind, SigningKey};

    #[test]
    fn a_log_is_distrusted_with_its_quorum() {
        let key = |name: &str, kind, n| {
            let key = SigningKey::from_secret(name, kind, [n; 32]);
            key.unwrap().verifier()
        };
        let log = key("log.example", KeyKind::Ed25519, 1);
        let cosigners: Vec<_> = (2..5)
            .map(|n| (key("c.example", KeyKind::Cosignature, n), None))
            .collect();
        let policy = Policy::from_parts(&[(log.clone(), None)], &cosigners, 2).unwrap();
        let mut liars = Liars::default();
        assert!(liars.is_empty() && liars.distrust(&policy).is_none());
        liars.add(Role::Cosigner, &cosigners[0].0);
        liars.add(Role::Cosigner, &cosigners[0].0);
        // Two of three are left.
        assert_eq!(liars.distrust(&policy), None);
        liars.add(Role::Cosigner, &key("c.example", KeyKind::Cosignature, 9));
        assert_eq!(liars.distrust(&policy), None);
        liars.add(Role::Cosigner, &cosigners[2].0);
        assert_eq!(liars.distrust(&policy), Some(Distrust::Cosigners));
        liars.add(Role::Log, &log);
        assert_eq!(liars.distrust(&policy), Some(Distrust::Log));
    }
}
