//! The plugin as a whole, on a real Postgres: each test has a database of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    clippy::missing_panics_doc
)]

mod accounts;
mod admin;
mod agent;
mod announce;
mod commands;
mod concurrency;
mod credit;
mod doctor;
mod faults;
mod guests;
mod inbox;
mod limits;
mod logs;
mod metrics;
mod mirror;
mod openapi;
mod operating;
mod pages;
mod proposals;
mod pubky_tls;
mod requests;
mod router;
mod sessions;
mod slow;
mod snapshots;
mod streams;
mod support;
mod wallet_page;
mod web;
