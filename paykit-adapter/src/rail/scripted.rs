//! A rail that does as it is told, for tests of whoever pays by rails. It keeps nothing beyond its life, and moves no money.
//!
//! For each id a [`Script`] sets three things apart: what truly happens ([`Effect`]), what `pay` says of it ([`Says`]), and what later
//! look-ups say ([`Knows`]). Together with a crash at any point that is every way in which a real rail can leave its caller in doubt.
//! Whatever is said, the truth can be asked: [`ScriptedRail::times_paid`].

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atomicity_ledger::{Money, Preimage, Timestamp, Total};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Rail;
use super::error::RailError;
use super::payment::{
    Failure, FailureReason, Health, Order, Outcome, PaymentId, Proof, Quote, Receipt, Standing,
};
use crate::name::MethodId;

/// What truly happens to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is paid.
    Pays,
    /// It fails for good.
    Fails(FailureReason),
    /// It hangs on its way until [`ScriptedRail::resolve`].
    Hangs,
    /// The request is lost before it arrives: a later one may arrive.
    Lost,
}

/// What `pay` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// What is true.
    Truth,
    /// That it does not know.
    Unknown,
    /// Nothing, ever: the call ends only by being dropped.
    Nothing,
}

/// What one look-up says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knows {
    /// What is true.
    Truth,
    /// That it is under way, whatever is true.
    InFlight,
    /// That it can't say.
    Unreachable,
}

/// How one id is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What truly happens when the first request to pay arrives.
    pub effect: Effect,
    /// What `pay` says.
    pub says: Says,
    /// What the look-ups say, in turn; after the last the truth. The question that `pay` itself asks first is not one of them.
    pub knows: Vec<Knows>,
}

impl Script {
    /// The script of a rail that works.
    #[must_use]
    pub fn works() -> Self {
        Self {
            effect: Effect::Pays,
            says: Says::Truth,
            knows: Vec::new(),
        }
    }
}

#[derive(Debug)]
struct Account {
    script: Script,
    knows: VecDeque<Knows>,
    preimage: Option<Preimage>,
    truth: Standing,
    asked: u32,
    paid: u32,
}

impl Account {
    fn new(script: Script) -> Self {
        Self {
            knows: script.knows.iter().copied().collect(),
            script,
            preimage: None,
            truth: Standing::NeverSeen,
            asked: 0,
            paid: 0,
        }
    }

    /// A request to pay arrives.
    fn arrive(&mut self, id: PaymentId, fee: Total) {
        self.asked = self.asked.saturating_add(1);
        if self.truth != Standing::NeverSeen {
            return;
        }
        match self.script.effect {
            Effect::Pays => self.resolve(id, None, fee),
            Effect::Fails(reason) => self.resolve(id, Some(reason), fee),
            Effect::Hangs => self.truth = Standing::InFlight,
            // Only this one.
            Effect::Lost => self.script.effect = Effect::Pays,
        }
    }

    fn resolve(&mut self, id: PaymentId, failure: Option<FailureReason>, fee: Total) {
        if let Some(reason) = failure {
            self.truth = Standing::FailedForGood(Failure::new(reason, "as scripted"));
            return;
        }
        self.paid = self.paid.saturating_add(1);
        let proof = match self.preimage {
            Some(preimage) => Proof::Preimage(preimage),
            None => Proof::Statement(format!("paid {id}")),
        };
        self.truth = Standing::Succeeded(Receipt { proof, fee });
    }
}

/// The rail. Its targets are what [`ScriptedRail::target`] makes.
pub struct ScriptedRail {
    name: String,
    methods: Vec<MethodId>,
    fee: Total,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    usual: Option<Script>,
    down: bool,
    accounts: BTreeMap<PaymentId, Account>,
}

impl State {
    fn account(&mut self, id: PaymentId) -> &mut Account {
        let usual = self.usual.clone().unwrap_or_else(Script::works);
        self.accounts
            .entry(id)
            .or_insert_with(|| Account::new(usual))
    }
}

const DOWN: &str = "the rail is down, as scripted";

