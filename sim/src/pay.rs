//! Payments, direct and over hops, and the lines that allow them.

use atomicity_ledger::pair::{LineTerms, NewPromise, PaymentNote};
use atomicity_ledger::record::{Terms, Unattended};
use atomicity_ledger::{Amount, Preimage, RecordId, Timestamp, Total, Unit};

use crate::error::SimError;
use crate::work::{Fact, Work};
use crate::world::{BEGIN_MS, Secret, World};

impl World {
    pub(crate) fn pay(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        let (unit, minor) = (self.any_unit(), self.rng.between(1, 120));
        self.pay_to(n, peer, &unit, minor)
    }

    /// A direct payment, if the line allows it.
    pub(crate) fn pay_to(
        &mut self,
        n: usize,
        peer: usize,
        unit: &Unit,
        minor: u64,
    ) -> Result<(), SimError> {
        let (now, amount) = (self.clock(n), Amount::from_minor(minor)?);
        let id = self.rng.bytes();
        let mut short = [0; 16];
        short.copy_from_slice(&id[..16]);
        let note = PaymentNote {
            id: RecordId::from_entropy(short),
            reference: None,
            memo: None,
        };
        let (pair, pen) = self.nodes[n].with(peer)?;
        let Ok(issued) = pair.issue(unit, amount, None, note, pen, now) else {
            return Ok(());
        };
        self.stats.payments += 1;
        let mut work = Work::of(peer);
        work.facts.push(Fact::Paid {
            peer,
            unit: unit.clone(),
            amount,
        });
        work.send(peer, issued.state);
        work.send(peer, issued.payment);
        self.commit(n, work)
    }

    /// `n` sets what `peer` may owe.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn set_line(
        &mut self,
        n: usize,
        peer: usize,
        unit: &Unit,
        accept: u64,
    ) -> Result<(), SimError> {
        let now = self.clock(n);
        let mut terms = LineTerms::simple(unit.clone(), Total::from_minor(accept)?)?;
        if self.plan.away && accept > 1 {
            let logs = self.logs.logs.iter().map(|log| log.origin.parse());
            terms.unattended = Some(Unattended {
                amount: Amount::from_minor(accept / 2)?,
                logs: logs.collect::<Result<_, _>>()?,
                until: Timestamp::saturating_from_millis(BEGIN_MS + 1_000_000_000),
            });
        }
        let (pair, pen) = self.nodes[n].with(peer)?;
        let mut work = Work::of(peer);
        if let Ok(line) = pair.set_line(terms, pen, now) {
            work.send(peer, line);
        }
        self.commit(n, work)
    }

    pub(crate) fn change_line(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        let unit = self.any_unit();
        let accept = self.rng.below(2 * self.plan.accept);
        self.trace
            .line(format_args!("{n} lets {peer} owe {accept} {unit:?}"));
        self.set_line(n, peer, &unit, accept)
    }

    /// A holder gives a claim back on a preimage that the debtor may come to know.
    pub(crate) fn release_directly(&mut self, n: usize) -> Result<(), SimError> {
        let Some(peer) = self.friend(n) else {
            return Ok(());
        };
        let (unit, now) = (self.any_unit(), self.clock(n));
        let (pair, _) = self.nodes[n].with(peer)?;
        let Ok(claim) = u64::try_from(pair.net_claim(&unit).minor()) else {
            return Ok(());
        };
        if claim == 0 {
            return Ok(());
        }
        let minor = self.rng.between(1, claim);
        let preimage = Preimage::from_bytes(self.rng.bytes());
        let new = NewPromise {
            unit,
            amount: Amount::from_minor(minor)?,
            terms: Terms {
                hash: preimage.hash(),
                logs: Vec::new(),
                deadline_ms: now.millis(),
            },
            onward: None,
        };
        let known = self.known_logs(n);
        let (pair, pen) = self.nodes[n].with(peer)?;
        let Ok(iou) = pair.promise(new, None, &known, pen, now) else {
            return Ok(());
        };
        self.stats.payments += 1;
        if self.rng.chance(700) {
            let publish_at = Some(self.clock(peer).millis() + self.rng.below(20_000));
            let secret = Secret {
                preimage,
                amount: minor,
                publish_at,
                declines: false,
            };
            let debtor = &mut self.nodes[peer];
            debtor.live.secrets.insert(preimage.hash(), secret);
            debtor.stored.secrets.clone_from(&debtor.live.secrets);
        }
        self.watch.note_direct(&preimage.hash());
        let mut work = Work::of(peer);
        work.facts.push(Fact::Signed {
            peer,
            iou: iou.clone().into(),
        });
        work.send(peer, iou);
        self.commit(n, work)
    }
}
