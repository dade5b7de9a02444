//! What is counted, and what a run comes to.

/// What happened how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Payments and promises that a payer began.
    pub payments: u64,
    /// Channels that were stored, each as often as that happened.
    pub stored: u64,
    /// Records that were sent.
    pub records: u64,
    /// Records that were lost.
    pub dropped: u64,
    /// Records that came again.
    pub repeated: u64,
    /// Records that came out of turn.
    pub reordered: u64,
    /// Memories that were lost.
    pub crashes: u64,
    /// Books that were handed over or begun anew.
    pub epochs: u64,
    /// What logs did that they must not, or stopped doing.
    pub log_faults: u64,
    /// What dishonest users did.
    pub lies: u64,
    /// Records that were refused.
    pub refused: u64,
    /// Channels that were frozen.
    pub frozen: u64,
    /// Promises that were booked.
    pub merged: u64,
    /// Promises that were shown to have expired.
    pub expired: u64,
    /// Forks that somebody found out.
    pub forks_seen: u64,
    /// Terms that were both published and expired by proof, with the culprit named.
    pub convictions: u64,
    /// Promises that were passed on.
    pub relays: u64,
    /// Circles of debts that somebody tried to clear.
    pub circles: u64,
    /// Promises that were passed on for nothing, because debts only fall.
    pub cleared: u64,
    /// Promises that were passed on in another unit.
    pub exchanged: u64,
    /// Payments that looked for another way.
    pub retries: u64,
    /// Promises to somebody away that were shown to a payer.
    pub shown: u64,
    /// The step that is played.
    pub steps_of_run: usize,
}

impl Stats {
    /// Everything that went wrong on purpose.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.dropped
            + self.repeated
            + self.reordered
            + self.crashes
            + self.epochs
            + self.log_faults
            + self.lies
    }

    /// Adds what another run counted.
    pub fn add(&mut self, other: &Self) {
        self.payments += other.payments;
        self.stored += other.stored;
        self.records += other.records;
        self.dropped += other.dropped;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.crashes += other.crashes;
        self.epochs += other.epochs;
        self.log_faults += other.log_faults;
        self.lies += other.lies;
        self.refused += other.refused;
        self.frozen += other.frozen;
        self.merged += other.merged;
        self.expired += other.expired;
        self.forks_seen += other.forks_seen;
        self.convictions += other.convictions;
        self.relays += other.relays;
        self.circles += other.circles;
        self.cleared += other.cleared;
        self.exchanged += other.exchanged;
        self.retries += other.retries;
        self.shown += other.shown;
    }
}

/// What the run of one seed came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was counted.
    pub stats: Stats,
    /// What must not have happened; the run ended with the first step that brought one.
    pub violations: Vec<String>,
    /// SHA-256 over everything that happened.
    pub digest: String,
    /// What happened, if it was to be kept.
    pub trace: Vec<String>,
}
