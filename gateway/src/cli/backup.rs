//! `hookmill backup`: copies the store of a running gateway into a new data directory, over its API.
//!
//! The copy is a whole data directory but for the key files, which are copied only from a directory that is
//! named: secrets in the store are worth nothing without them, so whoever can fetch a backup cannot read them.

use std::path::PathBuf;

use super::Failure;
use super::peer::{Peer, block_on};
use super::restore::{self, Keys, Source};
use crate::outbound::operator::Answer;
use bytes::Bytes;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    peer: Peer,
    /// The new data directory; must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    keys: Keys,
}

pub(super) fn run(args: &BackupArgs) -> Result<(), Failure> {
    restore::prepare(&args.out)?;
    block_on(copy(args))??;
    args.keys.copy_to(&args.out)?;
    println!("backup in {}", args.out.display());
    Ok(())
}

async fn copy(args: &BackupArgs) -> Result<(), Failure> {
    let mut answer = args.peer.get("/api/v1/admin/backup").await?;
    restore::take_in(&mut answer, &args.out).await
}

impl Source for Answer {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.chunk().await.map_err(Failure::other)
    }
}
