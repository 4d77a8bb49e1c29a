//! What can go wrong between the gateway and its store. The variants say what the caller can do.

use super::Kind;

/// Why a call was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another record of the same parent has this identifier or uid.
    #[error("{kind} `{name}` exists already")]
    Exists {
        /// Of which kind.
        kind: Kind,
        /// The identifier or uid.
        name: String,
    },
    /// A record to be changed is not there.
    #[error("{kind} `{id}` is not in the store")]
    NoSuchRecord {
        /// Of which kind.
        kind: Kind,
        /// Its identifier.
        id: String,
    },
    /// The record was changed since it was read: read it again.
    #[error("{kind} `{id}` was changed meanwhile")]
    Stale {
        /// Of which kind.
        kind: Kind,
        /// Its identifier.
        id: String,
    },
    /// The caller's idempotency key was used meanwhile.
    #[error("the idempotency key was used meanwhile")]
    IdempotencyKeyTaken(Box<super::IdempotencyRecord>),
    /// Somebody else holds the shard now: drop the work.
    #[error("the lease was taken over")]
    Fenced,
    /// The writer's queue is full: try again shortly.
    #[error("the store is busy")]
    Busy,
    /// The disk is full or nearly so: refuse new messages until space returns.
    #[error("the disk is nearly full: {free} bytes free, {reserve} must stay free")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// Closed, or being reopened after a fault: try again shortly.
    #[error("the store is closed")]
    Closed,
    /// Another process has the directory.
    #[error("the data directory is locked by another gateway")]
    Locked,
    /// The directory was written by a newer gateway.
    #[error(
        "the store has format {found}, this gateway reads up to {supported}: use a newer hookmill"
    )]
    NewerFormat {
        /// What the directory says.
        found: u32,
        /// What this binary reads.
        supported: u32,
    },
    /// What is on disk cannot be trusted.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// The database or the file system failed.
    #[error("the database failed")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StoreError {
    /// Whether what was read is not what is there now: read again, and commit anew.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Stale { .. } | Self::Exists { .. } | Self::NoSuchRecord { .. }
        )
    }
}
