//! The laws that hold whenever a request reaches a receiver.

use super::truth::{Arrival, Known, Tries, Truth};
use crate::delivery::InFlight;
use crate::domain::{DeliveryRow, DeliveryState, Seq, Timestamp, Trigger};

/// Milliseconds after which a change of an endpoint is known everywhere, without faults.
const KNOWN_AFTER: u64 = 5_000;

/// Calls of the store, each with two ways, between the start of an attempt and its request.
const CALLS: u64 = 10;

/// By how many milliseconds a lane may catch up, and then some for rounding.
const CATCH_UP: u64 = 7;

/// A request as it comes.
#[derive(Debug)]
pub(super) struct Coming<'a> {
    pub(super) life: u32,
    /// The line behind it is whole.
    pub(super) alive: bool,
    pub(super) place: usize,
    pub(super) message: Seq,
    /// By the clock of who sends it.
    pub(super) now: Timestamp,
    /// By the world's clock, in milliseconds.
    pub(super) ms: u64,
    /// What the store has about the delivery.
    pub(super) row: Option<DeliveryRow>,
    pub(super) limits: &'a InFlight,
    /// What a way to the store takes at most, in milliseconds; none: attempts also wait for each other.
    pub(super) latency: Option<u64>,
}

impl Truth {
    /// Which laws a coming request breaks.
    pub(super) fn judge(&mut self, coming: &Coming<'_>) -> Vec<String> {
        let laws = [
            self.is_wanted(coming),
            self.within_limits(coming),
            self.is_open(coming),
            self.is_no_unexplained_twin(coming),
            self.is_in_time(coming),
            self.is_in_order(coming),
            self.within_rate(coming),
        ];
        let broken = laws.into_iter().flatten();
        let what = format!(
            "life {} sends {:?} to endpoint {}",
            coming.life, coming.message, coming.place
        );
        broken.map(|law| format!("{what}: {law}")).collect()
    }

    fn known(&self, coming: &Coming<'_>) -> &Known {
        &self.messages[&coming.message]
    }

    fn history(&self, coming: &Coming<'_>) -> (u32, &[Arrival]) {
        match self.deliveries.get(&(coming.place, coming.message)) {
            Some(Tries {
                arrivals, resends, ..
            }) => (*resends, arrivals),
            None => (0, &[]),
        }
    }

    /// Nobody gets what he did not subscribe to, unless it is sent by hand.
    fn is_wanted(&self, coming: &Coming<'_>) -> Option<String> {
        let (resends, _) = self.history(coming);
        let message = &self.known(coming).message;
        let same_app = self.endpoints[coming.place].endpoint.app == message.app;
        let wanted = self.matches(coming.place, message) || (same_app && resends > 0);
        (!wanted).then(|| "it does not want it".to_owned())
    }

    fn within_limits(&self, coming: &Coming<'_>) -> Option<String> {
        let asked = self
            .under_way
            .get(&coming.life)
            .map_or(&[][..], Vec::as_slice);
        let own = &self.endpoints[coming.place].endpoint;
        let count = |fits: &dyn Fn(usize) -> bool| {
            let others = asked.iter().filter(|place| fits(**place)).count();
            u32::try_from(others).unwrap() + 1
        };
        let limits = coming.limits;
        let of = |place: usize| &self.endpoints[place].endpoint;
        [
            ("gateway", count(&|_| true), limits.gateway),
            (
                "organization",
                count(&|p| of(p).org == own.org),
                limits.organization,
            ),
            (
                "application",
                count(&|p| of(p).app == own.app),
                limits.application,
            ),
            (
                "endpoint",
                count(&|p| p == coming.place),
                limits.endpoint_max,
            ),
        ]
        .into_iter()
        .find(|(_, count, limit)| count > limit)
        .map(|(level, count, limit)| format!("{count} under way, {limit} allowed: {level}"))
    }

    /// What is paused, disabled or deleted is left alone.
    fn is_open(&self, coming: &Coming<'_>) -> Option<String> {
        let since = self.endpoints[coming.place].held_back_since?;
        let clear = since.max(self.blurred_until) + KNOWN_AFTER < coming.ms;
        (clear && coming.latency.is_some() && self.holds(coming.life))
            .then(|| format!("it is paused, disabled or deleted since {since}"))
    }

