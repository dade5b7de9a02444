//! Evidence: a text file with every record that bears on who owes whom, which anybody can check without a network.
//!
//! ```text
//! atomicity-evidence/1
//! <record or grant as compact JWS>
//! …
//! <manifest as compact JWS>
//! ```
//!
//! Each line ends with one line feed. The manifest, signed by whoever exports, names type and hash of every line before it, so
//! that nothing can be left out, added, exchanged or altered without notice; and each record is signed by itself.
//!
//! Checking has two steps. The first asks whether the file is whole: if not, [`verify`] fails with
//! [`LedgerError::EvidenceInvalid`], which names the place and the type of the first record that is wrong. The second judges what
//! the records prove at a given time, and says so in a [`Report`]: a record by a key without authority is not counted, and named.

mod bundle;
mod judge;
mod promises;
mod report;
mod side;
mod totals;

pub use bundle::{HEADER, MAX_BUNDLE_BYTES};
pub use report::{ChannelReport, Contradiction, KeyReport, NetReport, NotCounted, Report};

use std::collections::BTreeSet;

use crate::error::LedgerError;
use crate::jws::{Record as _, RecordHash, Signed, Version};
use crate::key::{Keypair, UserKey};
use crate::record::{MAX_BUNDLE_RECORDS, Manifest, ManifestEntry, Payment, Refusal};
use crate::text::Memo;
use crate::time::Timestamp;

/// Writes a bundle: the records of `user` and `peer` in the order given, repeats left out, and a manifest signed with `key`. Of
/// more than 512 records the first payments and refusals are left out.
///
/// What was written is checked as anybody would check it before it is returned.
///
/// # Errors
/// A record that does not belong, named as in [`verify`]; [`LedgerError::TooLarge`]; a key that nothing in the bundle ties to
/// `user`.
pub fn export(
    user: UserKey,
    peer: UserKey,
    records: &[String],
    note: Option<Memo>,
    key: &Keypair,
    at: Timestamp,
) -> Result<String, LedgerError> {
    let mut entries = Vec::new();
    let mut text = format!("{HEADER}\n");
    for jws in chosen(records) {
        entries.push(ManifestEntry {
            typ: bundle::claimed_typ(jws).unwrap_or_else(|| bundle::UNREADABLE.to_owned()),
            hash: RecordHash::of(jws),
        });
        text.push_str(jws);
        text.push('\n');
    }
    let manifest = Manifest {
        v: Version,
        user,
        peer,
        records: entries,
        note,
        at,
    };
    text.push_str(Signed::sign(manifest, key)?.jws());
    text.push('\n');
    verify(text.as_bytes(), Some(at))?;
    Ok(text)
}

/// Every record once; of more than a bundle holds, the first payments and then the first refusals are left out: balances do not
/// depend on them.
fn chosen(records: &[String]) -> Vec<&String> {
    let mut seen = BTreeSet::new();
    let mut chosen: Vec<&String> = records.iter().filter(|jws| seen.insert(*jws)).collect();
    for spare in [Payment::TYP, Refusal::TYP] {
        let mut excess = chosen.len().saturating_sub(MAX_BUNDLE_RECORDS);
        chosen.retain(|jws| {
            let drop = excess > 0 && bundle::claimed_typ(jws).as_deref() == Some(spare);
            excess -= usize::from(drop);
            !drop
        });
    }
    chosen
}

/// Checks a bundle, and judges what it proves at the time `at`; at the time of its export if none is given.
///
/// # Errors
/// [`LedgerError::EvidenceInvalid`] with the place and type of the first record that is not as it must be;
/// [`LedgerError::TooLarge`].
pub fn verify(bytes: &[u8], at: Option<Timestamp>) -> Result<Report, LedgerError> {
    let bundle = bundle::read(bytes)?;
    let at = at.unwrap_or(bundle.manifest.record().at);
    judge::judge(&bundle, at)
}
