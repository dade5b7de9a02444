//! Checking proofs of misbehaviour.

use crate::checkpoint::SignedCheckpoint;
use crate::error::LogError;
use crate::fork::{Culprit, ForkProof, Role};
use crate::leaf::Leaf;
use crate::note::{KeyKind, SignedNote, VerifierKey};
use crate::proof::TlogProof;
use crate::tombstone::{HEADER, Tombstone};
use crate::tree::{Hash, leaf_hash, verify_inclusion};

/// Something a key said about a log: this is its tree.
struct Statement {
    origin: String,
    size: u64,
    root: Hash,
}

fn is_tombstone(note: &SignedNote) -> bool {
    note.text()
        .strip_prefix(HEADER)
        .is_some_and(|rest| rest.starts_with('\n'))
}

/// The note with the accused's signature alone.
pub(crate) fn only(note: &SignedNote, key: &VerifierKey) -> Result<SignedNote, LogError> {
    if key.kind() == KeyKind::Cosignature && is_tombstone(note) {
        note.only(&key.with_kind(KeyKind::Ed25519))
    } else {
        note.only(key)
    }
}

/// What the accused said in this note: as a log or cosigner in a checkpoint, as a cosigner in a tombstone.
fn statement(note: &SignedNote, key: &VerifierKey) -> Result<Statement, LogError> {
    if note.signatures().len() != 1 {
        return Err(LogError::NotAFork(
            "a note within it bears signatures of others",
        ));
    }
    if key.kind() == KeyKind::Cosignature && is_tombstone(note) {
        let Tombstone { origin, size, root } = Tombstone::verify(note, key)?;
        return Ok(Statement { origin, size, root });
    }
    let signed = SignedCheckpoint::new(note.clone())?;
    match key.kind() {
        KeyKind::Ed25519 => signed.verify_log(key)?,
        KeyKind::Cosignature => signed.verify_cosigner(key).map(|_| ())?,
    }
    let checkpoint = signed.checkpoint();
    Ok(Statement {
        origin: checkpoint.origin.clone(),
        size: checkpoint.size,
        root: checkpoint.root,
    })
}

/// An entry that a tree signed by the accused contains: its bytes and the tree's origin.
fn entry<'a>(proof: &'a TlogProof, key: &VerifierKey) -> Result<(&'a [u8], String), LogError> {
    let Statement { origin, size, root } = statement(&proof.note, key)?;
    let bytes = proof
        .extra
        .as_deref()
        .ok_or(LogError::NotAFork("it does not show the entry"))?;
    verify_inclusion(&leaf_hash(bytes), proof.index, size, &proof.path, &root)?;
    Ok((bytes, origin))
}

fn require(holds: bool, why: &'static str) -> Result<(), LogError> {
    if holds {
        Ok(())
    } else {
        Err(LogError::NotAFork(why))
    }
}

fn same_origin(a: &str, b: &str) -> Result<(), LogError> {
    require(a == b, "it shows two logs")
}

fn require_log(key: &VerifierKey) -> Result<(), LogError> {
    require(
        key.kind() == KeyKind::Ed25519,
        "only a log can be accused of this",
    )
}

pub(crate) fn verify(proof: &ForkProof) -> Result<Culprit, LogError> {
    let key = proof.key();
    let origin = match proof {
        ForkProof::SameSize { a, b, .. } => {
            let (a, b) = (statement(a, key)?, statement(b, key)?);
            same_origin(&a.origin, &b.origin)?;
            require(
                a.size == b.size && a.root != b.root,
                "the two agree, or their sizes differ",
            )?;
            a.origin
        }
        ForkProof::Inconsistent { old, new, path, .. } => {
            let (old, new) = (statement(old, key)?, statement(new, key)?);
            same_origin(&old.origin, &new.origin)?;
            require(old.size < new.size, "the first is not the smaller one")?;
            let (old_root, new_root) = path.roots(old.size, new.size)?;
            require(
                new_root == new.root,
                "the path does not lead to the larger tree's root",
            )?;
            require(old_root != old.root, "the two are consistent")?;
            old.origin
        }
        ForkProof::DifferentLeaves { a, b, .. } => {
            let ((a_bytes, a_origin), (b_bytes, b_origin)) = (entry(a, key)?, entry(b, key)?);
            same_origin(&a_origin, &b_origin)?;
            require(
                a.index == b.index && a_bytes != b_bytes,
                "the entries are the same, or their indexes differ",
            )?;
            a_origin
        }
        ForkProof::FallingTimes { before, after, .. } => {
            require_log(key)?;
            let ((early, a_origin), (late, b_origin)) = (entry(before, key)?, entry(after, key)?);
            same_origin(&a_origin, &b_origin)?;
            let falls = Leaf::decode(early)?.time_ms() > Leaf::decode(late)?.time_ms();
            require(before.index < after.index && falls, "the times do not fall")?;
            a_origin
        }
        ForkProof::BrokenTombstone {
            tombstone,
            cosigned,
            ..
        } => {
            require(
                key.kind() == KeyKind::Cosignature,
                "only cosigners sign tombstones",
            )?;
            require(
                is_tombstone(tombstone) && !is_tombstone(cosigned),
                "one note is a tombstone, the other a checkpoint",
            )?;
            let (end, beyond) = (statement(tombstone, key)?, statement(cosigned, key)?);
            same_origin(&end.origin, &beyond.origin)?;
            require(end.size < beyond.size, "the tombstone allows this tree")?;
            end.origin
        }
        ForkProof::MalformedLeaf { proof, .. } => {
            require_log(key)?;
            let (bytes, origin) = entry(proof, key)?;
            require(Leaf::decode(bytes).is_err(), "the entry is a leaf")?;
            origin
        }
    };
    let role = match key.kind() {
        KeyKind::Ed25519 => Role::Log,
        KeyKind::Cosignature => Role::Cosigner,
    };
    Ok(Culprit {
        key: key.clone(),
        role,
        origin,
        what: proof.misdeed(),
    })
}
