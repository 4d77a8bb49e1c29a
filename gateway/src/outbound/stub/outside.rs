//! What is outside in a simulation, where no socket is.

use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;

use crate::outbound::{Response, SendError, TargetUrl};

/// Takes requests in place of the network.
#[async_trait]
pub(crate) trait Outside: std::fmt::Debug + Send + Sync {
    /// What a receiver makes of the request, within the deadline.
    async fn post(
        &self,
        target: &TargetUrl,
        headers: &HeaderMap,
        deadline: Duration,
    ) -> Result<Response, SendError>;
}
