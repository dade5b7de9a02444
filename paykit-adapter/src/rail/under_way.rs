//! Which ids are being paid by this process.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::payment::PaymentId;

/// The ids that calls are paying right now. Without it one call could report a failure for good of an id that another is just sending.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<BTreeSet<PaymentId>>);

/// Holds an id until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    all: &'a UnderWay,
    id: PaymentId,
}

impl UnderWay {
    /// Takes `id`; nothing if another call has it.
    pub(crate) fn hold(&self, id: PaymentId) -> Option<Held<'_>> {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Not made before it is known to be ours: dropping it gives the id back.
        ids.insert(id).then(|| Held { all: self, id })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut ids = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_held_by_one_at_a_time() {
        let all = UnderWay::default();
        let [one, other] = [1, 2].map(|byte| PaymentId::from_bytes([byte; 32]));
        let held = all.hold(one);
        assert!(held.is_some());
        assert!(all.hold(one).is_none());
        assert!(all.hold(one).is_none(), "asking gave it back");
        assert!(all.hold(other).is_some());
        drop(held);
        assert!(all.hold(one).is_some());
    }
}
