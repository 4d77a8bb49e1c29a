//! The compile child as a process: the real binary under its hidden subcommand, its limits, and what the gateway
//! makes of each way in which it can end.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, outside the functions that clippy knows as such"
)]

#[path = "../src/sandbox/tests/guest.rs"]
mod guest;

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use hookmill::domain::{Digest, OnFailure};
use hookmill::sandbox::{
    AdmitError, ArtifactDigests, COMPILE_SUBCOMMAND, ChainOutcome, ChainRun, CompileLimits,
    Compiler, Config, Event, Sandbox, SandboxError, Step,
};

/// Of the smallest component.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

const GIB: u64 = 1 << 30;

/// No digest is ever known, so that each process compiles for itself.
struct Forgetful(parking_lot::Mutex<Option<[u8; 32]>>);

#[async_trait]
impl ArtifactDigests for Forgetful {
    async fn get(&self, _: Digest, _: &str) -> Option<[u8; 32]> {
        *self.0.lock()
    }

    async fn put(&self, _: Digest, _: &str, sha256: [u8; 32]) {
        *self.0.lock() = Some(sha256);
    }
}

fn sandbox(dir: &Path, compiler: PathBuf, compile: CompileLimits) -> Sandbox {
    let compiler = Compiler::Helper(compiler);
    let config = Config {
        slots: 16,
        compiler,
        compile,
        ..Config::default()
    };
    Sandbox::new(
        config,
        dir.to_owned(),
        Arc::new(Forgetful(parking_lot::Mutex::default())),
    )
    .unwrap()
}

fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_hookmill").into()
}

async fn refusal(compiler: PathBuf, compile: CompileLimits) -> AdmitError {
    let dir = tempfile::tempdir().unwrap();
    sandbox(dir.path(), compiler, compile)
        .admit(guest::hostile())
        .await
        .unwrap_err()
}

#[tokio::test]
async fn a_plugin_compiled_in_the_child_runs_here() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(dir.path(), binary(), CompileLimits::default());
    let version = sandbox.admit(guest::hostile()).await.unwrap().digest;
    let step = Step {
        plugin_name: "hostile".into(),
        version,
        config: r#"{"mode":"drop"}"#.into(),
        on_failure: OnFailure::Fail,
    };
    let event = Event {
        id: "msg_1".into(),
        event_type: "a".into(),
        timestamp_ms: 0,
        channels: vec![],
        application_id: "app_1".into(),
        application_uid: None,
        endpoint_id: None,
        headers: vec![],
        content_type: "application/json".into(),
        payload: "{}".into(),
    };
    let run = ChainRun {
        tenant: "app_1".into(),
        memo_key: None,
        steps: [step].into(),
        event,
    };
    let outcome = sandbox.run_chain(run).await.outcome;
    assert!(matches!(outcome, ChainOutcome::Drop { .. }), "{outcome:?}");
}

#[tokio::test]
async fn memory_and_time_of_the_child_are_bounded() {
    let memory = CompileLimits {
        address_space_bytes: 16 << 20,
        ..CompileLimits::default()
    };
    let output = CompileLimits {
        output_bytes: 1000,
        ..CompileLimits::default()
    };
    for limits in [memory, output] {
        let error = refusal(binary(), limits.clone()).await;
        assert!(
            matches!(error, AdmitError::TooCostly { .. }),
            "{limits:?}: {error:?}"
        );
    }
    let wall = CompileLimits {
        wall_ms: 1,
        ..CompileLimits::default()
    };
    // Not the plugin's doing: its CPU time had not run out.
    let error = refusal(binary(), wall).await;
    assert!(
        matches!(error, AdmitError::Sandbox(SandboxError::Busy)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_helper_that_is_none_is_named() {
    let error = refusal("/nonexistent/hookmill".into(), CompileLimits::default()).await;
    assert!(
        matches!(error, AdmitError::Sandbox(SandboxError::Compiler(_))),
        "{error:?}"
    );
    for other in ["/bin/true", "/bin/false"] {
        let error = refusal(other.into(), CompileLimits::default()).await;
        assert!(
            matches!(error, AdmitError::Sandbox(SandboxError::ForeignCompiler)),
            "{other}: {error:?}"
        );
    }
}

#[tokio::test]
async fn uploads_past_the_queue_are_refused_for_now() {
    let dir = tempfile::tempdir().unwrap();
    let limits = CompileLimits {
        queue: 1,
        ..CompileLimits::default()
    };
    let sandbox = Arc::new(sandbox(dir.path(), binary(), limits));
    let uploads: Vec<_> = (0..4)
        .map(|n| {
            // A custom section makes each another version.
            let upload = [&guest::hostile()[..], &[0, 2, 1, b'a' + n]].concat();
            let sandbox = sandbox.clone();
            tokio::spawn(async move { sandbox.admit(upload.into()).await })
        })
        .collect();
    let mut refused = 0;
    for upload in uploads {
        match upload.await.unwrap() {
            Ok(_) => {}
            Err(AdmitError::Sandbox(SandboxError::CompileQueueFull)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 2);
}

/// Runs the child by itself.
fn child(cpu_seconds: u64, memory: u64, component: &[u8]) -> Output {
    let mut child = Command::new(binary())
        .arg(COMPILE_SUBCOMMAND)
        // As the gateway starts it.
        .env("MIMALLOC_ARENA_RESERVE", "32768")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = [
        &cpu_seconds.to_le_bytes()[..],
        &memory.to_le_bytes(),
        component,
    ]
    .concat();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_child_compiles_or_says_why_not() {
    let output = child(10, GIB, EMPTY);
    assert!(
        output.status.success() && output.stdout.starts_with(b"\x7fELF"),
        "{output:?}"
    );
    let output = child(10, GIB, b"junk");
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    assert!(output.stdout.is_empty() && !output.stderr.is_empty());
}

#[test]
fn a_bomb_ends_with_its_cpu_time() {
    let output = child(1, GIB, &bomb());
    // SIGKILL: soft and hard limit are one.
    assert_eq!(output.status.signal(), Some(9), "{:?}", output.status);
    assert!(output.stdout.is_empty());
}

/// A component that holds one module of functions at the bound of blocks: within every bound of shape, tens of
/// seconds to compile.
fn bomb() -> Vec<u8> {
    let block = [0x02, 0x40, 0x41, 1, 0x0d, 0, 0x0b];
    let function = [&[0][..], &block.repeat(8_000), &[0x0b]].concat();
    let functions: u8 = 60;
    let mut module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0".to_vec();
    section(
        3,
        &[&[functions][..], &vec![0; functions.into()]].concat(),
        &mut module,
    );
    let mut code = vec![functions];
    for _ in 0..functions {
        leb(function.len(), &mut code);
        code.extend(&function);
    }
    section(10, &code, &mut module);
    let mut component = EMPTY.to_vec();
    section(1, &module, &mut component);
    component
}

fn section(id: u8, content: &[u8], to: &mut Vec<u8>) {
    to.push(id);
    leb(content.len(), to);
    to.extend(content);
}

fn leb(mut number: usize, to: &mut Vec<u8>) {
    while number > 0x7f {
        to.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}
