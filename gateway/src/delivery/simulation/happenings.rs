//! What people, machines and receivers do in a run, at random.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::gateway::Slot;
use super::plan::{one_of, schedule};
use super::receiver::Mode;
use super::truth::Place;
use super::world::{World, at_once};
use crate::delivery::tests::rig::{application, endpoint_of};
use crate::domain::{
    Application, ApplicationId, DeliveryOrder, Endpoint, EndpointId, OrganizationId, PauseState,
    Seq, Uid,
};
use crate::ingest::Submission;
use crate::store::{Stored, records};

/// Types that messages have and endpoints may restrict themselves to.
const TYPES: [&str; 3] = ["invoice.paid", "invoice.sent", "user.gone"];

/// What happens, and how often.
const HAPPENINGS: [(Happening, u32); 15] = [
    (Happening::Message, 40),
    (Happening::Burst, 8),
    (Happening::Pause, 7),
    (Happening::Disable, 6),
    (Happening::Delete, 1),
    (Happening::Create, 2),
    (Happening::Pace, 4),
    (Happening::Resend, 9),
    (Happening::Mood, 9),
    (Happening::Kill, 4),
    (Happening::Stop, 2),
    (Happening::Stall, 4),
    (Happening::Outage, 2),
    (Happening::ClockStep, 2),
    (Happening::Sweep, 1),
];

#[derive(Debug, Clone, Copy)]
enum Happening {
    Message,
    Burst,
    Pause,
    Disable,
    Delete,
    Create,
    Pace,
    Resend,
    Mood,
    Kill,
    Stop,
    Stall,
    Outage,
    ClockStep,
    Sweep,
}

/// The people of a run.
#[derive(Debug)]
pub(super) struct People {
    pub(super) world: Arc<World>,
    pub(super) slots: Vec<Arc<Slot>>,
}

impl People {
    /// The tenants as they are at first.
    pub(super) fn settle_in(&self) {
        let plan = &self.world.plan;
        let orgs: Vec<_> = (0..plan.organizations)
            .map(|_| OrganizationId::from_bytes(self.bytes()))
            .collect();
        for number in 0..plan.applications {
            let app = Application {
                id: ApplicationId::from_bytes(self.bytes()),
                org: orgs[number % orgs.len()],
                ..application(self.world.wall())
            };
            at_once(self.world.store.insert(&app, None));
            self.world.truth().applications.push(app);
        }
        for _ in 0..plan.endpoints {
            self.create();
        }
    }

    /// Everything that happens, one after the other.
    pub(super) async fn live(&self) {
        let most = u64::try_from(self.world.plan.pause.as_millis()).unwrap();
        for _ in 0..self.world.plan.happenings {
            let pause = Duration::from_millis(self.world.below(most + 1));
            tokio::time::sleep(pause).await;
            self.happen();
            if self.world.is_broken() {
                return;
            }
        }
    }

    /// Everything breakable is whole from now on, and nobody holds anything back.
    pub(super) fn rest(&self) {
        self.world.say(|| "peace".to_owned());
        self.world.calm_down();
        let standing = self.world.truth().standing(None);
        for place in standing {
            let mode = if self.world.chance(0.2) {
                Mode::Failing
            } else {
                Mode::Well
            };
            self.world.truth().endpoints[place].mode = mode;
            self.change(place, |endpoint| endpoint.pause = PauseState::Running);
        }
    }

