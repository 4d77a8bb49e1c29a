//! The settings of the sandbox. Plain data with units and defaults; reads no file and no environment.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use crate::domain::{PluginLimit, PluginLimits};

/// Settings of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where guests get their memory from; `pooled`.
    pub memory: MemoryMode,
    /// Guest slots of the pool; 256, each reserving 4 GiB of address space (not memory). More slots keep more
    /// plugins warm. Fewer are used where that much is forbidden.
    pub slots: u32,
    /// Slots that stay warm, with a plugin's image mapped, while unused; 64.
    pub warm_slots: u32,
    /// Bytes of a warm slot's memory that are cleared rather than given back; 2 MiB, the arena of the SDK's
    /// allocator. `warm_slots` times this is what idle slots may hold.
    pub keep_resident_bytes: usize,
    /// Guests running at once; twice the cores unless given.
    pub guests: Option<usize>,
    /// Guests of one application running at once; one less than `guests` unless given, so that a neighbour
    /// finds a free place beside an application whose guests use all they may.
    pub guests_per_application: Option<usize>,
    /// CPU time that the guests of one application may use, in percent of one core (as `top` shows it); a quarter of
    /// all cores unless given, so 50 on two. A second's worth is saved up. An application that has used its share
    /// is slowed: its chains wait, as those that find no place do, while everybody else's go on. A hundred times the
    /// cores or more bounds nothing.
    pub cpu_percent_per_application: Option<NonZeroU32>,
    /// Chains waiting for a place or their share; 4,096. Past it a chain is answered with "unavailable".
    pub waiting: usize,
    /// Chains of one application waiting for either; 256. As above.
    pub waiting_per_application: usize,
    /// Milliseconds that a chain waits for both; 5,000: meanwhile it holds the place and the payload of an attempt,
    /// while one that is put off holds nothing and loses no try. As above.
    pub max_wait_ms: u64,
    /// Plugin versions kept loaded; 1,000, about 50 KB each. Others are read from disk when called.
    pub loaded_plugins: usize,
    /// Bytes of chain results kept for repeated tries; 64 MiB.
    pub memo_bytes: u64,
    /// Bytes of an upload; 4 MiB.
    pub upload_bytes: usize,
    /// What the plugins of an organization, and of each application, may use unless an administrator says otherwise of
    /// it: `module_bytes`, `plugins`, `versions`, `compile_seconds`, `call_ms`, `memory_bytes`, `output_bytes`,
    /// `log_bytes`, `cpu_percent`. What is not said is as much as the gateway allows anybody, by its other settings.
    pub usual: PluginLimits,
    /// What compiles.
    pub compiler: Compiler,
    /// Bounds of a compilation.
    pub compile: CompileLimits,
    /// Bounds of guests and their results.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory: MemoryMode::Pooled,
            slots: 256,
            warm_slots: 64,
            keep_resident_bytes: 2 << 20,
            guests: None,
            guests_per_application: None,
            cpu_percent_per_application: None,
            waiting: 4096,
            waiting_per_application: 256,
            max_wait_ms: 5_000,
            loaded_plugins: 1_000,
            memo_bytes: 64 << 20,
            upload_bytes: 4 << 20,
            usual: PluginLimits::default(),
            compiler: Compiler::SelfExe,
            compile: CompileLimits::default(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    pub(super) fn guests(&self) -> usize {
        self.guests.unwrap_or(2 * cores()).max(1)
    }

    /// Of `all` that run at once.
    pub(super) fn guests_per_application(&self, all: usize) -> usize {
        self.guests_per_application.unwrap_or(all - 1).clamp(1, all)
    }

    pub(super) fn cpu_percent_per_application(&self) -> NonZeroU32 {
        let quarter = u32::try_from(cores() * 100 / 4).ok();
        self.cpu_percent_per_application
            .or(quarter.and_then(NonZeroU32::new))
            .unwrap_or(NonZeroU32::MAX)
    }

    /// What nobody may have more of. Counts of plugins are not the sandbox's.
    pub(super) fn most(&self) -> PluginLimits {
        let Limits {
            memory_bytes,
            call_ticks,
            output_bytes,
            log_bytes,
            ..
        } = self.limits;
        PluginLimits::from_iter([
            (PluginLimit::ModuleBytes, self.upload_bytes as u64),
            (PluginLimit::CompileSeconds, self.compile.cpu_seconds),
            (PluginLimit::CallMs, call_ticks.into()),
            (PluginLimit::MemoryBytes, memory_bytes as u64),
            (PluginLimit::OutputBytes, output_bytes as u64),
            (PluginLimit::LogBytes, log_bytes as u64),
            (PluginLimit::CpuPercent, self.most_cpu_percent()),
        ])
    }

    /// All cores, or what everybody has if that is more.
    fn most_cpu_percent(&self) -> u64 {
        let usual = self.cpu_percent_per_application().get();
        (cores() as u64 * 100).max(usual.into())
    }

    /// What everybody has of whom nothing else is said.
    pub(super) fn usual(&self) -> PluginLimits {
        let percent = self.cpu_percent_per_application().get();
        let share = [(PluginLimit::CpuPercent, percent.into())];
        self.usual.or(&share.into_iter().collect())
    }

    pub(super) fn max_wait(&self) -> Duration {
        Duration::from_millis(self.max_wait_ms)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Where guests get their memory from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryMode {
    /// From slots that are cleared and used again.
    Pooled,
    /// From the kernel for each call, about 25 us dearer, for who distrusts reuse.
    Fresh,
}

/// What turns a plugin into machine code. It runs on what strangers upload and can not be stopped from within,
/// hence a process of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compiler {
    /// This program under its hidden subcommand [`COMPILE_SUBCOMMAND`](super::COMPILE_SUBCOMMAND).
    SelfExe,
    /// Another program that knows the subcommand, of the same build: for a program that embeds the gateway.
    Helper(PathBuf),
    /// A thread of this process, without limits on time or memory: only where every upload is trusted.
    InProcess,
}

/// Bounds of one compilation and of those that wait for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompileLimits {
    /// Compilations waiting behind the one that runs; 16. Past it an upload is refused for now.
    pub queue: usize,
    /// Seconds of CPU; 10. A 1.3 MB engine for JavaScript takes one.
    pub cpu_seconds: u64,
    /// Bytes of address space; 1 GiB.
    pub address_space_bytes: u64,
    /// Milliseconds until the process is killed; 60,000: it has the lowest priority, so more than its CPU.
    pub wall_ms: u64,
    /// Bytes of machine code; 64 MiB.
    pub output_bytes: usize,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            queue: 16,
            cpu_seconds: 10,
            address_space_bytes: 1 << 30,
            wall_ms: 60_000,
            output_bytes: 64 << 20,
        }
    }
}

impl CompileLimits {
    pub(super) fn wall(&self) -> Duration {
        Duration::from_millis(self.wall_ms)
    }
}
