//! Session tokens. The caller holds the token, the database only its hash.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Length of a token: 32 bytes in base64url.
const TOKEN_LEN: usize = 43;

/// SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(redacted)")
    }
}

impl TokenHash {
    /// The hash of `token`; `None` if it can't be a token.
    #[must_use]
    pub fn of(token: &str) -> Option<Self> {
        let plausible = token.len() == TOKEN_LEN
            && token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        plausible.then(|| Self(Sha256::digest(token.as_bytes()).into()))
    }

    /// A hash that was stored; `None` if it has not the length of one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads what [`TokenHash::name`] wrote.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(name).ok()?;
        Self::from_bytes(&bytes)
    }

    /// The hash as text. It names a session and opens none.
    #[must_use]
    pub fn name(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Makes a token, with its hash.
#[must_use]
pub fn generate() -> (Zeroizing<String>, TokenHash) {
    let bytes = Zeroizing::new(rand::random::<[u8; 32]>());
    let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
    let hash = TokenHash(Sha256::digest(token.as_bytes()).into());
    (token, hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_hashes_to_what_was_stored_and_others_do_not() {
        let (token, hash) = generate();
        assert!(TokenHash::of(&token).unwrap() == hash);
        assert!(TokenHash::of(&generate().0).unwrap() != hash);
        assert!(TokenHash::of(&token[1..]).is_none());
        assert!(TokenHash::of(&"é".repeat(22)).is_none());
        assert!(TokenHash::from_name(&hash.name()).unwrap() == hash);
        // The name of a session is no token of it.
        assert!(TokenHash::of(&hash.name()).unwrap() != hash);
        assert!(TokenHash::from_name("x").is_none());
    }
}
