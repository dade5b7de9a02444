//! End-to-end tests: real homeservers, a real DHT, a real Postgres, the real programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod browser;
mod client_net;
mod commands;
mod common;
mod conditional;
mod cosigner;
mod cosigner_faults;
mod demo;
mod discovery;
mod exchange;
mod faults;
mod hostile;
mod jose;
mod log;
mod log_faults;
mod many;
mod paykit;
mod routed;
mod router;
mod story;
mod tools;
mod wallets;
mod watchtower;
mod web;
