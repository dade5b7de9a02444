//! What can go wrong, in words that say what to do about it.

mod detail;
mod exit;
mod proposal;

use std::path::PathBuf;

use atomicity_ledger::{LedgerError, Unit, UserKey};

pub use detail::{EvidenceFault, LimitDetail};
pub use proposal::ProposalFault;

use crate::config::ConfigError;
use crate::keys::KeyFileError;
use crate::net::NetError;
use crate::wallet::{PaymentFault, RequestFault, SettleFault};

/// Why an operation of the wallet did not happen.
///
/// [`ClientError::code`] is stable and meant for machines, the message is meant for people, and [`ClientError::hint`] says what to
/// do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A record, key, unit or amount is malformed or does not verify.
    #[error(transparent)]
    Ledger(#[from] LedgerError),

    /// There is no wallet in this folder.
    #[error("there is no wallet in {}", .0.display())]
    NoWallet(PathBuf),

    /// There already is a wallet in this folder.
    #[error("there already is a wallet in {}", .0.display())]
    WalletExists(PathBuf),

    /// The operation needs the root key, and no passphrase was given.
    #[error("this needs the passphrase of the root key")]
    PassphraseNeeded,

    /// The file of the root key can't be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),

    /// The root key in the file belongs to somebody else than the wallet.
    #[error("the root key belongs to {found}, but this wallet is {expected}'s")]
    OtherRoot {
        /// Whose wallet this is.
        expected: UserKey,
        /// Whose key was given.
        found: UserKey,
    },

    /// The disk that holds the wallet is full.
    #[error("the disk that holds the wallet is full: nothing was signed or sent")]
    StoreFull,

    /// The wallet's database can't be read or written.
    #[error("the wallet's database can't be used: {0}")]
    Store(String),

    /// The wallet's database holds something that this program can't read.
    #[error("the wallet's database holds something unreadable in {what}: {why}")]
    StoreCorrupt {
        /// Which part of it.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },

    /// A file can't be read or written.
    #[error("{}: {why}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: std::io::Error,
    },

    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// Another store keeps these books now.
    #[error("another copy of this wallet keeps the books now ({0})")]
    BookKeyInUse(String),

    /// Whether another store keeps these books can't be found out.
    #[error("the homeserver does not say whether another copy of this wallet keeps the books: {0}")]
    GenerationUnknown(String),

    /// A book of a later epoch replaced this wallet's.
    #[error("a later book ended the epoch in which this wallet signed for {0}")]
    EpochEnded(String),

    /// The peer has not acknowledged this wallet's book yet.
    #[error("{0} has not acknowledged this wallet's new book yet")]
    WaitingForAck(String),

    /// The payment exceeds what can be owed.
    #[error("{}", .0.message())]
    LimitExceeded(Box<LimitDetail>),

    /// The peer has set no credit line in this unit.
    #[error("{friend} gives no credit in {unit}")]
    NoCreditLine {
        /// The friend's name.
        friend: String,
        /// The unit.
        unit: Unit,
    },

    /// The unit was not opened.
    #[error("the unit {0} is not open in this wallet")]
    UnitNotOpen(Unit),

    /// The channel is frozen because of contradicting records.
    #[error("the channel with {friend} in {unit} is frozen: {why}")]
    ChannelFrozen {
        /// The friend's name.
        friend: String,
        /// The unit.
        unit: Unit,
        /// What froze it.
        why: String,
    },

    /// A friend can't be removed while something is owed.
    #[error("something is still owed between you and {0}")]
    NotSettled(String),

    /// Nobody by that name or key is among the contacts.
    #[error("nobody called {0:?} is among your friends")]
    UnknownFriend(String),

    /// Nothing is proposed under that name, or not any more.
    #[error("there is no proposal {0}, or not any more")]
    UnknownProposal(String),

    /// A proposal can't be accepted or declined as it stands.
    #[error("the proposal {id} {}", why.words())]
    ProposalUnusable {
        /// Which.
        id: String,
        /// Why.
        why: ProposalFault,
    },

    /// An account of this key stands already, with other terms, or has ended.
    #[error("the key {0} already has an account, with other terms or ended")]
    AccountExists(String),

    /// No rule says that.
    #[error("you have no such rule")]
    NoSuchRule,

    /// Another friend bears that name.
    #[error("another friend is already called {0:?}")]
    NameTaken(String),

    /// A user can't be their own friend.
    #[error("this is your own key")]
    OwnKey,

    /// No homeserver was chosen yet.
    #[error("this wallet has no homeserver yet")]
    NoHomeserver,

    /// Something could not be fetched or sent.
    #[error(transparent)]
    Net(#[from] NetError),

    /// Something was fetched, but can't be understood.
    #[error("{what} can't be used: {why}")]
    Malformed {
        /// What was fetched.
        what: String,
        /// What is wrong with it.
        why: String,
    },

    /// The wallet does not know this log.
    #[error("this wallet does not know the log {0:?}")]
    LogUnknown(String),

    /// The log is not to be relied on.
    #[error("the log {origin} is refused: {why}")]
    LogRefused {
        /// The log.
        origin: String,
        /// Why.
        why: String,
    },

    /// A log shows something that does not fit together. It proves nothing yet.
    #[error("the log {origin} can't be read: {why}")]
    LogUnreadable {
        /// The log.
        origin: String,
        /// What is wrong with it.
        why: String,
    },

    /// A promise needs a log, and none that can be used is known.
    #[error("no log is known on which this promise could hang")]
    NoLog,

    /// A log is still needed.
    #[error("promises that are not decided hang on the log {0}")]
    LogInUse(String),

    /// No secret of this hash is kept here.
    #[error("no secret with the hash {0} is kept in this wallet")]
    SecretUnknown(String),

    /// Nothing would become due by publishing.
    #[error("publishing would bring nothing: {0}")]
    NothingToPublish(String),

    /// A policy, checkpoint or proof of a log is wrong.
    #[error(transparent)]
    Log(#[from] atomicity_witness_log::LogError),

    /// A payment over friends can't be made, or was not.
    #[error(transparent)]
    Payment(#[from] PaymentFault),

    /// A debt can't be paid off outside, or was not.
    #[error(transparent)]
    Settle(#[from] SettleFault),

    /// A request can't be made, or paid.
    #[error(transparent)]
    Request(#[from] RequestFault),

    /// No agent keeps books for this user.
    #[error("no agent keeps books for this wallet")]
    NoAgent,

    /// The agent does not answer. What it was asked for may have reached it.
    #[error("the agent that keeps these books does not answer: {0}")]
    AgentAway(NetError),

    /// The agent says no.
    #[error("the agent refuses: {detail}")]
    AgentRefused {
        /// The agent's own code.
        code: &'static str,
        /// Its words.
        detail: String,
    },

    /// The agent of the owner of a payment account says no.
    #[error("the payment account refuses: {detail}")]
    AccountRefused {
        /// The agent's own code.
        code: &'static str,
        /// Its words.
        detail: String,
    },

    /// There is no payment account of this name.
    #[error("there is no payment account {0:?}")]
    UnknownAccount(String),

    /// The agent keeps these books, and this can only be done where they are kept.
    #[error("the agent keeps the books with {0}: this needs them here")]
    WithAgent(String),

    /// An evidence bundle does not verify.
    #[error("{}", .0.message)]
    EvidenceInvalid(Box<EvidenceFault>),

    /// The command line or a call's arguments make no sense.
    #[error("{0}")]
    Usage(String),

    /// The key of an operation was used for something else before.
    #[error("the key {0:?} was used for something else before")]
    KeyReused(String),

    /// A bug or a broken system: the message says where.
    #[error("internal: {0}")]
    Internal(String),
}

impl ClientError {
    /// A stable name of this error, for machines.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Ledger(e) => e.code(),
            Self::NoWallet(_) => "no_wallet",
            Self::WalletExists(_) => "wallet_exists",
            Self::PassphraseNeeded => "passphrase_needed",
            Self::KeyFile(e) => e.code(),
            Self::OtherRoot { .. } => "other_root",
            Self::StoreFull => "store_full",
            Self::Store(_) => "store_failed",
            Self::StoreCorrupt { .. } => "store_corrupt",
            Self::Io { .. } => "io_failed",
            Self::Config(e) => e.code(),
            Self::BookKeyInUse(_) => "book_key_in_use",
            Self::GenerationUnknown(_) => "generation_unknown",
            Self::EpochEnded(_) => "epoch_ended",
            Self::WaitingForAck(_) => "waiting_for_ack",
            Self::LimitExceeded(_) => "limit_exceeded",
            Self::NoCreditLine { .. } => "no_credit_line",
            Self::UnitNotOpen(_) => "unit_not_open",
            Self::ChannelFrozen { .. } => "channel_frozen",
            Self::NotSettled(_) => "not_settled",
            Self::UnknownFriend(_) => "unknown_friend",
            Self::UnknownProposal(_) => "unknown_proposal",
            Self::ProposalUnusable { why, .. } => why.code(),
            Self::AccountExists(_) => "account_exists",
            Self::NoSuchRule => "unknown_rule",
            Self::NameTaken(_) => "name_taken",
            Self::OwnKey => "own_key",
            Self::NoHomeserver => "no_homeserver",
            Self::Net(e) => e.code(),
            Self::Malformed { .. } => "malformed",
            Self::LogUnknown(_) => "log_unknown",
            Self::LogRefused { .. } => "log_refused",
            Self::LogUnreadable { .. } => "log_unreadable",
            Self::NoLog => "no_log",
            Self::LogInUse(_) => "log_in_use",
            Self::SecretUnknown(_) => "secret_unknown",
            Self::NothingToPublish(_) => "nothing_to_publish",
            Self::Log(e) => e.code(),
            Self::Payment(fault) => fault.code(),
            Self::Settle(fault) => fault.code(),
            Self::Request(fault) => fault.code(),
            Self::NoAgent => "no_agent",
            Self::AgentAway(_) => "agent_away",
            Self::AgentRefused { code, .. } | Self::AccountRefused { code, .. } => code,
            Self::UnknownAccount(_) => "unknown_account",
            Self::WithAgent(_) => "with_agent",
            Self::EvidenceInvalid(fault) => fault.code,
            Self::Usage(_) => "usage",
            Self::KeyReused(_) => "idempotency_key_reused",
            Self::Internal(_) => "internal",
        }
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoWallet(_) => "make one with `atomicity init`, or name its folder with --home".to_owned(),
            Self::WalletExists(_) => "choose another folder with --home; nothing was overwritten".to_owned(),
            Self::PassphraseNeeded => {
                "run on a terminal, or give --passphrase-file or ATOMICITY_PASSPHRASE".to_owned()
            }
            Self::StoreFull => "make room and run the same command again".to_owned(),
            Self::BookKeyInUse(_) => {
                "use the other copy; if it is lost, run `atomicity recover` in a new folder".to_owned()
            }
            Self::GenerationUnknown(_) => {
                "try again when the homeserver answers; nothing was signed".to_owned()
            }
            Self::EpochEnded(_) => "this copy no longer keeps the books; use the newer one".to_owned(),
            Self::WaitingForAck(_) => {
                "run `atomicity sync` (or leave `atomicity watch` running) until they have been online".to_owned()
            }
            Self::LimitExceeded(_) => {
                "give less, or ask for a larger credit line; nothing was signed".to_owned()
            }
            Self::NoCreditLine { friend, unit } => format!(
                "ask {friend} for a credit line (they run `atomicity friend limit <you> \"… {unit}\"`), then `atomicity sync`"
            ),
            Self::UnitNotOpen(unit) => format!("open it with `atomicity unit open {unit}`"),
            Self::ChannelFrozen { friend, .. } => {
                format!("`atomicity evidence export {friend}` writes down both records as proof")
            }
            Self::NotSettled(_) => "settle first, or use --force to hide the contact anyway".to_owned(),
            Self::UnknownFriend(_) => "`atomicity friend list` shows them; add one with `atomicity friend add <key>`".to_owned(),
            Self::UnknownProposal(_) => "`atomicity proposals` lists what waits".to_owned(),
            Self::ProposalUnusable { why, .. } => return why.hint(),
            Self::AccountExists(_) => "`atomicity account list` shows it; an app needs a fresh key for another one".to_owned(),
            Self::NoSuchRule => "`atomicity rule list` shows them".to_owned(),
            Self::NameTaken(_) => "choose another with --name".to_owned(),
            Self::NoHomeserver => "choose one with `atomicity signup <homeserver>`".to_owned(),
            Self::LogUnknown(_) | Self::NoLog => "add one with `atomicity log add <address>`; `atomicity log list` shows those known".to_owned(),
            Self::LogRefused { .. } => "choose another with --log; `atomicity log list` shows the proof, if there is one".to_owned(),
            Self::LogInUse(_) => "`atomicity promises` shows them; `atomicity log refuse` keeps new ones away".to_owned(),
            Self::SecretUnknown(_) => "`atomicity secret list` shows those kept; the 32 bytes themselves can be given too".to_owned(),
            Self::NothingToPublish(_) => "nothing was sent; with --log it is published all the same".to_owned(),
            Self::NoAgent => "let one keep books with `atomicity agent on`".to_owned(),
            Self::AgentAway(_) => {
                "look at `atomicity history` after the next `atomicity sync` before paying again; if the plugin is gone for good, `atomicity agent off --force` takes the books over".to_owned()
            }
            Self::AgentRefused { code: "agent_stopped" | "agent_unknown" | "books_restored" | "pair_unknown", .. } => {
                "`atomicity agent revoke` takes the books over; `atomicity agent on` begins anew".to_owned()
            }
            Self::AgentRefused { code: "day_limit_exceeded", .. } => {
                "wait for tomorrow (UTC), or raise it with `atomicity agent on --per-day`; nothing was signed".to_owned()
            }
            Self::WithAgent(friend) => format!("`atomicity agent take-back {friend}` brings them here"),
            Self::Net(e) => return net_hint(e),
            Self::Payment(fault) => return fault.hint(),
            Self::Settle(fault) => return fault.hint(),
            Self::Request(fault) => return fault.hint(),
            _ => return None,
        };
        Some(hint)
    }

    /// The exit code of the command line for this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoWallet(_)
            | Self::WalletExists(_)
            | Self::PassphraseNeeded
            | Self::UnknownFriend(_)
            | Self::UnknownProposal(_)
            | Self::ProposalUnusable { .. }
            | Self::AccountExists(_)
            | Self::NoSuchRule
            | Self::NameTaken(_)
            | Self::OwnKey
            | Self::NoHomeserver
            | Self::LogUnknown(_)
            | Self::NoLog
            | Self::SecretUnknown(_)
            | Self::Config(_)
            | Self::KeyReused(_)
            | Self::Usage(_) => 2,
            Self::Ledger(e) => ledger_exit_code(e),
            Self::Payment(fault) => fault.exit_code(),
            Self::Settle(fault) => fault.exit_code(),
            Self::Request(fault) => fault.exit_code(),
            Self::LimitExceeded(_)
            | Self::NoCreditLine { .. }
            | Self::UnitNotOpen(_)
            | Self::ChannelFrozen { .. }
            | Self::NotSettled(_)
            | Self::LogRefused { .. }
            | Self::LogInUse(_)
            | Self::NothingToPublish(_) => 3,
            Self::NoAgent => 2,
            Self::AgentRefused { code, .. } => exit::of_agent(code),
            Self::AccountRefused { code, .. } => exit::of_account(code),
            Self::UnknownAccount(_) => 2,
            Self::WithAgent(_) => 5,
            Self::LogUnreadable { .. } | Self::AgentAway(_) => 4,
            Self::Net(e) if e.is_network() => 4,
            Self::BookKeyInUse(_)
            | Self::GenerationUnknown(_)
            | Self::EpochEnded(_)
            | Self::WaitingForAck(_) => 5,
            Self::KeyFile(_) | Self::OtherRoot { .. } => 6,
            Self::StoreFull | Self::Store(_) | Self::Io { .. } => 7,
            _ => 1,
        }
    }

    /// Whether trying again later, with nothing changed, may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::GenerationUnknown(_) => true,
            Self::Net(e) | Self::AgentAway(e) => e.is_retryable(),
            _ => false,
        }
    }

    /// Whether the other side could not be reached at all.
    #[must_use]
    pub fn is_network(&self) -> bool {
        matches!(self, Self::Net(e) | Self::AgentAway(e) if e.is_network())
    }
}

