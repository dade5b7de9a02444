//! The sealed message as it stands on the wire.

use atomicity_ledger::UserKey;
use atomicity_ledger::seal::MAX_ENVELOPE_BYTES;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::error::PluginError;
use crate::http::extract::is_object;

/// Longest envelope, in bytes of JSON.
pub const MAX_BODY: usize = MAX_ENVELOPE_BYTES;

/// A sealed message. Exactly one of `tag` and `ephemeral` is there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Whom it is for, in z-base-32.
    #[schema(value_type = String, min_length = 52, max_length = 52)]
    pub to: UserKey,
    /// From somebody the user knows: the tag of the pair that the user registered (32 bytes, base64url).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 43, max_length = 43)]
    pub tag: Option<String>,
    /// From a stranger: the key that the message was sealed with, made for this message only (32 bytes, base64url).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 43, max_length = 43)]
    pub ephemeral: Option<String>,
    /// The sealed message (base64url).
    pub ciphertext: String,
}

/// Whose budget an envelope uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Somebody the user knows, by this tag.
    Known([u8; 32]),
    /// Anybody.
    Stranger,
}

/// An envelope that is well-formed, in the one form in which it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Checked {
    /// Whom it is for.
    pub to: UserKey,
    /// Whose budget it uses.
    pub sender: Sender,
    /// SHA-256 of `body`.
    pub digest: [u8; 32],
    /// Canonical JSON text.
    pub body: String,
}

fn malformed(detail: impl Into<String>) -> PluginError {
    PluginError::BadRequest {
        code: "envelope_malformed",
        detail: detail.into(),
    }
}

/// Reads 32 bytes of base64url in their only spelling.
///
/// # Errors
/// `envelope_malformed`, naming `field`.
pub fn read_32(field: &str, text: &str) -> Result<[u8; 32], PluginError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| {
            malformed(format!(
                "{field} must be 32 bytes in base64url without padding"
            ))
        })
}

