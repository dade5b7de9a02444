//! The form of a bundle: its lines, its manifest, and where it is broken if it is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::authority::{GRANT_TYP, Grant};
use crate::channel_file::parties;
use crate::error::LedgerError;
use crate::jws::{MAX_RECORD_BYTES, Record as _, RecordHash, Signed};
use crate::key::UserKey;
use crate::record::{AnyRecord, Manifest};

/// The first line.
pub const HEADER: &str = "atomicity-evidence/1";
/// The most bytes of a bundle.
pub const MAX_BUNDLE_BYTES: usize = 16 * 1024 * 1024;

/// Stands for the type of a line that can't be read.
pub(super) const UNREADABLE: &str = "unreadable";
/// The most lines: a header, the records that a manifest may list, and the manifest; one more shows that there are too many.
const MAX_LINES: usize = 515;

/// One record of a bundle, its signature checked.
pub(super) enum Item {
    Record(Box<AnyRecord>),
    Grant(Box<Grant>),
}

impl Item {
    fn decode(jws: &str) -> Result<Self, LedgerError> {
        if claimed_typ(jws).as_deref() == Some(GRANT_TYP) {
            Grant::decode(jws).map(|grant| Self::Grant(Box::new(grant)))
        } else {
            AnyRecord::decode(jws).map(|record| Self::Record(Box::new(record)))
        }
    }

    fn typ(&self) -> &'static str {
        match self {
            Self::Record(record) => record.typ(),
            Self::Grant(_) => GRANT_TYP,
        }
    }

    fn is_between(&self, a: UserKey, b: UserKey) -> bool {
        match self {
            Self::Grant(grant) => [a, b].contains(&grant.claims().iss),
            Self::Record(record) => match parties(record) {
                Some((from, to)) => (from, to) == (a, b) || (from, to) == (b, a),
                None => {
                    matches!(
                        **record,
                        AnyRecord::Delegation(_) | AnyRecord::Revocation(_)
                    ) && [a, b].contains(&record.author())
                }
            },
        }
    }
}

/// A bundle that is whole. `items[i]` is record `i + 1`.
pub(super) struct Bundle {
    pub items: Vec<Item>,
    pub manifest: Signed<Manifest>,
}

pub(super) fn invalid(
    index: usize,
    typ: impl Into<String>,
    why: impl std::fmt::Display,
) -> LedgerError {
    LedgerError::EvidenceInvalid {
        index,
        typ: typ.into(),
        why: why.to_string(),
    }
}

/// The known `typ` that a line claims, as far as its first part can be read.
pub(super) fn claimed_typ(line: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Claim {
        typ: String,
    }
    let (header, _) = line.split_once('.')?;
    let header = URL_SAFE_NO_PAD
        .decode(header.get(..header.len().min(1024))?)
        .ok()?;
    let claim: Claim = serde_json::from_slice(&header).ok()?;
    // A flipped bit in a name must not be reported as a type.
    let known = claim.typ == GRANT_TYP || AnyRecord::TYPES.contains(&claim.typ.as_str());
    known.then_some(claim.typ)
}

pub(super) fn read(bytes: &[u8]) -> Result<Bundle, LedgerError> {
    if bytes.len() > MAX_BUNDLE_BYTES {
        return Err(LedgerError::TooLarge {
            what: "evidence bundle",
            bytes: bytes.len(),
            max: MAX_BUNDLE_BYTES,
        });
    }
    // The last line must end too; if it does not, it is judged with what stands there and fails.
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut lines = body.split(|byte| *byte == b'\n').take(MAX_LINES);
    if lines.next() != Some(HEADER.as_bytes()) {
        return Err(invalid(
            0,
            "header",
            format_args!("the first line is not {HEADER:?}"),
        ));
    }
    let lines: Vec<&[u8]> = lines.collect();
    let Some((last, records)) = lines.split_last() else {
        return Err(invalid(
            1,
            Manifest::TYP,
            "the file ends before its manifest",
        ));
    };
    let manifest = match text(last).and_then(Signed::<Manifest>::decode) {
        Ok(manifest) if body.len() < bytes.len() => manifest,
        Ok(_) => {
            return Err(invalid(
                lines.len(),
                Manifest::TYP,
                "the last line does not end: the file was cut",
            ));
        }
        Err(error) => return Err(first_broken(&lines, &error)),
    };
    let items = read_records(records, &manifest)?;
    Ok(Bundle { items, manifest })
}

/// Checks the lines against the manifest, in order, so that the first one that is not as listed is the one that is named.
fn read_records(lines: &[&[u8]], manifest: &Signed<Manifest>) -> Result<Vec<Item>, LedgerError> {
    let record = manifest.record();
    let mut items = Vec::with_capacity(record.records.len());
    for (index, entry) in (1..).zip(&record.records) {
        let fail = |why: &dyn std::fmt::Display| invalid(index, entry.typ.as_str(), why);
        let line = lines
            .get(index - 1)
            .ok_or_else(|| fail(&"it is missing, though the manifest lists it"))?;
        let item = text(line).and_then(|jws| {
            let item = Item::decode(jws)?;
            Ok((item, RecordHash::of(jws)))
        });
        let (item, hash) = item.map_err(|error| fail(&error))?;
        if hash != entry.hash {
            return Err(fail(
                &"it is another record than the one that the manifest lists",
            ));
        }
        if item.typ() != entry.typ {
            return Err(fail(&format_args!("its own type is {}", item.typ())));
        }
        if !item.is_between(record.user, record.peer) {
            return Err(fail(&"it is about other users than the two of this bundle"));
        }
        items.push(item);
    }
    match lines.get(items.len()) {
        None => Ok(items),
        Some(line) => {
            let typ = text(line).ok().and_then(claimed_typ);
            Err(invalid(
                items.len() + 1,
                typ.unwrap_or_else(|| UNREADABLE.to_owned()),
                "the manifest does not list it",
            ))
        }
    }
}

/// Without a manifest, the first line that is no sound record is the broken one.
fn first_broken(lines: &[&[u8]], manifest_error: &LedgerError) -> LedgerError {
    for (index, line) in (1..).zip(lines) {
        if let Err(error) = text(line).and_then(Item::decode) {
            // Only the manifest is the last line; what precedes it and can't be read can only be a part of it.
            let typ = lossy_typ(line).unwrap_or_else(|| Manifest::TYP.to_owned());
            return invalid(index, typ, error);
        }
    }
    let typ = lines.last().and_then(|line| lossy_typ(line));
    let is_manifest = typ.as_deref() == Some(Manifest::TYP);
    invalid(
        if is_manifest {
            lines.len()
        } else {
            lines.len() + 1
        },
        Manifest::TYP,
        if is_manifest {
            manifest_error.to_string()
        } else {
            "the file ends before its manifest".to_owned()
        },
    )
}

/// The type claimed by a line that need not be text as a whole.
fn lossy_typ(line: &[u8]) -> Option<String> {
    let start = line.split(|byte| *byte == b'.').next()?;
    let start = std::str::from_utf8(start).ok()?;
    claimed_typ(&format!("{start}."))
}

fn text(line: &[u8]) -> Result<&str, LedgerError> {
    if line.len() > MAX_RECORD_BYTES {
        return Err(LedgerError::RecordTooLarge { bytes: line.len() });
    }
    std::str::from_utf8(line).map_err(|_| LedgerError::JwsMalformed("it is not text"))
}
