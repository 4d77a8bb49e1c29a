//! What becomes of a delivery after a try. Pure: the moment and a random number come from the caller.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::outcome::Verdict;
use super::scheduler::{Feedback, Item};
use crate::domain::{AttemptStatus, DeliveryState, EndpointId, RetryPolicy, Timestamp, Trigger};

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The receiver was asked.
    Asked(Verdict),
    /// A plugin failed, or something of the gateway's own configuration: tried again by schedule.
    Unsent,
    /// A plugin dropped it, or there is nothing to send or nowhere to send it to any more.
    Dropped,
    /// A plugin rejected it.
    Rejected,
    /// It has outlived its policy's maximum age: not tried any more.
    TooOld,
}

/// The delivery after the try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) state: DeliveryState,
    /// Scheduled tries made so far.
    pub(super) tries: u16,
}

/// Where the delivery stands after a try that ended at `now`, if by schedule none is made from `deadline` on.
pub(super) fn settle(
    item: &Item,
    ended: Ended,
    (policy, deadline): (&RetryPolicy, Option<Timestamp>),
    random: f64,
    now: Timestamp,
) -> Settled {
    let by_hand = item.trigger == Trigger::Manual;
    let tries = item.tries.saturating_add(u16::from(!by_hand));
    let not_before = match ended {
        Ended::Asked(Verdict::Success) => return Settled::new(DeliveryState::Success, tries),
        Ended::Asked(Verdict::Gone | Verdict::Abort) | Ended::Rejected => {
            return Settled::new(DeliveryState::Failed, tries);
        }
        Ended::TooOld => return Settled::new(DeliveryState::Failed, item.tries),
        Ended::Dropped => return Settled::new(DeliveryState::Canceled, tries),
        Ended::Asked(Verdict::Retry { not_before, .. }) => not_before.unwrap_or_default(),
        Ended::Unsent => Duration::ZERO,
    };
    let due = if by_hand {
        // A failed try by hand schedules nothing of its own.
        item.resume_due.map(|due| due.max(now.after(not_before)))
    } else {
        policy
            .delay_after(tries, random)
            .map(|delay| now.after(delay.max(not_before)))
            .filter(|due| deadline.is_none_or(|end| *due < end))
    };
    let trigger = match item.trigger {
        Trigger::Scheduled | Trigger::Manual => Trigger::Scheduled,
        Trigger::Recovered => Trigger::Recovered,
    };
    let state = due.map_or(DeliveryState::Failed, |due| DeliveryState::Parked {
        due,
        trigger,
    });
    Settled::new(state, tries)
}

/// The random number of [`settle`], in 0..1. Drawn from delivery and try, so that a simulation can repeat a run:
/// what it spreads are the deliveries of one lane.
pub(super) fn jitter(lane: EndpointId, item: &Item) -> f64 {
    let mut seed = [0; 32];
    seed[..20].copy_from_slice(lane.as_bytes());
    seed[20..28].copy_from_slice(&item.message.0.to_le_bytes());
    seed[28..30].copy_from_slice(&item.tries.to_le_bytes());
    StdRng::from_seed(seed).random()
}

impl Settled {
    fn new(state: DeliveryState, tries: u16) -> Self {
        Self { state, tries }
    }
}

impl Ended {
    /// What its lane learns from it.
    pub(super) fn feedback(self) -> Feedback {
        match self {
            Ended::Asked(Verdict::Success) => Feedback::Success,
            Ended::Asked(Verdict::Retry {
                slow_down: true,
                not_before,
            }) => Feedback::Overloaded(not_before),
            Ended::Asked(Verdict::Retry { .. } | Verdict::Gone | Verdict::Abort) => {
                Feedback::Failure
            }
            Ended::Unsent | Ended::Dropped | Ended::Rejected | Ended::TooOld => Feedback::NotAsked,
        }
    }

