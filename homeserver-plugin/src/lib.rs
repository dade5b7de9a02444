//! The sidecar that operators of Pubky homeservers install.
//!
//! It keeps sealed messages for users who are away, shows web apps what a user wants shown, and does no more than it says: it never
//! learns who wrote a message or what is in it. It has its own Pkarr key, its own Postgres database and its own listeners, and leaves
//! the homeserver unmodified.
//!
//! Where to start reading: [`state`] for what every request can reach, [`http`] for the routes, [`inbox`] for how a message is taken
//! in, [`db`] for what is stored, [`server`] for the life of the process.

pub mod admin;
pub mod agent;
pub mod announce;
pub mod auth;
pub mod clock;
pub mod config;
pub mod cosigner;
pub mod db;
pub mod doctor;
pub mod error;
pub mod http;
pub mod inbox;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod mirror;
pub mod packet;
pub mod pages;
pub mod problem;
pub mod readiness;
pub mod resolve;
pub mod router;
pub mod secret;
pub mod server;
pub mod state;
pub mod watchtower;
pub mod witness_log;

pub use config::Config;
pub use error::PluginError;
pub use state::AppState;
