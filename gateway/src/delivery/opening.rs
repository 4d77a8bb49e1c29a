//! Opens the lanes that have parked deliveries at start. Each is counted before anything happens to it, so
//! that its organization's count is right from then on: recovery opens one after the other, and fan-out, which
//! runs beside it, the one that it is about to fill.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, mpsc};

use super::lanes::Stopped;
use super::scheduler::{Input, LaneSpec};
use crate::domain::EndpointId;
use crate::store::{Lease, Store, StoreError};

/// Which lanes are open.
#[derive(Debug)]
pub(super) struct Opening {
    store: Arc<dyn Store>,
    inputs: mpsc::Sender<Input>,
    /// Every lane is.
    done: AtomicBool,
    /// Those that are, until all are.
    lanes: Mutex<HashSet<EndpointId>>,
}

impl Opening {
    pub(super) fn new(store: Arc<dyn Store>, inputs: mpsc::Sender<Input>) -> Arc<Self> {
        Arc::new(Self {
            store,
            inputs,
            done: AtomicBool::new(false),
            lanes: Mutex::default(),
        })
    }

    /// Whether every lane with parked deliveries is open.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Opens this lane, unless it is open. The error says that the store can not be read at present.
    pub(super) async fn open(
        &self,
        lease: &Lease,
        spec: &LaneSpec,
    ) -> Result<Result<(), Stopped>, StoreError> {
        // Held over the reading: nobody may fill the lane meanwhile.
        let mut lanes = self.lanes.lock().await;
        if lanes.contains(&spec.endpoint) {
            return Ok(Ok(()));
        }
        if let Some(earliest) = self.store.next_due(lease, spec.endpoint).await? {
            let parked = self.store.parked(lease, spec.endpoint).await?;
            let input = Input::Open(spec.clone(), earliest, parked);
            if self.inputs.send(input).await.is_err() {
                return Ok(Err(Stopped));
            }
        }
        lanes.insert(spec.endpoint);
        Ok(Ok(()))
    }

    /// Every lane with parked deliveries is open.
    pub(super) async fn finish(&self) {
        self.done.store(true, Ordering::Release);
        *self.lanes.lock().await = HashSet::new();
    }
}
