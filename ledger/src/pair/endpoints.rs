//! Where the two can be paid outside by each other, and by nobody else.

use super::Pair;
use super::event::Outcome;
use super::receive::{Standing, quiet};
use super::side::Side;
use crate::error::LedgerError;
use crate::jws::{Signed, Version};
use crate::key::{Keypair, SignerKey, UserKey};
use crate::record::{AnyRecord, Endpoint, Endpoints};
use crate::seq::Serial;
use crate::time::Timestamp;

impl Pair {
    /// Tells the peer, and nobody else, where the owner can be paid, what the owner likes best first; nowhere if the list is empty. Store
    /// the pair, then send it.
    ///
    /// # Errors
    /// [`LedgerError::NoPen`], a rule of the record that the list breaks, or no greater serial is left. Nothing has changed then.
    pub fn set_endpoints(
        &mut self,
        endpoints: Vec<Endpoint>,
        expires: Option<Timestamp>,
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Signed<Endpoints>, LedgerError> {
        self.check_pen(pen)?;
        let before = self.own.endpoints.as_ref();
        let serial = before.map_or(Serial::ZERO, |known| known.record().serial);
        let list = Endpoints {
            v: Version,
            from: self.me,
            to: self.peer,
            serial: serial.next()?,
            endpoints,
            expires,
            at: now,
        };
        let signed = Signed::sign(list, pen)?;
        self.own.endpoints = Some(signed.clone());
        Ok(signed)
    }

    /// Where the owner told the peer that they can be paid.
    #[must_use]
    pub fn own_endpoints(&self) -> Option<&Signed<Endpoints>> {
        self.own.endpoints.as_ref()
    }

    /// Where the peer told the owner that they can be paid, as it counts at `now`; the peer's order.
    #[must_use]
    pub fn private_endpoints(&self, now: Timestamp) -> &[Endpoint] {
        let list = self.theirs.endpoints.as_ref();
        list.map_or(&[], |list| list.record().in_force(now))
    }

    pub(super) fn receive_endpoints(
        &mut self,
        signed: &Signed<Endpoints>,
        now: Timestamp,
    ) -> Result<Outcome, LedgerError> {
        // An earlier keeper's list stands until the next one signs one, as long as nobody revokes the key.
        if let Standing::Pending(reason) = self.standing_of_any_keeper(signed.kid(), now)? {
            return Ok(Outcome::Pending(reason));
        }
        Ok(match &self.theirs.endpoints {
            Some(known) if known.hash() == signed.hash() => Outcome::Duplicate,
            Some(known) if !self.theirs.follows(signed, known) => Outcome::Stale,
            _ => {
                self.theirs.endpoints = Some(signed.clone());
                quiet()
            }
        })
    }

    /// What was found of both, after everything was lost: the peer's list as it was held, and the owner's signed anew.
    pub(super) fn restore_endpoints(
        &mut self,
        (mine, held): (&[AnyRecord], &[AnyRecord]),
        pen: &Keypair,
        now: Timestamp,
    ) -> Result<Option<Signed<Endpoints>>, LedgerError> {
        let (me, peer) = (self.me, self.peer);
        self.theirs.endpoints = newest(&self.theirs, held, (peer, me));
        let own = newest(&self.own, mine, (me, peer));
        let Some(own) = own else {
            return Ok(None);
        };
        let list = own.record().clone();
        // Whoever used up all serials had a key that counts no more.
        self.own.endpoints = Some(own).filter(|own| own.record().serial.next().is_ok());
        self.set_endpoints(list.endpoints, list.expires, pen, now)
            .map(Some)
    }
}

impl Side {
    /// Whether `key` kept the books of an earlier epoch.
    pub(super) fn kept_before(&self, key: SignerKey) -> bool {
        let now = self.book.as_ref().map(|book| book.record().key);
        let mut before = self.past.iter().chain(&self.pending_books);
        now != Some(key) && before.any(|book| book.record().key == key)
    }

    /// Whether a list takes the place of another one. The word of whoever keeps the books counts before that of an earlier keeper, whose
    /// key may be in other hands; of one keeper the greatest serial.
    fn follows(&self, list: &Signed<Endpoints>, known: &Signed<Endpoints>) -> bool {
        let keeper = self.book.as_ref().map(|book| book.record().key);
        match (Some(list.kid()) == keeper, Some(known.kid()) == keeper) {
            (true, false) => true,
            (false, true) => false,
            _ => list.record().serial > known.record().serial,
        }
    }
}

/// The newest list of `from` for `to` that somebody signed who kept the books.
fn newest(
    side: &Side,
    records: &[AnyRecord],
    (from, to): (UserKey, UserKey),
) -> Option<Signed<Endpoints>> {
    let mut found: Option<Signed<Endpoints>> = None;
    for record in records {
        let AnyRecord::Endpoints(list) = record else {
            continue;
        };
        let parties = (list.record().from, list.record().to);
        let keeper = side.book.as_ref().map(|book| book.record().key);
        let kept = keeper == Some(list.kid()) || side.kept_before(list.kid());
        if parties == (from, to)
            && kept
            && found.as_ref().is_none_or(|known| side.follows(list, known))
        {
            found = Some(list.clone());
        }
    }
    found
}
