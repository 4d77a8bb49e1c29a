//! What happens around a lane, and what that does.

use proptest::prelude::*;

use super::*;

/// How an attempt ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Success,
    Failure,
    Overloaded,
    /// A plugin failed.
    NotSent,
    /// A plugin dropped it.
    Dropped,
    /// Not made at all.
    Postponed,
}

/// Something that happens.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A message is accepted; none before so many seconds have passed.
    Post(u64),
    /// Fan-out hands the next one over, or the one after it: both were accepted at the same moment.
    HandOver { second: bool },
    /// An attempt under way ends.
    End(End),
    /// The recorder's next rows reach the disk.
    Commit(usize),
    /// The lane is told the next thing, or the one after it.
    Tell { second: bool },
    /// The store answers the next read, or fails to.
    Read { fails: bool },
    /// So many seconds pass.
    Wait(u64),
    /// Paused or resumed.
    Pause(bool),
    /// Disabled or enabled.
    Disable(bool),
    /// The order is changed.
    Order(DeliveryOrder),
    /// Somebody asks for one more try.
    Resend(u64),
    /// A chain was mended: what failed is due.
    Heal,
    /// Its owner changed the endpoint, so that its circuit probes.
    Mend,
    /// Killed and started again.
    Crash,
}

impl World {
    pub(super) fn happens(&mut self, event: Event) {
        match event {
            Event::Post(later) => self.post(later),
            Event::HandOver { second } => self.hand_over(second),
            Event::End(end) => self.end(end),
            Event::Commit(count) => self.commit(count),
            Event::Tell { second } => {
                if second && self.told.len() > 1 {
                    self.told.swap(0, 1);
                }
                if let Some(input) = self.told.pop_front() {
                    self.tell(input);
                }
            }
            Event::Read { fails } => self.read(fails),
            Event::Wait(seconds) => {
                self.now = self.now.after(Duration::from_secs(seconds));
                self.advance();
            }
            Event::Pause(paused) => self.change(|spec| spec.paused = paused),
            Event::Disable(disabled) => self.change(|spec| spec.disabled = disabled),
            Event::Order(order) => self.change(|spec| spec.order = order),
            Event::Resend(which) => self.resend(which),
            Event::Heal => self.heal(),
            Event::Mend => {
                let now = self.now;
                self.change(|spec| spec.changed_at = now);
            }
            Event::Crash => self.crash(),
        }
    }

    pub(super) fn post(&mut self, later: u64) {
        let seq = Seq(self.truth.len() as u64 + 1);
        let deliver_at = (later > 0).then(|| self.now.after(Duration::from_secs(later)));
        let truth = Truth {
            deliver_at,
            // Every third one.
            expires: seq.0.is_multiple_of(3).then(|| self.now.after(MOST_AGE)),
            ..Truth::default()
        };
        self.truth.insert(seq, truth);
        if self.spec.disabled {
            // Fan-out passes it by.
            self.truth.get_mut(&seq).unwrap().settled = true;
            return;
        }
        self.outbox.push(seq);
        self.fan_out.push_back(Some(seq));
    }

    pub(super) fn hand_over(&mut self, second: bool) {
        if second
            && let (Some(Some(_)), Some(Some(_))) = (self.fan_out.front(), self.fan_out.get(1))
        {
            self.fan_out.swap(0, 1);
        }
        match self.fan_out.pop_front() {
            Some(Some(seq)) => {
                let truth = self.truth.get_mut(&seq).unwrap();
                truth.handed = true;
                let due = truth.deliver_at.unwrap_or(self.now).max(self.now);
                let mut item = Item::first(seq, due, 1, Arc::new(Ticket::new(seq, 1)));
                item.expires = truth.expires;
                self.pending.of(self.spec.org).add(1);
                self.tell(Input::Deliver(self.spec.clone(), item));
            }
            Some(None) => self.tell(Input::CaughtUp),
            None => {}
        }
    }

    pub(super) fn end(&mut self, end: End) {
        if self.running.is_empty() {
            return;
        }
        let item = self.running.remove(0);
        let (seq, lane) = (item.message, self.spec.endpoint);
        if matches!(end, End::Postponed) {
            return self.told.push_back(Input::Postponed(lane, item, SECOND));
        }
        let by_hand = item.trigger == Trigger::Manual;
        let tries = item.tries + u16::from(!by_hand);
        let again = match by_hand {
            true => item.resume_due.map(|due| due.max(self.now)),
            false => (tries < MOST_TRIES).then(|| self.now.after(3 * SECOND)),
        };
        let failed = again.map_or(DeliveryState::Failed, |due| DeliveryState::Parked {
            due,
            trigger: Trigger::Scheduled,
        });
        let expires = self.expiry(seq).map(|(_, end)| end);
        let too_old = !by_hand && expires.is_some_and(|end| end <= self.now);
        let (state, says) = match end {
            _ if too_old => (DeliveryState::Failed, Feedback::NotAsked),
            End::Success => (DeliveryState::Success, Feedback::Success),
            End::Dropped => (DeliveryState::Canceled, Feedback::NotAsked),
            End::NotSent => (failed, Feedback::NotAsked),
            End::Overloaded => (failed, Feedback::Overloaded(None)),
            End::Failure | End::Postponed => (failed, Feedback::Failure),
        };
        let truth = self.truth.get_mut(&seq).unwrap();
        truth.settled |= state.is_settled();
        truth.tries = truth.tries.max(tries);
        let mut row = item.row(lane, state);
        row.tries = tries;
        row.resume_due = None;
        self.recorder.push_back((row, item.ticket));
        self.told.push_back(Input::Finished(lane, seq, says));
    }