    /// How its attempt is recorded.
    pub(super) fn status(self) -> AttemptStatus {
        match self {
            Ended::Asked(Verdict::Success) => AttemptStatus::Success,
            Ended::Dropped => AttemptStatus::Canceled,
            Ended::Asked(_) | Ended::Unsent | Ended::Rejected | Ended::TooOld => {
                AttemptStatus::Fail
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Seq;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const RETRY: Ended = Ended::Asked(Verdict::Retry {
        not_before: None,
        slow_down: false,
    });

    fn item(tries: u16, trigger: Trigger, resume_due: Option<u64>) -> Item {
        Item {
            message: Seq(1),
            tries,
            due: NOW,
            trigger,
            resume_due: resume_due.map(Timestamp::from_millis),
            expires: None,
            bytes: 0,
            ticket: None,
        }
    }

    fn state(item: &Item, ended: Ended) -> (DeliveryState, u16) {
        let policy = RetryPolicy::parse("5s,1h").unwrap();
        let settled = settle(item, ended, (&policy, None), 0.5, NOW);
        (settled.state, settled.tries)
    }

    fn parked(millis: u64) -> DeliveryState {
        DeliveryState::Parked {
            due: Timestamp::from_millis(millis),
            trigger: Trigger::Scheduled,
        }
    }

    #[test]
    fn a_scheduled_try_follows_the_schedule_to_its_end() {
        let by_schedule = |tries| item(tries, Trigger::Scheduled, None);
        for ended in [RETRY, Ended::Unsent] {
            assert_eq!(state(&by_schedule(0), ended), (parked(1_005_000), 1));
            assert_eq!(state(&by_schedule(1), ended), (parked(4_600_000), 2));
            assert_eq!(state(&by_schedule(2), ended), (DeliveryState::Failed, 3));
        }
    }

    #[test]
    fn no_retry_is_due_at_its_deadline_or_later() {
        let policy = RetryPolicy::parse("5s,1h").unwrap();
        let settled = |tries, deadline| {
            let item = item(tries, Trigger::Scheduled, None);
            let end = Some(NOW.after(Duration::from_secs(deadline)));
            settle(&item, RETRY, (&policy, end), 0.5, NOW).state
        };
        assert_eq!(settled(0, 6), parked(1_005_000));
        assert_eq!(settled(0, 5), DeliveryState::Failed);
        assert_eq!(settled(1, 3_599), DeliveryState::Failed);
        let too_old = state(&item(4, Trigger::Scheduled, None), Ended::TooOld);
        assert_eq!(too_old, (DeliveryState::Failed, 4));
    }

    #[test]
    fn a_recovered_delivery_stays_one_over_its_retries() {
        let (state, tries) = state(&item(0, Trigger::Recovered, None), RETRY);
        let trigger = Trigger::Recovered;
        let due = Timestamp::from_millis(1_005_000);
        assert_eq!((state, tries), (DeliveryState::Parked { due, trigger }, 1));
    }

    #[test]
    fn retry_after_makes_a_retry_later_but_never_earlier_and_never_adds_one() {
        let wait = |seconds| {
            Ended::Asked(Verdict::Retry {
                not_before: Some(Duration::from_secs(seconds)),
                slow_down: true,
            })
        };
        let by_schedule = |tries| item(tries, Trigger::Scheduled, None);
        assert_eq!(state(&by_schedule(0), wait(60)).0, parked(1_060_000));
        assert_eq!(state(&by_schedule(1), wait(60)).0, parked(4_600_000));
        assert_eq!(state(&by_schedule(2), wait(60)).0, DeliveryState::Failed);
    }

    #[test]
    fn verdicts_that_end_a_delivery() {
        for (ended, expected) in [
            (Ended::Asked(Verdict::Success), DeliveryState::Success),
            (Ended::Asked(Verdict::Gone), DeliveryState::Failed),
            (Ended::Asked(Verdict::Abort), DeliveryState::Failed),
            (Ended::Rejected, DeliveryState::Failed),
            (Ended::Dropped, DeliveryState::Canceled),
        ] {
            assert_eq!(
                state(&item(0, Trigger::Scheduled, None), ended),
                (expected, 1)
            );
            let by_hand = item(3, Trigger::Manual, Some(2_000_000));
            assert_eq!(state(&by_hand, ended), (expected, 3));
        }
    }

    #[test]
    fn a_failed_try_by_hand_goes_back_to_what_the_delivery_waited_for() {
        let waiting = item(1, Trigger::Manual, Some(2_000_000));
        assert_eq!(state(&waiting, RETRY), (parked(2_000_000), 1));
        let settled = item(1, Trigger::Manual, None);
        assert_eq!(state(&settled, RETRY), (DeliveryState::Failed, 1));
    }
}
