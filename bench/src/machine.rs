//! What the figures were taken on. It reads what the kernel says and leaves out what it can not find.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Load per core above which others had a say in the figures. Chosen: a tenth of a core is what an idle system's own
/// services take at most.
const IDLE: f64 = 0.1;

/// The machine as it is before the run.
#[derive(Debug)]
pub(crate) struct Machine {
    lines: String,
    /// Processes that wanted a core, over the last minute, per core.
    load: Option<f64>,
}

impl Machine {
    /// Looks at it now; `disk` is the folder of the data directories.
    pub(crate) fn describe(disk: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let processor = field("/proc/cpuinfo", "model name")
            .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        let kernel = rustix::system::uname();
        let load = load().map(|load| load / cores.max(1) as f64);
        let mut lines = format!("- Machine: {cores} cores, {processor}, memory {memory}\n");
        let _ = writeln!(
            lines,
            "- System: {} {}",
            kernel.sysname().to_string_lossy(),
            kernel.release().to_string_lossy()
        );
        let _ = writeln!(
            lines,
            "- Data directory: {}",
            file_system(disk).unwrap_or_else(|| "unknown".to_owned())
        );
        if let Some(compiler) = compiler() {
            let _ = writeln!(lines, "- Compiler: {compiler}");
        }
        if let Some(load) = load {
            let _ = writeln!(lines, "- Load before the run: {load:.2} per core");
        }
        Self { lines, load }
    }

    /// Lines of Markdown.
    pub(crate) fn lines(&self) -> &str {
        &self.lines
    }

    /// What a reader must know about a run beside other work.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        self.load.filter(|load| *load > IDLE).map(|_| {
            "**The machine was not idle.** Others used it before or during the run: rates and times are worse than they \
             are alone, and ratios scatter. CPU time per delivery, and the ratio by CPU, are what can be compared."
        })
    }
}

/// The load average of the last minute.
fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// The compiler that is at hand, which the toolchain file pins.
fn compiler() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    (!version.is_empty()).then(|| version.trim().to_owned())
}

/// The first `name : value` of such a file.
fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The kind of file system that holds the folder: on one in memory, a sync costs nothing.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let holder = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| folder.starts_with(point))
        // The longest mount point is the innermost; of two on one point the later hides the earlier.
        .max_by_key(|(point, _)| point.len())?;
    Some(holder.1.to_owned())
}
