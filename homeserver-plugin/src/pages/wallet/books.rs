//! What is known here of a user's books: those that are kept here, as they stand, and the others as the user's wallet last told.

use std::collections::BTreeMap;
use std::sync::Arc;

use atomicity_ledger::pair::Pair;
use atomicity_ledger::record::{Profile, SnapshotChannel};
use atomicity_ledger::{Balance, Signed, Total, Unit, UserKey};

use super::names;
use crate::agent::settings::PeerSettings;
use crate::agent::{change, store};
use crate::error::PluginError;
use crate::http::credit::{Memory, own};
use crate::state::AppState;

/// Most pairs that are shown.
const MOST_PAIRS: i64 = 200;

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The books are kept here.
    Kept,
    /// The wallet told it.
    Told,
}

/// What there is between the user and one friend in one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The friend.
    pub peer: UserKey,
    /// In what.
    pub unit: Unit,
    /// What the friend owes, net; negative if it is the user who owes.
    pub balance: Balance,
    /// How much the user lets the friend owe.
    pub accept: Total,
    /// How much the friend lets the user owe.
    pub accepted: Total,
    /// What the user could pay this friend now, in minor units.
    pub can_pay: u64,
    /// What the friend could pay the user now.
    pub can_get: u64,
    /// Whether the friend's records contradict each other.
    pub frozen: bool,
    /// Where this comes from.
    pub source: Source,
}

/// All of it.
#[derive(Default)]
pub struct Books {
    /// By friend and unit.
    pub lines: Vec<Line>,
    /// What the friends call themselves, as far as it is known.
    pub names: BTreeMap<UserKey, String>,
    /// The friends whose books are kept here.
    pub kept: BTreeMap<UserKey, Arc<Pair>>,
    /// When the wallet made its summary, and when it came, Unix milliseconds.
    pub told: Option<(u64, i64)>,
    /// Friends of whom something came that can't be judged yet.
    pub unjudged: usize,
    /// Whether there are more books here than are shown.
    pub more: bool,
}

/// Whether the user's agent is at work. Once it is not, the books that it kept are the wallet's again: nothing here can sign for them, and
/// what the wallet tells of them counts.
fn is_kept(state: &AppState, user: &UserKey) -> bool {
    let keeper = state.agent.as_ref().and_then(|agent| agent.keeper(user));
    keeper.is_some_and(|keeper| change::now() < keeper.until)
}

/// Everything that one user is owed and owes in one unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// What friends owe.
    pub owed: u128,
    /// What the user owes.
    pub owing: u128,
    /// What the user could pay now.
    pub can_pay: u128,
}

impl Books {
    /// Reads them, with the friends' names as far as they are known or soon found out.
    ///
    /// # Errors
    /// [`PluginError::Database`], [`PluginError::Internal`].
    pub async fn read(
        state: &AppState,
        memory: &Arc<Memory>,
        user: &UserKey,
    ) -> Result<Self, PluginError> {
        let mut books = Self::load(state, user).await?;
        books.add_names(state, memory).await;
        Ok(books)
    }

