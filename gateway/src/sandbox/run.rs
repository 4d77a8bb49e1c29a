//! Calls one plugin once: a fresh instance, its limits, and a verdict on how it ended. Every call has its own
//! wasmtime store, never used again, so nothing of one event can reach another.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::SandboxError;
use super::headers::{self, HeaderError};
use super::host::{self, HeaderParam, LogBook, Manifest, Outcome};
use super::limits::{Limits, WASM_STACK_BYTES};
use super::meter::{Guest, Overrun};
use super::pool::Loaded;
use super::result::Event;
use super::ticker::Ticker;
use crate::domain::PluginLimits;

/// Runs guests under one engine and set of limits.
#[derive(Debug)]
pub(super) struct Runner {
    engine: Engine,
    limits: Limits,
    ticker: Ticker,
}

/// The time left to a chain.
#[derive(Debug)]
pub(super) struct Budget {
    ticks: u32,
    wall: Instant,
    /// Those of each call.
    limits: Limits,
}

/// How a call went.
#[derive(Debug)]
pub(super) struct Called<T> {
    pub(super) answer: Result<T, Failure>,
    /// Time for which the call held a thread.
    pub(super) busy: Duration,
    pub(super) memory_peak: u64,
    pub(super) log: LogBook,
}

/// What a plugin answered, checked.
#[derive(Debug)]
pub(super) enum Answer {
    Pass,
    Deliver {
        content_type: String,
        headers: Vec<(String, String)>,
        payload: Bytes,
    },
    Drop(String),
    Reject(String),
}

/// Why a call has no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The plugin's doing.
    Plugin { error: String, kind: FailureKind },
    /// No slot was free: not the plugin's doing.
    NoSlot,
}

/// In what way a plugin failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// It said so, or its answer is not allowed.
    Error,
    Trap,
    /// It wanted or gave more than it may: memory, stack, output, headers.
    Amount,
    /// It ran too long: the one kind that might not happen again.
    Time,
}

impl Runner {
    pub(super) fn new(engine: Engine, limits: Limits) -> Result<Self, SandboxError> {
        let ticker = Ticker::start(&engine)?;
        Ok(Self {
            engine,
            limits,
            ticker,
        })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What one chain of a tenant with these limits gets from now on.
    pub(super) fn budget(&self, tenant: &PluginLimits) -> Budget {
        let limits = self.limits.narrowed(tenant);
        Budget {
            ticks: limits.chain_ticks,
            wall: Instant::now() + limits.wall(),
            limits,
        }
    }

    /// Asks a plugin to transform an event.
    pub(super) async fn transform(
        &self,
        plugin: &Loaded,
        event: &Event,
        config: &str,
        budget: &mut Budget,
    ) -> Called<Answer> {
        let channels: Vec<&str> = event.channels.iter().map(String::as_str).collect();
        let headers: Vec<HeaderParam<'_>> = event
            .headers
            .iter()
            .map(|(name, value)| HeaderParam { name, value })
            .collect();
        let event = host::Event {
            id: &event.id,
            event_type: &event.event_type,
            timestamp_ms: event.timestamp_ms,
            channels: &channels,
            application_id: &event.application_id,
            application_uid: event.application_uid.as_deref(),
            endpoint_id: event.endpoint_id.as_deref(),
            headers: &headers,
            content_type: &event.content_type,
            payload: &event.payload,
        };
        let mut store = self.store(budget);
        let _ticking = self.ticker.ticking();
        let (result, busy) = timed(async {
            let guest = plugin.pre.instantiate_async(&mut store).await?;
            guest
                .hookmill_plugin_transformer()
                .call_transform(&mut store, event, config)
                .await
        })
        .await;
        let called = self.finish(store, result, busy, budget);
        let answer = called.answer.and_then(|said| match said {
            Ok(outcome) => self.check(outcome, budget.limits.output_bytes),
            Err(error) => Err(Failure::Plugin {
                error: self.cut(error),
                kind: FailureKind::Error,
            }),
        });
        Called {
            answer,
            busy: called.busy,
            memory_peak: called.memory_peak,
            log: called.log,
        }
    }

    /// Asks a plugin what it is.
    pub(super) async fn describe(
        &self,
        plugin: &Loaded,
        tenant: &PluginLimits,
    ) -> Called<Manifest> {
        let mut budget = self.budget(tenant);
        let mut store = self.store(&budget);
        let _ticking = self.ticker.ticking();
        let (result, busy) = timed(async {
            let guest = plugin.pre.instantiate_async(&mut store).await?;
            guest
                .hookmill_plugin_transformer()
                .call_describe(&mut store)
                .await
        })
        .await;
        self.finish(store, result, busy, &mut budget)
    }

    fn store(&self, budget: &Budget) -> Store<Guest> {
        let ticks = budget.ticks.min(budget.limits.call_ticks);
        let guest = Guest::new(&budget.limits, ticks, budget.wall);
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| guest);
        store.set_hostcall_fuel(self.limits.hostcall_bytes);
        store.set_epoch_deadline(1);
        // The next deadline is set after the yield, so that a tick counts only while the guest runs.
        store.epoch_deadline_callback(|mut store| {
            Ok(if store.data_mut().clock.tick(Instant::now()) {
                UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
            } else {
                UpdateDeadline::Interrupt
            })
        });
        store
    }