    pub(super) fn commit(&mut self, count: usize) {
        for _ in 0..count {
            let Some((row, ticket)) = self.recorder.pop_front() else {
                return;
            };
            let seq = row.key.message;
            if ticket.and_then(|ticket| ticket.close_one()).is_some() {
                self.outbox.retain(|other| *other != seq);
            }
            // Disabled, so that what waited failed.
            self.truth.get_mut(&seq).unwrap().settled |= row.state.is_settled();
            self.rows.insert(seq, row.clone());
            self.told.push_back(Input::Recorded(row));
        }
    }

    pub(super) fn read(&mut self, fails: bool) {
        let Some(refill) = self.reads.pop_front() else {
            return;
        };
        if fails {
            return self.tell(Input::RefillFailed(refill.lane));
        }
        let mut parked: Vec<(Timestamp, Seq)> = self.rows.values().filter_map(due_of).collect();
        parked.sort_unstable();
        parked.retain(|place| refill.after.is_none_or(|after| *place > after));
        let is_due = |place: &&(Timestamp, Seq)| place.0 <= refill.until;
        let due: Vec<_> = parked
            .iter()
            .take_while(is_due)
            .take(refill.limit)
            .collect();
        let refilled = Refilled {
            full: due.len() == refill.limit,
            next_due: parked.get(due.len()).map(|place| place.0),
            rows: due
                .iter()
                .map(|place| self.rows[&place.1].clone())
                .collect(),
            expires: due
                .iter()
                .filter_map(|place| self.expiry(place.1))
                .collect(),
        };
        self.told.push_back(Input::Refilled(refill.lane, refilled));
    }

    fn expiry(&self, seq: Seq) -> Option<(Seq, Timestamp)> {
        Some((seq, self.truth[&seq].expires?))
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut LaneSpec)) {
        change(&mut self.spec);
        self.spec.revision += 1;
        self.tell(Input::Changed(self.spec.clone()));
    }

    pub(super) fn resend(&mut self, which: u64) {
        if self.truth.is_empty() || self.spec.disabled {
            return;
        }
        let seq = Seq(which % self.truth.len() as u64 + 1);
        let is_early = self.fan_out.contains(&Some(seq));
        self.early = self.early.saturating_add(is_early.into());
        let row = self.rows.get(&seq).cloned();
        let (reply, _) = oneshot::channel();
        self.tell(Input::Resend(self.spec.clone(), seq, row, reply));
    }

    pub(super) fn heal(&mut self) {
        let now = self.now;
        let failed = self.rows.values().filter(|row| row.tries > 0);
        let later = failed.filter(|row| due_of(row).is_some_and(|(due, _)| due > now));
        let rows = later.cloned().map(|mut row| {
            if let DeliveryState::Parked { trigger, .. } = row.state {
                row.state = DeliveryState::Parked { due: now, trigger };
            }
            row
        });
        let (reply, _) = oneshot::channel();
        let rows = rows.collect();
        self.tell(Input::Reschedule(self.spec.clone(), rows, reply));
    }

    pub(super) fn crash(&mut self) {
        self.pending = Arc::default();
        self.early = 0;
        let scheduler = Scheduler::new(self.limits.clone());
        self.scheduler = scheduler.counting(Arc::clone(&self.pending));
        self.running.clear();
        self.in_flight = 0;
        self.recorder.clear();
        self.told.clear();
        self.reads.clear();
        self.circuit = None;
        for (seq, truth) in &mut self.truth {
            truth.handed = true;
            // Asked for by hand before fan-out came: its row says no more than that.
            truth.skipped |= self.outbox.contains(seq) && self.rows.contains_key(seq);
        }
        self.outbox.retain(|seq| !self.rows.contains_key(seq));
        self.fan_out = self
            .outbox
            .iter()
            .copied()
            .map(Some)
            .chain([None])
            .collect();
        let parked = self.rows.values().filter_map(due_of);
        if let Some((earliest, _)) = parked.clone().min() {
            let open = Input::Open(self.spec.clone(), earliest, parked.count() as u64);
            self.told.push_back(open);
        }
    }
}

pub(super) fn fifo() -> impl Strategy<Value = DeliveryOrder> {
    prop_oneof![
        Just(DeliveryOrder::Fifo { skip_after: None }),
        (1..4_u16).prop_map(|tries| DeliveryOrder::Fifo {
            skip_after: Some(tries)
        }),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        6 => Just(End::Success),
        4 => Just(End::Failure),
        1 => Just(End::Overloaded),
        1 => Just(End::NotSent),
        1 => Just(End::Dropped),
        1 => Just(End::Postponed),
    ]
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => Just(Event::Post(0)),
        1 => (1..10_u64).prop_map(Event::Post),
        12 => any::<bool>().prop_map(|second| Event::HandOver { second }),
        12 => end().prop_map(Event::End),
        12 => (1..4_usize).prop_map(Event::Commit),
        16 => any::<bool>().prop_map(|second| Event::Tell { second }),
        12 => proptest::bool::weighted(0.1).prop_map(|fails| Event::Read { fails }),
        6 => (0..5_u64).prop_map(Event::Wait),
        2 => any::<bool>().prop_map(Event::Pause),
        2 => (0..1_000_u64).prop_map(Event::Resend),
        1 => Just(Event::Heal),
        1 => Just(Event::Mend),
        1 => Just(Event::Crash),
    ]
}

/// What also happens to a lane now and then.
pub(super) fn rare_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => event(),
        1 => any::<bool>().prop_map(Event::Disable),
        1 => fifo().prop_map(Event::Order),
        1 => Just(Event::Order(DeliveryOrder::Free)),
    ]
}
