//! A holder, an issuer and a rail as small as they can be, so that every run can be tried: stores that survive a crash, messages that
//! are lost, a rail that pays whenever it is told to and counts it.

mod check;
mod rail;
mod script;

use atomicity_ledger::pair::Event;
use atomicity_ledger::record::{ReleaseReason, SettlementSaid};
use atomicity_ledger::settle::{
    Demand, DemandNext, Discharge, Entry, Facts, Known, Next, Order, RailSaid, ReleaseStanding,
    Standing, Ticket,
};
use atomicity_ledger::{Preimage, Timestamp};

pub use script::{Answer, LookUp, Mistake, Script, Truth};

use crate::common::{amount, at, bread};

/// What the holder signed before the run, and what the issuer knows.
#[derive(Clone)]
pub struct Opening {
    pub demand: Demand,
    pub facts: Facts,
}

const EXPIRES: u64 = crate::world::EXPIRES;
/// How much time passes between two rounds.
const ROUND_MS: u64 = 30_000;
const ROUNDS: u64 = 16;
const OWED: u64 = 2_000;
const AMOUNT: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Iou {
    None,
    Held,
    GivenUp,
    Shown,
}

struct Told {
    ticket: Ticket,
    truth: Truth,
    paid: bool,
}

/// The issuer died here; what was not stored is gone.
struct Died;

pub struct Run<'a> {
    script: Script<'a>,
    facts: &'a Facts,
    now: Timestamp,
    // The issuer's store.
    discharge: Option<Discharge>,
    iou: Iou,
    hash_taken: bool,
    outbox: Vec<Out>,
    // The holder's store.
    demand: Demand,
    claim: u64,
    withdrawn: bool,
    // The rail.
    told: Vec<Told>,
    looked_up: usize,
    // How many moments have passed, and messages were lost.
    pub moments: u32,
    lost: u32,
    last_of_first: Option<RailSaid>,
    /// What must never happen, and did.
    broken: Option<&'static str>,
}

#[derive(Clone)]
enum Out {
    Said(SettlementSaid),
    GaveUp,
    Showed(Preimage),
}

impl<'a> Run<'a> {
    pub fn new(script: Script<'a>, opening: &'a Opening) -> Self {
        Self {
            script,
            facts: &opening.facts,
            now: at(1),
            discharge: None,
            iou: Iou::None,
            hash_taken: false,
            outbox: Vec::new(),
            demand: opening.demand.clone(),
            claim: OWED,
            withdrawn: false,
            told: Vec::new(),
            looked_up: 0,
            moments: 0,
            lost: 0,
            last_of_first: None,
            broken: None,
        }
    }

    /// Plays it to its end, and says what is wrong if something is.
    pub fn play(&mut self) -> Result<(), String> {
        for round in 0..ROUNDS {
            self.now = at(1 + round * ROUND_MS);
            self.rail_goes_on();
            if self.drive().is_err() {
                // It starts again in the next round.
                self.check()?;
                continue;
            }
            self.deliver();
            self.check()?;
            if self.ended() {
                return self.check_end();
            }
        }
        Err(format!(
            "it does not end: {:?}, {:?}",
            self.discharge.as_ref().map(Discharge::stage),
            self.demand.stage()
        ))
    }

    /// A moment at which the issuer may die, or a withdrawal may arrive.
    fn moment(&mut self) -> Result<(), Died> {
        let now = self.moments;
        self.moments += 1;
        if self.script.withdraw == Some(now) {
            self.withdrawn = true;
            self.withdrawal_arrives()?;
        }
        if self.script.crash == Some(now) {
            return Err(Died);
        }
        Ok(())
    }

    fn withdrawal_arrives(&mut self) -> Result<(), Died> {
        let Some(mut discharge) = self.discharge.clone() else {
            return Ok(());
        };
        let step = discharge.withdraw();
        self.store(discharge, &step.entries);
        Ok(())
    }

    /// One transaction.
    fn store(&mut self, discharge: Discharge, entries: &[Entry]) {
        self.discharge = Some(discharge);
        for entry in entries {
            match entry {
                Entry::TakeHash(_) => {
                    self.never(self.hash_taken, "a hash is taken twice");
                    self.hash_taken = true;
                }
                Entry::Answer(said) => self.outbox.push(Out::Said(said.clone())),
                Entry::GiveUp { .. } if self.iou == Iou::Held => {
                    self.iou = Iou::GivenUp;
                    self.outbox.push(Out::GaveUp);
                }
                Entry::GiveUp { .. } => {}
                Entry::Show { preimage, .. } => {
                    self.never(self.iou == Iou::GivenUp, "what was given up is shown");
                    self.iou = Iou::Shown;
                    self.outbox.push(Out::Showed(*preimage));
                }
            }
        }
    }

    fn never(&mut self, happened: bool, what: &'static str) {
        if happened {
            self.broken = self.broken.or(Some(what));
        }
    }

