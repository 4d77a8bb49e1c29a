//! Turns a checked component into machine code, one at a time, in a child process with limits: compiling runs on
//! what strangers upload, can not be stopped from within, and a few kilobytes can keep it busy for minutes. Both
//! halves are here: the gateway's, and the child's, which reads stdin and writes stdout and nothing else.

use std::io::{Read as _, Write as _};
use std::process::{ExitCode, Stdio};

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::config::{CompileLimits, Compiler};
use super::{AdmitError, SandboxError, engine};

/// The hidden subcommand under which a program must call [`compile_child_main`].
pub const COMPILE_SUBCOMMAND: &str = "compile-plugin";

/// The lowest priority: a compilation takes what deliveries leave.
const NICE: i32 = 19;

/// Bytes kept of what a failing child says.
const COMPLAINT_BYTES: usize = 4 << 10;

/// The child's word for "this can not be compiled", as opposed to being killed or not starting. These statuses are
/// those of `sysexits.h`.
const REFUSED: u8 = 65;

/// The child can not do its work, whatever it was given.
const FAILED: u8 = 70;

/// The one compilation that may run and the few that may wait.
#[derive(Debug)]
pub(super) struct CompileQueue {
    compiler: Compiler,
    limits: CompileLimits,
    waiting: Semaphore,
    running: Semaphore,
}

impl CompileQueue {
    pub(super) fn new(compiler: Compiler, limits: CompileLimits) -> Self {
        let waiting = Semaphore::new(limits.queue + 1);
        Self {
            compiler,
            limits,
            waiting,
            running: Semaphore::new(1),
        }
    }

    /// Bytes that machine code may have.
    pub(super) fn output_limit(&self) -> usize {
        self.limits.output_bytes
    }

    /// The machine code of a component. Cancel-safe: a dropped future kills its child.
    /// In `most_seconds` of CPU, if that is less than everybody may have.
    pub(super) async fn compile(
        &self,
        component: Bytes,
        most_seconds: Option<u64>,
    ) -> Result<Vec<u8>, AdmitError> {
        let most = self.limits.cpu_seconds;
        let limits = CompileLimits {
            cpu_seconds: most.min(most_seconds.unwrap_or(most)),
            ..self.limits.clone()
        };
        let _place = self
            .waiting
            .try_acquire()
            .map_err(|_| SandboxError::CompileQueueFull)?;
        let _turn = self
            .running
            .acquire()
            .await
            .map_err(|_| SandboxError::CompileQueueFull)?;
        match &self.compiler {
            Compiler::SelfExe => in_child(&limits, Command::new("/proc/self/exe"), component).await,
            Compiler::Helper(program) => in_child(&limits, Command::new(program), component).await,
            Compiler::InProcess => in_process(component).await,
        }
    }
}

async fn in_child(
    limits: &CompileLimits,
    mut command: Command,
    component: Bytes,
) -> Result<Vec<u8>, AdmitError> {
    let mut child = command
        .arg(COMPILE_SUBCOMMAND)
        // The gateway's environment holds secrets, the child works on a stranger's bytes.
        .env_clear()
        .env(ALLOCATOR_STEP.0, ALLOCATOR_STEP.1)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(SandboxError::Compiler)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let cpu_seconds = limits.cpu_seconds;
    let confined = child_limits(limits);
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A child that dies early closes its end; its exit says why.
            let _ = stdin.write_all(&confined).await;
            let _ = stdin.write_all(&component).await;
        }
    };
    let work = async {
        let (_, code, complaint) = tokio::join!(
            feed,
            read(stdout, limits.output_bytes + 1),
            read(stderr, COMPLAINT_BYTES)
        );
        (child.wait().await, code, complaint)
    };
    let (status, code, complaint) = tokio::time::timeout(limits.wall(), work)
        .await
        // Its own CPU time had not run out, so it is the machine that is loaded: worth another try.
        .map_err(|_| SandboxError::Busy)?;
    let status = status.map_err(SandboxError::Compiler)?;
    if code.len() > limits.output_bytes {
        // The pipe was closed on it, so its exit says nothing.
        return Err(AdmitError::TooCostly { cpu_seconds });
    }
    if status.success() {
        return Ok(code);
    }
    let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
    if status.code() == Some(i32::from(REFUSED)) {
        return Err(AdmitError::DoesNotCompile(complaint));
    }
    if status.code().is_none() {
        // By a signal: CPU time, memory (which aborts) or a fault of the compiler.
        tracing::warn!(%status, complaint, "the compiler was stopped by its limits");
        return Err(AdmitError::TooCostly { cpu_seconds });
    }
    tracing::error!(%status, complaint, "the compiler does not run");
    Err(SandboxError::ForeignCompiler.into())
}

