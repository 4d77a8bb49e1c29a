//! What one guest has used so far: memory over all its memories, table elements, running ticks. It is the data of
//! the guest's wasmtime store, made anew for each call.

use std::time::Instant;

use wasmtime::ResourceLimiter;

use super::host::LogBook;
use super::limits::{CORE_INSTANCES, Limits, MEMORIES, TABLES};

/// The state beside one running guest.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) log: LogBook,
    pub(super) memory: Gauge,
    pub(super) clock: Clock,
    tables: Gauge,
}

/// Something that a guest may have only so much of, summed over all places where it can get it.
#[derive(Debug)]
pub(super) struct Gauge {
    used: usize,
    limit: usize,
    /// The guest asked for more than the limit.
    pub(super) refused: bool,
}

/// The time that a guest, and its chain, may still run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// Ticks left to this call.
    pub(super) ticks: u32,
    pub(super) wall: Instant,
    pub(super) over: Option<Overrun>,
}

/// Which bound of time was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overrun {
    Ticks,
    Wall,
}

impl Guest {
    pub(super) fn new(limits: &Limits, ticks: u32, wall: Instant) -> Self {
        Self {
            log: LogBook::new(limits.log_lines, limits.log_bytes),
            memory: Gauge::new(limits.memory_bytes),
            tables: Gauge::new(limits.table_elements),
            clock: Clock {
                ticks,
                wall,
                over: None,
            },
        }
    }
}

impl Gauge {
    fn new(limit: usize) -> Self {
        Self {
            used: 0,
            limit,
            refused: false,
        }
    }

    /// Guests never give anything back, so what is used is also the most that was.
    pub(super) fn peak(&self) -> u64 {
        self.used as u64
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.refused = true;
            return false;
        }
        self.used = used;
        true
    }
}

impl Clock {
    /// A tick began while the guest ran. Whether it may go on.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        self.ticks = self.ticks.saturating_sub(1);
        if self.ticks == 0 {
            self.over = Some(Overrun::Ticks);
        } else if now >= self.wall {
            self.over = Some(Overrun::Wall);
        }
        self.over.is_none()
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.memory.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.tables.grow(current, desired))
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn memory_is_summed_over_all_memories() {
        let mut memory = Gauge::new(100);
        assert!(memory.grow(0, 60));
        assert!(memory.grow(0, 40));
        assert!(!memory.refused);
        assert!(!memory.grow(40, 41));
        assert!(memory.refused);
        assert_eq!(memory.peak(), 100);
    }

    #[test]
    fn time_ends_by_ticks_or_by_wall() {
        let start = Instant::now();
        let wall = start + Duration::from_secs(5);
        let mut clock = Clock {
            ticks: 2,
            wall,
            over: None,
        };
        assert!(clock.tick(start));
        assert!(!clock.tick(start));
        assert_eq!(clock.over, Some(Overrun::Ticks));
        let mut clock = Clock {
            ticks: 2,
            wall,
            over: None,
        };
        assert!(!clock.tick(wall));
        assert_eq!(clock.over, Some(Overrun::Wall));
    }
}
