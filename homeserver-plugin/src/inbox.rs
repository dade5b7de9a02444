//! How messages for users who are away are taken in and handed out.
//!
//! An [`envelope`] is sealed: neither sender nor content can be read here. Whether it may come in is decided by [`admit`], a pure
//! function of what is stored and what is configured; the [`writer`] stores many in one transaction; the [`hub`] wakes who waits.

pub mod admit;
pub mod envelope;
pub mod hub;
pub mod stream;
pub mod writer;
