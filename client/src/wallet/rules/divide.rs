//! Giving and taking credit lines by the rules, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use atomicity_ledger::pair::Pair;
use atomicity_ledger::policy::{Allotment, Facts, Held, Person, Policy};
use atomicity_ledger::{Timestamp, Total, Unit, UserKey};

use super::super::books::{self, Change};
use super::super::event::{WalletEvent, WalletEventKind};
use super::super::friends::Found;
use super::super::{Wallet, lines};
use super::words;
use crate::error::ClientError;
use crate::store::contacts::{self, Contact, ContactStatus};
use crate::store::pairs::{self, agent};
use crate::store::rules::grants::{self, Granted};
use crate::store::rules::{self, facts};

/// Friends whom rules may let in at most.
const MAX_LET_IN: usize = 1000;

/// Somebody whom rules may be about.
struct Known {
    contact: Contact,
    facts: Facts,
    /// The books, if there are any that matter.
    pair: Option<Pair>,
    /// Whether the agent keeps them.
    kept: bool,
}

/// A line that the agent is to sign.
pub(super) struct There {
    contact: Contact,
    granted: Granted,
    exposure: Total,
    why: Option<String>,
}

impl Known {
    /// What they may owe, by what was signed last.
    fn line(&self, unit: &Unit, now: Timestamp) -> Total {
        let pair = self.pair.as_ref();
        pair.map_or(Total::ZERO, |pair| pair.own().accept_at(unit, now))
    }

    /// What they owe and have promised.
    fn exposure(&self, unit: &Unit) -> Total {
        let owes = self
            .pair
            .as_ref()
            .map_or(0, |pair| pair.peer_exposure(unit).minor());
        let owes = u64::try_from(owes).unwrap_or(0);
        Total::from_minor(owes).unwrap_or(Total::MAX)
    }
}

/// What dividing changed.
#[derive(Default)]
pub(super) struct Divided {
    pub(super) events: Vec<WalletEvent>,
    /// Who is a friend now and was not.
    pub(super) new: Vec<UserKey>,
    /// Lines over books that the agent keeps.
    pub(super) there: Vec<There>,
}

impl Wallet {
    /// Divides what the rules give among everybody whom they are about, by what is known now.
    pub(super) async fn divide(&self) -> Result<Divided, ClientError> {
        let mut change = self.change().await?;
        let granted = grants::list(change.conn()).await?;
        let mut policy = rules::many(change.conn()).await?;
        let known = known(&mut change, &mut policy, &granted).await?;
        let mut units: BTreeSet<Unit> = granted.iter().map(|g| g.unit.clone()).collect();
        let giving = policy
            .rules()
            .iter()
            .filter(|rule| rule.id != 0 && rule.accept.is_some());
        units.extend(giving.map(|rule| rule.unit.clone()));
        let mut let_in = grants::all_let_in(change.conn()).await?.len();
        let mut divided = Divided::default();
        // Ranks, not only times: who was served first in one go stays first.
        let latest = granted.iter().map(|g| g.since).max().unwrap_or(0);
        let mut since = change.now.millis().max(latest);
        for unit in units {
            let held: BTreeMap<UserKey, &Granted> = granted
                .iter()
                .filter(|g| g.unit == unit)
                .map(|g| (g.user, g))
                .collect();
            for allotment in allot(&policy, &unit, &known, &held) {
                let Some(one) = known.get(&allotment.peer) else {
                    continue;
                };
                let before = held.get(&allotment.peer).copied();
                let new = one.contact.status == ContactStatus::Pending
                    && !divided.new.contains(&allotment.peer);
                if new && (allotment.line == Total::ZERO || let_in >= MAX_LET_IN) {
                    continue;
                }
                since = since.saturating_add(1);
                let given = (&unit, one.exposure(&unit), since);
                let line = before.map_or(Total::ZERO, |held| held.line);
                // While an agent kept the books it may have closed the line.
                let stands = one.kept || before.is_none() || one.line(&unit, change.now) == line;
                if one.kept && line != allotment.line {
                    let there = there(&mut change, one, given, &allotment, before).await?;
                    divided.there.extend(there);
                    continue;
                }
                let event = self
                    .grant(
                        &mut change,
                        &one.contact,
                        given,
                        (&allotment, before),
                        (new, stands),
                    )
                    .await?;
                if new && event.is_some() {
                    divided.new.push(allotment.peer);
                    let_in += 1;
                }
                divided.events.extend(event);
            }
        }
        change.commit().await?;
        Ok(divided)
    }