/// Reads an envelope for `to`.
///
/// # Errors
/// `record_too_large`, `envelope_malformed`.
pub fn read(bytes: &[u8], to: &UserKey) -> Result<Checked, PluginError> {
    if bytes.len() > MAX_BODY {
        return Err(PluginError::TooLarge {
            code: "record_too_large",
        });
    }
    if !is_object(bytes) {
        return Err(malformed("the envelope must be an object"));
    }
    let envelope: Envelope = serde_json::from_slice(bytes)
        .map_err(|error| malformed(format!("the envelope: {error}")))?;
    if envelope.to != *to {
        return Err(malformed(
            "the envelope is for somebody else than the path says",
        ));
    }
    let sender = match (&envelope.tag, &envelope.ephemeral) {
        (Some(tag), None) => Sender::Known(read_32("tag", tag)?),
        (None, Some(key)) => {
            read_32("ephemeral", key)?;
            Sender::Stranger
        }
        _ => return Err(malformed("exactly one of tag and ephemeral must be there")),
    };
    let ciphertext = URL_SAFE_NO_PAD
        .decode(&envelope.ciphertext)
        .map_err(|_| malformed("ciphertext must be base64url without padding"))?;
    if ciphertext.is_empty() {
        return Err(malformed("the ciphertext is empty"));
    }
    let body = serde_json::to_string(&envelope).map_err(|error| {
        PluginError::Internal(format!("an envelope could not be written: {error}"))
    })?;
    Ok(Checked {
        to: envelope.to,
        sender,
        digest: Sha256::digest(body.as_bytes()).into(),
        body,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn user(n: u8) -> UserKey {
        atomicity_ledger::Keypair::from_secret(&[n; 32]).user_key()
    }

    fn text(fields: &str) -> String {
        format!("{{\"to\":\"{}\",{fields}}}", user(1))
    }

    fn tag() -> String {
        format!("\"tag\":\"{}\"", URL_SAFE_NO_PAD.encode([5; 32]))
    }

    fn code(text: &str) -> &'static str {
        match read(text.as_bytes(), &user(1)) {
            Ok(_) => "accepted",
            Err(error) => error.code(),
        }
    }

    #[test]
    fn spacing_and_order_of_fields_make_no_second_envelope() {
        let one = text(&format!("{},\"ciphertext\":\"AAAA\"", tag()));
        let two = format!(
            "{{ \"ciphertext\": \"AAAA\", {}, \"to\":\"{}\" }}",
            tag(),
            user(1)
        );
        let (one, two) = (
            read(one.as_bytes(), &user(1)).unwrap(),
            read(two.as_bytes(), &user(1)).unwrap(),
        );
        assert!(one == two);
        assert_eq!(one.sender, Sender::Known([5; 32]));
    }

    #[test]
    fn what_is_not_an_envelope_is_refused() {
        let ephemeral = format!("\"ephemeral\":\"{}\"", URL_SAFE_NO_PAD.encode([6; 32]));
        assert_eq!(
            code(&text(&format!("{ephemeral},\"ciphertext\":\"AAAA\""))),
            "accepted"
        );
        for fields in [
            "\"ciphertext\":\"AAAA\"".to_owned(),
            format!("{},{ephemeral},\"ciphertext\":\"AAAA\"", tag()),
            format!("{},\"ciphertext\":\"\"", tag()),
            format!("{},\"ciphertext\":\"AA==\"", tag()),
            format!("{},\"ciphertext\":\"AB\"", tag()),
            format!("{},\"ciphertext\":\"AAAA\",\"from\":\"x\"", tag()),
            format!("{},\"ciphertext\":\"AAAA\",\"ciphertext\":\"AAAA\"", tag()),
            "\"tag\":\"AAAA\",\"ciphertext\":\"AAAA\"".to_owned(),
            format!("{},\"ciphertext\":{}", tag(), "[".repeat(1000)),
        ] {
            assert_eq!(code(&text(&fields)), "envelope_malformed", "{fields}");
        }
        assert_eq!(code("[]"), "envelope_malformed");
        let list = format!(
            "[\"{}\",\"{}\",null,\"AAAA\"]",
            user(1),
            URL_SAFE_NO_PAD.encode([5; 32])
        );
        assert_eq!(code(&list), "envelope_malformed");
        assert_eq!(code("{\"to\":\"yyy\"}"), "envelope_malformed");
        let other = text(&format!("{},\"ciphertext\":\"AAAA\"", tag()));
        assert_eq!(
            read(other.as_bytes(), &user(2))
                .map(|_| ())
                .unwrap_err()
                .code(),
            "envelope_malformed"
        );
    }

    #[test]
    fn what_the_kernel_seals_comes_in_and_reads_back_and_nothing_above_the_bound_does() {
        let largest = text(&format!("{},\"ciphertext\":\"\"", tag())).len();
        let fill = |len: usize| {
            let ciphertext = "A".repeat((len - largest) / 4 * 4);
            text(&format!("{},\"ciphertext\":\"{ciphertext}\"", tag()))
        };
        assert_eq!(code(&fill(MAX_BODY)), "accepted");
        assert_eq!(code(&fill(MAX_BODY + 8)), "record_too_large");
        assert_eq!(code(&" ".repeat(MAX_BODY + 1)), "record_too_large");
        // The largest class of padding, with the nonce and the cipher's tag.
        let class = atomicity_ledger::seal::PARCEL_CLASSES.last().unwrap();
        let ciphertext = URL_SAFE_NO_PAD.encode(vec![0; class + 40]);
        let sealed = text(&format!("{},\"ciphertext\":\"{ciphertext}\"", tag()));
        let checked = read(sealed.as_bytes(), &user(1)).unwrap();
        let kernel = atomicity_ledger::seal::Envelope::from_json(checked.body.as_bytes()).unwrap();
        assert_eq!(kernel.to(), &user(1));
        assert_eq!(kernel.to_json().unwrap(), checked.body);
    }
}
