//! Users and their proofs, signed offline.

use std::time::{SystemTime, UNIX_EPOCH};

use pubky::{Capability, ClientId, GRANT_JWS_TYP, GrantClaims, GrantId, Keypair, PopNonce};
use pubky_common::auth::jws::sign_jws;
use serde_json::{Value, json};

pub const POP_TYP: &str = "pubky-custom-pop-v1";

pub fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A user with one app.
pub struct User {
    pub root: Keypair,
    pub app: Keypair,
    pub grant: GrantClaims,
}

/// The payload under a proof, each part to be spoilt by a test.
#[derive(Clone, serde::Serialize)]
pub struct PopClaims {
    pub gid: GrantId,
    pub iat: u64,
    pub nonce: PopNonce,
    pub data: Value,
}

impl User {
    pub fn new() -> Self {
        let (root, app) = (Keypair::random(), Keypair::random());
        let now = now_s();
        let grant = GrantClaims {
            iss: root.public_key(),
            client_id: ClientId::new("plugin-test.example").unwrap(),
            caps: vec![Capability::read_write("/pub/atomicity/v0/").unwrap()],
            cnf: app.public_key(),
            jti: GrantId::generate(),
            iat: now - 10,
            exp: now + 3_600,
        };
        Self { root, app, grant }
    }

    pub fn z32(&self) -> String {
        self.root.public_key().z32()
    }

    pub fn signed_grant(&self) -> String {
        self.grant.sign(&self.root, GRANT_JWS_TYP)
    }

    pub fn claims(&self, audience: &str) -> PopClaims {
        PopClaims {
            gid: self.grant.jti.clone(),
            iat: now_s(),
            nonce: PopNonce::generate(),
            data: json!({"audience": audience, "purpose": "atomicity-session"}),
        }
    }

    pub fn sign(&self, claims: &PopClaims) -> String {
        sign_jws(&self.app, POP_TYP, claims)
    }

    /// A good proof for the plugin `audience`.
    pub fn proof(&self, audience: &str) -> Value {
        json!({"proof": {"grant": self.signed_grant(), "pop": self.sign(&self.claims(audience))}})
    }
}