    /// Has the agent sign these lines. What it does not sign now is found again the next time.
    pub(super) async fn give_there(
        &self,
        lines: Vec<There>,
    ) -> Result<Vec<WalletEvent>, ClientError> {
        let mut events = Vec::new();
        for line in lines {
            let peer = line.contact.user;
            match self.give_one_there(line).await {
                Ok(event) => events.extend(event),
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Err(error) => {
                    tracing::info!(user = %peer, code = error.code(), "the agent does not sign a line by a rule: {error}");
                }
            }
        }
        Ok(events)
    }

    async fn give_one_there(&self, there: There) -> Result<Option<WalletEvent>, ClientError> {
        let There {
            contact,
            granted,
            exposure,
            why,
        } = there;
        let peer = contact.user;
        let Some(client) = self.agent_for(&peer).await? else {
            return Ok(None);
        };
        let line = (&granted.unit, granted.line);
        let mut change = self.change().await?;
        let pair = change.load(self.user(), peer).await?;
        let terms = lines::terms_of(&mut change, &pair, line, None).await?;
        // A transaction is not held while a server is asked.
        drop(change);
        let seq = self.line_by_agent(&client, &peer, &terms).await?;
        let mut change = self.change().await?;
        if granted.line == Total::ZERO && exposure == Total::ZERO {
            grants::remove(change.conn(), &peer, &granted.unit).await?;
        } else {
            grants::put(change.conn(), &granted).await?;
        }
        lines::note_there(&mut change, &peer, &terms, (seq, why.clone())).await?;
        agent::limits_changed(change.conn(), Some(&peer)).await?;
        let at = change.now.millis();
        change.commit().await?;
        Ok(Some(WalletEvent {
            at,
            user: Some(peer),
            friend: Some(contact.name),
            kind: WalletEventKind::LineByRule {
                rule: granted.held.rule,
                why,
                unit: granted.unit,
                line: granted.line.minor(),
                let_in: false,
            },
        }))
    }

    /// Brings one line to what was allotted.
    async fn grant(
        &self,
        change: &mut Change,
        contact: &Contact,
        (unit, exposure, since): (&Unit, Total, u64),
        (allotment, before): (&Allotment, Option<&Granted>),
        (new, stands): (bool, bool),
    ) -> Result<Option<WalletEvent>, ClientError> {
        let peer = contact.user;
        let rule = match (allotment.rule, before) {
            // What was said of them in person is the user's own doing.
            (Some(0), _) => {
                grants::remove(change.conn(), &peer, unit).await?;
                return Ok(None);
            }
            (None, None) => return Ok(None),
            (Some(rule), _) => rule,
            (None, Some(before)) => before.held.rule,
        };
        let at = change.now.millis();
        let mut contact = contact.clone();
        if new {
            let found = Found::default();
            contact = self.befriend(change, &peer, None, &found).await?.0;
            grants::let_in(change.conn(), &peer, rule, at).await?;
        }
        let line = before.map_or(Total::ZERO, |before| before.line);
        let held = Held {
            rule,
            introducer: allotment.introducer,
        };
        let why = words::why(change.conn(), held).await?;
        let changed = line != allotment.line || !stands;
        if changed {
            let mut pair = change.load(self.user(), peer).await?;
            let given = (unit, allotment.line);
            if let Err(error) = lines::give(change, &mut pair, given, None, why.clone()).await {
                if !matches!(error, ClientError::Ledger(_)) {
                    return Err(error);
                }
                tracing::info!(user = %peer, code = error.code(), "a line by a rule can't be signed: {error}");
                return Ok(None);
            }
        }
        if allotment.line == Total::ZERO && exposure == Total::ZERO {
            grants::remove(change.conn(), &peer, unit).await?;
        } else {
            let granted = Granted {
                user: peer,
                unit: unit.clone(),
                held,
                line: allotment.line,
                since: before.map_or(since, |before| before.since),
            };
            if before != Some(&granted) {
                grants::put(change.conn(), &granted).await?;
            }
        }
        Ok(changed.then(|| WalletEvent {
            at,
            user: Some(peer),
            friend: Some(contact.name),
            kind: WalletEventKind::LineByRule {
                rule,
                why,
                unit: unit.clone(),
                line: allotment.line.minor(),
                let_in: new,
            },
        }))
    }
}

