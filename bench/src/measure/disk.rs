//! Baseline: how often the disk can make an appended payload durable, one after the other. A gateway that synced for each
//! message alone could accept no more.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use super::Round;
use crate::error::Failure;
use crate::payload::{self, Template};
use crate::report::Unit;

/// Syncs a second.
pub(super) fn run(round: &mut Round<'_>) -> Result<f64, Failure> {
    let mut file: File =
        tempfile::tempfile_in(round.disk).map_err(Failure::io("make a file to sync"))?;
    let payload = Template::payload(payload::SIZE).stamped(0, 0);
    let started = Instant::now();
    let mut syncs = 0_u32;
    while started.elapsed() < round.effort.time {
        file.write_all(&payload)
            .map_err(Failure::io("write the file to sync"))?;
        file.sync_data().map_err(Failure::io("sync a file"))?;
        syncs += 1;
    }
    let per_second = f64::from(syncs) / started.elapsed().as_secs_f64();
    round
        .report
        .add("disk, fdatasync", Unit::PerSecond, per_second);
    Ok(per_second)
}
