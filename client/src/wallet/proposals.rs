//! What the user's page or apps propose: shown, and done once the user says so here. Whoever has a session could have made it up.
//!
//! The user's word is stored first (*accepted*), then the plugin hears it, then it is done, then its end is stored, then told. Each step can
//! be repeated: adding a friend, setting a limit and blocking change nothing the second time, an invoice is paid once by its hash, and
//! what is signed otherwise is signed under the proposal's name, as any operation that is asked for again.

mod carry_out;
mod look;
mod quote;

use std::time::Duration;

use atomicity_ledger::{Amount, RecordId, Total};

use super::create::check_root;
use super::requests::RequestFault;
use super::{MadeKind, PayOptions, PaymentFault, RootKey, Wallet, now};
use crate::error::{ClientError, ProposalFault};
use crate::net::NetError;
use crate::net::plugin::{PluginClient, ProposalReport, ProposalStanding, Wish};
use crate::store::lock;
use crate::store::proposals::{self, Cost, ProposalRow};

pub use self::quote::{InvoiceOutside, ProposalQuote, ProposalWay};
pub use crate::store::proposals::ProposalState;

/// Proposals that are gone on with at once.
const AT_ONCE: u32 = 100;
/// A payment that was accepted so long ago is not begun any more: what makes it once is remembered longer than that.
const GIVE_UP_MS: u64 = 14 * 24 * 3600 * 1000;
/// Nor is anything else, since the user may have decided otherwise meanwhile.
const GIVE_UP_SETTING_MS: u64 = 24 * 3600 * 1000;
/// How many proposals are remembered that were seen, and not decided on.
const SEEN_KEPT: u32 = 300;
/// How long another process that is at a proposal is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A proposal, and how far it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProposalView {
    /// Its name.
    pub id: RecordId,
    /// The plugin that holds it: its key.
    pub plugin: String,
    /// What is proposed, as it was first seen here.
    pub wish: Wish,
    /// What the user decided and what became of it; `None` if they have not decided.
    pub state: Option<ProposalState>,
    /// What it cost beyond the amount, in minor units, once it is done.
    pub fee: u64,
    /// How much it was, in minor units, where that was not known before.
    pub amount: Option<u64>,
    /// The request that was made, once somebody was asked to pay.
    pub request: Option<RecordId>,
    /// Why it was not done: a code.
    pub reason: Option<String>,
    /// When it was made, or decided on, Unix milliseconds.
    pub at: u64,
    /// From then on it can't be accepted any more, if it still can.
    pub expires: Option<u64>,
}

impl From<ProposalRow> for ProposalView {
    fn from(row: ProposalRow) -> Self {
        Self {
            id: row.id,
            plugin: row.plugin,
            wish: row.wish,
            state: Some(row.state).filter(|state| *state != ProposalState::Seen),
            fee: row.fee,
            amount: row.amount,
            request: None,
            reason: row.reason,
            at: row.at,
            expires: None,
        }
    }
}

/// How something is done to which the user says yes.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct AcceptTerms<'a> {
    /// The most that a payment may cost beyond its amount, in minor units; what is usual, or was proposed, if `None`.
    pub max_fee: Option<u64>,
    /// The routers to ask: keys, addresses, or both; the best known ones if there are none. What is gone on with later asks those.
    pub routers: &'a [String],
    /// What signs what only the root can sign ([`Wish::needs_root`]).
    pub root: Option<&'a RootKey>,
}

impl<'a> AcceptTerms<'a> {
    /// With these bounds.
    #[must_use]
    pub fn new(max_fee: Option<u64>, routers: &'a [String], root: Option<&'a RootKey>) -> Self {
        Self {
            max_fee,
            routers,
            root,
        }
    }
}

