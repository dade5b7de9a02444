//! Why a proposal can be neither accepted nor declined.

/// Why a proposal can't be decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProposalFault {
    /// The plugin shows something else under this name than it showed before.
    Changed,
    /// This version can't tell what is to be paid.
    Unreadable,
    /// The user has agreed, and it may have begun.
    Accepted,
    /// It was accepted so long ago that it is not begun any more.
    TooLate,
    /// A part of it is done, and the rest could not be done now.
    Unfinished,
}

impl ProposalFault {
    /// Its stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Changed => "proposal_changed",
            Self::Unreadable => "proposal_unreadable",
            Self::Accepted => "proposal_accepted",
            Self::TooLate => "too_late",
            Self::Unfinished => "proposal_unfinished",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Changed => "is not what was shown before: nothing was done",
            Self::Unreadable => "names nothing that can be paid: nothing was done",
            Self::Accepted => "is accepted already, and may have begun",
            Self::TooLate => "was accepted too long ago, and was not begun",
            Self::Unfinished => "is done only in part",
        }
    }

    pub(super) fn hint(self) -> Option<String> {
        Some(match self {
            Self::Changed => {
                "whoever runs the plugin, or has a session of yours, changed it: `atomicity proposals decline` it".to_owned()
            }
            Self::Accepted => "`atomicity sync` goes on with it".to_owned(),
            Self::Unfinished => "accept it once more for the rest".to_owned(),
            Self::Unreadable | Self::TooLate => return None,
        })
    }
}
