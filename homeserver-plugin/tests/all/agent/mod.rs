//! The agent: books that are kept for a user who is away.

mod clearing;
mod homes;
mod hops;
mod kept;
mod outages;
mod world;
