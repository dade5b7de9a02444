//! Records as JWS in compact form (RFC 7515), signed with Ed25519 (RFC 8037).
//!
//! A signature is checked over the bytes that were received, never over bytes that were written anew, so nothing depends on a
//! canonical form of JSON. Reading is strict: exactly the header members `alg`, `typ` and `kid`, no unknown or duplicate
//! field anywhere, base64url without padding and without stray bits, and `verify_strict` for the signature. One record thus has
//! exactly one spelling, and its hash names it.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::LedgerError;
use crate::key::{Keypair, SignerKey, UserKey};

/// The most bytes that a record may have in compact form: 64 KiB.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;

/// What can be signed.
pub trait Record: Serialize + DeserializeOwned + Clone + fmt::Debug + PartialEq {
    /// The header's `typ`.
    const TYP: &'static str;

    /// The user in whose name the record speaks. Whether the signing key may do so is [`crate::authority`]'s question.
    fn author(&self) -> UserKey;

    /// What must hold between the fields of one record.
    ///
    /// # Errors
    /// [`LedgerError::Contradiction`] naming the rule that is broken.
    fn check(&self) -> Result<(), LedgerError>;
}

/// SHA-256 of a record's compact form; base64url in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordHash([u8; 32]);

impl RecordHash {
    /// The hash of a record's compact form.
    #[must_use]
    pub fn of(jws: &str) -> Self {
        Self(Sha256::digest(jws.as_bytes()).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for RecordHash {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(LedgerError::TextInvalid {
                what: "hash",
                why: "it must be 32 bytes in base64url",
            })
    }
}

impl TryFrom<String> for RecordHash {
    type Error = LedgerError;

    fn try_from(text: String) -> Result<Self, LedgerError> {
        text.parse()
    }
}

impl From<RecordHash> for String {
    fn from(hash: RecordHash) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordHash({self})")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: SignerKey,
}

/// A record whose signature by [`kid`](Self::kid) was checked, together with the bytes that were signed. Cheap to clone.
pub struct Signed<T>(Arc<Inner<T>>);

struct Inner<T> {
    record: T,
    kid: SignerKey,
    hash: RecordHash,
    jws: String,
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The bytes say everything: the record and the key are read from them.
impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.hash() == other.hash() && self.jws() == other.jws())
    }
}

impl<T> Eq for Signed<T> {}

impl<T: Record> Signed<T> {
    /// Signs `record`. The same record and key always give the same bytes (RFC 8032 signatures draw no randomness).
    ///
    /// # Errors
    /// What [`Record::check`] refuses, and [`LedgerError::RecordTooLarge`].
    pub fn sign(record: T, key: &Keypair) -> Result<Self, LedgerError> {
        record.check()?;
        let kid = key.signer_key();
        let header = Header {
            alg: "EdDSA".to_owned(),
            typ: T::TYP.to_owned(),
            kid,
        };
        let mut jws = format!("{}.{}", encode_json(&header)?, encode_json(&record)?);
        let signature = key.sign(jws.as_bytes());
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
        if jws.len() > MAX_RECORD_BYTES {
            return Err(LedgerError::RecordTooLarge { bytes: jws.len() });
        }
        Ok(Self(Arc::new(Inner {
            record,
            kid,
            hash: RecordHash::of(&jws),
            jws,
        })))
    }

    /// Reads a record of this type and checks its signature over the bytes received.
    ///
    /// # Errors
    /// Names what is wrong: the size, the form, the type, a field, a rule between fields, or the signature.
    pub fn decode(jws: &str) -> Result<Self, LedgerError> {
        let parts = Parts::split(jws)?;
        parts.expect_typ(T::TYP)?;
        parts.verify(&parts.header.kid)?;
        let record: T = parts.strict_payload()?;
        record.check()?;
        Ok(Self(Arc::new(Inner {
            record,
            kid: parts.header.kid,
            hash: RecordHash::of(jws),
            jws: jws.to_owned(),
        })))
    }

    /// Reads back what this crate itself stored: form and fields are checked, the signature is not checked again.
    pub(crate) fn from_store(jws: String) -> Result<Self, LedgerError> {
        let parts = Parts::split(&jws)?;
        parts.expect_typ(T::TYP)?;
        let record: T = parts.payload()?;
        let kid = parts.header.kid;
        Ok(Self(Arc::new(Inner {
            record,
            kid,
            hash: RecordHash::of(&jws),
            jws,
        })))
    }
}

