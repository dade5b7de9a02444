//! Events as homeservers tell them: server-sent events, read within bounds.

use atomicity_ledger::UserKey;
use atomicity_ledger::record::RATES_PATH;

use crate::router::frontier::Work;

/// Longest event that is read, in bytes.
const MAX_EVENT: usize = 4 * 1024;

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Of whom.
    pub(super) user: UserKey,
    /// Where.
    pub(super) path: String,
    /// Whether it is gone.
    pub(super) deleted: bool,
    /// The homeserver's number of the event.
    pub(super) cursor: i64,
}

/// The stream is not one of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoEvents;

/// Puts events together from the bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    /// Takes bytes in and gives the events that are whole.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Result<Vec<Event>, NoEvents> {
        let mut events = Vec::new();
        for byte in chunk.iter().filter(|byte| **byte != b'\r') {
            self.bytes.push(*byte);
            if self.bytes.ends_with(b"\n\n") {
                events.extend(parse(&self.bytes));
                self.bytes.clear();
            } else if self.bytes.len() > MAX_EVENT {
                return Err(NoEvents);
            }
        }
        Ok(events)
    }
}

/// An event; nothing for comments and for what this version does not know.
fn parse(block: &[u8]) -> Option<Event> {
    let text = std::str::from_utf8(block).ok()?;
    let (mut kind, mut resource, mut cursor) = (None, None, None);
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("event:") {
            kind = Some(value.trim());
        } else if let Some(value) = line.strip_prefix("data:") {
            let value = value.trim();
            if let Some(number) = value.strip_prefix("cursor:") {
                cursor = number.trim().parse::<i64>().ok();
            } else if value.starts_with("pubky://") {
                resource = Some(value);
            }
        }
    }
    let deleted = match kind? {
        "PUT" => false,
        "DEL" => true,
        _ => return None,
    };
    let (user, path) = resource?.strip_prefix("pubky://")?.split_once('/')?;
    Some(Event {
        user: user.parse().ok()?,
        path: format!("/{path}"),
        deleted,
        cursor: cursor.filter(|cursor| *cursor >= 0)?,
    })
}

impl Event {
    /// What is to be read because of it.
    pub(super) fn work(&self) -> Option<Work> {
        let mut work = Work::default();
        if self.path == "/pub/atomicity/v0/profile" {
            work.profile = true;
        } else if let Some(name) = self.path.strip_prefix("/pub/atomicity/v0/routes/") {
            let peer: UserKey = name.parse().ok()?;
            work.peers.insert(peer);
            if self.deleted {
                work.deleted.insert(peer);
            }
        } else if self.path.starts_with("/pub/atomicity/v0/delegations/") {
            work.keys = true;
        } else if self.path.starts_with("/pub/atomicity/v0/ratings/") {
            work.ratings = true;
        } else if self.path == RATES_PATH {
            work.rates = true;
            work.rates_deleted = self.deleted;
        } else if self.path.starts_with("/pub/pubky.app/follows/") && !self.deleted {
            work.follows = true;
        } else {
            return None;
        }
        Some(work)
    }

    /// What it is, for counting.
    pub(super) fn kind(&self) -> &'static str {
        match self.work() {
            None => "other",
            Some(work) if work.profile => "profile",
            Some(work) if work.keys => "key",
            Some(work) if work.ratings => "rating",
            Some(work) if work.rates => "rates",
            Some(work) if work.follows => "follow",
            Some(_) => "advert",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;

    fn key(n: u8) -> UserKey {
        Keypair::from_secret(&[n; 32]).user_key()
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let (user, peer) = (key(1), key(2));
        let text = format!(
            ":\n\nevent: PUT\r\ndata: pubky://{user}/pub/atomicity/v0/routes/{peer}\r\ndata: cursor: 42\r\ndata: content_hash: abc=\r\n\r\n\
             event: DEL\ndata: pubky://{user}/pub/atomicity/v0/profile\ndata: cursor: 43\n\nevent: NEW\ndata: x\n\n"
        );
        for size in [1, 7, text.len()] {
            let mut reader = Reader::default();
            let mut events = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                events.extend(reader.feed(chunk).unwrap());
            }
            assert_eq!(events.len(), 2);
            assert_eq!((events[0].cursor, events[0].deleted), (42, false));
            assert!(events[0].work().unwrap().peers.contains(&peer));
            assert_eq!((events[1].user, events[1].deleted), (user, true));
            assert!(events[1].work().unwrap().profile);
        }
    }

    #[test]
    fn an_event_without_end_is_none() {
        let mut reader = Reader::default();
        let chunk = [b'x'; 1024];
        let results: Vec<_> = (0..8).map(|_| reader.feed(&chunk)).collect();
        assert!(results.contains(&Err(NoEvents)));
    }

    #[test]
    fn what_concerns_nobody_makes_no_work() {
        let event = |path: &str| Event {
            user: key(1),
            path: path.to_owned(),
            deleted: false,
            cursor: 1,
        };
        for path in [
            "/pub/atomicity/v0/channels/x",
            "/pub/atomicity/v0/routes/x",
            "/pub/atomicity/v0/rates/x",
            "/pub/pubky.app/posts/x",
        ] {
            assert_eq!(event(path).work(), None, "{path}");
        }
    }
}
