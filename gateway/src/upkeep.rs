//! The sweeper: deletes what has expired or whose owner is gone, a little at a time, beside the traffic.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::Clock;
use crate::store::Store;

/// Chosen: retention is counted in days, so a minute late does not matter.
const PAUSE: Duration = Duration::from_secs(60);

/// Chosen: well below the 256 items of a group commit times its usual rows, so that a round never holds an
/// accept back for longer than an ordinary group.
const ROWS_PER_ROUND: usize = 512;

/// Sweeps until the shutdown.
pub(crate) async fn run(store: Arc<dyn Store>, clock: Arc<dyn Clock>, shutdown: CancellationToken) {
    let mut wake = tokio::time::interval(PAUSE);
    wake.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(wake.tick()).await.is_some() {
        let mut deleted = 0;
        while !shutdown.is_cancelled() {
            match store.sweep(clock.now(), ROWS_PER_ROUND).await {
                Ok(0) => break,
                Ok(rows) => deleted += rows,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "sweep failed");
                    break;
                }
            }
        }
        if deleted > 0 {
            tracing::info!(rows = deleted, "swept");
        }
    }
}