impl Wallet {
    /// What waits for the user's word. What is shown here is remembered: nothing else is done under its name.
    ///
    /// # Errors
    /// [`ClientError::Net`] if a plugin can't be asked.
    pub async fn proposals(&self) -> Result<Vec<ProposalView>, ClientError> {
        let standing = self.standing_proposals().await?;
        let mut tx = self.store().write().await?;
        let at = now().millis();
        let mut all: Vec<ProposalView> = Vec::new();
        for (plugin, proposal) in standing {
            if all.iter().any(|other| other.id == proposal.id) {
                continue;
            }
            let place = (&proposal.id, plugin.as_str());
            proposals::see(tx.conn(), place, &proposal.wish, at).await?;
            let Some(row) = proposals::get(tx.conn(), &proposal.id).await? else {
                continue;
            };
            let open = row.state == ProposalState::Seen;
            if open && !is_same(&row, &plugin, &proposal) {
                tracing::warn!(id = %row.id, "a proposal is not what it was before, and is left out");
                continue;
            }
            all.push(ProposalView {
                expires: open.then_some(proposal.expires),
                at: if open { proposal.at } else { row.at },
                ..row.into()
            });
        }
        proposals::forget_seen(tx.conn(), SEEN_KEPT).await?;
        tx.commit().await?;
        Ok(all)
    }

