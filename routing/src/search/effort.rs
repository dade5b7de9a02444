//! How much work a question may take, counted in steps: no clock is asked, so that the same question has the same answer.

/// What a question has taken and may take, and what is certain about its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effort {
    taken: u64,
    most: u64,
    /// Every search since this was set came to its end, and none had to leave something out.
    pub(crate) sure: bool,
}

impl Effort {
    /// Of a question that begins.
    pub(crate) fn new(most: u64) -> Self {
        Self {
            taken: 0,
            most,
            sure: true,
        }
    }

    /// Some steps more.
    #[inline]
    pub(crate) fn count(&mut self, steps: usize) {
        self.taken = self.taken.saturating_add(steps as u64);
    }

    /// How many were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether there are none left.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.taken >= self.most
    }

    fn left(&self) -> u64 {
        self.most.saturating_sub(self.taken)
    }

    /// Allows one `n`th of what is left. Returns what [`allow`](Self::allow) takes to allow all again.
    pub(crate) fn allow_one_of(&mut self, n: u64) -> u64 {
        let all = self.most;
        self.most = self.taken.saturating_add(self.left().div_ceil(n.max(1)));
        all
    }

    /// The same, with three quarters.
    pub(crate) fn keep_back_a_quarter(&mut self) -> u64 {
        let all = self.most;
        self.most = all - self.left() / 4;
        all
    }

    /// Allows so many steps in all.
    pub(crate) fn allow(&mut self, most: u64) {
        self.most = most;
    }
}
