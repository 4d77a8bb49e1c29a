//! Who holds which shard in this process. Shared by the backends whose store belongs to one process: a new
//! process begins with an empty table and higher tokens, so nothing of it needs to be kept.

use super::{Lease, Shard, ShardSet, StoreError};
use crate::domain::Timestamp;

/// One shard's present holder.
#[derive(Debug, Clone, Copy)]
struct Held {
    token: u64,
    until: Timestamp,
}

/// The 256 shards.
#[derive(Debug)]
pub(crate) struct LeaseTable {
    shards: [Option<Held>; 256],
    last_token: u64,
}

impl LeaseTable {
    /// Nobody holds anything; every token given will be higher than `floor`.
    pub(crate) fn above(floor: u64) -> Self {
        Self {
            shards: [None; 256],
            last_token: floor,
        }
    }

    /// Takes what is free or lapsed.
    pub(crate) fn take(
        &mut self,
        holder: &str,
        want: ShardSet,
        until: Timestamp,
        now: Timestamp,
    ) -> Lease {
        self.last_token += 1;
        let token = self.last_token;
        let free = |held: &Option<Held>| held.is_none_or(|held| held.until <= now);
        let shards: ShardSet = want
            .iter()
            .filter(|shard| free(&self.shards[usize::from(shard.0)]))
            .collect();
        for shard in shards.iter() {
            self.shards[usize::from(shard.0)] = Some(Held { token, until });
        }
        Lease {
            holder: holder.to_owned(),
            token,
            shards,
        }
    }

    /// Moves the end of a lease that is whole.
    pub(crate) fn renew(&mut self, lease: &Lease, until: Timestamp) -> Result<(), StoreError> {
        for shard in lease.shards.iter() {
            self.check(lease, shard)?;
        }
        for shard in lease.shards.iter() {
            self.shards[usize::from(shard.0)] = Some(Held {
                token: lease.token,
                until,
            });
        }
        Ok(())
    }

    /// Frees what is still this lease's.
    pub(crate) fn release(&mut self, lease: &Lease) {
        for shard in lease.shards.iter() {
            if self.check(lease, shard).is_ok() {
                self.shards[usize::from(shard.0)] = None;
            }
        }
    }

    /// A lapsed lease still writes as long as nobody took the shard over: only a taker can conflict.
    pub(crate) fn check(&self, lease: &Lease, shard: Shard) -> Result<(), StoreError> {
        match self.shards[usize::from(shard.0)] {
            Some(held) if held.token == lease.token => Ok(()),
            _ => Err(StoreError::Fenced),
        }
    }

    /// The shards that are still this lease's; fenced if it has lost them all.
    pub(crate) fn still_held(&self, lease: &Lease) -> Result<ShardSet, StoreError> {
        let mut shards = lease.shards.iter().peekable();
        let nothing_asked = shards.peek().is_none();
        let held: ShardSet = shards
            .filter(|shard| self.check(lease, *shard).is_ok())
            .collect();
        if held == ShardSet::default() && !nothing_asked {
            return Err(StoreError::Fenced);
        }
        Ok(held)
    }
}
