//! Asking cosigners: one request at a time to each, by the `add-checkpoint` call of `c2sp.org/tlog-witness`.

use std::sync::Arc;
use std::time::Duration;

use atomicity_witness_log::tree::prove_consistency;
use atomicity_witness_log::{
    AddCheckpoint, NoteSignature, SignedCheckpoint, VerifierKey, add_checkpoint,
};
use tokio::time::timeout;
use url::Url;

use super::{WitnessLog, graves, tiles};
use crate::error::PluginError;
use crate::problem::Problem;
use crate::resolve::Resolver;
use crate::resolve::call::{Answer, Call};
use crate::state::AppState;

/// The media type of an answer that names the size that the cosigner knows.
const SIZE_TYPE: &str = "text/x.tlog.size";
/// Longer answers are none of a cosigner.
const MAX_ANSWER: usize = 64 * 1024;
/// How often one request is put right after the cosigner said where it stands.
const ATTEMPTS: usize = 3;

/// Why there is no cosignature.
#[derive(Debug)]
pub enum Refusal {
    /// The cosigner knows a larger tree than this process has signed: this is not the log's newest state.
    Ahead {
        /// The size that it names.
        size: u64,
    },
    /// The cosigner promised never to cosign a larger tree of this log.
    Buried,
    /// The cosigner answered, and did not cosign.
    Refused(String),
    /// There was no answer, or none that says anything.
    Unreachable(String),
}

/// One cosigner of the log.
pub struct Cosigner {
    key: VerifierKey,
    url: Url,
    tombstones: Url,
    /// The size that it knows, as far as it said.
    known: u64,
    /// Whether its tombstone of this log is known.
    buried: bool,
}

/// What an answer says.
enum Said {
    Cosigned(Vec<NoteSignature>),
    Knows(u64),
    Buried,
    No(String),
    Nothing(String),
}