/// What the agent is to sign; `None` if that is not the rules' business.
async fn there(
    change: &mut Change,
    one: &Known,
    (unit, exposure, since): (&Unit, Total, u64),
    allotment: &Allotment,
    before: Option<&Granted>,
) -> Result<Option<There>, ClientError> {
    let rule = match (allotment.rule, before) {
        (Some(0), _) => {
            grants::remove(change.conn(), &one.contact.user, unit).await?;
            return Ok(None);
        }
        (None, None) => return Ok(None),
        (Some(rule), _) => rule,
        (None, Some(before)) => before.held.rule,
    };
    let held = Held {
        rule,
        introducer: allotment.introducer,
    };
    Ok(Some(There {
        why: words::why(change.conn(), held).await?,
        granted: Granted {
            user: one.contact.user,
            unit: unit.clone(),
            held,
            line: allotment.line,
            since: before.map_or(since, |before| before.since),
        },
        contact: one.contact.clone(),
        exposure,
    }))
}

/// Everybody whom the rules may be about, with what is known of them.
async fn known(
    change: &mut Change,
    policy: &mut Policy,
    granted: &[Granted],
) -> Result<BTreeMap<UserKey, Known>, ClientError> {
    let giving: BTreeSet<Unit> = policy
        .rules()
        .iter()
        .map(|rule| rule.unit.clone())
        .collect();
    let mut all = BTreeMap::new();
    for status in [ContactStatus::Friend, ContactStatus::Pending] {
        for contact in contacts::list(change.conn(), status).await? {
            let user = contact.user;
            rules::name(change.conn(), policy, &user).await?;
            let facts = facts::of(change.conn(), &user).await?;
            let meant = granted.iter().any(|g| g.user == user)
                || giving.iter().any(|unit| {
                    let by = policy.verdict(&user, unit, &facts).by;
                    by.is_some_and(|rule| rule != 0)
                });
            if !meant {
                continue;
            }
            let row = pairs::get(change.conn(), &user).await?;
            let pair = row.map(|row| books::parse(&row.body)).transpose()?;
            let known = Known {
                kept: agent::keeps(change.conn(), &user).await?,
                contact,
                facts,
                pair,
            };
            all.insert(user, known);
        }
    }
    Ok(all)
}

/// What everybody gets in one unit: who has something first, in the order in which they got it.
fn allot(
    policy: &Policy,
    unit: &Unit,
    known: &BTreeMap<UserKey, Known>,
    held: &BTreeMap<UserKey, &Granted>,
) -> Vec<Allotment> {
    let mut people: Vec<&Known> = known.values().collect();
    people.sort_by_key(|one| {
        let since = held.get(&one.contact.user).map(|granted| granted.since);
        (
            since.is_none(),
            since.unwrap_or(one.contact.added_at),
            one.contact.user,
        )
    });
    let people: Vec<Person<'_>> = people
        .into_iter()
        .map(|one| {
            let granted = held.get(&one.contact.user);
            // A line that the agent signed stands until it has signed another, and nobody else may have what it takes.
            let signed = granted.filter(|_| one.kept).map(|granted| granted.line);
            Person {
                peer: one.contact.user,
                facts: &one.facts,
                exposure: one.exposure(unit).max(signed.unwrap_or(Total::ZERO)),
                held: granted.map(|granted| granted.held),
            }
        })
        .collect();
    policy.allot(unit, &people)
}
