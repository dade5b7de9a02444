//! What the user's page or apps propose: shown, and done once the user says so here. Whoever has a session could have made it up.
//!
//! The user's word is stored first (*accepted*), then the plugin hears it, then it is done, then its end is stored, then told. Each step can
//! be repeated: adding a friend, setting a limit and blocking change nothing the second time, an invoice is paid once by its hash, and
//! what is signed otherwise is signed under the proposal's name, as any operation that is asked for again.

mod carry_out;

use atomicity_ledger::{RecordId, Total};

use super::requests::RequestFault;
use super::{PayOptions, PaymentFault, Wallet, WalletEvent, WalletEventKind, now};
use crate::error::ClientError;
use crate::net::NetError;
use crate::net::plugin::{PluginClient, ProposalReport, ProposalStanding, Wish};
use crate::store::proposals::{self, ProposalRow};

pub use crate::store::proposals::ProposalState;

/// Proposals that are gone on with at once.
const AT_ONCE: u32 = 100;
/// What was accepted so long ago and could not be done is given up: longer than this nothing is remembered that makes it once.
const GIVE_UP_MS: u64 = 14 * 24 * 3600 * 1000;

/// A proposal, and how far it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProposalView {
    /// Its name.
    pub id: RecordId,
    /// What is proposed.
    pub wish: Wish,
    /// What the user decided and what became of it; `None` if they have not decided.
    pub state: Option<ProposalState>,
    /// What it cost beyond the amount, in minor units, once it is done.
    pub fee: u64,
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
            wish: row.wish,
            state: Some(row.state),
            fee: row.fee,
            reason: row.reason,
            at: row.at,
            expires: None,
        }
    }
}

impl From<ProposalStanding> for ProposalView {
    fn from(standing: ProposalStanding) -> Self {
        Self {
            id: standing.id,
            wish: standing.wish,
            state: None,
            fee: 0,
            reason: None,
            at: standing.at,
            expires: Some(standing.expires),
        }
    }
}

/// What a payment that is proposed would cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProposalQuote {
    /// What all who pass it on would take, in minor units.
    pub fee: u64,
    /// The longest of its ways: through how many people, the payee among them.
    pub hops: usize,
}

impl Wallet {
    /// What waits for the user's word.
    ///
    /// # Errors
    /// [`ClientError::Net`] if a plugin can't be asked.
    pub async fn proposals(&self) -> Result<Vec<ProposalView>, ClientError> {
        let mut all: Vec<ProposalView> = Vec::new();
        for (_, standing) in self.standing_proposals().await? {
            let known = proposals::get(&mut *self.store().read().await?, &standing.id).await?;
            let view: ProposalView = match known.filter(|row| row.state != ProposalState::Seen) {
                Some(row) => row.into(),
                None => standing.into(),
            };
            if !all.iter().any(|other| other.id == view.id) {
                all.push(view);
            }
        }
        Ok(all)
    }

