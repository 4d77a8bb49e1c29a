//! Waiting for what must happen. Everything a test awaits has one generous deadline, so that a loaded machine
//! does not fail it, and a message that says what did not happen.

use std::time::{Duration, Instant};

/// Longest wait for anything that must happen. Chosen: two cores shared by the whole suite stall a process
/// for seconds; what takes longer than this is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a condition that nothing announces. Chosen: short beside a request's own time.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Awaits `work`, at most [`PATIENCE`].
///
/// # Panics
/// When it takes longer; the message names `what`.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Asks `look` until it has an answer: for states of the gateway that its API shows but does not announce.
/// A look that says `Err` is tried again, and its last text is part of the failure.
///
/// # Panics
/// When there is no answer within [`PATIENCE`].
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut look = look;
    let start = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(last) if start.elapsed() > PATIENCE => {
                panic!("waited {PATIENCE:?} in vain for {what}; at last: {last}")
            }
            Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}