impl<T> Signed<T> {
    /// What was signed.
    pub fn record(&self) -> &T {
        &self.0.record
    }

    /// The key that signed.
    pub fn kid(&self) -> SignerKey {
        self.0.kid
    }

    /// The hash of the compact form.
    pub fn hash(&self) -> RecordHash {
        self.0.hash
    }

    /// The compact form.
    pub fn jws(&self) -> &str {
        &self.0.jws
    }
}

impl<T: fmt::Debug> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("kid", &self.0.kid)
            .field("record", &self.0.record)
            .finish_non_exhaustive()
    }
}

/// The `typ` that a compact JWS claims, without checking anything else.
///
/// # Errors
/// If it has not the form of a record.
pub fn peek_typ(jws: &str) -> Result<String, LedgerError> {
    Parts::split(jws).map(|parts| parts.header.typ)
}

/// A compact JWS taken apart; nothing is verified yet.
struct Parts<'a> {
    header: Header,
    payload: Vec<u8>,
    signature: [u8; 64],
    signing_input: &'a str,
}

impl<'a> Parts<'a> {
    fn split(jws: &'a str) -> Result<Self, LedgerError> {
        if jws.len() > MAX_RECORD_BYTES {
            return Err(LedgerError::RecordTooLarge { bytes: jws.len() });
        }
        let malformed = LedgerError::JwsMalformed;
        let (signing_input, signature) = jws
            .rsplit_once('.')
            .ok_or(malformed("it must have three parts with dots between"))?;
        let (header, payload) = signing_input
            .split_once('.')
            .filter(|(_, payload)| !payload.contains('.'))
            .ok_or(malformed("it must have three parts with dots between"))?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part);
        let header = decode(header).map_err(|_| malformed("its header is not base64url"))?;
        let payload = decode(payload).map_err(|_| malformed("its payload is not base64url"))?;
        let signature = decode(signature)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(malformed("its signature is not 64 bytes of base64url"))?;
        if !header.starts_with(b"{") {
            return Err(LedgerError::HeaderInvalid("it is no object".to_owned()));
        }
        let header: Header = serde_json::from_slice(&header)
            .map_err(|error| LedgerError::HeaderInvalid(error.to_string()))?;
        if header.alg != "EdDSA" {
            return Err(LedgerError::HeaderInvalid("alg must be EdDSA".to_owned()));
        }
        Ok(Self {
            header,
            payload,
            signature,
            signing_input,
        })
    }

    fn expect_typ(&self, expected: &'static str) -> Result<(), LedgerError> {
        if self.header.typ == expected {
            return Ok(());
        }
        Err(LedgerError::WrongType {
            expected,
            found: self.header.typ.chars().take(64).collect(),
        })
    }

    fn verify(&self, key: &SignerKey) -> Result<(), LedgerError> {
        if key.verify(self.signing_input.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(LedgerError::SignatureInvalid {
                typ: self.header.typ.chars().take(64).collect(),
            })
        }
    }

    fn payload<T: DeserializeOwned>(&self) -> Result<T, LedgerError> {
        let invalid = |detail: String| LedgerError::PayloadInvalid {
            typ: self.header.typ.chars().take(64).collect(),
            detail,
        };
        serde_json::from_slice(&self.payload).map_err(|error| invalid(error.to_string()))
    }

    /// Reads the payload, and refuses what a lenient reader lets pass: lists in the place of objects, `null` for what is absent.
    fn strict_payload<T: DeserializeOwned + Serialize>(&self) -> Result<T, LedgerError> {
        let invalid = |detail: String| LedgerError::PayloadInvalid {
            typ: self.header.typ.chars().take(64).collect(),
            detail,
        };
        let record: T = self.payload()?;
        let shape = |error: serde_json::Error| invalid(error.to_string());
        let received: serde_json::Value = serde_json::from_slice(&self.payload).map_err(shape)?;
        if received == serde_json::to_value(&record).map_err(shape)? {
            Ok(record)
        } else {
            Err(invalid(
                "records are objects with named members, and what is absent is left out".to_owned(),
            ))
        }
    }
}

fn encode_json<T: Serialize>(value: &T) -> Result<String, LedgerError> {
    serde_json::to_vec(value)
        .map(|json| URL_SAFE_NO_PAD.encode(json))
        .map_err(|error| LedgerError::PayloadInvalid {
            typ: "record".to_owned(),
            detail: error.to_string(),
        })
}

/// `"v": 1` in every record: a reader that knows version 1 refuses any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Version;

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(serde::de::Error::custom(format_args!(
                "version {other} is unknown, this reader knows version 1"
            ))),
        }
    }
}

