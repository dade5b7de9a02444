//! The content of a channel file: everything that its writer has signed for one peer, and the newest of what the peer has signed.
//!
//! One GET brings a counterparty's whole side. The other half, what the writer *holds* from the peer, is there for the peer: who
//! has lost everything but a root key finds the own signatures again in the files of others.
//!
//! A file is sealed ([`crate::seal`]) and its records are signed, so reading it checks each signature; whether a signer had the
//! authority is for [`crate::pair`] to judge. Reading is strict: one record that does not belong makes the whole file void.

use serde::{Deserialize, Serialize};

use crate::authority::Grant;
use crate::error::LedgerError;
use crate::jws::{Record, Signed, Version, peek_typ};
use crate::key::UserKey;
use crate::record::{
    Ack, AnyRecord, Book, ConditionalIou, CreditLine, Delegation, Endpoints, Payment, Publication,
    Refusal, Release, Revocation, State,
};

/// The most delegations, grants and revocations of one side.
pub const MAX_AUTHORITY: usize = 128;
/// The most books of one side: the one in force, the one before it, and those that the other user may not know yet.
pub const MAX_BOOKS: usize = 20;
/// The most credit lines of one side: one for each unit.
pub const MAX_LINES: usize = 64;
/// The most states of one side: newest, cleared and carried over, for each unit.
pub const MAX_STATES: usize = 192;
/// The most payments of one side. Older ones are left out: balances do not depend on them.
pub const MAX_PAYMENTS: usize = 64;
/// The most acks of one side.
pub const MAX_ACKS: usize = 130;
/// The most conditional IOUs of one side, and the most of the other's that it has given up.
pub const MAX_IOUS: usize = 192;
/// The most proofs of publication of one side. Older ones are left out: the log gives them again.
pub const MAX_PUBLICATIONS: usize = 64;
/// The most refusals of one side. Older ones are left out: the states that they explain carry their amounts.
pub const MAX_REFUSALS: usize = 64;
/// The most lists of endpoints of one side: of several the one with the greatest serial is kept.
pub const MAX_ENDPOINT_LISTS: usize = 1;
/// The most bytes of a file before it is sealed.
pub const MAX_BYTES: usize = 1024 * 1024 - 4;

const WHAT: &str = "channel file";

/// The content of one channel file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelFile {
    from: UserKey,
    to: UserKey,
    own: Half,
    held: Half,
}

/// The records of one of the two users. Every signature was checked.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Half {
    authority: Vec<String>,
    books: Vec<Signed<Book>>,
    lines: Vec<Signed<CreditLine>>,
    states: Vec<Signed<State>>,
    payments: Vec<Signed<Payment>>,
    acks: Vec<Signed<Ack>>,
    refusals: Vec<Signed<Refusal>>,
    ious: Vec<Signed<ConditionalIou>>,
    releases: Vec<Signed<Release>>,
    publications: Vec<Signed<Publication>>,
    endpoints: Vec<Signed<Endpoints>>,
}

impl ChannelFile {
    /// Sorts records into the file of `from` about `to`: what `from` signed is its own half, what `to` signed is the held one.
    /// They may come in any order and repeatedly; equal records always give equal bytes. Of too many payments and refusals the
    /// newest are kept.
    ///
    /// # Errors
    /// A record that is malformed, of a type that has no place here, of other users ([`LedgerError::ForeignChannel`]), or one too
    /// many.
    pub fn collect<S: AsRef<str>>(
        from: UserKey,
        to: UserKey,
        records: impl IntoIterator<Item = S>,
    ) -> Result<Self, LedgerError> {
        let mut file = Self {
            from,
            to,
            own: Half::default(),
            held: Half::default(),
        };
        for jws in records {
            file.insert(jws.as_ref())?;
        }
        for half in [&mut file.own, &mut file.held] {
            half.put_in_order();
            half.check_counts()?;
        }
        Ok(file)
    }

    /// Whose file it is.
    #[must_use]
    pub fn from(&self) -> UserKey {
        self.from
    }

    /// About whom.
    #[must_use]
    pub fn to(&self) -> UserKey {
        self.to
    }

    /// What the writer has signed.
    #[must_use]
    pub fn own(&self) -> &Half {
        &self.own
    }

    /// What the writer holds from the peer.
    #[must_use]
    pub fn held(&self) -> &Half {
        &self.held
    }

