//! Payments over several hops, as their payers see them: invoices and gifts, ways, parts, and other ways when a hop says no.

use std::collections::BTreeSet;

use atomicity_ledger::hop::{Attempt, Bill, Collection, Fate, TrustedLog};
use atomicity_ledger::onion::FailureCode;
use atomicity_ledger::record::{LogTerm, Terms};
use atomicity_ledger::{
    Amount, LedgerError, PaymentHash, PolicyHash, Preimage, RecordId, Timestamp, Unit,
};

use crate::error::SimError;
use crate::hops::Queue;
use crate::plan::Lie;
use crate::work::Work;
use crate::world::{Asked, BEGIN_MS, Payment, Secret, World};

/// How often another way is looked for.
const MAX_TRIES: u8 = 4;

/// What a payment is for.
#[derive(Clone, Debug)]
pub struct Order {
    /// Who is to be paid.
    pub payee: usize,
    /// In what the payer promises.
    pub unit: Unit,
    /// In what it arrives, if a hop is to exchange.
    pub give: Option<Unit>,
    /// How much is to arrive.
    pub amount: u64,
    /// The most that it may cost, fees included.
    pub most: u64,
}

impl World {
    /// A payment over a chain of friends, with an invoice or without one.
    pub(crate) fn pay_over_hops(&mut self, n: usize) -> Result<(), SimError> {
        let payee = self.rng.index(self.nodes.len());
        if payee == n {
            return self.clear(n);
        }
        let amount = self.rng.between(1, 90);
        let order = Order {
            payee,
            unit: self.any_unit(),
            give: None,
            amount,
            most: amount + amount / 2 + 8,
        };
        let order = self.exchanged(order);
        if self.nodes[n].does(Lie::Locks) || self.plan.away && self.rng.chance(250) {
            return self.give(n, &order);
        }
        let mut preimage = Preimage::from_bytes(self.rng.bytes());
        if self.nodes[payee].does(Lie::BadProofs) && self.rng.chance(700) {
            // What was published for somebody else is to serve again.
            preimage = self.published_before(payee).unwrap_or(preimage);
        }
        let wants = self.rng.chance(750);
        let delay = self.rng.below(12_000).saturating_sub(6_000);
        let secret = Secret {
            preimage,
            amount,
            publish_at: wants.then(|| self.clock(payee).millis() + delay),
            declines: self.rng.chance(500),
        };
        let arrives = order.give.as_ref().unwrap_or(&order.unit);
        self.invoice(payee, arrives, secret)?;
        let mut order = order;
        if order.give.is_none() && self.units.len() > 1 && self.rng.chance(60) {
            // Paid in something else than was asked for.
            let other = self.units.iter().find(|unit| **unit != order.unit);
            order.unit = other.cloned().unwrap_or(order.unit);
        }
        let split = self.split(amount);
        if self.begin(n, &order, preimage.hash(), None)? {
            self.send_parts(n, preimage.hash(), &split)?;
        }
        Ok(())
    }

    /// Sometimes a payer has only another unit, and pays with that.
    fn exchanged(&mut self, order: Order) -> Order {
        let exchanged = self.plan.exchanges.iter().any(|all| !all.is_empty());
        if !exchanged || !self.rng.chance(400) {
            return order;
        }
        let other = self.units.iter().find(|unit| **unit != order.unit);
        let Some(unit) = other.cloned() else {
            return order;
        };
        Order {
            unit,
            give: Some(order.unit),
            // No rate is dearer than that.
            most: 8 * order.most,
            ..order
        }
    }

