//! The bytes of a proof of misbehaviour: a header line, a kind, the accused's key, then the parts in order.

use crate::codec::{Reader, put_bytes, put_hashes};
use crate::error::LogError;
use crate::fork::ForkProof;
use crate::note::{MAX_NAME_BYTES, MAX_NOTE_BYTES, SignedNote, VerifierKey};
use crate::proof::{MAX_TLOG_PROOF_BYTES, TlogProof};
use crate::tree::ConsistencyPath;

const HEADER: &[u8] = b"atomicity-fork/v1\n";
/// Larger proofs are refused unread.
const MAX_BYTES: usize = 2 * MAX_TLOG_PROOF_BYTES + 64 * 1024;

pub(crate) fn encode(proof: &ForkProof) -> Vec<u8> {
    let mut out = HEADER.to_vec();
    let kind = match proof {
        ForkProof::SameSize { .. } => 0,
        ForkProof::Inconsistent { .. } => 1,
        ForkProof::DifferentLeaves { .. } => 2,
        ForkProof::FallingTimes { .. } => 3,
        ForkProof::BrokenTombstone { .. } => 4,
        ForkProof::MalformedLeaf { .. } => 5,
    };
    out.push(kind);
    put_bytes(&mut out, proof.key().to_string().as_bytes());
    let mut part = |text: String| put_bytes(&mut out, text.as_bytes());
    match proof {
        ForkProof::SameSize { a, b, .. } => {
            part(a.to_string());
            part(b.to_string());
        }
        ForkProof::Inconsistent { old, new, path, .. } => {
            part(old.to_string());
            part(new.to_string());
            out.extend_from_slice(path.seed.as_bytes());
            put_hashes(&mut out, &path.path);
        }
        ForkProof::DifferentLeaves { a, b, .. }
        | ForkProof::FallingTimes {
            before: a,
            after: b,
            ..
        } => {
            part(a.to_string());
            part(b.to_string());
        }
        ForkProof::BrokenTombstone {
            tombstone,
            cosigned,
            ..
        } => {
            part(tombstone.to_string());
            part(cosigned.to_string());
        }
        ForkProof::MalformedLeaf { proof, .. } => part(proof.to_string()),
    }
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Result<ForkProof, LogError> {
    if bytes.len() > MAX_BYTES {
        return Err(LogError::TooLarge {
            what: "a proof",
            limit: MAX_BYTES,
        });
    }
    let malformed = LogError::ProofMalformed;
    let mut reader = Reader::new(bytes);
    if reader.take(HEADER.len())? != HEADER {
        return Err(malformed("it does not begin as a proof of a fork"));
    }
    let kind = reader.u8()?;
    let key = std::str::from_utf8(reader.bytes(MAX_NAME_BYTES + 128)?)
        .map_err(|_| malformed("its key is no UTF-8"))?
        .parse::<VerifierKey>()?;
    let proof = match kind {
        0 => ForkProof::SameSize {
            key,
            a: note(&mut reader)?,
            b: note(&mut reader)?,
        },
        1 => ForkProof::Inconsistent {
            key,
            old: note(&mut reader)?,
            new: note(&mut reader)?,
            path: ConsistencyPath {
                seed: reader.hash()?,
                path: reader.hashes()?,
            },
        },
        2 => ForkProof::DifferentLeaves {
            key,
            a: entry(&mut reader)?,
            b: entry(&mut reader)?,
        },
        3 => ForkProof::FallingTimes {
            key,
            before: entry(&mut reader)?,
            after: entry(&mut reader)?,
        },
        4 => ForkProof::BrokenTombstone {
            key,
            tombstone: note(&mut reader)?,
            cosigned: note(&mut reader)?,
        },
        5 => ForkProof::MalformedLeaf {
            key,
            proof: entry(&mut reader)?,
        },
        _ => return Err(malformed("it is of no known kind")),
    };
    reader.end()?;
    Ok(proof)
}

fn note(reader: &mut Reader<'_>) -> Result<SignedNote, LogError> {
    SignedNote::parse(reader.bytes(MAX_NOTE_BYTES)?)
}

fn entry(reader: &mut Reader<'_>) -> Result<TlogProof, LogError> {
    TlogProof::parse(reader.bytes(MAX_TLOG_PROOF_BYTES)?)
}
