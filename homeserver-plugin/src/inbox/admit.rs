//! Whether an envelope may come in. Pure: what is stored and what is configured come in as arguments.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::InboxConfig;
use crate::error::PluginError;

/// An envelope that somebody wants stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whom it is for.
    pub owner: [u8; 32],
    /// Whether it came under a tag.
    pub known: bool,
    /// The tag, or the keyed hash of the sender's network address.
    pub source: [u8; 32],
    /// SHA-256 of `body`.
    pub digest: [u8; 32],
    /// The envelope as text.
    pub body: String,
}

impl Candidate {
    /// Bytes it takes. Bodies are bounded far below `i32::MAX` before they get here.
    #[must_use]
    pub fn size(&self) -> i32 {
        i32::try_from(self.body.len()).unwrap_or(i32::MAX)
    }
}

/// An account as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountRoom {
    /// Whether its user has left.
    pub closed: bool,
    /// The last id that was given.
    pub last_id: i64,
    /// Envelopes that wait.
    pub queued: i64,
    /// Bytes that wait.
    pub queued_bytes: i64,
    /// Envelopes of strangers among them.
    pub strangers: i64,
}

/// A source as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceRoom {
    /// Envelopes that wait.
    pub queued: i64,
    /// Bytes that wait.
    pub queued_bytes: i64,
}

/// What is stored about a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The id it has already.
    pub repeated: Option<i64>,
    /// Whether its tag is registered.
    pub tag_known: bool,
    /// Its source.
    pub source: SourceRoom,
}

/// An envelope that may come in, with the id it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// The envelope.
    pub candidate: &'a Candidate,
    /// Its id.
    pub id: i64,
}

/// What became of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// Stored under this id.
    Stored(i64),
    /// It was stored before, under this id.
    Repeated(i64),
}

/// Decides over a batch, one after the other, counting what it lets in.
pub struct Admission<'a> {
    limits: &'a InboxConfig,
    accounts: HashMap<[u8; 32], AccountRoom>,
    sources: HashMap<([u8; 32], bool, [u8; 32]), SourceRoom>,
    taken: HashMap<([u8; 32], [u8; 32]), i64>,
    accepted: Vec<Accepted<'a>>,
}

fn full(detail: &'static str) -> PluginError {
    PluginError::TooMany {
        code: "queue_full",
        detail,
        retry_after: Duration::from_secs(60),
    }
}

impl<'a> Admission<'a> {
    /// Starts with the accounts as they stand.
    #[must_use]
    pub fn new(limits: &'a InboxConfig, accounts: HashMap<[u8; 32], AccountRoom>) -> Self {
        Self {
            limits,
            accounts,
            sources: HashMap::new(),
            taken: HashMap::new(),
            accepted: Vec::new(),
        }
    }

    /// Decides over one.
    ///
    /// # Errors
    /// `account_unknown`, `account_moved`, `tag_unknown`, `queue_full`.
    pub fn decide(
        &mut self,
        candidate: &'a Candidate,
        found: Found,
    ) -> Result<Posted, PluginError> {
        let account = self
            .accounts
            .get_mut(&candidate.owner)
            .ok_or(PluginError::NotFound {
                code: "account_unknown",
                detail: "nobody of that name has an inbox here",
            })?;
        // A repeat is answered whatever has changed since: the sender only missed the first answer.
        let taken = self.taken.get(&(candidate.owner, candidate.digest));
        if let Some(id) = found.repeated.or(taken.copied()) {
            return Ok(Posted::Repeated(id));
        }
        if account.closed {
            return Err(PluginError::AccountMoved);
        }
        if candidate.known && !found.tag_known {
            return Err(PluginError::Forbidden {
                code: "tag_unknown",
                detail: "the user has not registered this tag: write as a stranger",
            });
        }
        let key = (candidate.owner, candidate.known, candidate.source);
        let source = self.sources.entry(key).or_insert(found.source);
        let size = i64::from(candidate.size());
        check_room(self.limits, candidate.known, account, source, size)?;
        let id = account
            .last_id
            .checked_add(1)
            .ok_or_else(|| full("this inbox has handed out all its numbers"))?;
        account.last_id = id;
        account.queued += 1;
        account.queued_bytes += size;
        account.strangers += i64::from(!candidate.known);
        source.queued += 1;
        source.queued_bytes += size;
        self.taken.insert((candidate.owner, candidate.digest), id);
        self.accepted.push(Accepted { candidate, id });
        Ok(Posted::Stored(id))
    }

    /// What is to be stored.
    #[must_use]
    pub fn into_accepted(self) -> Vec<Accepted<'a>> {
        self.accepted
    }
}

