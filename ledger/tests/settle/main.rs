//! Debts that are paid off outside: exactly when money went out the claim falls, whatever is lost, late, repeated or broken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod every_run;
mod faults;
mod fills;
mod keepers;
mod model;
mod outlay;
mod play;
mod replays;
mod world;
