//! What the figures were taken on. It reads what the kernel says and leaves out what it can not find.

use std::fmt::Write;
use std::path::Path;

/// Lines of Markdown.
pub(crate) fn describe(disk: &Path) -> String {
    let mut text = String::new();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor =
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kernel = rustix::system::uname();
    let _ = writeln!(
        text,
        "- Machine: {cores} cores, {processor}, memory {memory}"
    );
    let _ = writeln!(
        text,
        "- System: {} {}",
        kernel.sysname().to_string_lossy(),
        kernel.release().to_string_lossy()
    );
    let _ = writeln!(
        text,
        "- Data directory: {}",
        file_system(disk).unwrap_or_else(|| "unknown".to_owned())
    );
    text
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