    /// Somebody asks for a payment.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn invoice(&mut self, payee: usize, unit: &Unit, secret: Secret) -> Result<(), SimError> {
        let logs = self.logs.logs.iter().map(|log| {
            Ok(TrustedLog {
                origin: log.origin.parse()?,
                policy_hash: PolicyHash::of(&log.text),
            })
        });
        let logs = logs.collect::<Result<Vec<_>, LedgerError>>()?;
        let hash = secret.preimage.hash();
        let bill = Bill {
            invoice: invoice_of(&hash),
            unit: unit.clone(),
            amount: Some(Amount::from_minor(secret.amount)?),
            hash,
            logs,
            expires: Timestamp::saturating_from_millis(BEGIN_MS + 1_000_000_000),
            min_left_ms: self.plan.min_left_ms,
        };
        let node = &mut self.nodes[payee];
        node.live.secrets.insert(hash, secret);
        node.live.collections.insert(hash, Collection::new(bill));
        node.stored.secrets.clone_from(&node.live.secrets);
        node.stored.collections.clone_from(&node.live.collections);
        Ok(())
    }

    /// A payment that nobody asked for: the payer draws the secret, and publishes it if the last hop shows enough.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn give(&mut self, n: usize, order: &Order) -> Result<(), SimError> {
        let preimage = Preimage::from_bytes(self.rng.bytes());
        let secret = Secret {
            preimage,
            amount: order.amount,
            publish_at: None,
            declines: false,
        };
        let node = &mut self.nodes[n];
        node.live.secrets.insert(preimage.hash(), secret);
        node.stored.secrets.clone_from(&node.live.secrets);
        if self.begin(n, order, preimage.hash(), Some(false))? {
            self.send_parts(n, preimage.hash(), &[order.amount])?;
        }
        Ok(())
    }

    /// In how many parts it goes.
    fn split(&mut self, amount: u64) -> Vec<u64> {
        let parts = [1, 1, 1, 2, 2, 3][self.rng.index(6)].min(amount);
        let mut left = amount;
        let mut split = Vec::new();
        for at in 1..parts {
            let part = self.rng.between(1, left - (parts - at));
            split.push(part);
            left -= part;
        }
        split.push(left);
        split
    }

    /// Begins to pay: nothing is promised yet. `false` if it is being paid already, or can't be.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn begin(
        &mut self,
        n: usize,
        order: &Order,
        hash: PaymentHash,
        shown: Option<bool>,
    ) -> Result<bool, SimError> {
        if self.nodes[n].live.payments.contains_key(&hash) {
            return Ok(false);
        }
        let Some(terms) = self.terms_of(n, hash)? else {
            return Ok(false);
        };
        self.trace.line(format_args!(
            "{n} pays {} {} {} until {}",
            order.payee, order.amount, order.unit, terms.deadline_ms
        ));
        let (total, most) = (
            Amount::from_minor(order.amount)?,
            Amount::from_minor(order.most)?,
        );
        let unit = order.unit.clone();
        let attempt = match &order.give {
            Some(give) => Attempt::exchanged((unit, most), (give.clone(), total), terms)?,
            None => Attempt::new(unit, terms, total, most)?,
        };
        let payment = Payment {
            attempt,
            payee: order.payee,
            tries: 0,
            avoid: BTreeSet::new(),
            shown,
        };
        let asked = Asked {
            payee: order.payee,
            most: order.most,
        };
        self.asked.insert((n, hash), asked);
        self.nodes[n].live.payments.insert(hash, payment);
        Ok(true)
    }

    /// Logs and a deadline; none if the payer knows no log.
    fn terms_of(&mut self, n: usize, hash: PaymentHash) -> Result<Option<Terms>, SimError> {
        let mut logs = Vec::new();
        for (log, view) in self.logs.logs.iter().zip(&self.nodes[n].views) {
            if view.refused || view.size() == 0 {
                continue;
            }
            logs.push(LogTerm {
                origin: log.origin.parse()?,
                policy_hash: PolicyHash::of(&log.text),
                from_size: view.size(),
            });
        }
        while logs.len() > 1 && self.rng.chance(500) {
            let at = self.rng.index(logs.len());
            logs.remove(at);
        }
        let deadline_ms = self.clock(n).millis() + self.rng.between(5_000, 80_000);
        let terms = Terms {
            hash,
            logs,
            deadline_ms,
        };
        Ok((!terms.logs.is_empty()).then_some(terms))
    }

    /// Promises parts of what is still to arrive, each its own way, in one step.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn send_parts(
        &mut self,
        n: usize,
        hash: PaymentHash,
        split: &[u64],
    ) -> Result<(), SimError> {
        let (mut work, mut queue) = (Work::default(), Queue::new());
        for amount in split {
            self.send_part(n, hash, *amount, &mut work, &mut queue)?;
        }
        if work.out.is_empty() {
            return Ok(());
        }
        self.stats.payments += 1;
        self.hurry(n, hash);
        self.commit(n, work)
    }

    /// Some payees publish as late as can be, or a little later.
    fn hurry(&mut self, n: usize, hash: PaymentHash) {
        let payment = &self.nodes[n].live.payments[&hash];
        let (payee, deadline_ms) = (payment.payee, payment.attempt.terms().deadline_ms);
        let late = self.nodes[payee].does(Lie::BadProofs) || self.rng.chance(60);
        let late = late && self.faulty;
        let store = &mut self.nodes[payee].live;
        if let Some(secret) = store.secrets.get_mut(&hash).filter(|_| late)
            && secret.publish_at.is_some()
        {
            secret.publish_at = Some(deadline_ms.saturating_sub(1_000));
            let secrets = store.secrets.clone();
            self.nodes[payee].stored.secrets = secrets;
        }
    }

    fn send_part(
        &mut self,
        n: usize,
        hash: PaymentHash,
        amount: u64,
        work: &mut Work,
        queue: &mut Queue,
    ) -> Result<(), SimError> {
        let Some(payment) = self.nodes[n].live.payments.get(&hash) else {
            return Ok(());
        };
        let (payee, avoid) = (payment.payee, payment.avoid.clone());
        let units = (payment.attempt.unit(), payment.attempt.unit_arriving());
        let units = (units.0.clone(), units.1.clone());
        let Some(path) = self.way(n, payee, &avoid, (&units.0, &units.1)) else {
            return Ok(());
        };
        self.send_over(n, hash, amount, &path, work, queue)
    }

    /// Promises one part over these users, the payee last.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub(crate) fn send_over(
        &mut self,
        n: usize,
        hash: PaymentHash,
        amount: u64,
        path: &[usize],
        work: &mut Work,
        queue: &mut Queue,
    ) -> Result<(), SimError> {
        let Some(mut payment) = self.nodes[n].live.payments.get(&hash).cloned() else {
            return Ok(());
        };
        let route = self.route(n, path, amount, &payment)?;
        let desk = self.desk(n);
        let Some(mut first) = path.first().and_then(|first| self.take_pair(n, *first)) else {
            return Ok(());
        };
        let number = payment.attempt.parts().len();
        let done = payment
            .attempt
            .send(number, first.neighbour(), &route, None, &desk.context());
        self.put_pair(n, first, done.is_ok());
        if done.is_ok() {
            self.trace
                .line(format_args!("{n} promises {amount} over {path:?}"));
            self.nodes[n].live.payments.insert(hash, payment);
        }
        self.absorb(n, done, work, queue);
        Ok(())
    }

    /// Goes on with the own payments: what failed takes another way, or is begun anew until later.
    ///
    /// # Errors
    /// [`SimError`] if the simulator fails.
    pub fn drive(&mut self, n: usize) -> Result<(), SimError> {
        if !self.faulty || self.is_recovering(n) {
            return Ok(());
        }
        let payments = self.nodes[n].live.payments.iter();
        let missing: Vec<PaymentHash> = payments
            .filter(|(_, p)| p.attempt.progress().missing > 0 && p.tries < MAX_TRIES)
            .map(|(hash, _)| *hash)
            .collect();
        for hash in missing {
            self.try_again(n, hash)?;
        }
        Ok(())
    }

    fn try_again(&mut self, n: usize, hash: PaymentHash) -> Result<(), SimError> {
        let now_ms = self.clock(n).millis();
        let Some(payment) = self.nodes[n].live.payments.get_mut(&hash) else {
            return Ok(());
        };
        let progress = payment.attempt.progress();
        let late = payment.attempt.terms().deadline_ms < now_ms + 3_000;
        let over = progress.outstanding + progress.paid > 0 && late
            || payment.shown == Some(true)
            || payee_says_no(&payment.attempt);
        payment.tries += 1;
        if over {
            payment.tries = MAX_TRIES;
            return Ok(());
        }
        if late {
            let Some(terms) = self.terms_of(n, hash)? else {
                return Ok(());
            };
            let Some(payment) = self.nodes[n].live.payments.get_mut(&hash) else {
                return Ok(());
            };
            payment.attempt.renew(terms)?;
        }
        self.trace.line(format_args!(
            "{n} looks for another way for {}",
            progress.missing
        ));
        self.stats.retries += 1;
        self.send_parts(n, hash, &[progress.missing])
    }

    /// Payers publish what they were shown enough for.
    pub(crate) fn publish_gifts(&mut self, n: usize) {
        let now_ms = self.clock(n).millis();
        let mut found = Vec::new();
        let node = &self.nodes[n];
        for (hash, payment) in &node.stored.payments {
            let attempt = &payment.attempt;
            let (terms, progress) = (attempt.terms(), attempt.progress());
            let ready = payment.shown == Some(true) && progress.missing == 0 && progress.paid == 0;
            let secret = node.live.secrets.get(hash);
            if let Some(secret) = secret.filter(|_| ready && now_ms < terms.deadline_ms) {
                found.push((terms.clone(), *secret.preimage.as_bytes()));
            }
        }
        for (terms, preimage) in found {
            for term in &terms.logs {
                self.submit(n, term.origin.as_str(), &preimage);
            }
        }
    }
}

/// Whether the payee itself has refused the payment.
fn payee_says_no(attempt: &Attempt) -> bool {
    attempt.parts().iter().any(|part| match &part.fate {
        Fate::Failed {
            hop: Some(hop),
            failure,
        } => {
            usize::from(*hop) + 1 == part.hops.len()
                && matches!(
                    failure.code,
                    FailureCode::Declined | FailureCode::UnknownInvoice
                )
        }
        _ => false,
    })
}

/// The number of the invoice of a hash.
pub(crate) fn invoice_of(hash: &PaymentHash) -> RecordId {
    let mut short = [0; 16];
    short.copy_from_slice(&hash.as_bytes()[..16]);
    RecordId::from_entropy(short)
}
