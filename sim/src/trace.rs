//! What happened, line by line: hashed always, kept if somebody wants to read it.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The course of a run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    digest: Sha256,
    kept: Option<Vec<String>>,
}

impl Trace {
    /// A trace that keeps its lines if asked to.
    #[must_use]
    pub fn new(keep: bool) -> Self {
        Self {
            digest: Sha256::new(),
            kept: keep.then(Vec::new),
        }
    }

    /// Notes a line.
    pub fn line(&mut self, line: fmt::Arguments<'_>) {
        let line = line.to_string();
        self.digest.update(line.as_bytes());
        self.digest.update(b"\n");
        if let Some(kept) = &mut self.kept {
            kept.push(line);
        }
    }

    /// Adds bytes to the digest alone.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// SHA-256 over everything noted, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        let hash = self.digest.clone().finalize();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The lines, if they were kept.
    #[must_use]
    pub fn lines(self) -> Vec<String> {
        self.kept.unwrap_or_default()
    }
}