    fn happen(&self) {
        let all: u32 = HAPPENINGS.iter().map(|(_, often)| often).sum();
        let mut roll = u32::try_from(self.world.below(all.into())).unwrap();
        let chosen = HAPPENINGS.iter().find(|(_, often)| {
            let hit = roll < *often;
            roll = roll.saturating_sub(*often);
            hit
        });
        let Some((happening, _)) = chosen else { return };
        match happening {
            Happening::Message => self.submit(),
            Happening::Burst => (0..=self.world.below(12)).for_each(|_| self.submit()),
            Happening::Pause => self.with_endpoint(|place| {
                let pause = if self.world.chance(0.4) {
                    PauseState::Paused
                } else {
                    PauseState::Running
                };
                self.change(place, |endpoint| endpoint.pause = pause);
            }),
            Happening::Disable => self.with_endpoint(|place| {
                let disabled = self.world.chance(0.3);
                self.change(place, |endpoint| endpoint.disabled = disabled);
            }),
            Happening::Delete => self.with_endpoint(|place| self.delete(place)),
            Happening::Create => self.create(),
            Happening::Pace => self.with_endpoint(|place| {
                let rate = self.world.dice(rate);
                self.change(place, |endpoint| endpoint.throttle_rate = rate);
            }),
            Happening::Resend => self.resend(),
            Happening::Mood => self.with_endpoint(|place| {
                let mode = self.world.any(&Mode::ALL).unwrap();
                self.world.say(|| format!("endpoint {place} is {mode:?}"));
                self.world.truth().endpoints[place].mode = mode;
            }),
            Happening::Kill | Happening::Stop | Happening::Stall => self.harm(*happening),
            Happening::Outage => {
                let lasts = Duration::from_millis(self.world.below(5_000));
                self.world.begin_outage(lasts);
            }
            Happening::ClockStep => self.step_clock(),
            Happening::Sweep => {
                let swept = at_once(self.world.store.sweep(self.world.wall(), 512));
                self.world.say(|| format!("{swept} rows are swept"));
            }
        }
    }

    // --- tenants -----------------------------------------------------------------------------------

    fn submit(&self) {
        let world = &self.world;
        let Some(life) = world.reachable(&self.slots) else {
            return;
        };
        let app = {
            let applications = world.truth().applications.clone();
            world.any(&applications).unwrap()
        };
        let deliver_at = world.chance(0.1).then(|| {
            let wait = Duration::from_millis(world.below(20_000));
            life.clock.now().after(wait)
        });
        let submission = Submission {
            app,
            event_type: Uid::parse(world.any(&TYPES).unwrap()).unwrap(),
            channels: Vec::new(),
            tags: Vec::new(),
            event_id: None,
            payload: vec![b'1'; usize::try_from(1 + world.below(60)).unwrap()].into(),
            content_type: "application/json".to_owned(),
            deliver_at,
            retention: None,
        };
        let (world, asked_at) = (Arc::clone(world), world.ms());
        tokio::spawn(async move {
            let accepted = life.ingest.submit(submission, |_| None).await;
            let Ok(accepted) = accepted else { return };
            let mut truth = world.truth();
            let known = truth.messages.get_mut(&accepted.message.seq).unwrap();
            known.asked_at = asked_at;
            known.answered_at = Some(world.ms());
        });
    }

    fn create(&self) {
        let world = &self.world;
        let app = {
            let applications = world.truth().applications.clone();
            world.any(&applications).unwrap()
        };
        let number = world.truth().endpoints.len();
        let url = format!("https://receiver.example/{number}");
        let now = world.wall();
        let endpoint = world.dice(|dice| Endpoint {
            id: EndpointId::from_bytes(random_bytes(dice)),
            event_types: dice
                .random_bool(0.3)
                .then(|| vec![Uid::parse(one_of(dice, &TYPES)).unwrap()]),
            throttle_rate: rate(dice).filter(|_| dice.random_bool(0.3)),
            retry: dice.random_bool(0.5).then(|| schedule(dice)),
            order: if dice.random_bool(0.5) {
                DeliveryOrder::Fifo {
                    skip_after: dice.random_bool(0.3).then(|| dice.random_range(1..=3)),
                }
            } else {
                DeliveryOrder::Free
            },
            ..endpoint_of(&app, &url, now)
        });
        at_once(world.store.insert(&endpoint, None));
        let seq = self.stored(&endpoint).unwrap().seq;
        let policy = endpoint.retry.clone();
        let policy = policy.unwrap_or_else(|| world.plan.delivery.retry_schedule.clone());
        world.say(|| {
            let Endpoint {
                order,
                throttle_rate,
                ..
            } = &endpoint;
            format!("endpoint {number} is created: {order:?}, {throttle_rate:?}/s, {policy}")
        });
        let place = Place::new(endpoint, seq, policy, world.ms());
        world.truth().endpoints.push(place);
    }