    /// The file as JSON, ready to be sealed.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] above 1 MiB − 4 bytes.
    pub fn encode(&self) -> Result<Vec<u8>, LedgerError> {
        let json = FileJson {
            v: Version,
            from: self.from,
            to: self.to,
            own: HalfJson::from(&self.own),
            held: HalfJson::from(&self.held),
        };
        let bytes = serde_json::to_vec(&json).map_err(|error| invalid(&error))?;
        bounded(bytes.len())?;
        Ok(bytes)
    }

    /// Reads a file that was opened, and checks every signature in it.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`], [`LedgerError::PayloadInvalid`] for its form, [`LedgerError::ForeignChannel`] for records of
    /// others or in the wrong half, and whatever is wrong with a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        bounded(bytes.len())?;
        let json: FileJson = serde_json::from_slice(bytes).map_err(|error| invalid(&error))?;
        // A reader of structures would take lists of the values too.
        let whole: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| invalid(&error))?;
        if !(whole.is_object() && whole["own"].is_object() && whole["held"].is_object()) {
            return Err(invalid(&"it must be an object, and so must its halves"));
        }
        if json.from == json.to {
            return Err(LedgerError::ForeignChannel);
        }
        Ok(Self {
            from: json.from,
            to: json.to,
            own: json.own.read(json.from, json.to)?,
            held: json.held.read(json.to, json.from)?,
        })
    }

    fn half(&mut self, user: UserKey, other: UserKey) -> Result<&mut Half, LedgerError> {
        if user == other {
            Err(LedgerError::ForeignChannel)
        } else if (user, other) == (self.from, self.to) {
            Ok(&mut self.own)
        } else if (user, other) == (self.to, self.from) {
            Ok(&mut self.held)
        } else {
            Err(LedgerError::ForeignChannel)
        }
    }

    fn insert(&mut self, jws: &str) -> Result<(), LedgerError> {
        if let Some(user) = authority_of(jws)? {
            let other = if user == self.from {
                self.to
            } else {
                self.from
            };
            self.half(user, other)?.authority.push(jws.to_owned());
            return Ok(());
        }
        let record = AnyRecord::decode(jws)?;
        let (user, other) = file_parties(&record).ok_or_else(|| misplaced(record.typ()))?;
        let half = self.half(user, other)?;
        match record {
            AnyRecord::Book(r) => half.books.push(r),
            AnyRecord::CreditLine(r) => half.lines.push(r),
            AnyRecord::State(r) => half.states.push(r),
            AnyRecord::Payment(r) => half.payments.push(r),
            AnyRecord::Ack(r) => half.acks.push(r),
            AnyRecord::Refusal(r) => half.refusals.push(r),
            AnyRecord::ConditionalIou(r) => half.ious.push(r),
            AnyRecord::Release(r) => half.releases.push(r),
            AnyRecord::Publication(r) => half.publications.push(r),
            AnyRecord::Endpoints(r) => half.endpoints.push(r),
            other => return Err(misplaced(other.typ())),
        }
        Ok(())
    }
}

impl Half {
    /// Delegations, grants and revocations, as compact JWS: to be learnt before the records.
    #[must_use]
    pub fn authority(&self) -> &[String] {
        &self.authority
    }

    /// Books, ascending by epoch.
    #[must_use]
    pub fn books(&self) -> &[Signed<Book>] {
        &self.books
    }

    /// States, ascending by unit, epoch and number.
    #[must_use]
    pub fn states(&self) -> &[Signed<State>] {
        &self.states
    }

    /// Everything but the authority, in the order in which it should be applied: books first, a refusal before the ack of the
    /// payment that it undoes, and promises before the states that count on them.
    #[must_use]
    pub fn records(&self) -> Vec<AnyRecord> {
        fn any<T: Clone>(list: &[Signed<T>]) -> impl Iterator<Item = AnyRecord> + '_
        where
            AnyRecord: From<Signed<T>>,
        {
            list.iter().cloned().map(AnyRecord::from)
        }
        any(&self.books)
            .chain(any(&self.lines))
            .chain(any(&self.refusals))
            .chain(any(&self.ious))
            .chain(any(&self.releases))
            .chain(any(&self.publications))
            .chain(any(&self.states))
            .chain(any(&self.payments))
            .chain(any(&self.acks))
            .chain(any(&self.endpoints))
            .collect()
    }

