//! Real guests against every limit. The guest `hostile` does what its config names.

mod bombs;
mod chains;
mod guest;
mod limits;
mod uploads;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

pub(crate) use super::cache::tests::MemoryDigests;
use super::*;
pub(crate) use guest::hostile;

/// A sandbox in a directory of its own, with the guest taken in.
struct Room {
    sandbox: Arc<Sandbox>,
    digests: Arc<MemoryDigests>,
    dir: TempDir,
    version: Digest,
}

/// Settings for tests: few slots, for many sandboxes share this process's address space; the compiler in process,
/// for the test program is not the gateway's. `gateway/tests/compile_child.rs` has the child.
fn config() -> Config {
    Config {
        slots: 16,
        warm_slots: 4,
        compiler: Compiler::InProcess,
        ..Config::default()
    }
}

impl Room {
    async fn new(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let digests = Arc::new(MemoryDigests::default());
        let sandbox = Sandbox::new(config, dir.path().to_owned(), digests.clone()).unwrap();
        let admitted = sandbox.admit(hostile()).await.unwrap();
        Self {
            sandbox: Arc::new(sandbox),
            digests,
            dir,
            version: admitted.digest,
        }
    }

    fn step(&self, mode: &str) -> Step {
        Step {
            plugin_name: "hostile".into(),
            version: self.version,
            config: format!(r#"{{"mode":"{mode}"}}"#).into(),
            on_failure: OnFailure::Fail,
        }
    }

    async fn run_steps(&self, steps: impl IntoIterator<Item = Step>) -> ChainResult {
        self.sandbox.run_chain(chain_of("app_1", steps)).await
    }

    async fn run(&self, mode: &str) -> ChainResult {
        self.run_steps([self.step(mode)]).await
    }

    /// The error of a run that must fail, and whether it would again.
    async fn failure(&self, mode: &str) -> (String, bool) {
        match self.run(mode).await.outcome {
            ChainOutcome::Failed {
                error,
                deterministic,
                ..
            } => (error, deterministic),
            other => panic!("{mode}: {other:?}"),
        }
    }
}

fn chain_of(tenant: &str, steps: impl IntoIterator<Item = Step>) -> ChainRun {
    ChainRun {
        tenant: tenant.into(),
        memo_key: None,
        steps: steps.into_iter().collect(),
        event: event(),
    }
}

fn event() -> Event {
    Event {
        id: "msg_1".into(),
        event_type: "invoice.paid".into(),
        timestamp_ms: 1_790_000_000_123,
        channels: vec!["eu".into(), "vip".into()],
        application_id: "app_1".into(),
        application_uid: Some("customer-7".into()),
        endpoint_id: None,
        headers: vec![("x-source".into(), "github".into())],
        content_type: "application/json".into(),
        payload: Bytes::from_static(br#"{"id":7}"#),
    }
}
