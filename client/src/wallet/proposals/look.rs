//! Looking for what is proposed: what is new is told, and which payments nobody has looked for a way for.

use super::super::{Wallet, WalletEvent, WalletEventKind, now};
use super::{ProposalState, ProposalView, SEEN_KEPT, is_same};
use crate::error::ClientError;
use crate::net::plugin::{ProposalStanding, Wish};
use crate::store::proposals;

/// What a look brought.
#[derive(Debug, Default)]
pub(crate) struct LookedAtProposals {
    /// What is new.
    pub(crate) events: Vec<WalletEvent>,
    /// Payments over friends on which the user has not decided, and of whose way the page was not told.
    pub(crate) unquoted: Vec<ProposalView>,
}

impl Wallet {
    /// Looks now and then for what is proposed, and goes on with what was decided. What is new is told.
    pub(crate) async fn look_at_proposals(&self) -> Result<LookedAtProposals, ClientError> {
        let mut looked = LookedAtProposals::default();
        if !self.looks_at_proposals() {
            return Ok(looked);
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
        if !standing.is_empty() {
            self.note_proposals(standing, &mut looked).await?;
        }
        self.drive_proposals().await?;
        Ok(looked)
    }

    /// Remembers what is proposed.
    async fn note_proposals(
        &self,
        standing: Vec<(String, ProposalStanding)>,
        looked: &mut LookedAtProposals,
    ) -> Result<(), ClientError> {
        let at = now().millis();
        let mut tx = self.store().write().await?;
        for (plugin, proposal) in standing {
            let place = (&proposal.id, plugin.as_str());
            if proposals::see(tx.conn(), place, &proposal.wish, at).await? {
                looked.events.push(proposed(at, &proposal));
            }
            if !is_unquoted(&proposal) {
                continue;
            }
            let known = proposals::get(tx.conn(), &proposal.id).await?;
            let same = known
                .filter(|row| row.state == ProposalState::Seen && is_same(row, &plugin, &proposal));
            looked.unquoted.extend(same.map(ProposalView::from));
        }
        proposals::forget_seen(tx.conn(), SEEN_KEPT).await?;
        tx.commit().await
    }
}

fn proposed(at: u64, proposal: &ProposalStanding) -> WalletEvent {
    WalletEvent {
        at,
        user: None,
        friend: None,
        kind: WalletEventKind::Proposed {
            id: proposal.id,
            what: proposal.wish.name(),
        },
    }
}

/// Whether it goes over others, and the page does not know over whom. What a part costs is known only once its payee has granted it.
fn is_unquoted(proposal: &ProposalStanding) -> bool {
    let goes_over = matches!(proposal.wish, Wish::Pay { .. } | Wish::Reassign { .. });
    goes_over && proposal.state == "open" && proposal.told.is_none()
}
