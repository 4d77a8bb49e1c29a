//! Watches the free space: new messages are refused in time, and a reserve file is given up when the disk is
//! full all the same, because sled needs space even to open.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FallocateFlags;

use super::config::SledConfig;
use super::marker::failed;
use crate::store::StoreError;

/// Free space of the store's file system.
#[derive(Debug)]
pub(super) struct Space {
    dir: PathBuf,
    min_free: u64,
    reserve_bytes: u64,
    /// Whether the last look found too little, so that a change is logged once.
    full: AtomicBool,
}

impl Space {
    pub(super) fn of(config: &SledConfig) -> Self {
        let space = Self {
            dir: config.dir.clone(),
            min_free: config.min_free_bytes,
            reserve_bytes: config.reserve_bytes,
            full: AtomicBool::new(false),
        };
        space.restore_reserve();
        // One that cannot be read is told to who asks next.
        let full = space.free().is_ok_and(|free| free < space.min_free);
        space.full.store(full, Ordering::Relaxed);
        space
    }

    /// Refuses while the last look found too little, and then looks again.
    pub(super) fn check_if_full(&self) -> Result<(), StoreError> {
        if self.full.load(Ordering::Relaxed) {
            self.check()?;
        }
        Ok(())
    }

    /// Refuses while too little is free.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let free = self.free().map_err(failed)?;
        let full = free < self.min_free;
        if self.full.swap(full, Ordering::Relaxed) != full {
            if full {
                tracing::error!(
                    free,
                    "the disk is nearly full: no new messages are accepted"
                );
            } else {
                tracing::info!(free, "there is space again: new messages are accepted");
                self.restore_reserve();
            }
        }
        if full {
            return Err(StoreError::DiskFull {
                free,
                reserve: self.min_free,
            });
        }
        Ok(())
    }

    /// Makes room for opening and sweeping once a write has failed for want of space.
    pub(super) fn give_up_reserve(&self) {
        if self.free().is_ok_and(|free| free < self.min_free) {
            // The next look that finds space makes a new reserve.
            self.full.store(true, Ordering::Relaxed);
            match fs::remove_file(self.reserve()) {
                Ok(()) => tracing::warn!("the disk is full: the reserve file was given up"),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => tracing::error!(%error, "the reserve file could not be removed"),
            }
        }
    }

    fn reserve(&self) -> PathBuf {
        self.dir.join("reserve")
    }

    fn restore_reserve(&self) {
        let path = self.reserve();
        let room = self.min_free.saturating_add(self.reserve_bytes);
        if self.reserve_bytes == 0 || path.exists() || !self.free().is_ok_and(|free| free > room) {
            return;
        }
        let made = File::create(&path).and_then(|file| {
            rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.reserve_bytes)?;
            file.sync_all()
        });
        if let Err(error) = made {
            tracing::warn!(%error, "no reserve file could be made");
            // Half a reserve is none; the next look tries again.
            let _ = fs::remove_file(&path);
        }
    }

    fn free(&self) -> std::io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
