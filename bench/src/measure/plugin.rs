//! One call of a plugin: `redact` over the payload, in the gateway's sandbox and natively. Both read config and payload
//! anew at each call; what is between them is the sandbox.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use hookmill::sandbox::{
    ArtifactDigests, ChainOutcome, ChainRun, Compiler, Config, Digest, Event, OnFailure, Sandbox,
    Step,
};

use super::Round;
use crate::error::Failure;
use crate::payload::{self, Template};
use crate::report::{Unit, percentile};

/// Calls before the measured ones: code is loaded, slots are warm.
const WARM_UP: usize = 200;

/// The plugin as it is uploaded.
pub(super) fn wasm(round: &Round<'_>) -> Result<Bytes, Failure> {
    std::fs::read(round.plugins.join("redact.wasm"))
        .map(Bytes::from)
        .map_err(Failure::io("read the plugin redact"))
}

pub(super) async fn run(round: &mut Round<'_>) -> Result<(), Failure> {
    let mut native = natively(round.effort.calls);
    let mut sandboxed = in_sandbox(round).await?;
    native.sort_unstable();
    sandboxed.sort_unstable();
    let seconds =
        |times: &[Duration], share| percentile(times, share).unwrap_or_default().as_secs_f64();
    let baseline = seconds(&native, 0.5);
    round
        .report
        .add("plugin call natively, p50", Unit::Time, baseline);
    round.report.compare(
        "plugin call, p50",
        Unit::Time,
        seconds(&sandboxed, 0.5),
        "native call",
        baseline,
    );
    round
        .report
        .add("plugin call, p99", Unit::Time, seconds(&sandboxed, 0.99));
    Ok(())
}

/// The plugin as a function of this program.
fn natively(calls: usize) -> Vec<Duration> {
    let event = hookmill_plugin::testing::event(payload::EVENT_TYPE)
        .payload(Template::payload(payload::SIZE).stamped(0, 0))
        .build();
    let call = || {
        let started = Instant::now();
        let outcome = redact::call(std::hint::black_box(&event), payload::REDACT_CONFIG);
        let took = started.elapsed();
        assert!(
            outcome.is_ok(),
            "redact takes the payload that it is measured with"
        );
        took
    };
    (0..WARM_UP + calls).map(|_| call()).skip(WARM_UP).collect()
}

/// The plugin as the gateway calls it, in a sandbox with the default settings.
async fn in_sandbox(round: &Round<'_>) -> Result<Vec<Duration>, Failure> {
    let folder =
        tempfile::tempdir_in(round.disk).map_err(Failure::io("make a folder for the sandbox"))?;
    let config = Config {
        compiler: Compiler::InProcess,
        ..Config::default()
    };
    let sandbox = Sandbox::new(
        config,
        folder.path().to_path_buf(),
        Arc::new(OneDigest::default()),
    )?;
    let version = sandbox.admit(wasm(round)?).await?.digest;
    let run = ChainRun {
        tenant: "app_bench".into(),
        // Without a key nothing is memoised: each call runs.
        memo_key: None,
        steps: Arc::new([Step {
            plugin_name: "redact".into(),
            version,
            config: payload::REDACT_CONFIG.into(),
            on_failure: OnFailure::Fail,
        }]),
        event: Event {
            id: "msg_bench".to_owned(),
            event_type: payload::EVENT_TYPE.to_owned(),
            timestamp_ms: 0,
            channels: Vec::new(),
            application_id: "app_bench".to_owned(),
            application_uid: None,
            endpoint_id: Some("ep_bench".to_owned()),
            headers: Vec::new(),
            content_type: "application/json".to_owned(),
            payload: Template::payload(payload::SIZE).stamped(0, 0),
        },
    };
    let mut times = Vec::with_capacity(round.effort.calls);
    for number in 0..WARM_UP + round.effort.calls {
        let run = run.clone();
        let started = Instant::now();
        let result = sandbox.run_chain(run).await;
        let took = started.elapsed();
        match result.outcome {
            ChainOutcome::Deliver { .. } if number >= WARM_UP => times.push(took),
            ChainOutcome::Deliver { .. } => {}
            other => {
                return Err(Failure::NotRedacted {
                    outcome: format!("{other:?}"),
                });
            }
        }
    }
    Ok(times)
}

/// Remembers the one compiled file that there is.
#[derive(Default)]
struct OneDigest(Mutex<Option<[u8; 32]>>);

#[async_trait]
impl ArtifactDigests for OneDigest {
    async fn get(&self, _plugin: Digest, _engine: &str) -> Option<[u8; 32]> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, _plugin: Digest, _engine: &str, sha256: [u8; 32]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sha256);
    }
}
