//! What goes wrong in the simulator itself.

/// The simulator could not do what it must always be able to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The ledger refused it.
    #[error("the ledger refused: {0}")]
    Ledger(#[from] atomicity_ledger::LedgerError),
    /// The log's crate refused it.
    #[error("the log refused: {0}")]
    Log(#[from] atomicity_witness_log::LogError),
    /// What was stored can't be read again.
    #[error("a store can't be read again: {0}")]
    Store(#[from] serde_json::Error),
    /// Something is missing that must be there.
    #[error("missing: {0}")]
    Missing(&'static str),
}

impl SimError {
    /// A stable code for machines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ledger(_) => "ledger_refused",
            Self::Log(_) => "log_refused",
            Self::Store(_) => "store_unreadable",
            Self::Missing(_) => "missing",
        }
    }
}