    /// The issuer takes what the holder sends, and goes on as far as possible.
    fn drive(&mut self) -> Result<(), Died> {
        self.moment()?;
        let mut next = self.hear()?;
        for _ in 0..40 {
            self.moment()?;
            next = match next {
                Next::Pay(order) => self.pay(&order)?,
                Next::LookUp(order) => {
                    let said = self.look_up(order.ticket);
                    self.moment()?;
                    self.take(order.ticket.attempt, said)?;
                    match self.discharge.as_ref().map(Discharge::next) {
                        Some(next @ (Next::Dispatch | Next::Over)) => next,
                        _ => return Ok(()),
                    }
                }
                Next::Wait | Next::Over => return Ok(()),
                Next::Alarm => {
                    self.never(true, "the rail takes its word back");
                    return Ok(());
                }
                other => self.decide(&other)?,
            };
        }
        self.never(true, "the issuer goes round in circles");
        Ok(())
    }

    /// The request comes, for the first time or again, with the withdrawal if there is one.
    fn hear(&mut self) -> Result<Next, Died> {
        if self.demand.next() == DemandNext::Send {
            match self.discharge.clone() {
                None => {
                    let known = Known {
                        withdrawn: self.withdrawn,
                        ..Known::default()
                    };
                    if self.script.lightning {
                        self.iou = Iou::Held;
                    }
                    let asked = self.demand.settlement().clone();
                    let (discharge, step) = Discharge::receive(asked, known, self.now);
                    self.store(discharge, &step.entries);
                }
                Some(mut discharge) => {
                    let step = if self.withdrawn {
                        discharge.withdraw()
                    } else {
                        discharge.asked_again()
                    };
                    self.store(discharge, &step.entries);
                }
            }
            self.moment()?;
        }
        let Some(mut discharge) = self.discharge.clone() else {
            return Ok(Next::Over);
        };
        let step = discharge.tick(self.now);
        self.store(discharge, &step.entries);
        Ok(step.next)
    }

    fn decide(&mut self, next: &Next) -> Result<Next, Died> {
        let mut discharge = self.discharge.clone().unwrap();
        let (standing, now) = (self.standing(), self.now);
        let step = match next {
            Next::Judge => discharge.judge(self.facts, now),
            Next::Reserve => discharge.reserve(&standing, now),
            _ => discharge.dispatch(&standing, now),
        };
        if let (Next::Pay(order), Some(Mistake::TellsBeforeStoring)) =
            (&step.next, self.script.mistake)
        {
            let said = self.tell_rail(order);
            self.moment()?;
            self.store(discharge, &step.entries);
            self.take(order.ticket.attempt, said)?;
            return Ok(self.discharge.as_ref().unwrap().next());
        }
        self.store(discharge, &step.entries);
        Ok(step.next)
    }

    fn standing(&self) -> Standing {
        let release = match self.iou {
            Iou::Held => ReleaseStanding::Good,
            Iou::None if self.script.lightning => ReleaseStanding::Missing,
            Iou::None => ReleaseStanding::NotNeeded,
            Iou::GivenUp | Iou::Shown => ReleaseStanding::Gone,
        };
        Standing {
            owed: self.claim,
            reserved: 0,
            claim_stands: true,
            release,
            hash_taken: false,
        }
    }

    fn pay(&mut self, order: &Order) -> Result<Next, Died> {
        let said = self.tell_rail(order);
        self.moment()?;
        self.take(order.ticket.attempt, said)?;
        // What is unknown is looked up in the next round.
        Ok(match self.discharge.as_ref().map(Discharge::next) {
            Some(Next::LookUp(_)) | None => Next::Wait,
            Some(next) => next,
        })
    }

    fn take(&mut self, attempt: u32, said: RailSaid) -> Result<(), Died> {
        let mut discharge = self.discharge.clone().unwrap();
        let (attempt, said) = self.mistaken(&discharge, attempt, said);
        let step = discharge.rail_said(attempt, said, self.now);
        self.store(discharge, &step.entries);
        self.moment()
    }

    /// Messages to the holder arrive, or are lost; the holder confirms what was paid, and the issuer hears of that.
    fn deliver(&mut self) {
        for out in std::mem::take(&mut self.outbox) {
            if self.lost < self.script.lost && !matches!(out, Out::GaveUp) {
                self.lost += 1;
                continue;
            }
            match out {
                Out::Said(said) => drop(self.demand.heard(&said)),
                Out::GaveUp => drop(self.demand.follow(&self.event(None))),
                Out::Showed(preimage) => {
                    if self.demand.follow(&self.event(Some(preimage))) {
                        self.claim -= AMOUNT;
                    }
                }
            }
        }
        if self.demand.next() == DemandNext::Confirm && self.demand.confirm(false) {
            self.claim -= AMOUNT;
        }
        let booked = self.claim < OWED;
        if let Some(discharge) = self.discharge.as_mut().filter(|_| booked) {
            discharge.booked();
        }
    }

    /// What the holder's books tell of the direct release.
    fn event(&self, preimage: Option<Preimage>) -> Event {
        let iou = self.demand.settlement().record().release.unwrap();
        let (unit, amount) = (bread(), amount(AMOUNT));
        match preimage {
            Some(preimage) => Event::Merged {
                iou,
                unit,
                amount,
                preimage,
            },
            None => Event::Released {
                iou,
                unit,
                amount,
                reason: ReleaseReason::Declined,
            },
        }
    }
}