impl Cosigner {
    /// A cosigner that takes checkpoints below `url`.
    ///
    /// # Errors
    /// [`PluginError::Config`] if nothing can be below that address.
    pub fn new(key: VerifierKey, url: &Url) -> Result<Self, PluginError> {
        let below = |name| {
            let mut target = url.clone();
            target
                .path_segments_mut()
                .map_err(|()| {
                    PluginError::Config(format!("witness_log.cosigners: {url} has no path"))
                })?
                .pop_if_empty()
                .push(name);
            Ok::<_, PluginError>(target)
        };
        Ok(Self {
            url: below("add-checkpoint")?,
            tombstones: below("tombstones")?,
            key,
            known: 0,
            buried: false,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// Asks how much of the log it knows, by means of the head that is stored: signing that again says nothing new.
    ///
    /// # Errors
    /// [`Refusal::Ahead`] if it knows more, [`Refusal::Unreachable`].
    pub async fn probe(
        &mut self,
        resolver: &Resolver,
        head: &SignedCheckpoint,
        patience: Duration,
    ) -> Result<(), Refusal> {
        let size = head.checkpoint().size;
        let request = AddCheckpoint {
            old_size: size,
            consistency: Vec::new(),
            checkpoint: head.clone(),
        };
        match self.post(resolver, &request, patience).await {
            Said::Knows(known) if known > size => Err(Refusal::Ahead { size: known }),
            Said::Knows(known) => {
                self.known = known;
                Ok(())
            }
            Said::Cosigned(_) => {
                self.known = size;
                Ok(())
            }
            Said::No(_) | Said::Buried => Ok(()),
            Said::Nothing(why) => Err(Refusal::Unreachable(why)),
        }
    }

    /// Asks for a cosignature of `head`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn cosign(
        &mut self,
        log: &WitnessLog,
        state: &AppState,
        head: &Arc<SignedCheckpoint>,
        patience: Duration,
    ) -> Result<Vec<NoteSignature>, Refusal> {
        if self.buried {
            return Err(Refusal::Buried);
        }
        let size = head.checkpoint().size;
        for _ in 0..ATTEMPTS {
            let request = self
                .request(log, head)
                .await
                .map_err(|error| Refusal::Unreachable(error.to_string()))?;
            match self.post(&state.resolver, &request, patience).await {
                Said::Buried => {
                    match graves::fetch(state, log, &self.key, &self.tombstones).await {
                        Ok(()) => self.buried = true,
                        Err(error) => return Err(Refusal::Refused(error.to_string())),
                    }
                    return Err(Refusal::Buried);
                }
                Said::Cosigned(lines) => {
                    self.known = size;
                    return self.checked(head, lines);
                }
                // A later head may have been signed meanwhile, but none that this process knows nothing of.
                Said::Knows(known) if known > log.signed_size() => {
                    return Err(Refusal::Ahead { size: known });
                }
                Said::Knows(known) => {
                    self.known = known;
                    if known > size {
                        return Err(Refusal::Refused("it knows a later head".to_owned()));
                    }
                }
                Said::No(why) => return Err(Refusal::Refused(why)),
                Said::Nothing(why) => return Err(Refusal::Unreachable(why)),
            }
        }
        Err(Refusal::Refused(
            "it names another size each time".to_owned(),
        ))
    }

    async fn request(
        &self,
        log: &WitnessLog,
        head: &Arc<SignedCheckpoint>,
    ) -> Result<AddCheckpoint, PluginError> {
        let (old, new) = (self.known, head.checkpoint().size);
        let consistency = if old == 0 || old == new {
            Vec::new()
        } else {
            let tiles = log
                .tiles()
                .needed_for(new, |source| {
                    let _ = prove_consistency(&source, old, new);
                })
                .await?;
            prove_consistency(&tiles, old, new).map_err(|error| tiles::failed(&error))?
        };
        Ok(AddCheckpoint {
            old_size: old,
            consistency,
            checkpoint: SignedCheckpoint::clone(head),
        })
    }

    async fn post(&self, resolver: &Resolver, request: &AddCheckpoint, patience: Duration) -> Said {
        let body = request.to_string();
        let call = Call {
            url: &self.url,
            body: Some(body.as_bytes()),
            max_bytes: MAX_ANSWER,
        };
        match timeout(patience, resolver.call(&call)).await {
            Ok(Ok(answer)) => understand(&answer),
            Ok(Err(error)) => Said::Nothing(error.to_string()),
            Err(_) => Said::Nothing("no answer in time".to_owned()),
        }
    }

    /// The lines that are this cosigner's, if they are good.
    fn checked(
        &self,
        head: &SignedCheckpoint,
        lines: Vec<NoteSignature>,
    ) -> Result<Vec<NoteSignature>, Refusal> {
        let own: Vec<_> = lines
            .into_iter()
            .filter(|line| line.name() == self.key.name() && line.key_id() == Some(self.key.id()))
            .collect();
        let mut signed = head.clone();
        signed
            .add(&own)
            .and_then(|()| signed.verify_cosigner(&self.key))
            .map(|_| own)
            .map_err(|error| Refusal::Refused(format!("its answer: {error}")))
    }
}

fn understand(answer: &Answer) -> Said {
    let text = || {
        let text = String::from_utf8_lossy(&answer.body);
        let line: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        format!("status {}: {line}", answer.status)
    };
    let is_size = || {
        let kind = answer.content_type.as_deref().unwrap_or_default();
        kind.split(';')
            .next()
            .is_some_and(|kind| kind.trim() == SIZE_TYPE)
    };
    match answer.status {
        200 => match add_checkpoint::parse_response(&answer.body) {
            Ok(lines) => Said::Cosigned(lines),
            Err(error) => Said::Nothing(error.to_string()),
        },
        409 if is_size() => size_in(&answer.body).map_or_else(|| Said::No(text()), Said::Knows),
        422 if is_tombstoned(&answer.body) => Said::Buried,
        400..=428 | 430..=499 => Said::No(text()),
        _ => Said::Nothing(text()),
    }
}

/// Whether a problem says that the log is dead to this cosigner.
fn is_tombstoned(body: &[u8]) -> bool {
    serde_json::from_slice::<Problem>(body).is_ok_and(|problem| problem.code == "tombstoned")
}

/// `<decimal>\n`.
fn size_in(body: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(body).ok()?.strip_suffix('\n')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits == "0" || !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain && canonical)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn answer(status: u16, kind: &str, body: &str) -> Answer {
        Answer {
            status,
            content_type: Some(kind.to_owned()),
            date: None,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_conflict_names_the_size_and_an_outage_says_nothing() {
        assert!(matches!(
            understand(&answer(409, "text/x.tlog.size", "17\n")),
            Said::Knows(17)
        ));
        for (kind, body) in [
            ("text/plain", "17\n"),
            ("text/x.tlog.size", "017\n"),
            ("text/x.tlog.size", "+7\n"),
            ("text/x.tlog.size", "17"),
        ] {
            assert!(
                matches!(understand(&answer(409, kind, body)), Said::No(_)),
                "{kind} {body:?}"
            );
        }
        assert!(matches!(
            understand(&answer(422, "text/plain", "no")),
            Said::No(_)
        ));
        for status in [429, 500, 502, 503, 302] {
            assert!(
                matches!(
                    understand(&answer(status, "text/plain", "busy")),
                    Said::Nothing(_)
                ),
                "{status}"
            );
        }
    }

    #[test]
    fn checkpoints_are_taken_below_the_address_given() {
        let key = atomicity_witness_log::SigningKey::from_secret(
            "c",
            atomicity_witness_log::KeyKind::Cosignature,
            [1; 32],
        )
        .unwrap()
        .verifier();
        for url in ["http://h/cosigner", "http://h/cosigner/"] {
            let cosigner = Cosigner::new(key.clone(), &url.parse().unwrap()).unwrap();
            assert_eq!(cosigner.url.as_str(), "http://h/cosigner/add-checkpoint");
        }
    }
}
