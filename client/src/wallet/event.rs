//! What happened, for those who watch.

use atomicity_ledger::record::ReleaseReason;
use atomicity_ledger::{Balance, PaymentHash, Preimage, RecordHash, RecordId, Unit, UserKey};

use super::settle::SettleRole;
use crate::store::history::Direction;

/// Something that happened to one friend's books, or on the way to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletEvent {
    /// When this wallet learned of it, Unix milliseconds.
    pub at: u64,
    /// The friend's key, if it is about one.
    pub user: Option<UserKey>,
    /// What the user calls them.
    pub friend: Option<String>,
    /// What happened.
    pub kind: WalletEventKind,
}

impl WalletEventKind {
    /// Whether a payment over friends may go on by it.
    pub(crate) fn is_about_payments(&self) -> bool {
        matches!(
            self,
            Self::Paid { .. } | Self::Released { .. } | Self::Expired { .. }
        )
    }
}

/// The kinds of events. Amounts are in minor units of `unit`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalletEventKind {
    /// Everything that had happened before was read: from now on events are live.
    Ready,
    /// The friend's total grew: they gave something.
    Payment {
        /// In what.
        unit: Unit,
        /// How much.
        amount: u64,
        /// What they wrote beside it.
        memo: Option<String>,
        /// What the friend owes now, net.
        net: Balance,
    },
    /// The friend promised something that may become due.
    Promised {
        /// The promise's own name: its hash.
        iou: RecordHash,
        /// In what.
        unit: Unit,
        /// How much.
        amount: u64,
        /// What it hangs on.
        hash: PaymentHash,
        /// Until when it may become due, Unix milliseconds.
        deadline: u64,
    },
    /// The friend has a promise of this wallet.
    PromiseArrived {
        /// The promise.
        iou: RecordHash,
    },
    /// A promise was given up: nothing is owed under it.
    Released {
        /// The promise.
        iou: RecordHash,
        /// Whose promise it was: the user's own go out.
        direction: Direction,
        /// In what.
        unit: Unit,
        /// How much.
        amount: u64,
        /// Why.
        reason: ReleaseReason,
    },
    /// A promise of the friend is due: owed, whether it is booked yet or not.
    Due {
        /// The promise.
        iou: RecordHash,
        /// In what.
        unit: Unit,
        /// How much.
        amount: u64,
        /// What was published.
        preimage: Preimage,
    },
    /// Promises that were due are booked now.
    Merged {
        /// The promise, if it is the user's own.
        iou: Option<RecordHash>,
        /// Whose promise it was: the user's own go out.
        direction: Direction,
        /// In what.
        unit: Unit,
        /// How much.
        amount: u64,
        /// What the friend owes now, net.
        net: Balance,
    },
    /// It is proven that a promise was not published in time: what it reserved is free.
    Expired {
        /// The promise.
        iou: RecordHash,
        /// Whose promise it was: the user's own go out.
        direction: Direction,
        /// In what.
        unit: Unit,
        /// How much.
        amount: u64,
    },
    /// It is proven that a log, or one of its cosigners, lied.
    LogCaught {
        /// The log.
        origin: String,
        /// The verifier key of who lied.
        culprit: String,
        /// What was done, in words.
        what: String,
    },
    /// A promise was passed on to this friend.
    PassedOn {
        /// In what.
        unit: Unit,
        /// What was promised onward.
        amount: u64,
        /// What stays here if it is paid.
        fee: u64,
    },
    /// All that an invoice asked for was paid.
    InvoicePaid {
        /// The invoice.
        invoice: RecordId,
        /// In what.
        unit: Unit,
        /// How much.
        amount: u64,
    },
    /// A friend asks the user to pay.
    Asked {
        /// The request.
        request: RecordId,
        /// In what.
        unit: Unit,
        /// How much, if it says so.
        amount: Option<u64>,
        /// What for.
        memo: Option<String>,
    },
    /// A debt of the friend was called in, by a rule.
    Called {
        /// The request.
        request: RecordId,
        /// In what.
        unit: Unit,
        /// What they owe.
        amount: u64,
    },
    /// Somebody paid a part of a request of this user.
    RequestPaid {
        /// The request.
        request: RecordId,
        /// Who, if it is somebody with a key.
        payer: Option<UserKey>,
        /// How, if it was not in credit: the name of a way.
        by: Option<&'static str>,
        /// What a payer without a key calls themselves. Theirs to choose: escape it before it is shown.
        from: Option<String>,
        /// In what.
        unit: Unit,
        /// How much.
        amount: u64,
        /// How much of the request is paid now.
        filled: u64,
    },
    /// All that a request of this user asks for is paid. Told once.
    RequestFilled {
        /// The request.
        request: RecordId,
        /// In what.
        unit: Unit,
        /// How much came.
        amount: u64,
        /// What it was for.
        memo: Option<String>,
    },
    /// A request that was sent to the user is closed: paid, or taken back.
    RequestClosed {
        /// The request.
        request: RecordId,
    },
    /// The wallet paid a part of a request.
    PartPaid {
        /// The request.
        request: RecordId,
        /// The part.
        part: RecordId,
        /// Which turn of it.
        turn: Option<u32>,
        /// In what.
        unit: Unit,
        /// How much.
        amount: u64,
    },
    /// A payment over friends is made.
    Paid {
        /// The payment.
        payment: RecordId,
        /// In what.
        unit: Unit,
        /// How much arrived.
        amount: u64,
        /// What it cost beyond that.
        fee: u64,
    },
    /// A circle of debts was cleared.
    Cleared {
        /// The payment round it.
        payment: RecordId,
        /// In what.
        unit: Unit,
        /// What every debt on it fell by.
        amount: u64,
    },
    /// A payment over friends did not get through: nothing is owed.
    NotPaid {
        /// The payment.
        payment: RecordId,
        /// In what.
        unit: Unit,
        /// How much was to arrive.
        amount: u64,
        /// Why: a code.
        why: String,
    },
    /// A debt that is to be paid off outside got further.
    Settlement {
        /// Which.
        id: RecordId,
        /// On which side the user is.
        role: SettleRole,
        /// In what the claim is.
        unit: Unit,
        /// By how much it falls.
        amount: u64,
        /// How far it is.
        stage: &'static str,
        /// Why it was not paid: a code.
        reason: Option<&'static str>,
        /// Whether the user has to say whether it is paid.
        waits_for_user: bool,
    },
    /// A payment account of the user asked for something, or that got further.
    Spend {
        /// Which.
        id: RecordId,
        /// What the user calls the account.
        account: String,
        /// In what.
        unit: Unit,
        /// How much is to arrive.
        amount: u64,
        /// `waiting` for this wallet, `paying`, `unknown`, `paid`, `failed`.
        state: String,
        /// Why it failed: a code.
        reason: Option<String>,
    },
    /// The user's page or an app proposes something: nothing is done before the user says so.
    Proposed {
        /// Its name.
        id: RecordId,
        /// What it is: `friend`, `limit`, `pay`.
        what: &'static str,
    },
    /// The friend took what was sent up to this state.
    Acknowledged {
        /// In what.
        unit: Unit,
        /// The newest state that they took.
        seq: u64,
    },
    /// The friend gave back what exceeded their limit.
    Refused {
        /// In what.
        unit: Unit,
        /// How much.
        amount: u64,
    },
    /// This wallet gave back what exceeded its own limit.
    PaidBack {
        /// In what.
        unit: Unit,
        /// How much.
        amount: u64,
    },
    /// The friend set a credit line.
    Line {
        /// In what.
        unit: Unit,
        /// What the user may owe them.
        accept: u64,
    },
    /// A stranger said hello.
    Hello,
    /// A rule about many gave somebody a credit line, changed it, or took it back.
    LineByRule {
        /// Which rule.
        rule: u32,
        /// Why, in words; `None` if the rule is gone.
        why: Option<String>,
        /// In what.
        unit: Unit,
        /// What they may owe from now on.
        line: u64,
        /// Whether they became a friend by it.
        let_in: bool,
    },
    /// The friend's books are kept by a new key.
    Book {
        /// Since this epoch.
        epoch: u64,
    },
    /// The friend acknowledged this wallet's new book.
    BookAcknowledged {
        /// Of this epoch.
        epoch: u64,
    },
    /// What an earlier key of the friend had signed exceeds what binds them.
    Unbound {
        /// In what.
        unit: Unit,
        /// What was signed.
        signed: u64,
        /// What binds.
        bound: u64,
    },
    /// The friend contradicted themselves: the channel is frozen.
    Frozen {
        /// In what.
        unit: Unit,
        /// How.
        reason: String,
    },
    /// Another store signed with this wallet's book key.
    WrittenElsewhere {
        /// In what.
        unit: Unit,
    },
    /// Something can't be reached.
    Unreachable {
        /// `homeserver`, `plugin` or `friend`.
        what: &'static str,
        /// Which one.
        who: String,
        /// Why.
        message: String,
    },
    /// It can be reached again.
    Reachable {
        /// `homeserver`, `plugin` or `friend`.
        what: &'static str,
        /// Which one.
        who: String,
    },
    /// A record was refused, or an operation failed; the wallet goes on.
    Error {
        /// A stable code.
        code: String,
        /// In words.
        message: String,
    },
}