    /// One try that succeeds is enough, unless its outcome was lost with a gateway, or somebody asks for more.
    fn is_no_unexplained_twin(&self, coming: &Coming<'_>) -> Option<String> {
        let (resends, arrivals) = self.history(coming);
        let own = arrivals.iter().filter(|past| past.life == coming.life);
        let had = own.filter(|past| past.taken && past.heard).count();
        if had > usize::try_from(resends).unwrap() {
            return Some(format!(
                "this gateway knows of {had} successes, {resends} resends"
            ));
        }
        let settled = coming
            .row
            .as_ref()
            .is_some_and(|row| row.state.is_settled());
        (settled && resends == 0 && self.acts(coming))
            .then(|| format!("it is settled: {:?}", coming.row))
    }

    /// Nothing is sent before its time.
    fn is_in_time(&self, coming: &Coming<'_>) -> Option<String> {
        if !self.acts(coming) {
            return None;
        }
        let (resends, _) = self.history(coming);
        let due = match coming.row.as_ref().map(|row| row.state) {
            Some(DeliveryState::Parked {
                due,
                trigger: Trigger::Scheduled,
            }) => due,
            None if resends == 0 => self.known(coming).message.deliver_at?,
            _ => return None,
        };
        (coming.now < due).then(|| format!("it is due at {due} and not at {}", coming.now))
    }

    /// Where order is wanted, nothing overtakes what its sender knew to be accepted.
    fn is_in_order(&self, coming: &Coming<'_>) -> Option<String> {
        let skip_after = self.endpoints[coming.place].in_order()?;
        let (resends, _) = self.history(coming);
        if resends > 0 || !self.acts(coming) {
            return None;
        }
        let asked_at = self.known(coming).asked_at;
        let overtaken = self.messages.range(..coming.message).find(|(seq, before)| {
            before.answered_at.is_some_and(|at| at < asked_at)
                && before.message.deliver_at.is_none()
                && self.matches(coming.place, &before.message)
                && !self.excused(coming.place, before)
                && !self.lets_pass(coming.place, **seq, skip_after)
        });
        overtaken.map(|(seq, _)| format!("it overtakes {seq:?}"))
    }

    /// Whether this delivery holds back nobody behind it.
    fn lets_pass(&self, place: usize, message: Seq, skip_after: Option<u16>) -> bool {
        let Some(tries) = self.deliveries.get(&(place, message)) else {
            return false;
        };
        let ended = tries.arrivals.iter().filter(|past| past.ended_at.is_some());
        let most = self.endpoints[place].most_tries();
        let skipped = skip_after.unwrap_or(most).min(most);
        tries.resends > 0
            || tries.arrivals.iter().any(|past| past.taken || past.last)
            || ended.count() >= usize::from(skipped)
    }

    /// Two requests are as far apart as the rate says, but for what the way to the receiver blurs.
    fn within_rate(&mut self, coming: &Coming<'_>) -> Option<String> {
        let blurred = self.blurred_until;
        let place = &mut self.endpoints[coming.place];
        let (Some(rate), Some(latency)) = (place.rate, coming.latency) else {
            place.paced = None;
            return None;
        };
        let clear = place.rate_since.max(blurred) + KNOWN_AFTER < coming.ms;
        let earliest = match place.paced {
            Some((life, earliest)) if clear && life == coming.life => earliest,
            _ => 0,
        };
        let now = coming.ms * 1_000;
        let blur = (CATCH_UP + 2 * CALLS * latency) * 1_000;
        place.paced = clear.then(|| (coming.life, now.max(earliest) + 1_000_000 / u64::from(rate)));
        (now + blur < earliest).then(|| format!("{rate}/s allow it in {} us", earliest - now))
    }

    /// Whoever has lost the lanes, or is dead, may repeat what others do.
    fn acts(&self, coming: &Coming<'_>) -> bool {
        coming.alive && self.holds(coming.life)
    }
}