    /// What stands at the user's plugins, with the key of each.
    async fn standing_proposals(&self) -> Result<Vec<(String, ProposalStanding)>, ClientError> {
        let mut all = Vec::new();
        for plugin in self.own_plugins().await? {
            let key = plugin.address().key.to_string();
            match plugin.open_proposals().await {
                Ok(found) => all.extend(found.into_iter().map(|p| (key.clone(), p))),
                // A plugin of an earlier version has no such route.
                Err(error) if error.is_route_unknown() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    /// The plugin that holds a proposal, if the user is still there.
    async fn plugin_of(&self, plugin: &str) -> Result<Option<PluginClient>, ClientError> {
        let mut plugins = self.own_plugins().await?.into_iter();
        Ok(plugins.find(|found| found.address().key.to_string() == plugin))
    }

    /// The user says yes, here on their device, to what was `shown` to them: it is done on these `terms`. What only the
    /// root signs is accepted once more if it is cut off.
    ///
    /// # Errors
    /// [`ClientError::UnknownProposal`]; [`ClientError::ProposalUnusable`] if it is not what was shown; [`ClientError::PassphraseNeeded`],
    /// [`ClientError::OtherRoot`]; [`ClientError::Net`] if the plugin can't be told before it begins: nothing was done then, and
    /// `sync` does it. What becomes of it stands in the answer.
    pub async fn accept_proposal(
        &self,
        shown: &ProposalView,
        terms: AcceptTerms<'_>,
    ) -> Result<ProposalView, ClientError> {
        match terms.root {
            Some(root) => check_root(root, self.user())?,
            None if shown.wish.needs_root() => return Err(ClientError::PassphraseNeeded),
            None => {}
        }
        self.ensure_may_sign().await?;
        if !shown.wish.is_readable() {
            return Err(unusable(&shown.id, ProposalFault::Unreadable));
        }
        let standing = self.standing_proposals().await?;
        let found = standing.iter().find(|(_, other)| other.id == shown.id);
        let known = proposals::get(&mut *self.store().read().await?, &shown.id).await?;
        let row = match (known, found) {
            (Some(row), _) if row.wish != shown.wish => {
                return Err(unusable(&shown.id, ProposalFault::Changed));
            }
            (Some(row), _) if row.state != ProposalState::Seen => row,
            (Some(row), Some((plugin, standing))) if is_same(&row, plugin, standing) => row,
            (Some(_), Some(_)) => return Err(unusable(&shown.id, ProposalFault::Changed)),
            // Whoever accepts has seen it here.
            _ => return Err(ClientError::UnknownProposal(shown.id.to_string())),
        };
        if row.state == ProposalState::Seen {
            let row = ProposalRow {
                state: ProposalState::Accepted,
                told: false,
                max_fee: terms.max_fee.or_else(|| modest(&row.wish)),
                at: now().millis(),
                ..row
            };
            let mut tx = self.store().write().await?;
            proposals::decide(tx.conn(), &row).await?;
            tx.commit().await?;
        }
        self.proceed(&shown.id, (true, terms)).await
    }

    /// The user says no. What was accepted, and of which the plugin has not heard yet, is taken back by it.
    ///
    /// # Errors
    /// [`ClientError::UnknownProposal`], [`ClientError::Net`]; [`ClientError::ProposalUnusable`] if it may have begun.
    pub async fn decline_proposal(&self, id: &RecordId) -> Result<ProposalView, ClientError> {
        let _lock = lock::take_proposal(self.home(), id, PATIENCE).await?;
        let mut tx = self.store().write().await?;
        proposals::decline(tx.conn(), id, now().millis()).await?;
        let row = proposals::get(tx.conn(), id).await?;
        tx.commit().await?;
        let row = row.ok_or_else(|| ClientError::UnknownProposal(id.to_string()))?;
        if row.state == ProposalState::Accepted {
            return Err(unusable(id, ProposalFault::Accepted));
        }
        if !row.told {
            self.tell_of_proposal(&row).await?;
        }
        self.decided(id).await.map(ProposalView::from)
    }

    /// Goes on with what was decided and is not done, or of which the plugin has not heard.
    pub(crate) async fn drive_proposals(&self) -> Result<(), ClientError> {
        let rows = proposals::unfinished(&mut *self.store().read().await?, AT_ONCE).await?;
        for row in rows {
            match self.proceed(&row.id, (false, AcceptTerms::default())).await {
                Ok(_) => {}
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Err(error) => tracing::info!(code = error.code(), "a proposal waits: {error}"),
            }
        }
        Ok(())
    }

    /// One proposal, from wherever it is to its end; by one process at a time.
    /// Whoever `wait`s for it gets its end, others come again.
    async fn proceed(
        &self,
        id: &RecordId,
        (wait, terms): (bool, AcceptTerms<'_>),
    ) -> Result<ProposalView, ClientError> {
        let patience = if wait { PATIENCE } else { Duration::ZERO };
        let Some(_lock) = lock::take_proposal(self.home(), id, patience).await? else {
            return self.decided(id).await.map(ProposalView::from);
        };
        let mut row = self.decided(id).await?;
        if row.state == ProposalState::Accepted && self.is_too_late(&row).await? {
            let end = (ProposalState::Failed, Some(ProposalFault::TooLate.code()));
            return self.end_proposal(id, end, Cost::default()).await;
        }
        if !row.told {
            self.tell_of_proposal(&row).await?;
            row = self.decided(id).await?;
        }
        if row.state != ProposalState::Accepted {
            return Ok(row.into());
        }
        match self.carry_out(&row, wait, terms).await {
            Ok(cost) => {
                self.end_proposal(id, (ProposalState::Done, None), cost)
                    .await
            }
            Err(error) if is_final(&error) => {
                let end = (ProposalState::Failed, Some(error.code()));
                self.end_proposal(id, end, Cost::default()).await
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the user's word is too old to be begun. What has begun goes on.
    async fn is_too_late(&self, row: &ProposalRow) -> Result<bool, ClientError> {
        let good_for = if row.wish.pays() {
            GIVE_UP_MS
        } else {
            GIVE_UP_SETTING_MS
        };
        if now().millis() <= row.at.saturating_add(good_for) {
            return Ok(false);
        }
        let operation = self.operation(&operation_of(&row.id)).await?;
        let made = operation.is_some_and(|operation| operation.made.is_some());
        Ok(!made && !self.has_begun_to_pay(&row.wish).await?)
    }

    /// Keeps how it ended, then tells it.
    async fn end_proposal(
        &self,
        id: &RecordId,
        (state, reason): (ProposalState, Option<&str>),
        cost: Cost,
    ) -> Result<ProposalView, ClientError> {
        let mut tx = self.store().write().await?;
        proposals::end(tx.conn(), id, (state, false), (cost, reason)).await?;
        tx.commit().await?;
        let row = self.decided(id).await?;
        // It is over; that the plugin hears it late changes nothing.
        if let Err(error) = self.tell_of_proposal(&row).await {
            tracing::info!(code = error.code(), "the end of a proposal was not told");
        }
        Ok(ProposalView {
            request: self.request_made(&row).await?,
            ..row.into()
        })
    }

    /// The request that was made for a proposal to ask for money. It is remembered longer than its end waits to be told.
    pub(super) async fn request_made(
        &self,
        row: &ProposalRow,
    ) -> Result<Option<RecordId>, ClientError> {
        if row.state != ProposalState::Done || !matches!(row.wish, Wish::Ask { .. }) {
            return Ok(None);
        }
        let operation = self.operation(&operation_of(&row.id)).await?;
        let made = operation.and_then(|operation| operation.made);
        Ok(made.and_then(|(kind, id)| (kind == MadeKind::Request).then_some(id)))
    }

    async fn decided(&self, id: &RecordId) -> Result<ProposalRow, ClientError> {
        let row = proposals::get(&mut *self.store().read().await?, id).await?;
        row.ok_or_else(|| ClientError::UnknownProposal(id.to_string()))
    }

    /// Tells the plugin how it stands. What was withdrawn meanwhile is not begun.
    async fn tell_of_proposal(&self, row: &ProposalRow) -> Result<(), ClientError> {
        let report = ProposalReport {
            state: row.state.name(),
            fee: match row.state {
                ProposalState::Done => Total::from_minor(row.fee).ok(),
                _ => None,
            },
            amount: row.amount.and_then(|minor| Amount::from_minor(minor).ok()),
            request: self.request_made(row).await?,
            reason: row.reason.as_deref(),
            ..ProposalReport::of("")
        };
        let plugin = self.plugin_of(&row.plugin).await?;
        let said = match &plugin {
            Some(plugin) => plugin.report_proposal(&row.id, &report).await,
            // The user has left that plugin: nobody waits for it there.
            None => Ok(()),
        };
        let mut tx = self.store().write().await?;
        match said {
            Ok(()) => proposals::told(tx.conn(), &row.id, row.state).await?,
            Err(NetError::Refused {
                code: code @ ("proposal_ended" | "proposal_unknown"),
                ..
            }) => {
                // The plugin heard of a yes that was taken back before anything was begun.
                if let (Some(plugin), ProposalState::Declined) = (&plugin, row.state) {
                    let ended = ProposalReport {
                        reason: Some("declined"),
                        ..ProposalReport::of("failed")
                    };
                    plugin.report_proposal(&row.id, &ended).await.ok();
                }
                let end = (Cost::default(), Some(code));
                proposals::end(tx.conn(), &row.id, (ProposalState::Failed, true), end).await?;
                proposals::told(tx.conn(), &row.id, row.state).await?;
            }
            Err(error) => return Err(error.into()),
        }
        tx.commit().await
    }
}

/// Whether a plugin says of a proposal what it said when it was first seen.
fn is_same(row: &ProposalRow, plugin: &str, standing: &ProposalStanding) -> bool {
    row.plugin == plugin && row.wish == standing.wish
}

fn unusable(id: &RecordId, why: ProposalFault) -> ClientError {
    let id = id.to_string();
    ClientError::ProposalUnusable { id, why }
}

/// Under which key what is signed for a proposal is signed once.
fn operation_of(id: &RecordId) -> String {
    format!("proposal/{id}")
}

/// What a payment may cost if the user names no bound: what was proposed, if that is less than what is usual.
fn modest(wish: &Wish) -> Option<u64> {
    let proposed = wish.max_fee()?;
    let usual = wish.amount().map(|amount| amount.minor() / 100 + 1);
    Some(usual.map_or(proposed, |usual| usual.min(proposed)))
}

fn options(max_fee: Option<u64>, routers: &[String]) -> PayOptions {
    PayOptions {
        max_fee,
        routers: routers.to_vec(),
        ..PayOptions::default()
    }
}

/// Whether trying once more can't help. What only the network or the time stands against is tried again.
pub(super) fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Payment(fault) => !matches!(
            fault,
            PaymentFault::Undecided(_) | PaymentFault::BeingPaid(_)
        ),
        ClientError::Request(fault) => {
            !matches!(fault, RequestFault::NoAnswer | RequestFault::Undecided(_))
        }
        ClientError::Net(_)
        | ClientError::AgentAway(_)
        | ClientError::GenerationUnknown(_)
        | ClientError::Store(_)
        | ClientError::StoreFull
        | ClientError::PassphraseNeeded
        | ClientError::ProposalUnusable {
            why: ProposalFault::Unfinished,
            ..
        }
        | ClientError::WaitingForAck(_) => false,
        _ => true,
    }
}
