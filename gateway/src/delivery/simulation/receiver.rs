//! The receivers, and the way to them: each request takes its time, is judged when it arrives, and is answered
//! as its receiver is disposed at that moment.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::laws::Coming;
use super::line::Line;
use super::truth::Arrival;
use super::world::{World, at_once};
use crate::domain::{Clock, DeliveryKey, Seq};
use crate::outbound::stub::outside::Outside;
use crate::outbound::{CapturedBody, Response, SendError, TargetUrl};

/// How a receiver is disposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Takes everything, soon.
    Well,
    /// Answers 500.
    Failing,
    /// Anything, in any time.
    Moody,
    /// Takes everything, late, and sometimes too late.
    Slow,
    /// Never answers.
    Hanging,
    /// Answers 429.
    Busy,
    /// Answers 410.
    Gone,
}

impl Mode {
    pub(super) const ALL: [Self; 10] = [
        Self::Well,
        Self::Well,
        Self::Well,
        Self::Failing,
        Self::Moody,
        Self::Moody,
        Self::Slow,
        Self::Hanging,
        Self::Busy,
        Self::Gone,
    ];
}

/// An answer to come.
#[derive(Debug, Clone)]
struct Answer {
    /// In milliseconds; none: never.
    after: Option<u64>,
    status: u16,
    headers: HeaderMap,
}

/// What is outside for one life of a gateway.
#[derive(Debug)]
pub(super) struct Receivers {
    pub(super) world: Arc<World>,
    pub(super) line: Arc<Line>,
    pub(super) clock: Arc<dyn Clock>,
}

/// A request at its receiver. Dropped, its connection is closed.
struct Asking<'a> {
    receivers: &'a Receivers,
    place: usize,
    message: Seq,
    arrival: usize,
}

#[async_trait]
impl Outside for Receivers {
    async fn post(
        &self,
        target: &TargetUrl,
        headers: &HeaderMap,
        deadline: Duration,
    ) -> Result<Response, SendError> {
        let world = &self.world;
        self.line.travel(world).await;
        // What is under way when a gateway dies may arrive or not.
        if self.line.is_cut() && world.chance(0.5) {
            std::future::pending::<()>().await;
        }
        let (asking, answer) = self.arrive(target, headers);
        let deadline = u64::try_from(deadline.as_millis()).unwrap();
        let in_time = answer.after.filter(|after| *after < deadline);
        tokio::time::sleep(Duration::from_millis(in_time.unwrap_or(deadline))).await;
        self.line.pass(world).await;
        asking.heard(in_time.is_some());
        if in_time.is_none() {
            return Err(SendError::Timeout);
        }
        Ok(Response {
            status: StatusCode::from_u16(answer.status).unwrap(),
            headers: answer.headers,
            body: CapturedBody::default(),
        })
    }
}

impl Receivers {
    /// Judges and notes the request, and decides on the answer.
    fn arrive(&self, target: &TargetUrl, headers: &HeaderMap) -> (Asking<'_>, Answer) {
        let world = &self.world;
        let place = target.as_str().rsplit('/').next();
        let place: usize = place.unwrap().parse().unwrap();
        let id = headers["webhook-id"].to_str().unwrap().parse().unwrap();
        let mut truth = world.truth();
        let message = truth.by_id(id).unwrap().message.seq;
        let endpoint = truth.endpoints[place].endpoint.id;
        let config = &world.plan.delivery;
        let shares_bytes = config.in_flight_bytes < 1_000;
        let latency = u64::try_from(world.plan.latency.as_millis()).unwrap();
        let coming = Coming {
            life: self.line.life,
            alive: !self.line.is_cut(),
            place,
            message,
            now: self.clock.now(),
            ms: world.ms(),
            row: at_once(world.store.delivery(DeliveryKey { endpoint, message })),
            limits: &config.in_flight,
            latency: (!shares_bytes).then_some(latency),
        };
        let broken = truth.judge(&coming);
        let answer = world.answer(truth.endpoints[place].mode);
        world.say(|| {
            let Answer { after, status, .. } = &answer;
            let life = coming.life;
            format!("life {life}: asks endpoint {place} to take {message:?}: {status} in {after:?}")
        });
        broken.into_iter().for_each(|law| world.broken(law));
        let taken = answer.after.is_some() && answer.status / 100 == 2;
        let last = answer.status == 410 || answer.headers.contains_key("webhook-delivery");
        let tries = truth.tries(place, message);
        tries.arrivals.push(Arrival {
            life: self.line.life,
            ended_at: None,
            taken,
            last,
            heard: false,
        });
        let arrival = tries.arrivals.len() - 1;
        truth
            .under_way
            .entry(self.line.life)
            .or_default()
            .push(place);
        let asking = Asking {
            receivers: self,
            place,
            message,
            arrival,
        };
        (asking, answer)
    }
}

impl Asking<'_> {
    /// The gateway learns how it ended.
    fn heard(&self, in_time: bool) {
        let world = &self.receivers.world;
        let mut truth = world.truth();
        let arrival = &mut truth.tries(self.place, self.message).arrivals[self.arrival];
        arrival.heard = in_time;
        arrival.last &= in_time;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Receivers { world, line, .. } = self.receivers;
        let mut truth = world.truth();
        let ms = world.ms();
        truth.tries(self.place, self.message).arrivals[self.arrival].ended_at = Some(ms);
        let asked = truth.under_way.entry(line.life).or_default();
        if let Some(at) = asked.iter().position(|place| *place == self.place) {
            asked.swap_remove(at);
        }
    }
}

impl World {
    fn answer(&self, mode: Mode) -> Answer {
        let after = |ms| Answer {
            after: Some(ms),
            status: 200,
            headers: HeaderMap::new(),
        };
        let soon = after(1 + self.below(30));
        let timeout = self.plan.delivery.timeout_ms;
        match mode {
            Mode::Well => soon,
            Mode::Failing => Answer {
                status: 500,
                ..soon
            },
            Mode::Slow => after(self.below(timeout * 5 / 4)),
            Mode::Hanging => Answer {
                after: None,
                ..soon
            },
            Mode::Busy => self.busy(soon),
            Mode::Gone => Answer {
                status: 410,
                ..soon
            },
            Mode::Moody => self.moody(after(self.below(timeout * 5 / 4))),
        }
    }

    fn busy(&self, mut answer: Answer) -> Answer {
        answer.status = 429;
        if self.chance(0.5) {
            answer
                .headers
                .insert(RETRY_AFTER, HeaderValue::from(self.below(90)));
        }
        answer
    }

    fn moody(&self, answer: Answer) -> Answer {
        let roll = self.below(100);
        if roll < 60 {
            return answer;
        }
        let mut answer = self.busy(answer);
        answer.status = match roll {
            60..70 => 429,
            70..76 => 502,
            76..82 => 503,
            82..97 => 500,
            97..99 => {
                let abort = HeaderValue::from_static("abort-message");
                answer.headers.insert("webhook-delivery", abort);
                400
            }
            _ => 410,
        };
        answer
    }
}