    async fn standing_proposals(
        &self,
    ) -> Result<Vec<(PluginClient, ProposalStanding)>, ClientError> {
        let mut all = Vec::new();
        for plugin in self.own_plugins().await? {
            match plugin.open_proposals().await {
                Ok(found) => all.extend(found.into_iter().map(|p| (plugin.clone(), p))),
                // A plugin of an earlier version has no such route.
                Err(
                    NetError::HttpStatus { status: 404, .. }
                    | NetError::NotFound(_)
                    | NetError::Refused {
                        code: "route_unknown",
                        ..
                    },
                ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    async fn standing_proposal(
        &self,
        id: &RecordId,
    ) -> Result<(PluginClient, ProposalStanding), ClientError> {
        let all = self.standing_proposals().await?;
        let found = all.into_iter().find(|(_, standing)| standing.id == *id);
        found.ok_or_else(|| ClientError::UnknownProposal(id.to_string()))
    }

    /// Looks for the way that a proposed payment would take, and tells the page what it would cost. `None` if there is nothing to pay.
    ///
    /// # Errors
    /// [`ClientError::UnknownProposal`]; why it can't be paid.
    pub async fn quote_proposal(
        &self,
        id: &RecordId,
    ) -> Result<Option<ProposalQuote>, ClientError> {
        let (plugin, standing) = self.standing_proposal(id).await?;
        let options = options(standing.wish.max_fee());
        let (payable, ways) = match &standing.wish {
            Wish::Pay { link, .. } => {
                let payable = self.payable(link, None).await?;
                let ways = self.ways_to_pay(&payable, &options).await?;
                (payable, ways)
            }
            Wish::Reassign { user, link, .. } => {
                let payable = self.payable(link, None).await?;
                let ways = self.ways_to_reassign(user, &payable, &options).await?;
                (payable, ways)
            }
            _ => return Ok(None),
        };
        let Some(way) = ways.first() else {
            return Ok(None);
        };
        let fee = way.promised().saturating_sub(payable.money.amount.minor());
        let hops = way.parts.iter().map(|part| part.hops.len()).max();
        let quote = ProposalQuote {
            fee,
            hops: hops.unwrap_or(0),
        };
        let report = ProposalReport {
            state: "quoted",
            fee: Total::from_minor(fee).ok(),
            hops: u16::try_from(quote.hops).ok(),
            reason: None,
        };
        // The page may do without; the user sees it here.
        if let Err(error) = plugin.report_proposal(id, &report).await {
            tracing::info!(code = error.code(), "a quote was not told");
        }
        Ok(Some(quote))
    }

    /// The user says yes, here on their device: it is done. `max_fee` bounds what a payment may cost, in minor units.
    ///
    /// # Errors
    /// [`ClientError::UnknownProposal`]; [`ClientError::Net`] if the plugin can't be told before it begins: nothing was done then, and
    /// `sync` does it. What becomes of it stands in the answer.
    pub async fn accept_proposal(
        &self,
        id: &RecordId,
        max_fee: Option<u64>,
    ) -> Result<ProposalView, ClientError> {
        self.ensure_may_sign().await?;
        self.decide_proposal(id, ProposalState::Accepted, max_fee)
            .await?;
        self.proceed(id, true).await
    }

    /// The user says no.
    ///
    /// # Errors
    /// [`ClientError::UnknownProposal`], [`ClientError::Net`].
    pub async fn decline_proposal(&self, id: &RecordId) -> Result<ProposalView, ClientError> {
        self.decide_proposal(id, ProposalState::Declined, None)
            .await?;
        self.proceed(id, true).await
    }

    async fn decide_proposal(
        &self,
        id: &RecordId,
        state: ProposalState,
        max_fee: Option<u64>,
    ) -> Result<(), ClientError> {
        let known = proposals::get(&mut *self.store().read().await?, id).await?;
        if known.is_some_and(|row| row.state != ProposalState::Seen) {
            return Ok(());
        }
        let (plugin, standing) = self.standing_proposal(id).await?;
        let proposed = standing.wish.max_fee();
        let row = ProposalRow {
            id: *id,
            plugin: plugin.address().key.to_string(),
            wish: standing.wish,
            state,
            told: false,
            fee: 0,
            max_fee: max_fee.or(proposed),
            reason: None,
            at: now().millis(),
        };
        let mut tx = self.store().write().await?;
        proposals::decide(tx.conn(), &row).await?;
        tx.commit().await
    }

    /// Looks now and then for what is proposed, and goes on with what was decided. What is new is told.
    pub(crate) async fn look_at_proposals(&self) -> Result<Vec<WalletEvent>, ClientError> {
        if !self.looks_at_proposals() {
            return Ok(Vec::new());
        }
        let standing = match self.standing_proposals().await {
            Ok(standing) => standing,
            Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
            Err(error) => {
                tracing::info!(
                    code = error.code(),
                    "what is proposed is looked at later: {error}"
                );
                Vec::new()
            }
        };
        let mut events = Vec::new();
        if !standing.is_empty() {
            self.note_proposals(standing, &mut events).await?;
        }
        self.drive_proposals().await?;
        Ok(events)
    }

    /// Remembers what is proposed; what is new is told.
    async fn note_proposals(
        &self,
        standing: Vec<(PluginClient, ProposalStanding)>,
        events: &mut Vec<WalletEvent>,
    ) -> Result<(), ClientError> {
        let at = now().millis();
        let mut tx = self.store().write().await?;
        for (plugin, proposal) in standing {
            let key = plugin.address().key.to_string();
            let place = (&proposal.id, key.as_str());
            if proposals::see(tx.conn(), place, &proposal.wish, at).await? {
                let kind = WalletEventKind::Proposed {
                    id: proposal.id,
                    what: proposal.wish.name(),
                };
                events.push(WalletEvent {
                    at,
                    user: None,
                    friend: None,
                    kind,
                });
            }
        }
        tx.commit().await
    }

    /// Goes on with what was decided and is not done, or of which the plugin has not heard.
    pub(crate) async fn drive_proposals(&self) -> Result<(), ClientError> {
        let rows = proposals::unfinished(&mut *self.store().read().await?, AT_ONCE).await?;
        for row in rows {
            match self.proceed(&row.id, false).await {
                Ok(_) => {}
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Err(error) => tracing::info!(code = error.code(), "a proposal waits: {error}"),
            }
        }
        Ok(())
    }

    /// One proposal, from wherever it is to its end.
    /// Whoever `wait`s for it gets its end, others come again.
    async fn proceed(&self, id: &RecordId, wait: bool) -> Result<ProposalView, ClientError> {
        let mut row = self.decided(id).await?;
        if !row.told {
            self.tell_of_proposal(&row).await?;
            row = self.decided(id).await?;
        }
        if row.state == ProposalState::Accepted {
            let too_late = now().millis() > row.at.saturating_add(GIVE_UP_MS);
            let (state, fee, reason) = match self.carry_out(&row, wait).await {
                Ok(fee) => (ProposalState::Done, fee, None),
                Err(error) if too_late || is_final(&error) => {
                    (ProposalState::Failed, 0, Some(error.code().to_owned()))
                }
                Err(error) => return Err(error),
            };
            let mut tx = self.store().write().await?;
            let end = (fee, reason.as_deref());
            proposals::end(tx.conn(), id, (state, false), end).await?;
            tx.commit().await?;
            row = self.decided(id).await?;
            // It is done; that the plugin hears it late changes nothing.
            if let Err(error) = self.tell_of_proposal(&row).await {
                tracing::info!(code = error.code(), "the end of a proposal was not told");
            }
        }
        Ok(row.into())
    }

    async fn decided(&self, id: &RecordId) -> Result<ProposalRow, ClientError> {
        let row = proposals::get(&mut *self.store().read().await?, id).await?;
        row.ok_or_else(|| ClientError::UnknownProposal(id.to_string()))
    }

    /// Tells the plugin how it stands. What was withdrawn meanwhile is not begun.
    async fn tell_of_proposal(&self, row: &ProposalRow) -> Result<(), ClientError> {
        let plugins = self.own_plugins().await?;
        let of = |plugin: &&PluginClient| plugin.address().key.to_string() == row.plugin;
        let report = ProposalReport {
            state: row.state.name(),
            fee: match row.state {
                ProposalState::Done => Total::from_minor(row.fee).ok(),
                _ => None,
            },
            hops: None,
            reason: row.reason.as_deref(),
        };
        let said = match plugins.iter().find(of) {
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
                let end = (0, Some(code));
                proposals::end(tx.conn(), &row.id, (ProposalState::Failed, true), end).await?;
                proposals::told(tx.conn(), &row.id, row.state).await?;
            }
            Err(error) => return Err(error.into()),
        }
        tx.commit().await
    }
}

fn options(max_fee: Option<u64>) -> PayOptions {
    PayOptions {
        max_fee,
        ..PayOptions::default()
    }
}

/// Whether trying once more can't help. What only the network or the time stands against is tried again.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Payment(fault) => !matches!(fault, PaymentFault::Undecided(_)),
        ClientError::Request(fault) => {
            !matches!(fault, RequestFault::NoAnswer | RequestFault::Undecided(_))
        }
        ClientError::Net(_)
        | ClientError::AgentAway(_)
        | ClientError::GenerationUnknown(_)
        | ClientError::Store(_)
        | ClientError::StoreFull
        | ClientError::WaitingForAck(_) => false,
        _ => true,
    }
}