fn net_hint(error: &NetError) -> Option<String> {
    if let Some(wait) = error.retry_after() {
        return Some(format!("try again in {} seconds", wait.as_secs().max(1)));
    }
    error
        .is_network()
        .then(|| "check the connection; `atomicity doctor` looks at every part".to_owned())
}

fn ledger_exit_code(error: &LedgerError) -> u8 {
    match error {
        LedgerError::KeyInvalid(_)
        | LedgerError::UnitInvalid { .. }
        | LedgerError::UnitAmbiguous { .. }
        | LedgerError::AmountInvalid(_)
        | LedgerError::TextInvalid { .. }
        | LedgerError::RuleInvalid(_)
        | LedgerError::PromiseUnknown => 2,
        LedgerError::LimitExceeded { .. }
        | LedgerError::BelowMinimum { .. }
        | LedgerError::Frozen { .. }
        | LedgerError::CapAboveAuthority { .. }
        | LedgerError::TermsRefused { .. }
        | LedgerError::NoSlot { .. }
        | LedgerError::NotReleasable { .. }
        | LedgerError::CannotSettle { .. }
        | LedgerError::TotalOverflow => 3,
        LedgerError::NoPen { .. }
        | LedgerError::BookNotAcknowledged
        | LedgerError::EpochEnded { .. }
        | LedgerError::NotAuthorized { .. }
        | LedgerError::AuthorityExpired { .. }
        | LedgerError::AuthorityNotYetValid { .. }
        | LedgerError::KeyRevoked { .. } => 5,
        _ => 1,
    }
}

impl From<sqlx::Error> for ClientError {
    fn from(error: sqlx::Error) -> Self {
        // 13 is SQLITE_FULL; extended codes keep the primary one in their low byte.
        let full = error
            .as_database_error()
            .and_then(|e| e.code())
            .and_then(|code| code.parse::<u32>().ok())
            .is_some_and(|code| code & 0xff == 13);
        if full {
            Self::StoreFull
        } else {
            Self::Store(error.to_string())
        }
    }
}
