//! A simulator of many users, several logs and whoever lies among them, over the pure crates of Atomicity.
//!
//! One seed is one run, the same bit by bit wherever it is played: no clock, no threads, no order of a hash table. Users keep real
//! channels ([`atomicity_ledger::pair`]) and check real proofs ([`atomicity_witness_log`]); what is simulated is the world between them:
//! a network that loses, repeats and reorders, memories that are lost, clocks that differ, logs that stall, die, fork and lie, and users
//! who sign what they must not.
//!
//! [`run`] plays a seed, checks what must hold after every step, then brings everything to rest and checks what must hold then.

pub mod act;
pub mod check;
pub mod decide;
pub mod error;
pub mod exchange;
pub mod files;
pub mod follow;
pub mod hop_check;
pub mod hop_lies;
pub mod hops;
pub mod lies;
pub mod log_faults;
pub mod logs;
pub mod pay;
pub mod plan;
pub mod receive;
pub mod report;
pub mod rest;
pub mod rng;
pub mod routed;
pub mod totals;
pub mod trace;
pub mod view;
pub mod ways;
pub mod work;
pub mod world;

pub use error::SimError;
pub use report::{Report, Stats};

use world::World;

/// Plays one seed.
#[must_use]
pub fn run(seed: u64, keep_trace: bool) -> Report {
    let mut world = match World::new(seed, keep_trace) {
        Ok(world) => world,
        Err(error) => {
            return Report {
                seed,
                stats: Stats::default(),
                violations: vec![format!("the simulator failed at once: {error}")],
                digest: String::new(),
                trace: Vec::new(),
            };
        }
    };
    if let Err(error) = play(&mut world) {
        world
            .watch
            .violated(format!("the simulator failed: {error}"));
    }
    Report {
        seed,
        stats: world.stats,
        violations: world.watch.violations,
        digest: world.trace.digest(),
        trace: world.trace.lines(),
    }
}

fn play(world: &mut World) -> Result<(), SimError> {
    for step in 0..world.plan.steps {
        world.step(step)?;
        if !world.watch.violations.is_empty() {
            return Ok(());
        }
    }
    world.rest()
}
