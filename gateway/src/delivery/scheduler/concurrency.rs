//! How many deliveries of a lane may be under way: halves when the receiver is overloaded, grows by one
//! with each success. Pure.

/// The limit of one lane as it stands.
#[derive(Debug)]
pub(super) struct Concurrency {
    start: u32,
    limit: u32,
    max: u32,
    /// Raised by each halving: what was started before tells nothing about the halved limit.
    round: u32,
}

impl Concurrency {
    pub(super) fn new(start: u32, max: u32) -> Self {
        let start = start.clamp(1, max.max(1));
        Self {
            start,
            limit: start,
            max: max.max(1),
            round: 0,
        }
    }

    /// At most this many at once.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// At most this many, of one that has shown no more than that its receiver takes deliveries.
    pub(super) fn barely(&self) -> u32 {
        self.limit.min(self.start.saturating_add(1))
    }

    /// Under which limit a delivery that starts now is made.
    pub(super) fn round(&self) -> u32 {
        self.round
    }

    /// The receiver has one.
    pub(super) fn grow(&mut self) {
        self.limit = (self.limit + 1).min(self.max);
    }

    /// Nothing that was learned before holds any more.
    pub(super) fn restart(&mut self) {
        self.round += 1;
        self.limit = self.start;
    }

    /// A delivery started in `round` found the receiver overloaded. True: one at a time is still too many.
    pub(super) fn shrink(&mut self, round: u32) -> bool {
        if round < self.round {
            return false;
        }
        self.round += 1;
        let at_floor = self.limit == 1;
        self.limit = (self.limit / 2).max(1);
        at_floor
    }
}