fn check_room(
    limits: &InboxConfig,
    known: bool,
    account: &AccountRoom,
    source: &SourceRoom,
    size: i64,
) -> Result<(), PluginError> {
    let (envelopes, bytes, what) = if known {
        (
            limits.tag_envelopes,
            limits.tag_bytes,
            "too much waits from this counterparty",
        )
    } else {
        (
            limits.address_envelopes,
            limits.address_bytes,
            "too much waits from this address",
        )
    };
    if source.queued >= envelopes || source.queued_bytes.saturating_add(size) > bytes {
        return Err(full(what));
    }
    if !known && account.strangers >= limits.strangers_envelopes {
        return Err(full("too much waits from strangers"));
    }
    if account.queued >= limits.account_envelopes
        || account.queued_bytes.saturating_add(size) > limits.account_bytes
    {
        return Err(full("this inbox is full"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OWNER: [u8; 32] = [1; 32];
    const NEW: Found = Found {
        repeated: None,
        tag_known: true,
        source: SourceRoom {
            queued: 0,
            queued_bytes: 0,
        },
    };

    fn room() -> AccountRoom {
        AccountRoom {
            closed: false,
            last_id: 7,
            queued: 0,
            queued_bytes: 0,
            strangers: 0,
        }
    }

    fn candidate(n: u8, known: bool, source: u8) -> Candidate {
        Candidate {
            owner: OWNER,
            known,
            source: [source; 32],
            digest: [n; 32],
            body: "x".repeat(10),
        }
    }

    fn outcome(result: Result<Posted, PluginError>) -> Result<Posted, &'static str> {
        result.map_err(|error| error.code())
    }

    fn admission(limits: &InboxConfig, room: AccountRoom) -> Admission<'_> {
        Admission::new(limits, HashMap::from([(OWNER, room)]))
    }

    #[test]
    fn ids_follow_each_other_and_a_repeat_keeps_its_own() {
        let limits = InboxConfig::default();
        let (a, b, old) = (
            candidate(1, true, 9),
            candidate(2, false, 8),
            candidate(5, true, 9),
        );
        let mut batch = admission(&limits, room());
        assert_eq!(outcome(batch.decide(&a, NEW)), Ok(Posted::Stored(8)));
        assert_eq!(outcome(batch.decide(&b, NEW)), Ok(Posted::Stored(9)));
        assert_eq!(outcome(batch.decide(&a, NEW)), Ok(Posted::Repeated(8)));
        let before = Found {
            repeated: Some(3),
            ..NEW
        };
        assert_eq!(outcome(batch.decide(&old, before)), Ok(Posted::Repeated(3)));
        let ids: Vec<i64> = batch.into_accepted().iter().map(|a| a.id).collect();
        assert_eq!(ids, [8, 9]);
    }

    #[test]
    fn each_bound_holds_inside_one_batch() {
        let limits = InboxConfig {
            tag_envelopes: 2,
            address_envelopes: 1,
            strangers_envelopes: 2,
            account_envelopes: 5,
            ..InboxConfig::default()
        };
        let posts: Vec<Candidate> = [
            (true, 1),
            (true, 1),
            (true, 1),
            (false, 2),
            (false, 2),
            (false, 3),
            (false, 4),
            (true, 5),
            (true, 6),
        ]
        .iter()
        .zip(0u8..)
        .map(|(&(known, source), n)| candidate(n, known, source))
        .collect();
        let mut batch = admission(&limits, room());
        let got: Vec<bool> = posts
            .iter()
            .map(|post| batch.decide(post, NEW).is_ok())
            .collect();
        assert_eq!(
            got,
            [true, true, false, true, false, true, false, true, false]
        );
    }

    #[test]
    fn bytes_count_as_well() {
        let limits = InboxConfig {
            tag_bytes: 25,
            ..InboxConfig::default()
        };
        let posts: Vec<Candidate> = (0..3).map(|n| candidate(n, true, 1)).collect();
        let mut batch = admission(&limits, room());
        assert!(batch.decide(&posts[0], NEW).is_ok());
        assert!(batch.decide(&posts[1], NEW).is_ok());
        assert_eq!(outcome(batch.decide(&posts[2], NEW)), Err("queue_full"));
    }

    #[test]
    fn who_is_not_there_has_left_or_does_not_know_the_sender_takes_nothing() {
        let limits = InboxConfig::default();
        let post = candidate(1, true, 1);
        let mut none = Admission::new(&limits, HashMap::new());
        assert_eq!(outcome(none.decide(&post, NEW)), Err("account_unknown"));
        let mut moved = admission(
            &limits,
            AccountRoom {
                closed: true,
                ..room()
            },
        );
        assert_eq!(outcome(moved.decide(&post, NEW)), Err("account_moved"));
        let before = Found {
            repeated: Some(2),
            ..NEW
        };
        assert_eq!(
            outcome(moved.decide(&post, before)),
            Ok(Posted::Repeated(2))
        );
        let mut open = admission(&limits, room());
        let unknown = Found {
            tag_known: false,
            ..NEW
        };
        assert_eq!(outcome(open.decide(&post, unknown)), Err("tag_unknown"));
        assert!(open.into_accepted().is_empty());
    }
}
