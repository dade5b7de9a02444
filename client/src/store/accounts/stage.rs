//! How far something is that an account asked for.

/// How far a spend is, as this wallet knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpendStage {
    /// The agent told of it.
    Seen,
    /// It waits for this wallet.
    Waiting,
    /// This wallet pays it; nothing was promised yet.
    Claimed,
    /// Something was promised for it, or a rail was told to pay.
    Paying,
    /// A rail was told, and what became of that nobody knows at present.
    Unknown,
    /// It is paid.
    Paid,
    /// It was not paid, and will not be.
    Failed,
}

impl SpendStage {
    /// `seen`, `waiting`, `claimed`, `paying`, `unknown`, `paid` or `failed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Waiting => "waiting",
            Self::Claimed => "claimed",
            Self::Paying => "paying",
            Self::Unknown => "unknown",
            Self::Paid => "paid",
            Self::Failed => "failed",
        }
    }

    pub(super) fn read(text: &str) -> Self {
        match text {
            "waiting" => Self::Waiting,
            "claimed" => Self::Claimed,
            "paying" => Self::Paying,
            "unknown" => Self::Unknown,
            "paid" => Self::Paid,
            "failed" => Self::Failed,
            _ => Self::Seen,
        }
    }
}