    /// Reads them for something that is not shown: nobody is asked for names.
    ///
    /// # Errors
    /// [`PluginError::Database`], [`PluginError::Internal`].
    pub async fn load(state: &AppState, user: &UserKey) -> Result<Self, PluginError> {
        let mut books = Self::default();
        if is_kept(state, user) {
            books.add_kept(state, user).await?;
        }
        match own::load(state, user).await {
            Ok(held) => {
                let record = held.snapshot.record();
                books.told = Some((record.at.millis(), held.stored_at));
                books.add_told(&record.channels);
            }
            Err(PluginError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        books
            .lines
            .sort_by(|a, b| (a.peer, &a.unit).cmp(&(b.peer, &b.unit)));
        Ok(books)
    }

    async fn add_kept(&mut self, state: &AppState, user: &UserKey) -> Result<(), PluginError> {
        let now = change::now();
        let mut rows = store::kept_pairs(&state.pool, user, MOST_PAIRS + 1).await?;
        if i64::try_from(rows.len()).is_ok_and(|count| count > MOST_PAIRS) {
            rows.pop();
            self.more = true;
        }
        for row in rows {
            let pair = store::parse_pair(&row.body)?;
            let settings: PeerSettings = store::parse("settings", &row.settings)?;
            if row.held > 0 {
                self.unjudged = self.unjudged.saturating_add(1);
            }
            if let Some(jws) = row.profile.as_deref()
                && let Ok(profile) = Signed::<Profile>::decode(jws)
            {
                self.add_name(profile.record());
            }
            for unit in pair.units() {
                let limits = pair.limits(&unit, Some(settings.ceiling(&unit)), now);
                self.lines.push(Line {
                    peer: row.peer,
                    balance: limits.balance,
                    accept: limits.line_for_them.unwrap_or(Total::ZERO),
                    accepted: limits.line_for_me.unwrap_or(Total::ZERO),
                    can_pay: limits.can_issue,
                    can_get: limits.can_receive,
                    frozen: pair.frozen(&unit).is_some(),
                    source: Source::Kept,
                    unit,
                });
            }
            self.kept.insert(row.peer, Arc::new(pair));
        }
        Ok(())
    }

    /// The wallet's word counts where the books are not here.
    fn add_told(&mut self, channels: &[SnapshotChannel]) {
        for channel in channels {
            if self.kept.contains_key(&channel.peer) {
                continue;
            }
            let (accept, accepted) = (channel.accept, channel.accepted_by_peer);
            let balance = channel.balance.minor();
            let open = |limit: Total, owed: i64| {
                let room = i128::from(limit.minor()).saturating_sub(i128::from(owed));
                u64::try_from(room.max(0)).unwrap_or(u64::MAX)
            };
            self.lines.push(Line {
                peer: channel.peer,
                unit: channel.unit.clone(),
                balance: channel.balance,
                accept,
                accepted,
                can_pay: open(accepted, balance.saturating_neg()),
                can_get: open(accept, balance),
                frozen: channel.frozen,
                source: Source::Told,
            });
        }
    }

    fn add_name(&mut self, profile: &Profile) {
        if let Some(name) = &profile.name {
            self.names.insert(profile.user, name.as_str().to_owned());
        }
    }

    /// Adds what friends call themselves who have not told it here.
    async fn add_names(&mut self, state: &AppState, memory: &Arc<Memory>) {
        let friends = self.lines.iter().map(|line| line.peer);
        let unknown = friends.filter(|friend| !self.names.contains_key(friend));
        for profile in names::find(state, memory, unknown.collect()).await {
            self.add_name(&profile);
        }
    }

    /// The sums, by unit.
    #[must_use]
    pub fn sums(&self) -> BTreeMap<Unit, Sum> {
        let mut sums: BTreeMap<Unit, Sum> = BTreeMap::new();
        for line in &self.lines {
            let sum = sums.entry(line.unit.clone()).or_default();
            let minor = u128::from(line.balance.minor().unsigned_abs());
            if line.balance.minor() >= 0 {
                sum.owed = sum.owed.saturating_add(minor);
            } else {
                sum.owing = sum.owing.saturating_add(minor);
            }
            if !line.frozen {
                sum.can_pay = sum.can_pay.saturating_add(u128::from(line.can_pay));
            }
        }
        sums
    }

    /// What there is with one friend.
    pub fn with<'a>(&'a self, peer: &'a UserKey) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| line.peer == *peer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use atomicity_ledger::Keypair;

    use super::*;

    fn channel(peer: u8, unit: &str, balance: i64) -> SnapshotChannel {
        SnapshotChannel {
            peer: Keypair::from_secret(&[peer; 32]).user_key(),
            unit: unit.parse().unwrap(),
            balance: Balance::from_minor(balance),
            accept: Total::from_minor(500).unwrap(),
            accepted_by_peer: Total::from_minor(300).unwrap(),
            frozen: false,
        }
    }

    #[test]
    fn what_can_still_be_paid_follows_from_balance_and_limits() {
        let mut books = Books::default();
        books.add_told(&[
            channel(1, "HOUR/2", 200),
            channel(2, "HOUR/2", -200),
            channel(3, "HOUR/2", 600),
        ]);
        let room: Vec<_> = books.lines.iter().map(|l| (l.can_pay, l.can_get)).collect();
        // A claim that is given back is paid, too; above a limit nothing more comes in.
        assert_eq!(room, [(500, 300), (100, 700), (900, 0)]);
        let sum = books.sums()[&"HOUR/2".parse::<Unit>().unwrap()];
        assert_eq!((sum.owed, sum.owing, sum.can_pay), (800, 200, 1_500));
    }

    #[test]
    fn the_greatest_and_the_smallest_figures_are_shown_without_overflow() {
        let mut books = Books::default();
        let mut wild = channel(1, "X/18", i64::MIN);
        wild.accept = Total::MAX;
        wild.accepted_by_peer = Total::MAX;
        books.add_told(&[wild.clone()]);
        wild.balance = Balance::from_minor(i64::MAX);
        books.add_told(&[wild]);
        assert_eq!((books.lines[0].can_pay, books.lines[1].can_get), (0, 0));
        let sum = books.sums()[&"X/18".parse::<Unit>().unwrap()];
        assert_eq!(sum.owing, 1_u128 << 63);
    }
}
