//! End-to-end tests: real homeservers, a real DHT, a real Postgres, the real programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accounts;
mod browser;
mod cash;
mod client_net;
mod coffee;
mod commands;
mod common;
mod conditional;
mod cosigner;
mod cosigner_faults;
mod crashes;
mod demo;
mod discovery;
mod doctor;
mod endpoints;
mod exchange;
mod faults;
mod hostile;
mod jose;
mod lightning;
mod log;
mod log_faults;
mod many;
mod paykit;
mod private_endpoints;
mod reassign;
mod requests;
mod routed;
mod router;
mod settle_crashes;
mod story;
mod tools;
mod wallets;
mod watchtower;
mod web;
