//! What happens in a run.

/// What really becomes of an attempt that the rail was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Money goes out at once.
    Now,
    /// Money goes out later, before the order expires.
    Late,
    /// It never does.
    Never,
}

/// What the rail answers to *pay*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Succeeded,
    FailedForGood,
    NotSent,
    InFlight,
    Unknown,
}

/// What the rail answers to a look-up, before it answers truly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookUp {
    Unknown,
    InFlight,
    NeverSeen,
    /// It remembers every order: but one may still be on its way to it.
    NeverSeenFor,
}

/// A mistake that a caller could make; the check must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// What is unknown is paid again.
    PaysAgain,
    /// The rail is told before the attempt is stored.
    TellsBeforeStoring,
    /// What was never seen is taken for unpaid at once.
    BelievesNeverSeen,
    /// What is unknown is taken for unpaid.
    UnknownIsFailed,
    /// What a way said is taken for the next one's word.
    WordOfAnother,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    pub lightning: bool,
    pub first: (Answer, Truth),
    /// What becomes of every further attempt.
    pub second: (Answer, Truth),
    pub look_ups: &'a [LookUp],
    /// The issuer dies at this moment.
    pub crash: Option<u32>,
    /// The holder's withdrawal arrives at this moment.
    pub withdraw: Option<u32>,
    /// So many messages to the holder are lost.
    pub lost: u32,
    pub mistake: Option<Mistake>,
}