/// `#[serde(with = "…")]` for signed records inside this crate's own stored values, alone, in options or in lists.
pub(crate) mod stored {
    use super::{Deserialize, PhantomData, Record, Serialize, Signed};

    /// A signed record as its compact form.
    pub struct Stored<T>(pub Signed<T>);

    impl<T: Record> Serialize for Stored<T> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.0.jws())
        }
    }

    impl<'de, T: Record> Deserialize<'de> for Stored<T> {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor<T>(PhantomData<T>);
            impl<T: Record> serde::de::Visitor<'_> for Visitor<T> {
                type Value = Stored<T>;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    write!(f, "a stored {}", T::TYP)
                }
                fn visit_str<E: serde::de::Error>(self, jws: &str) -> Result<Stored<T>, E> {
                    Signed::from_store(jws.to_owned())
                        .map(Stored)
                        .map_err(E::custom)
                }
            }
            deserializer.deserialize_str(Visitor(PhantomData))
        }
    }

    /// For a field of type `Signed<T>`.
    pub mod one {
        use super::{Deserialize, Record, Signed, Stored};

        pub fn serialize<T: Record, S: serde::Serializer>(
            value: &Signed<T>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(value.jws())
        }

        pub fn deserialize<'de, T: Record, D: serde::Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Signed<T>, D::Error> {
            Ok(Stored::<T>::deserialize(deserializer)?.0)
        }
    }

    /// For a field of type `Option<Signed<T>>`.
    pub mod option {
        use super::{Deserialize, Record, Signed, Stored};

        pub fn serialize<T: Record, S: serde::Serializer>(
            value: &Option<Signed<T>>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(signed) => serializer.serialize_some(signed.jws()),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, T: Record, D: serde::Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Signed<T>>, D::Error> {
            Ok(Option::<Stored<T>>::deserialize(deserializer)?.map(|stored| stored.0))
        }
    }

    /// For a field of type `Vec<Signed<T>>`.
    pub mod list {
        use super::{Deserialize, Record, Signed, Stored};

        pub fn serialize<T: Record, S: serde::Serializer>(
            values: &[Signed<T>],
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(values.iter().map(Signed::jws))
        }

        pub fn deserialize<'de, T: Record, D: serde::Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Vec<Signed<T>>, D::Error> {
            Ok(Vec::<Stored<T>>::deserialize(deserializer)?
                .into_iter()
                .map(|stored| stored.0)
                .collect())
        }
    }
}

/// Checks the signature of a foreign JWS (a Pubky grant has no `kid`: its signer stands in the payload) and returns its payload.
pub(crate) fn verify_foreign(
    jws: &str,
    typ: &'static str,
    signer: impl FnOnce(&[u8]) -> Result<SignerKey, LedgerError>,
) -> Result<Vec<u8>, LedgerError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ForeignHeader {
        alg: String,
        typ: String,
    }
    let malformed = LedgerError::JwsMalformed;
    if jws.len() > MAX_RECORD_BYTES {
        return Err(LedgerError::RecordTooLarge { bytes: jws.len() });
    }
    let (input, signature) = jws
        .rsplit_once('.')
        .ok_or(malformed("it must have three parts with dots between"))?;
    let (header, payload) = input
        .split_once('.')
        .ok_or(malformed("it must have three parts with dots between"))?;
    let header = URL_SAFE_NO_PAD
        .decode(header)
        .map_err(|_| malformed("its header is not base64url"))?;
    let payload = URL_SAFE_NO_PAD
        .decode(payload)
        .map_err(|_| malformed("its payload is not base64url"))?;
    let signature: [u8; 64] = URL_SAFE_NO_PAD
        .decode(signature)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(malformed("its signature is not 64 bytes of base64url"))?;
    if !header.starts_with(b"{") || !payload.starts_with(b"{") {
        return Err(malformed("its header and payload must be objects"));
    }
    let header: ForeignHeader = serde_json::from_slice(&header)
        .map_err(|error| LedgerError::HeaderInvalid(error.to_string()))?;
    if header.alg != "EdDSA" || header.typ != typ {
        return Err(LedgerError::WrongType {
            expected: typ,
            found: header.typ.chars().take(64).collect(),
        });
    }
    if signer(&payload)?.verify(input.as_bytes(), &signature) {
        Ok(payload)
    } else {
        Err(LedgerError::SignatureInvalid {
            typ: typ.to_owned(),
        })
    }
}