/// Reads to the end, or to the bound: then the pipe closes and a writer with more to say fails.
async fn read(from: Option<impl AsyncRead + Unpin>, bound: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // What was read up to an error is judged by the child's exit.
        let _ = from.take(bound as u64).read_to_end(&mut bytes).await;
    }
    bytes
}

async fn in_process(component: Bytes) -> Result<Vec<u8>, AdmitError> {
    let work = move || {
        let engine = engine::for_compiling()?;
        engine
            .precompile_component(&component)
            .map_err(|error| AdmitError::DoesNotCompile(format!("{error:#}")))
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|stopped| Err(SandboxError::Stopped(stopped).into()))
}

/// KiB of address space that the program's allocator takes at a time. Its own choice is a gibibyte, all that the child
/// has; this is far below what compiling takes anyway.
const ALLOCATOR_STEP: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "32768");

/// What the child reads first: seconds of CPU and bytes of address space, each as eight bytes, the lowest first.
fn child_limits(limits: &CompileLimits) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&limits.cpu_seconds.to_le_bytes());
    bytes[8..].copy_from_slice(&limits.address_space_bytes.to_le_bytes());
    bytes
}

/// The whole life of the compile child. A program calls this, and nothing before it, when its first argument is
/// [`COMPILE_SUBCOMMAND`].
pub fn compile_child_main() -> ExitCode {
    let mut stdin = std::io::stdin().lock();
    let (mut cpu, mut memory) = ([0; 8], [0; 8]);
    if let Err(error) = stdin
        .read_exact(&mut cpu)
        .and_then(|()| stdin.read_exact(&mut memory))
    {
        return complain(FAILED, format_args!("the limits can not be read: {error}"));
    }
    if let Err(error) = confine(u64::from_le_bytes(cpu), u64::from_le_bytes(memory)) {
        return complain(FAILED, format_args!("the limits can not be set: {error}"));
    }
    let mut component = Vec::new();
    if let Err(error) = stdin.read_to_end(&mut component) {
        return complain(
            FAILED,
            format_args!("the component can not be read: {error}"),
        );
    }
    let engine = match engine::for_compiling() {
        Ok(engine) => engine,
        Err(error) => return complain(FAILED, format_args!("{error}")),
    };
    match engine.precompile_component(&component) {
        Ok(code) => match std::io::stdout().lock().write_all(&code) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(FAILED, format_args!("the code can not be written: {error}")),
        },
        Err(error) => complain(REFUSED, format_args!("{error:#}")),
    }
}

/// Tells the gateway, which keeps as much as it likes, and ends so.
fn complain(status: u8, complaint: std::fmt::Arguments<'_>) -> ExitCode {
    // Unlike `eprintln` without a panic when the gateway has closed its end.
    let _ = writeln!(std::io::stderr(), "{complaint}");
    ExitCode::from(status)
}

/// Takes from this process what a compiler does not need, before it reads what was uploaded.
fn confine(cpu_seconds: u64, address_space: u64) -> rustix::io::Result<()> {
    let most = |most| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::Cpu, most(cpu_seconds))?;
    setrlimit(Resource::As, most(address_space))?;
    setrlimit(Resource::Core, most(0))?;
    // It writes to a pipe only.
    setrlimit(Resource::Fsize, most(0))?;
    rustix::process::nice(NICE)?;
    // The gateway's own death must not leave it behind.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}