    /// Changes an endpoint; the world knows what it became.
    fn change(&self, place: usize, change: impl FnOnce(&mut Endpoint)) {
        let world = &self.world;
        let endpoint = world.truth().endpoints[place].endpoint.clone();
        let Some(stored) = self.stored(&endpoint) else {
            return;
        };
        let before = stored.value.clone();
        let mut endpoint = stored.value.clone();
        change(&mut endpoint);
        endpoint.updated_at = world.wall();
        if !endpoint.disabled {
            endpoint.disabled_reason = None;
        }
        at_once(
            world
                .store
                .commit(vec![stored.update(&endpoint).unwrap()], None),
        );
        world.say(|| {
            let Endpoint {
                pause,
                disabled,
                throttle_rate,
                ..
            } = &endpoint;
            format!("endpoint {place}: {pause:?}, disabled {disabled}, {throttle_rate:?}/s")
        });
        let ms = world.ms();
        let mut truth = world.truth();
        let place = &mut truth.endpoints[place];
        if before.disabled {
            // Since whenever: the gateway may have done it.
            place.disabled_until = Some(ms);
        }
        place.disabled = endpoint.disabled;
        place.paused = endpoint.pause == PauseState::Paused;
        if place.rate != endpoint.throttle_rate {
            place.rate = endpoint.throttle_rate;
            place.rate_since = ms;
        }
        place.note_held_back(ms);
    }

    fn delete(&self, place: usize) {
        let world = &self.world;
        world.say(|| format!("endpoint {place} is deleted"));
        let id = world.truth().endpoints[place].endpoint.id;
        let removal = records::remove::<Endpoint>(id);
        at_once(world.store.commit(vec![removal], None));
        let ms = world.ms();
        let mut truth = world.truth();
        let place = &mut truth.endpoints[place];
        place.deleted = true;
        place.note_held_back(ms);
    }

    fn resend(&self) {
        let world = &self.world;
        let messages: Vec<Seq> = world.truth().messages.keys().copied().collect();
        let (Some(life), Some(seq)) = (world.reachable(&self.slots), world.any(&messages)) else {
            return;
        };
        let message = world.truth().messages[&seq].message.clone();
        let app = world
            .truth()
            .applications
            .iter()
            .position(|app| app.id == message.app);
        let standing = world.truth().standing(app);
        let Some(place) = world.any(&standing) else {
            return;
        };
        let endpoint = world.truth().endpoints[place].endpoint.clone();
        if self.stored(&endpoint).is_none_or(|e| e.value.disabled) {
            return;
        }
        let number = life.line.life;
        world.say(|| format!("life {number}: is asked to resend {seq:?} to endpoint {place}"));
        world.truth().tries(place, seq).resends += 1;
        *world.truth().asked.entry(number).or_default() += 1;
        let (world, asked_at) = (Arc::clone(world), world.ms());
        tokio::spawn(async move {
            let answer = life.deliveries.resend(&message, endpoint.id).await;
            world.say(|| format!("life {number}: answers for {seq:?} at {place}: {answer:?}"));
            let mut truth = world.truth();
            *truth.asked.get_mut(&number).unwrap() -= 1;
            if answer.is_ok() {
                truth.tries(place, seq).owed_since = Some(asked_at);
            }
        });
    }

    // --- machines ----------------------------------------------------------------------------------

    fn harm(&self, happening: Happening) {
        let slots: Vec<_> = self.slots.iter().filter_map(|slot| slot.life()).collect();
        let Some(life) = self.world.any(&slots) else {
            return;
        };
        match happening {
            Happening::Kill => life.kill.cancel(),
            Happening::Stop => life.stop.cancel(),
            _ => {
                let most = self.world.plan.delivery.lease_ttl_ms * 3;
                let lasts = Duration::from_millis(self.world.below(most));
                self.world.stall(&life, lasts);
            }
        }
    }

    fn step_clock(&self) {
        let most = i64::try_from(self.world.plan.clock_step.as_millis()).unwrap();
        let by = self.world.dice(|dice| dice.random_range(-most..=most));
        self.world.step_wall_clock(by);
    }

    fn with_endpoint(&self, act: impl FnOnce(usize)) {
        let standing = self.world.truth().standing(None);
        if let Some(place) = self.world.any(&standing) {
            act(place);
        }
    }

    fn stored(&self, endpoint: &Endpoint) -> Option<Stored<Endpoint>> {
        at_once(self.world.store.get::<Endpoint>(endpoint.id))
    }

    fn bytes(&self) -> [u8; 20] {
        self.world.dice(random_bytes)
    }
}

fn random_bytes(dice: &mut StdRng) -> [u8; 20] {
    dice.random()
}

fn rate(dice: &mut StdRng) -> Option<u16> {
    one_of(dice, &[None, Some(1), Some(2), Some(10), Some(100)])
}
