//! The rail, which pays whenever it is told to; and what a caller with a mistake makes of its words.

use atomicity_ledger::settle::{Discharge, Next, Order, Proof, RailSaid, Ticket};

use super::{Answer, EXPIRES, LookUp, Mistake, Run, Told, Truth};
use crate::common::at;

impl Run<'_> {
    /// The rail is told to pay, and does what it does.
    pub(super) fn tell_rail(&mut self, order: &Order) -> RailSaid {
        self.never(self.now >= order.not_after, "the rail is told too late");
        let (answer, truth) = if self.told.is_empty() {
            self.script.first
        } else {
            self.script.second
        };
        self.told.push(Told {
            ticket: order.ticket,
            truth,
            paid: truth == Truth::Now,
        });
        match answer {
            Answer::Succeeded => RailSaid::Succeeded(self.proof()),
            Answer::FailedForGood => RailSaid::FailedForGood,
            Answer::NotSent => RailSaid::NotSent,
            Answer::InFlight => RailSaid::InFlight,
            Answer::Unknown => RailSaid::Unknown,
        }
    }

    fn proof(&self) -> Proof {
        if self.script.lightning {
            Proof::Preimage(crate::world::preimage())
        } else {
            Proof::Text("transfer 7731".parse().unwrap())
        }
    }

    /// Orders that were late are paid when the scripted look-ups are through, or the order expires.
    pub(super) fn rail_goes_on(&mut self) {
        let through = self.looked_up >= self.script.look_ups.len();
        if through || self.now >= at(EXPIRES) {
            for told in &mut self.told {
                told.paid |= told.truth == Truth::Late;
            }
        }
    }

    pub(super) fn look_up(&mut self, ticket: Ticket) -> RailSaid {
        let told = self.told.iter().find(|told| told.ticket == ticket);
        let paid = told.is_some_and(|told| told.paid);
        let scripted = self.script.look_ups.get(self.looked_up).copied();
        self.looked_up += 1;
        let over = self.now >= at(EXPIRES);
        match scripted {
            Some(LookUp::Unknown) => RailSaid::Unknown,
            Some(LookUp::InFlight) => RailSaid::InFlight,
            Some(LookUp::NeverSeen) => RailSaid::NeverSeen {
                authoritative: false,
            },
            // Its word holds: it is not said of what was seen, nor of what expired and was seen before.
            Some(LookUp::NeverSeenFor) if !paid && !over => RailSaid::NeverSeen {
                authoritative: true,
            },
            _ if paid => RailSaid::Succeeded(self.proof()),
            _ if told.is_some_and(|told| told.truth == Truth::Never) => RailSaid::FailedForGood,
            _ => RailSaid::NeverSeen {
                authoritative: true,
            },
        }
    }

    /// What a caller with a mistake makes of it.
    pub(super) fn mistaken(
        &mut self,
        discharge: &Discharge,
        attempt: u32,
        said: RailSaid,
    ) -> (u32, RailSaid) {
        let unknown = matches!(said, RailSaid::Unknown | RailSaid::NeverSeen { .. });
        match self.script.mistake {
            Some(Mistake::PaysAgain) if unknown && self.now < at(EXPIRES) => {
                if let Next::LookUp(order) = discharge.next() {
                    return (attempt, self.tell_rail(&order));
                }
            }
            Some(Mistake::BelievesNeverSeen) if matches!(said, RailSaid::NeverSeen { .. }) => {
                return (attempt, RailSaid::FailedForGood);
            }
            Some(Mistake::UnknownIsFailed) if said == RailSaid::Unknown => {
                return (attempt, RailSaid::FailedForGood);
            }
            Some(Mistake::WordOfAnother) => {
                if let Some(old) = self.last_of_first.clone()
                    && attempt > 1
                {
                    return (attempt, old);
                }
                self.last_of_first = Some(said.clone());
            }
            _ => {}
        }
        (attempt, said)
    }
}