    fn put_in_order(&mut self) {
        self.authority.sort();
        self.authority.dedup();
        in_order(&mut self.books, |b| b.epoch);
        in_order(&mut self.lines, |l| (l.unit.clone(), l.epoch, l.seq));
        in_order(&mut self.states, |s| (s.unit.clone(), s.epoch, s.seq));
        in_order(&mut self.acks, |a| a.at);
        in_order(&mut self.payments, |p| (p.at, p.epoch, p.seq));
        in_order(&mut self.refusals, |r| (r.at, r.epoch, r.to_seq));
        in_order(&mut self.ious, |i| (i.unit.clone(), i.number));
        in_order(&mut self.releases, |r| (r.unit.clone(), r.number));
        in_order(&mut self.publications, |p| (p.at, p.iou));
        in_order(&mut self.endpoints, |e| e.serial);
        keep_newest(&mut self.endpoints, MAX_ENDPOINT_LISTS);
        keep_newest(&mut self.publications, MAX_PUBLICATIONS);
        keep_newest(&mut self.payments, MAX_PAYMENTS);
        keep_newest(&mut self.refusals, MAX_REFUSALS);
    }

    fn check_counts(&self) -> Result<(), LedgerError> {
        counted("credentials", self.authority.len(), MAX_AUTHORITY)?;
        counted("books", self.books.len(), MAX_BOOKS)?;
        counted("lines", self.lines.len(), MAX_LINES)?;
        counted("states", self.states.len(), MAX_STATES)?;
        counted("payments", self.payments.len(), MAX_PAYMENTS)?;
        counted("acks", self.acks.len(), MAX_ACKS)?;
        counted("refusals", self.refusals.len(), MAX_REFUSALS)?;
        counted("conditional IOUs", self.ious.len(), MAX_IOUS)?;
        counted("releases", self.releases.len(), MAX_IOUS)?;
        counted("publications", self.publications.len(), MAX_PUBLICATIONS)?;
        counted(
            "lists of endpoints",
            self.endpoints.len(),
            MAX_ENDPOINT_LISTS,
        )
    }
}

fn in_order<T, K: Ord>(list: &mut Vec<Signed<T>>, key: impl Fn(&T) -> K) {
    list.sort_by(|a, b| (key(a.record()), a.jws()).cmp(&(key(b.record()), b.jws())));
    list.dedup_by(|a, b| a.hash() == b.hash());
}

