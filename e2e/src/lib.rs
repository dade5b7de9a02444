//! A world for end-to-end tests and the demo: a real DHT on loopback, real Pubky homeservers, a real
//! Postgres, the real `atomicity-homeserver` and `atomicity` programs, and tools that break things.
//!
//! Everything here is for tests: errors are [`anyhow::Error`]s that say what was being tried.

pub mod browser;
pub mod cli;
pub mod coffee;
pub mod cosigner;
pub mod guard;
pub mod homeserver;
pub mod hostile;
pub mod lightning;
pub mod log;
pub mod lying_log;
pub mod mailbox;
pub mod people;
pub mod plugin;
pub mod ports;
pub mod postgres;
pub mod programs;
pub mod promises;
pub mod proxy;
pub mod serve;
pub mod service;
pub mod story;
pub mod thief;
pub mod town;
pub mod tutorial;
pub mod wait;
pub mod watch;
pub mod world;

pub use cli::{Output, Wallet};
pub use homeserver::Homeserver;
pub use plugin::Plugin;
pub use world::World;
