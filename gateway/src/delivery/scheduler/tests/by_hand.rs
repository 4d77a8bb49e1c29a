//! Tries that a person asks for.

use super::*;

/// One delivery in one lane, step by step.
struct Steps {
    scheduler: Scheduler,
    lane: LaneSpec,
}

impl Steps {
    const NOW: Timestamp = Timestamp::from_millis(START);

    fn new() -> Self {
        Self {
            scheduler: Scheduler::new(limits()),
            lane: spec(1, 1, 1),
        }
    }

    fn take(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        self.scheduler.take(Self::NOW, input, &mut actions);
        self.scheduler.advance(Self::NOW, &mut actions);
        actions
    }

    fn deliver(&mut self) -> Vec<Action> {
        let ticket = Arc::new(Ticket::new(Seq(1), 1));
        let item = Item::first(Seq(1), Self::NOW, 1, ticket);
        self.take(Input::Deliver(self.lane.clone(), item))
    }

    fn resend(&mut self) -> Vec<Action> {
        let (reply, _answer) = oneshot::channel();
        let input = Input::Resend(self.lane.clone(), Seq(1), None, reply);
        self.take(input)
    }

    fn finished(&mut self, says: Feedback) -> Vec<Action> {
        self.take(Input::Finished(self.lane.endpoint, Seq(1), says))
    }
}

/// The one row that is written, and whether the outbox entry goes with it.
fn written(actions: Vec<Action>) -> (DeliveryRow, bool) {
    let mut writes = actions.into_iter().filter_map(|action| match action {
        Action::Write { row, ticket, .. } => Some((row, ticket.is_some())),
        _ => None,
    });
    let write = writes.next().unwrap();
    assert!(writes.next().is_none());
    write
}

fn started(actions: Vec<Action>) -> Item {
    let mut starts = actions.into_iter().filter_map(|action| match action {
        Action::Start(start) => Some(start.item),
        _ => None,
    });
    starts.next().unwrap()
}

fn parked(due: Timestamp, trigger: Trigger) -> DeliveryState {
    DeliveryState::Parked { due, trigger }
}

#[test]
fn a_resend_reaches_a_resting_lane_and_one_under_way_is_sent_again() {
    let mut sim = Sim::new(limits());
    let lane = spec(1, 1, 1);
    sim.receiver(&lane, 1_000, Feedback::Overloaded(None));
    sim.deliver(&lane, 20);
    sim.run_for(Duration::from_secs(10));
    let before = sim.started.len();
    let last = Seq(20);
    sim.receiver(&lane, 100, Feedback::Success);
    let (reply, _answer) = oneshot::channel();
    sim.input(Input::Resend(lane.clone(), last, None, reply));
    sim.run_for(Duration::from_millis(50));
    assert_eq!(sim.started.len(), before + 1);
    assert_eq!(sim.started[before].2, last);
    let (reply, mut answer) = oneshot::channel();
    sim.input(Input::Resend(lane, last, None, reply));
    assert!(answer.try_recv().is_ok(), "answered at once");
    sim.run_for(SECOND);
    let again = sim.started.iter().filter(|(.., seq)| *seq == last).count();
    assert_eq!(again, 2);
}

#[test]
fn a_resend_is_kept_when_the_record_overtakes_the_end_of_its_attempt() {
    let mut steps = Steps::new();
    let item = started(steps.deliver());
    assert!(steps.resend().is_empty());
    let row = item.row(steps.lane.endpoint, DeliveryState::Success);
    let (row, _) = written(steps.take(Input::Recorded(row)));
    assert_eq!(row.state, parked(Steps::NOW, Trigger::Manual));
    assert!(steps.finished(Feedback::Success).is_empty());
}

#[test]
fn a_resend_of_what_has_ended_is_answered_once_it_is_on_disk() {
    let mut steps = Steps::new();
    let item = started(steps.deliver());
    assert!(steps.finished(Feedback::Success).is_empty());
    let mut answers = [oneshot::channel(), oneshot::channel()].map(|(reply, answer)| {
        let input = Input::Resend(steps.lane.clone(), Seq(1), None, reply);
        assert!(steps.take(input).is_empty());
        answer
    });
    let row = item.row(steps.lane.endpoint, DeliveryState::Success);
    let (manual, _) = written(steps.take(Input::Recorded(row)));
    for answer in &mut answers {
        assert!(answer.try_recv().is_err(), "a crash would lose it");
    }
    steps.take(Input::Recorded(manual));
    for answer in &mut answers {
        assert!(answer.try_recv().is_ok());
    }
}

#[test]
fn a_resend_before_fan_out_keeps_the_schedule_and_the_outbox_entry() {
    let mut steps = Steps::new();
    let (manual, covered) = written(steps.resend());
    assert_eq!((manual.resume_due, covered), (None, false));
    assert!(steps.deliver().is_empty());
    let (row, covered) = written(steps.take(Input::Recorded(manual)));
    assert_eq!(row.state, parked(Steps::NOW, Trigger::Manual));
    assert_eq!((row.resume_due, covered), (Some(Steps::NOW), true));
}

#[test]
fn a_try_by_hand_that_fails_under_fan_out_leaves_the_schedule_to_begin() {
    for (end, expected) in [
        (
            DeliveryState::Failed,
            parked(Steps::NOW, Trigger::Scheduled),
        ),
        (DeliveryState::Success, DeliveryState::Success),
    ] {
        let mut steps = Steps::new();
        let (manual, _) = written(steps.resend());
        let actions = steps.take(Input::Recorded(manual.clone()));
        assert!(matches!(actions[..], [Action::Refill(_)]));
        let refilled = Refilled {
            rows: vec![manual],
            expires: HashMap::new(),
            full: false,
            next_due: None,
        };
        let item = started(steps.take(Input::Refilled(steps.lane.endpoint, refilled)));
        assert!(steps.deliver().is_empty());
        assert!(steps.finished(Feedback::Failure).is_empty());
        let row = item.row(steps.lane.endpoint, end);
        let (row, covered) = written(steps.take(Input::Recorded(row)));
        assert_eq!((row.state, covered), (expected, true));
    }
}
