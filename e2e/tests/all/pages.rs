//! Pages for people, in a real browser: what they show, that they keep to their policy, that everybody can use them.

mod diary;
mod explorer;
mod friends;
mod guests;
mod people;
mod place;
mod proposals;
mod recovery;
mod together;
mod wallet;

use crate::visitor::{PHONE, Visitor};
