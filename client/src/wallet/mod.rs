//! A user's wallet: it keeps the books with every friend, signs, fetches, sends and recovers.
//!
//! [`Wallet::create`] makes one, [`Wallet::open`] opens it. What changes the books is one transaction of the store that holds the
//! pair, what has to be sent, and the history; only then is anything sent ([`Wallet::flush`]). What comes from others is applied
//! by [`Wallet::sync`] and [`Wallet::watch`], and answered the same way.
//!
//! ```no_run
//! use atomicity_client::config::{Config, Overrides};
//! use atomicity_client::wallet::{IssueOptions, Wallet};
//!
//! # async fn example() -> Result<(), atomicity_client::ClientError> {
//! let wallet = Wallet::open(&Config::load(&Overrides::default())?).await?;
//! wallet.sync(&[]).await?;
//! let friend = wallet.friend("the baker").await?;
//! let money = wallet.parse_money("2.00 BREAD/2").await?;
//! let issued = wallet.issue(&friend.user, money, IssueOptions::default()).await?;
//! println!("{:?}: {}", issued.delivery, issued.channel.net.minor());
//! # Ok(())
//! # }
//! ```

mod access;
mod accounts;
mod agent;
mod authority;
mod books;
mod contact_list;
mod create;
mod decide;
mod diary;
mod directory;
mod doctor;
mod endpoints;
mod event;
mod evidence;
mod exchange;
mod flush;
mod forward;
mod friends;
mod generation;
mod history;
mod home_move;
mod inbox;
mod invoice;
mod issue;
mod lines;
mod logs;
mod operations;
mod paths;
mod pay;
mod profile;
mod promise;
mod proposals;
mod publish;
mod receive;
mod recover;
mod requests;
mod root;
mod routed;
mod rules;
mod secret;
mod services;
mod settle;
mod signup;
mod snapshot;
mod sync;
#[cfg(test)]
mod tests;
mod units;
mod view;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use atomicity_ledger::{Timestamp, UserKey};
use atomicity_paykit_adapter::rates::RateSource;

use crate::config::Config;
use crate::error::ClientError;
use crate::net::session::HomeSession;
use crate::net::{Home, Net, now_ms};
use crate::store::{Store, parse_own, settings};

pub use crate::net::plugin::Wish;
pub use crate::store::confirmed::ConfirmRule;
pub use crate::store::contacts::{Contact, ContactStatus};
pub use crate::store::history::{Direction, HistoryItem, HistoryQuery};
pub use crate::store::inbox::PendingRecord;
pub use crate::store::rails::{OwnRate, SettleRule};
pub use crate::store::units::OpenUnit;
pub use crate::store::watchtowers::Watchtower;
pub use access::parse_user;
pub use accounts::{AccountView, MadeAccount, NewAccount, SpendStage, SpendView};
pub use agent::{
    AgentPairView, AgentSignature, AgentStage, AgentStatus, AgentTerms, TakenBack, TakenBackBy,
};
pub use create::{Created, ROOT_FILE};
pub use decide::DecideReport;
pub use diary::DiaryOutcome;
pub use doctor::{Check, Diagnosis};
pub use endpoints::EndpointView;
pub use event::{WalletEvent, WalletEventKind};
pub use evidence::{Bundle, verify_evidence};
pub use exchange::{RATES_STAND, RatesView};
pub use flush::{Delivery, Fault, FlushReport};
pub use forward::{ForwardRule, PassedOn};
pub use friends::{Added, FriendDetails, LimitChange};
pub use home_move::Moved;
pub use inbox::InboxReport;
pub use invoice::{DEFAULT_INVOICE_EXPIRY, InvoiceKeeper, InvoiceState, InvoiceTerms, InvoiceView};
pub use issue::{IssueOptions, IssuedPayment};
pub use lines::UnattendedTerms;
pub use logs::{CosignerView, ForkView, LogSource, LogView};
pub use operations::{MadeKind, OPERATIONS_KEPT, OperationView};
pub use pay::{
    Circle, PAY_DEADLINE, PayOptions, PayProgress, PayTarget, Payable, PaymentFault, PaymentPart,
    PaymentState, PaymentView, ReceiptView, Way, WayExchange, WayPart,
};
pub use profile::PublishedProfile;
pub use promise::{DEFAULT_DEADLINE, Hangs, MadePromise, PromiseTerms, PromiseView, standing_name};
pub use proposals::{
    AcceptTerms, InvoiceOutside, ProposalQuote, ProposalState, ProposalView, ProposalWay,
};
pub use recover::{Recovered, RecoveredFriend};
pub use requests::{
    ApprovalPlace, ApprovalView, CallRule, CallWhen, CallWho, GuestRail, GuestStage, GuestWay,
    GuestsView, PART_PATIENCE, PayingStage, REQUEST_HOLD, REQUEST_STANDS, RequestFault,
    RequestGuest, RequestPart, RequestProgress, RequestReceipt, RequestRole, RequestTerms,
    RequestView,
};
pub use root::RootKey;
pub use rules::{GrantView, RuleView, Trial, TriedRule};
pub use secret::{KeptSecret, PublishedSecret, SecretOrHash};
pub use services::{
    Excluded, Rated, RatingView, Search, ServiceView, Stance, Tally, rating_kind_name, verdict_name,
};
pub use settle::{
    CanSettle, DEFAULT_SETTLE_EXPIRY, OutsidePays, OutsideTerms, RailBounds, RailSettings,
    RailView, RateView, SETTLE_PATIENCE, SettleFault, SettleRole, SettleTerms, SettlementView,
};
pub(crate) use settle::{bitcoins, read_invoice};
pub use signup::{PluginOutcome, PluginRegistration, SignedUp};
pub use snapshot::SnapshotOutcome;
pub use sync::{SyncReport, UnreachableFriend};
pub use units::{ClosedUnit, DEFAULT_CAP_WHOLE_UNITS, OpenedUnit};
pub use view::{ChannelState, ChannelView, Identity, UnitTotal, totals};
pub use watch::WatchOptions;

