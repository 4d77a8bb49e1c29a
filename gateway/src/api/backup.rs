//! A consistent copy of everything, out of the running gateway, for an administrator.
//!
//! The stream is a row of frames: one byte that says what it is, the length in four bytes (big-endian), then
//! so many bytes.
//!
//! | byte | what | content |
//! |---|---|---|
//! | `H` | head, first | `hookmill-backup 1` |
//! | `S` | store | one chunk of the store's export, in order |
//! | `P` | plugin | an uploaded plugin, whole; its name is its SHA-256 |
//! | `E` | end, last | nothing; without it the copy is not whole |
//!
//! Secrets in it are sealed with the vault's key, which is not part of it.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderValue, header};
use tokio::sync::mpsc;

use super::access::Administrator;
use super::error::ApiError;
use super::plugin_files;
use super::state::{ApiState, Shared};
use crate::sandbox::SandboxError;
use crate::store::StoreError;

/// What the head says.
pub const BACKUP_HEAD: &[u8] = b"hookmill-backup 1";

/// Frames that wait for a slow reader. Chosen: enough to keep the disk and the network busy.
const WAITING: usize = 4;

/// `GET /admin/backup`
pub(crate) async fn get(
    State(state): State<Shared>,
    _: Administrator,
) -> Result<Response, ApiError> {
    // Before the first byte is sent: a fault here still has an answer of its own.
    let chunks = state.store.export().await?;
    let (frames, waiting) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        // The reader has gone, or sees a stream without an end: either way there is nobody to tell more.
        if let Err(Some(error)) = send(&state, chunks, &frames).await {
            tracing::error!(error = &error as &dyn std::error::Error, "a backup failed");
            let _ = frames.send(Err(error)).await;
        }
    });
    let body = Body::from_stream(stream::unfold(waiting, async |mut waiting| {
        waiting.recv().await.map(|frame| (frame, waiting))
    }));
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

type Frames = mpsc::Sender<Result<Bytes, ApiError>>;

/// None: the reader has gone.
type Stopped = Option<ApiError>;

async fn send(
    state: &ApiState,
    mut chunks: mpsc::Receiver<Result<Bytes, StoreError>>,
    frames: &Frames,
) -> Result<(), Stopped> {
    push(frames, b'H', BACKUP_HEAD).await?;
    while let Some(chunk) = chunks.recv().await {
        push(frames, b'S', &chunk.map_err(|error| Some(error.into()))?).await?;
    }
    // After the store: whatever version it names is on disk by now.
    for digest in plugin_files::named(state).await.map_err(Some)? {
        match state.sandbox.upload(digest).await {
            Ok(upload) => push(frames, b'P', &upload).await?,
            // Removed since.
            Err(SandboxError::NoSuchVersion(_)) => {}
            Err(error) => return Err(Some(ApiError::internal(error))),
        }
    }
    push(frames, b'E', b"").await
}

async fn push(frames: &Frames, kind: u8, content: &[u8]) -> Result<(), Stopped> {
    let len = u32::try_from(content.len()).map_err(|error| Some(ApiError::internal(error)))?;
    let mut frame = BytesMut::with_capacity(5 + content.len());
    frame.put_u8(kind);
    frame.put_u32(len);
    frame.put_slice(content);
    frames.send(Ok(frame.freeze())).await.map_err(|_| None)
}