    /// Gives the guest's memory back, books its time and judges how it ended.
    fn finish<T>(
        &self,
        store: Store<Guest>,
        result: wasmtime::Result<T>,
        busy: Duration,
        budget: &mut Budget,
    ) -> Called<T> {
        let dropping = Instant::now();
        let given = budget.ticks.min(budget.limits.call_ticks);
        let guest = store.into_data();
        budget.ticks = budget.ticks.saturating_sub(given - guest.clock.ticks);
        let answer = result.map_err(|error| self.judge(&error, &guest, (given, &budget.limits)));
        Called {
            answer,
            busy: busy + dropping.elapsed(),
            memory_peak: guest.memory.peak(),
            log: guest.log,
        }
    }

    fn judge(
        &self,
        error: &wasmtime::Error,
        guest: &Guest,
        (given, limits): (u32, &Limits),
    ) -> Failure {
        if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
            return Failure::NoSlot;
        }
        let (kind, error) = if let Some(over) = guest.clock.over {
            (FailureKind::Time, self.overran(over, given))
        } else if guest.memory.refused {
            let limit = limits.memory_bytes;
            (
                FailureKind::Amount,
                format!("the plugin needs more than {limit} bytes of memory"),
            )
        } else {
            match error.downcast_ref::<Trap>() {
                Some(Trap::StackOverflow) => {
                    let error =
                        format!("the plugin needs more than {WASM_STACK_BYTES} bytes of stack");
                    (FailureKind::Amount, error)
                }
                Some(Trap::UnreachableCodeReached) => {
                    (FailureKind::Trap, "the plugin panicked or aborted".into())
                }
                Some(trap) => (FailureKind::Trap, format!("the plugin trapped: {trap}")),
                None => {
                    let cause = error.root_cause();
                    (
                        FailureKind::Error,
                        format!("the plugin's answer could not be read: {cause}"),
                    )
                }
            }
        };
        Failure::Plugin {
            error: self.cut(error),
            kind,
        }
    }

    fn overran(&self, over: Overrun, given: u32) -> String {
        match over {
            Overrun::Ticks if given == 0 => "the plugin's chain has used its time".into(),
            Overrun::Ticks => format!("the plugin ran longer than {given} ms"),
            Overrun::Wall => {
                format!(
                    "the plugin's chain took more than {} ms",
                    self.limits.wall_ms
                )
            }
        }
    }

    fn check(&self, outcome: Outcome, limit: usize) -> Result<Answer, Failure> {
        Ok(match outcome {
            Outcome::Pass => Answer::Pass,
            Outcome::Drop(reason) => Answer::Drop(self.cut(reason)),
            Outcome::Reject(reason) => Answer::Reject(self.cut(reason)),
            Outcome::Deliver(request) => {
                if request.payload.len() > limit {
                    return Err(Failure::Plugin {
                        error: format!("the plugin delivers more than {limit} bytes of payload"),
                        kind: FailureKind::Amount,
                    });
                }
                let headers: Vec<(String, String)> = request
                    .headers
                    .into_iter()
                    .map(|header| (header.name, header.value))
                    .collect();
                headers::judge(&request.content_type, &headers, &self.limits).map_err(|error| {
                    Failure::Plugin {
                        kind: match error {
                            HeaderError::TooMany(_) | HeaderError::TooLarge(_) => {
                                FailureKind::Amount
                            }
                            _ => FailureKind::Error,
                        },
                        error: self.cut(error.to_string()),
                    }
                })?;
                Answer::Deliver {
                    content_type: request.content_type,
                    headers,
                    payload: request.payload.into(),
                }
            }
        })
    }

    fn cut(&self, mut text: String) -> String {
        text.truncate(text.floor_char_boundary(self.limits.reason_bytes));
        text.shrink_to_fit();
        text
    }
}

/// A future's output and how long its polls took together.
async fn timed<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let mut future = pin!(future);
    let mut busy = Duration::ZERO;
    let output = poll_fn(|context| {
        let start = Instant::now();
        let polled = future.as_mut().poll(context);
        busy += start.elapsed();
        polled
    })
    .await;
    (output, busy)
}
