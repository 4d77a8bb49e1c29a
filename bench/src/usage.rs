//! What a process has used, from what the kernel says: comparable on a machine that others use too, where rates are not.

use std::time::Duration;

use crate::error::Failure;

/// CPU time so far, user and system; by default, that of a process that starts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime(Duration);

/// Bytes of memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// The most it ever was.
    pub(crate) peak: u64,
}

impl CpuTime {
    /// Of a process.
    pub(crate) fn of(process: u32) -> Result<Self, Failure> {
        Self::read(&format!("/proc/{process}/stat"))
    }

    /// Of this program: client and receiver.
    pub(crate) fn own() -> Result<Self, Failure> {
        Self::read("/proc/self/stat")
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    fn read(file: &str) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file).map_err(Failure::io("read CPU times"))?;
        let ticks = ticks(&text).ok_or(Failure::Unreadable {
            file: file.to_owned(),
        })?;
        let per_second = rustix::param::clock_ticks_per_second();
        Ok(Self(Duration::from_secs_f64(
            ticks as f64 / per_second as f64,
        )))
    }
}

impl Memory {
    pub(crate) fn of(process: u32) -> Result<Self, Failure> {
        let file = format!("/proc/{process}/status");
        let text = std::fs::read_to_string(&file).map_err(Failure::io("read memory"))?;
        let bytes = |name| kibibytes(&text, name).map(|kib| kib * 1024);
        match (bytes("VmRSS:"), bytes("VmHWM:")) {
            (Some(resident), Some(peak)) => Ok(Self { resident, peak }),
            _ => Err(Failure::Unreadable { file }),
        }
    }
}

/// `utime` and `stime`: fields 14 and 15 of proc(5)'s stat. The name, field 2, may hold spaces and ends with the last
/// parenthesis.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(user + system)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 1 1 1";
        assert_eq!(ticks(stat), Some(300));
    }

    #[test]
    fn this_program_uses_something() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident);
        CpuTime::own().unwrap();
    }
}
