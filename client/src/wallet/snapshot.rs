//! Balances for web apps: signed by this wallet, pushed to the own plugin if the user opted in.

use atomicity_ledger::record::{Snapshot, SnapshotChannel};
use atomicity_ledger::{Signed, Total, Unit};

use super::{ChannelState, Wallet, now};
use crate::error::ClientError;
use crate::store::settings;

/// Channels in one snapshot at most.
const MAX_CHANNELS: usize = 256;

/// What became of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotOutcome {
    /// Whether the user opted in.
    pub opted_in: bool,
    /// Whether balances were pushed just now.
    pub pushed: bool,
    /// Channels that did not fit; the first 256, by friend and unit, were pushed.
    pub left_out: usize,
}

impl Wallet {
    /// Opts in to pushing balances, or out again. The plugin then knows who the user's friends are.
    ///
    /// # Errors
    /// What the store says; [`ClientError::Net`] if the plugin can't be reached for the first push.
    pub async fn set_snapshots(&self, opted_in: bool) -> Result<SnapshotOutcome, ClientError> {
        let mut tx = self.store().write().await?;
        let value = if opted_in { "1" } else { "0" };
        settings::set(tx.conn(), settings::SNAPSHOT, value).await?;
        tx.commit().await?;
        if opted_in {
            return self.push_snapshot().await;
        }
        Ok(SnapshotOutcome {
            opted_in,
            pushed: false,
            left_out: 0,
        })
    }

    /// Pushes balances as they stand to every own plugin.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if the user did not opt in, [`ClientError::Net`] if a plugin can't be reached.
    pub async fn push_snapshot(&self) -> Result<SnapshotOutcome, ClientError> {
        if !self.is_stale(settings::SNAPSHOT).await? {
            return Err(ClientError::Usage(
                "you did not opt in: the plugin would learn your balances and friends".to_owned(),
            ));
        }
        self.ensure_may_sign().await?;
        let (snapshot, left_out) = self.snapshot().await?;
        let mut pushed = false;
        for plugin in self.own_plugins().await? {
            plugin.push_snapshot(snapshot.jws()).await?;
            pushed = true;
        }
        Ok(SnapshotOutcome {
            opted_in: true,
            pushed,
            left_out,
        })
    }

    /// After balances or limits changed: a snapshot that can't be pushed now is pushed with what is sent next.
    pub(crate) async fn push_snapshot_if_wanted(&self) -> Result<(), ClientError> {
        if !self.is_stale(settings::SNAPSHOT).await?
            || !self.is_stale(settings::SNAPSHOT_STALE).await?
        {
            return Ok(());
        }
        // Before the balances are read: what changes meanwhile makes it stale again.
        self.clear_stale(settings::SNAPSHOT_STALE).await?;
        match self.push_snapshot().await {
            Ok(_) => Ok(()),
            Err(ClientError::Net(error)) => {
                tracing::info!(code = error.code(), "the snapshot was not pushed");
                let mut tx = self.store().write().await?;
                settings::set(tx.conn(), settings::SNAPSHOT_STALE, "1").await?;
                tx.commit().await
            }
            Err(error) => Err(error),
        }
    }

    async fn snapshot(&self) -> Result<(Signed<Snapshot>, usize), ClientError> {
        let mut views = self.balances(None, None).await?;
        views.sort_by(|a, b| (a.user, &a.unit).cmp(&(b.user, &b.unit)));
        let left_out = views.len().saturating_sub(MAX_CHANNELS);
        let channels = views.into_iter().take(MAX_CHANNELS).map(|view| {
            Ok(SnapshotChannel {
                peer: view.user,
                unit: view.unit,
                balance: view.net,
                accept: Total::from_minor(view.line_for_them)?,
                accepted_by_peer: Total::from_minor(view.line_for_me.unwrap_or(0))?,
                frozen: view.state == ChannelState::Frozen,
            })
        });
        let snapshot = Snapshot {
            v: Default::default(),
            user: self.user(),
            at: now(),
            channels: channels.collect::<Result<_, ClientError>>()?,
        };
        Ok((Signed::sign(snapshot, &self.keys().await?.pen)?, left_out))
    }

    /// Chooses the units that the own plugins show to everybody.
    ///
    /// # Errors
    /// [`ClientError::Net`] if a plugin can't be reached.
    pub async fn set_public_units(&self, units: &[Unit]) -> Result<(), ClientError> {
        for plugin in self.own_plugins().await? {
            plugin.set_public_units(units).await?;
        }
        Ok(())
    }
}
