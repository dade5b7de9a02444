//! The agent: books that are kept for a user who is away.

mod accounts;
mod afar;
mod approvals;
mod authenticator;
mod clearing;
mod homes;
mod hops;
mod invoices;
mod kept;
mod log;
mod outages;
mod settling;
pub mod world;