fn keep_newest<T>(list: &mut Vec<T>, max: usize) {
    let excess = list.len().saturating_sub(max);
    list.drain(..excess);
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileJson {
    v: Version,
    from: UserKey,
    to: UserKey,
    own: HalfJson,
    held: HalfJson,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HalfJson {
    authority: Vec<String>,
    books: Vec<String>,
    lines: Vec<String>,
    states: Vec<String>,
    payments: Vec<String>,
    acks: Vec<String>,
    refusals: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ious: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    releases: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    publications: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    endpoints: Vec<String>,
}

impl From<&Half> for HalfJson {
    fn from(half: &Half) -> Self {
        fn texts<T>(list: &[Signed<T>]) -> Vec<String> {
            list.iter().map(|signed| signed.jws().to_owned()).collect()
        }
        Self {
            authority: half.authority.clone(),
            books: texts(&half.books),
            lines: texts(&half.lines),
            states: texts(&half.states),
            payments: texts(&half.payments),
            acks: texts(&half.acks),
            refusals: texts(&half.refusals),
            ious: texts(&half.ious),
            releases: texts(&half.releases),
            publications: texts(&half.publications),
            endpoints: texts(&half.endpoints),
        }
    }
}

impl HalfJson {
    fn read(self, user: UserKey, other: UserKey) -> Result<Half, LedgerError> {
        // Counted before a single signature is checked.
        counted("credentials", self.authority.len(), MAX_AUTHORITY)?;
        for jws in &self.authority {
            match authority_of(jws)? {
                Some(of) if of == user => {}
                Some(_) => return Err(LedgerError::ForeignChannel),
                None => return Err(misplaced("another")),
            }
        }
        Ok(Half {
            authority: self.authority,
            books: signed(&self.books, "books", MAX_BOOKS, user, other)?,
            lines: signed(&self.lines, "lines", MAX_LINES, user, other)?,
            states: signed(&self.states, "states", MAX_STATES, user, other)?,
            payments: signed(&self.payments, "payments", MAX_PAYMENTS, user, other)?,
            acks: signed(&self.acks, "acks", MAX_ACKS, user, other)?,
            refusals: signed(&self.refusals, "refusals", MAX_REFUSALS, user, other)?,
            ious: signed(&self.ious, "conditional IOUs", MAX_IOUS, user, other)?,
            releases: signed(&self.releases, "releases", MAX_IOUS, user, other)?,
            publications: signed(
                &self.publications,
                "publications",
                MAX_PUBLICATIONS,
                user,
                other,
            )?,
            endpoints: signed(
                &self.endpoints,
                "lists of endpoints",
                MAX_ENDPOINT_LISTS,
                user,
                other,
            )?,
        })
    }
}

fn signed<T: Record>(
    list: &[String],
    what: &'static str,
    max: usize,
    user: UserKey,
    other: UserKey,
) -> Result<Vec<Signed<T>>, LedgerError>
where
    AnyRecord: From<Signed<T>>,
{
    counted(what, list.len(), max)?;
    list.iter()
        .map(|jws| {
            let signed = Signed::<T>::decode(jws)?;
            if file_parties(&AnyRecord::from(signed.clone())) == Some((user, other)) {
                Ok(signed)
            } else {
                Err(LedgerError::ForeignChannel)
            }
        })
        .collect()
}

/// The same for records that have a place in a channel file, and bear on nothing that is owed.
fn file_parties(record: &AnyRecord) -> Option<(UserKey, UserKey)> {
    match record {
        AnyRecord::Endpoints(r) => Some((r.record().from, r.record().to)),
        record => parties(record),
    }
}

/// Between whom a record stands: who signs it and for whom. `None` for records that are about one user.
pub(crate) fn parties(record: &AnyRecord) -> Option<(UserKey, UserKey)> {
    match record {
        AnyRecord::Ack(r) => Some((r.record().from, r.record().to)),
        AnyRecord::Book(r) => Some((r.record().from, r.record().to)),
        AnyRecord::CreditLine(r) => Some((r.record().from, r.record().to)),
        AnyRecord::Payment(r) => Some((r.record().from, r.record().to)),
        AnyRecord::Refusal(r) => Some((r.record().from, r.record().to)),
        AnyRecord::State(r) => Some((r.record().from, r.record().to)),
        AnyRecord::ConditionalIou(r) => Some((r.record().from, r.record().to)),
        AnyRecord::Release(r) => Some((r.record().from, r.record().to)),
        AnyRecord::Publication(r) => Some((r.record().from, r.record().to)),
        _ => None,
    }
}

/// Whose authority a delegation, revocation or grant is about, its signature checked; `None` for any other record.
pub(crate) fn authority_of(jws: &str) -> Result<Option<UserKey>, LedgerError> {
    match peek_typ(jws) {
        Ok(typ) if typ == Delegation::TYP => {
            Signed::<Delegation>::decode(jws).map(|signed| Some(signed.record().root))
        }
        Ok(typ) if typ == Revocation::TYP => {
            Signed::<Revocation>::decode(jws).map(|signed| Some(signed.record().root))
        }
        Ok(_) => Ok(None),
        // A grant has no `kid`, so its header is none of ours.
        Err(error) => match Grant::decode(jws) {
            Ok(grant) => Ok(Some(grant.claims().iss)),
            Err(LedgerError::WrongType { .. }) => Err(error),
            Err(grant_error) => Err(grant_error),
        },
    }
}

fn bounded(bytes: usize) -> Result<(), LedgerError> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(LedgerError::TooLarge {
        what: WHAT,
        bytes,
        max: MAX_BYTES,
    })
}

fn counted(what: &str, count: usize, max: usize) -> Result<(), LedgerError> {
    if count <= max {
        return Ok(());
    }
    Err(invalid(&format_args!(
        "it has {count} {what}, the most is {max}"
    )))
}

fn misplaced(typ: &str) -> LedgerError {
    invalid(&format_args!("a record of type {typ} has no place there"))
}

fn invalid(why: &impl std::fmt::Display) -> LedgerError {
    LedgerError::PayloadInvalid {
        typ: WHAT.to_owned(),
        detail: why.to_string(),
    }
}