/// How long the homeserver's word that this store keeps the books is good for.
const MAY_SIGN_FOR: Duration = Duration::from_secs(10);

/// How often the watchtowers are asked.
const ASK_TOWERS_EVERY: Duration = Duration::from_secs(30);
/// How often it is looked which requests are over, and which debts are to be called in.
const LOOK_AT_DEBTS_EVERY: Duration = Duration::from_secs(10);

/// How often it is looked for what the user's page and apps propose.
const LOOK_AT_PROPOSALS_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked for guests who want to pay, beside when the plugin says that one has come.
const LOOK_AT_GUESTS_EVERY: Duration = Duration::from_secs(10);
/// How often it is looked what the chain brought guests' addresses.
const LOOK_AT_CHAIN_EVERY: Duration = Duration::from_secs(4);
/// How often it is looked whether guests paid after their time.
const LOOK_AT_LATE_GUESTS_EVERY: Duration = Duration::from_secs(60);

/// An open wallet. Cheap to clone; clones and other processes may use the same store at once.
#[derive(Clone, Debug)]
pub struct Wallet {
    inner: Arc<Inner>,
    /// Whether somebody else closes the store.
    lent: bool,
    /// For which operation it was lent: its key.
    operation: Option<Arc<str>>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    config: Config,
    net: Net,
    me: UserKey,
    session: tokio::sync::Mutex<Option<HomeSession>>,
    may_sign_since: Mutex<Option<Instant>>,
    towers_asked: Mutex<Option<Instant>>,
    debts_looked: Mutex<Option<Instant>>,
    proposals_looked: Mutex<Option<Instant>>,
    guests_looked: Mutex<Option<Instant>>,
    chain_looked: Mutex<Option<Instant>>,
    late_guests_looked: Mutex<Option<Instant>>,
    /// What this process has told plugins of how guests may pay.
    guests_told: Mutex<Option<String>>,
    directory: Mutex<Option<Arc<directory::Directory>>>,
    /// Friends to whom a task of this process is sending.
    sending: Mutex<BTreeSet<UserKey>>,
    /// The rails that were opened, by name.
    rails: tokio::sync::Mutex<BTreeMap<String, settle::OpenRail>>,
    /// The sources of rates that were opened, by their pair.
    rates: tokio::sync::Mutex<BTreeMap<String, Arc<dyn RateSource>>>,
    /// What was remembered of homeservers when the wallet was opened.
    homes: Option<String>,
}

impl Wallet {
    /// Opens the wallet in the configured folder. Talks to nobody.
    ///
    /// # Errors
    /// [`ClientError::NoWallet`] if there is none, [`ClientError::Store`] if it can't be read.
    pub async fn open(config: &Config) -> Result<Self, ClientError> {
        let store = Store::open(&config.home).await?;
        Self::over(store, config).await
    }