impl ScriptedRail {
    /// A rail that works, pays these methods, and charges `fee` for each payment.
    #[must_use]
    pub fn new(name: &str, methods: Vec<MethodId>, fee: Total) -> Self {
        Self {
            name: name.to_owned(),
            methods,
            fee,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How every id is treated that has no script of its own.
    pub fn usually(&self, script: Script) {
        self.state().usual = Some(script);
    }

    /// How `id` is treated. What happened to it before is forgotten.
    pub fn script(&self, id: PaymentId, script: Script) {
        self.state().accounts.insert(id, Account::new(script));
    }

    /// Whether nobody answers at all.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// Lets what is paid against the hash of `preimage` be proven by it; the id.
    pub fn learn(&self, preimage: Preimage) -> PaymentId {
        let id = PaymentId::from(preimage.hash());
        self.state().account(id).preimage = Some(preimage);
        id
    }

    /// Ends what hangs: paid, or failed for `failure`.
    pub fn resolve(&self, id: PaymentId, failure: Option<FailureReason>) {
        let fee = self.fee;
        let mut state = self.state();
        let account = state.account(id);
        if account.truth == Standing::InFlight {
            account.resolve(id, failure, fee);
        }
    }

    /// How often `id` was truly paid.
    #[must_use]
    pub fn times_paid(&self, id: PaymentId) -> u32 {
        self.state().account(id).paid
    }

    /// How many requests to pay `id` arrived.
    #[must_use]
    pub fn times_asked(&self, id: PaymentId) -> u32 {
        self.state().account(id).asked
    }

    /// What asks for `amount` under `id` until `expires_at`.
    #[must_use]
    pub fn target(id: PaymentId, amount: &Money, expires_at: Timestamp) -> String {
        let (minor, unit) = (amount.amount.minor(), &amount.unit);
        format!("scripted:{id}:{minor}:{unit}:{}", expires_at.millis())
    }

    async fn pay_once(&self, order: &Order) -> Outcome {
        let says = {
            let mut state = self.state();
            if state.down {
                return Outcome::Unknown(RailError::Unreachable(DOWN.to_owned()));
            }
            let account = state.account(order.id);
            if account.truth == Standing::NeverSeen
                && let Err(failure) = sendable(order, self.fee)
            {
                return Outcome::FailedForGood(failure);
            }
            account.arrive(order.id, self.fee);
            match account.script.says {
                Says::Truth => Some(account.truth.clone()),
                Says::Unknown => return Outcome::Unknown(RailError::Timeout(Duration::ZERO)),
                Says::Nothing => None,
            }
        };
        match says {
            Some(truth) => truth.into(),
            None => std::future::pending().await,
        }
    }

    fn ask(&self, id: PaymentId) -> Result<Standing, RailError> {
        let mut state = self.state();
        if state.down {
            return Err(RailError::Unreachable(DOWN.to_owned()));
        }
        let account = state.account(id);
        match account.knows.pop_front().unwrap_or(Knows::Truth) {
            Knows::Truth => Ok(account.truth.clone()),
            Knows::InFlight => Ok(Standing::InFlight),
            Knows::Unreachable => Err(RailError::Unreachable("as scripted".to_owned())),
        }
    }
}

/// The parts of a target.
fn read(target: &str) -> Result<(PaymentId, Money, Timestamp), RailError> {
    let malformed = || RailError::TargetMalformed("not of the scripted rail".to_owned());
    let mut parts = target.split(':');
    let mut next = || parts.next().ok_or_else(malformed);
    if next()? != "scripted" {
        return Err(malformed());
    }
    let id = next()?.parse()?;
    let amount = next()?.parse().map_err(|_| malformed())?;
    let unit = next()?.parse().map_err(|_| malformed())?;
    let millis = next()?.parse().map_err(|_| malformed())?;
    let expires_at = Timestamp::saturating_from_millis(millis);
    Ok((id, Money { amount, unit }, expires_at))
}

fn sendable(order: &Order, fee: Total) -> Result<(), Failure> {
    let unusable = |why: &str| Failure::new(FailureReason::TargetUnusable, why);
    let (id, amount, expires_at) =
        read(&order.target).map_err(|error| unusable(&error.to_string()))?;
    if id != order.id || amount != order.amount {
        return Err(unusable("the target is not what the order says"));
    }
    if fee > order.max_fee {
        return Err(Failure::new(FailureReason::NoRoute, "none within the fee"));
    }
    if now() >= expires_at.min(order.deadline) {
        return Err(Failure::new(FailureReason::TooLate, ""));
    }
    Ok(())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.ok().and_then(|d| u64::try_from(d.as_millis()).ok());
    Timestamp::saturating_from_millis(millis.unwrap_or_default())
}

impl Rail for ScriptedRail {
    fn name(&self) -> &str {
        &self.name
    }

    fn methods(&self) -> &[MethodId] {
        &self.methods
    }

    fn check<'a>(&'a self, target: &'a str) -> BoxFuture<'a, Result<Quote, RailError>> {
        async move {
            let (id, amount, expires_at) = read(target)?;
            if now() >= expires_at {
                return Err(RailError::TargetExpired);
            }
            Ok(Quote {
                id: Some(id),
                amount: Some(amount),
                expires_at: Some(expires_at),
                payee: None,
                memo: None,
            })
        }
        .boxed()
    }

    fn pay<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Outcome> {
        self.pay_once(order).boxed()
    }

    fn look_up(&self, id: PaymentId) -> BoxFuture<'_, Result<Standing, RailError>> {
        async move { self.ask(id) }.boxed()
    }

    fn health(&self) -> BoxFuture<'_, Result<Health, RailError>> {
        async move {
            if self.state().down {
                return Err(RailError::Unreachable(DOWN.to_owned()));
            }
            Ok(Health {
                ready: true,
                identity: None,
                can_send: None,
                can_receive: None,
            })
        }
        .boxed()
    }
}

impl fmt::Debug for ScriptedRail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedRail")
            .field("name", &self.name)
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "scripted_tests.rs"]
mod tests;
