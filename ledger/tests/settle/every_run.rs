//! Every run: what *pay* says, what is true, what each look-up says, where the issuer dies, when the holder withdraws, what is lost.

use std::fmt::Write as _;

use atomicity_ledger::settle::{Demand, Holding};

use crate::common::at;
use crate::model::{Answer, LookUp, Mistake, Opening, Run, Script, Truth};
use crate::world::{
    bank_facts, by_bank, coffee, coffee_facts, invoice_target, neighbour, owing, way,
};

const FIRST: [(Answer, Truth); 9] = [
    (Answer::Succeeded, Truth::Now),
    (Answer::FailedForGood, Truth::Never),
    (Answer::NotSent, Truth::Never),
    (Answer::InFlight, Truth::Now),
    (Answer::InFlight, Truth::Late),
    (Answer::InFlight, Truth::Never),
    (Answer::Unknown, Truth::Now),
    (Answer::Unknown, Truth::Late),
    (Answer::Unknown, Truth::Never),
];
const SECOND: [(Answer, Truth); 3] = [
    (Answer::Succeeded, Truth::Now),
    (Answer::Unknown, Truth::Late),
    (Answer::FailedForGood, Truth::Never),
];
const LOOK_UPS: [LookUp; 4] = [
    LookUp::Unknown,
    LookUp::InFlight,
    LookUp::NeverSeen,
    LookUp::NeverSeenFor,
];

/// All sequences of up to `most` look-ups.
fn sequences(most: usize) -> Vec<Vec<LookUp>> {
    let mut all = vec![vec![]];
    let mut last = all.clone();
    for _ in 0..most {
        let longer = last.iter().flat_map(|sequence: &Vec<LookUp>| {
            LOOK_UPS.map(|next| {
                let mut sequence = sequence.clone();
                sequence.push(next);
                sequence
            })
        });
        last = longer.collect();
        all.extend(last.iter().cloned());
    }
    all
}

/// A Lightning invoice or a transfer, with one way or two.
fn opening(lightning: bool, ways: usize) -> Opening {
    let (mut holder, _) = owing(2_000);
    let (draft, mut facts) = if lightning {
        (coffee(), coffee_facts())
    } else {
        (by_bank(), bank_facts())
    };
    if lightning {
        facts.ways.push(way("cln", invoice_target()));
    }
    facts.ways.truncate(ways);
    let with = neighbour(&mut holder);
    let demand = Demand::open(draft, with, Holding::default(), at(1)).unwrap();
    Opening { demand, facts }
}

#[derive(Default)]
struct Tally {
    runs: u64,
    crashes: u64,
    most_moments: u32,
    wrong: u64,
    first_wrong: String,
}

impl Tally {
    fn play(&mut self, script: Script<'_>, opening: &Opening) -> u32 {
        let mut run = Run::new(script, opening);
        let result = run.play();
        self.runs += 1;
        self.crashes += u64::from(script.crash.is_some_and(|at| at < run.moments));
        self.most_moments = self.most_moments.max(run.moments);
        if let Err(why) = result {
            self.wrong += 1;
            if self.first_wrong.is_empty() {
                write!(self.first_wrong, "{script:?}: {why}").unwrap();
            }
        }
        run.moments
    }

    /// Every crash × every loss, every withdrawal × every loss, and for short sequences every crash × every withdrawal.
    fn play_all(&mut self, script: Script<'_>, opening: &Opening) {
        for lost in [0, 1, 3] {
            let script = Script { lost, ..script };
            let moments = self.play(script, opening);
            for moment in 0..moments {
                let crash = Script {
                    crash: Some(moment),
                    ..script
                };
                let after = self.play(crash, opening);
                let withdraw = Script {
                    withdraw: Some(moment),
                    ..script
                };
                self.play(withdraw, opening);
                if script.look_ups.len() > 1 || lost == 1 {
                    continue;
                }
                for withdraw in (0..after).map(Some) {
                    self.play(Script { withdraw, ..crash }, opening);
                }
            }
        }
    }
}

fn all(most: usize, mistake: Option<Mistake>) -> Tally {
    let mut tally = Tally::default();
    let sequences = sequences(most);
    for (lightning, ways) in [(true, 1), (true, 2), (false, 1), (false, 2)] {
        let opening = opening(lightning, ways);
        for first in FIRST {
            for second in SECOND {
                // Another attempt follows only what is known to have brought nothing.
                if first.1 != Truth::Never && second != SECOND[0] {
                    continue;
                }
                for look_ups in &sequences {
                    let script = Script {
                        lightning,
                        first,
                        second,
                        look_ups,
                        crash: None,
                        withdraw: None,
                        lost: 0,
                        mistake,
                    };
                    tally.play_all(script, &opening);
                    if mistake.is_some() && tally.wrong > 0 {
                        return tally;
                    }
                }
            }
        }
    }
    tally
}

#[test]
fn in_every_run_money_goes_out_at_most_once_and_exactly_then_the_claim_falls() {
    let tally = all(3, None);
    println!(
        "{} runs, {} of them with a crash, up to {} moments each",
        tally.runs, tally.crashes, tally.most_moments
    );
    assert!(
        tally.wrong == 0,
        "{} of {} runs are wrong, such as {}",
        tally.wrong,
        tally.runs,
        tally.first_wrong
    );
    assert!(tally.runs > 100_000 && tally.crashes > 50_000);
}

/// The same check with a mistake in the caller: if it found nothing, it would prove nothing.
#[test]
fn every_mistake_is_found() {
    for mistake in [
        Mistake::PaysAgain,
        Mistake::TellsBeforeStoring,
        Mistake::BelievesNeverSeen,
        Mistake::UnknownIsFailed,
        Mistake::WordOfAnother,
    ] {
        let tally = all(1, Some(mistake));
        println!("{mistake:?}: found within {} runs", tally.runs);
        assert!(tally.wrong > 0, "{mistake:?} was not found");
    }
}
