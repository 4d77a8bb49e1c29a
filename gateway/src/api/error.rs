//! What a caller is told when a request fails: `{code, detail}`, where `detail` is a list of
//! `{loc, msg, type}` on 422. The cause goes to the log, inside the request's span and with its id; it must
//! never go to the caller.

use std::error::Error;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use super::validate::Fault;
use crate::store::{IdempotencyRecord, StoreError};

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 401: no token, or one that is not valid.
    #[error("the token is missing, malformed, expired or revoked")]
    Unauthenticated,
    /// 403: a valid token whose scope does not reach this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 404: nothing of this name that the caller may see.
    #[error("{0} not found")]
    NotFound(String),
    /// 405: the path exists, the method does not.
    #[error("this path does not answer to this method")]
    MethodNotAllowed,
    /// 408: the body did not arrive in time, or not whole.
    #[error("the request body did not arrive")]
    BodyIncomplete,
    /// 409: the state of things forbids it.
    #[error("{0}")]
    Conflict(String),
    /// 413: the body is over its limit.
    #[error("the request body is larger than {limit} bytes")]
    BodyTooLarge {
        /// Bytes that are taken.
        limit: usize,
    },
    /// 415: the body is of another media type.
    #[error("the request body must be {0}")]
    MediaType(&'static str),
    /// 422: parts of the request are wrong.
    #[error("the request is not valid")]
    Invalid(Vec<Fault>),
    /// 429: the caller asks too much for now.
    #[error("{detail}")]
    TooMany {
        /// For the caller.
        detail: String,
        /// Seconds until it makes sense to try again.
        retry_after: u64,
    },
    /// 503: the gateway has no room for now.
    #[error("{detail}")]
    Unavailable {
        /// For the caller.
        detail: &'static str,
        /// Seconds until it makes sense to try again.
        retry_after: u64,
    },
    /// The idempotency key has an answer already; turned into it before it reaches a caller.
    #[error("the idempotency key was used meanwhile")]
    Answered(Box<IdempotencyRecord>),
    /// 500: something broke; the cause is for the log.
    #[error("the gateway failed; its log says why")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

impl ApiError {
    /// One fault at one place.
    pub(crate) fn invalid<S: Into<String>>(
        loc: impl IntoIterator<Item = S>,
        msg: impl Into<String>,
    ) -> Self {
        Self::Invalid(vec![Fault::new(loc, msg)])
    }

    /// Something broke that is nobody's request.
    pub(crate) fn internal(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Internal(Box::new(cause))
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "authentication_failed"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "insufficient_permission"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::BodyIncomplete => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            Self::Conflict(_) | Self::Answered(_) => (StatusCode::CONFLICT, "conflict"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large"),
            Self::MediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "validation"),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests"),
            Self::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            _ => None,
        }
    }
}

/// Every variant picks its answer here, so that a new one fails to compile until it has one.
impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Exists { kind, name } => {
                Self::Conflict(format!("{kind} `{name}` exists already"))
            }
            StoreError::NoSuchRecord { kind, .. } => Self::NotFound(kind.to_string()),
            StoreError::Stale { kind, .. } => {
                Self::Conflict(format!("the {kind} was changed meanwhile; try again"))
            }
            StoreError::IdempotencyKeyTaken(record) => Self::Answered(record),
            // The caller asked for nothing that needs a lease: another gateway has taken over.
            StoreError::Fenced | StoreError::Closed => Self::Unavailable {
                detail: "the store is not available",
                retry_after: 1,
            },
            StoreError::Busy => Self::Unavailable {
                detail: "the store is busy",
                retry_after: 1,
            },
            error @ StoreError::DiskFull { .. } => {
                tracing::warn!(error = &error as &dyn Error, "a request was refused");
                Self::Unavailable {
                    detail: "the disk is nearly full",
                    // Somebody has to make room.
                    retry_after: 30,
                }
            }
            error @ (StoreError::Locked
            | StoreError::NewerFormat { .. }
            | StoreError::Damaged { .. }
            | StoreError::Backend(_)) => Self::internal(error),
        }
    }
}

#[derive(Serialize)]
struct Body<'a, D: ?Sized> {
    code: &'static str,
    detail: &'a D,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Internal(cause) = &self {
            tracing::error!(error = cause.as_ref() as &dyn Error, "a request failed");
        }
        let (status, code) = self.status_and_code();
        let mut response = match &self {
            Self::Invalid(faults) => json(
                status,
                &Body {
                    code,
                    detail: faults,
                },
            ),
            other => json(
                status,
                &Body {
                    code,
                    detail: &other.to_string(),
                },
            ),
        };
        if let Some(seconds) = self.retry_after() {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    (status, axum::Json(body)).into_response()
}