    async fn over(store: Store, config: &Config) -> Result<Self, ClientError> {
        let mut conn = store.read().await?;
        let me = settings::need(&mut conn, settings::USER).await?;
        let me = parse_own(&me, "the wallet's user")?;
        let remembered = settings::get(&mut conn, settings::KNOWN_HOMES).await?;
        let homes = known_homes(remembered.as_deref());
        drop(conn);
        let net = Net::new(&config.network)?;
        net.seed_homes(homes);
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                config: config.clone(),
                net,
                me,
                session: tokio::sync::Mutex::new(None),
                may_sign_since: Mutex::new(None),
                towers_asked: Mutex::new(None),
                debts_looked: Mutex::new(None),
                proposals_looked: Mutex::new(None),
                guests_looked: Mutex::new(None),
                chain_looked: Mutex::new(None),
                late_guests_looked: Mutex::new(None),
                guests_told: Mutex::new(None),
                directory: Mutex::new(None),
                sending: Mutex::default(),
                rails: tokio::sync::Mutex::default(),
                rates: tokio::sync::Mutex::default(),
                homes: remembered,
            }),
            lent: false,
            operation: None,
        })
    }

    /// Whose wallet this is.
    #[must_use]
    pub fn user(&self) -> UserKey {
        self.inner.me
    }

    /// The wallet's folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.inner.store.home()
    }

    /// The settings in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Remembers what was learned on the way and closes the store. One that was [lent](Self::lent) stays open.
    pub async fn close(&self) {
        if self.lent {
            return;
        }
        // Nothing of value is lost if this fails: it only saves look-ups.
        self.keep_session().await.ok();
        self.keep_homes().await.ok();
        self.inner.store.close().await;
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn net(&self) -> &Net {
        &self.inner.net
    }

    fn checked_lately(&self) -> bool {
        self.inner
            .may_sign_since
            .lock()
            .ok()
            .and_then(|since| *since)
            .is_some_and(|since| since.elapsed() < MAY_SIGN_FOR)
    }

    /// Whether it is to be looked now for what is proposed, which is noted.
    fn looks_at_proposals(&self) -> bool {
        is_due(&self.inner.proposals_looked, LOOK_AT_PROPOSALS_EVERY)
    }

    /// Whether it is to be looked now for guests, which is noted.
    fn looks_at_guests(&self) -> bool {
        is_due(&self.inner.guests_looked, LOOK_AT_GUESTS_EVERY)
    }

    /// A guest has come: the next look is now.
    fn guests_have_come(&self) {
        if let Ok(mut looked) = self.inner.guests_looked.lock() {
            *looked = None;
        }
    }

    /// Whether it is to be looked now what came to guests' addresses, which is noted.
    fn looks_at_chain_for_guests(&self) -> bool {
        is_due(&self.inner.chain_looked, LOOK_AT_CHAIN_EVERY)
    }

    /// Whether it is to be looked now for guests who paid after their time, which is noted.
    fn looks_at_late_guests(&self) -> bool {
        is_due(&self.inner.late_guests_looked, LOOK_AT_LATE_GUESTS_EVERY)
    }

    /// Whether the plugins have not heard this from this process.
    fn is_news_of_guests(&self, text: &str) -> bool {
        let told = self.inner.guests_told.lock();
        told.map_or(true, |told| told.as_deref() != Some(text))
    }

    fn note_told_of_guests(&self, text: String) {
        if let Ok(mut told) = self.inner.guests_told.lock() {
            *told = Some(text);
        }
    }

    /// Whether the watchtowers are to be asked now, which is noted.
    fn asks_towers(&self) -> bool {
        is_due(&self.inner.towers_asked, ASK_TOWERS_EVERY)
    }

    /// Whether all own requests and all debts are to be looked at now, which is noted.
    fn looks_at_debts_now(&self) -> bool {
        is_due(&self.inner.debts_looked, LOOK_AT_DEBTS_EVERY)
    }

    fn note_checked(&self) {
        if let Ok(mut since) = self.inner.may_sign_since.lock() {
            *since = Some(Instant::now());
        }
    }

    async fn keep_homes(&self) -> Result<(), ClientError> {
        let mut homes: Vec<(String, String, u64)> = self
            .net()
            .known_homes()
            .into_iter()
            .map(|home| {
                (
                    home.user.to_z32(),
                    home.homeserver.to_z32(),
                    home.resolved_at,
                )
            })
            .collect();
        homes.sort();
        let text =
            serde_json::to_string(&homes).map_err(|e| ClientError::Internal(e.to_string()))?;
        if self.inner.homes.as_ref() == Some(&text) || homes.is_empty() {
            return Ok(());
        }
        let mut tx = self.store().write().await?;
        settings::set(tx.conn(), settings::KNOWN_HOMES, &text).await?;
        tx.commit().await
    }
}

/// Whether so much time has passed since the last time, which is now then.
fn is_due(last: &Mutex<Option<Instant>>, every: Duration) -> bool {
    let Ok(mut last) = last.lock() else {
        return true;
    };
    let due = last.is_none_or(|at| at.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

/// What an earlier run remembered; anything unreadable is only forgotten.
fn known_homes(text: Option<&str>) -> Vec<Home> {
    let rows: Vec<(String, String, u64)> = text
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    rows.into_iter()
        .filter_map(|(user, homeserver, resolved_at)| {
            Some(Home {
                user: user.parse().ok()?,
                homeserver: homeserver.parse().ok()?,
                resolved_at,
            })
        })
        .collect()
}

/// The present, as records write it.
fn now() -> Timestamp {
    Timestamp::saturating_from_millis(now_ms())
}

/// Fresh bytes of the system's randomness.
fn entropy<const N: usize>() -> [u8; N] {
    use rand::Rng as _;
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
