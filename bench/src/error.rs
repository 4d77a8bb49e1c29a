//! What can stop a measurement.

use std::io;

use hookmill::sandbox::{AdmitError, SandboxError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot {what}")]
    Io {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("a connection failed")]
    Http(#[from] hyper::Error),
    #[error("{asked} answered {status}: {body}")]
    Refused {
        asked: String,
        status: u16,
        body: String,
    },
    #[error("{asked} answered without {missing}: {body}")]
    Unexpected {
        asked: String,
        missing: &'static str,
        body: String,
    },
    #[error("the gateway ended instead of saying where it listens; it said: {said}")]
    NoGateway { said: String },
    #[error("of {expected} deliveries only {came} came within {seconds} s")]
    Lost {
        expected: u64,
        came: u64,
        seconds: u64,
    },
    #[error("{file} does not say what it should")]
    Unreadable { file: String },
    #[error("the gateway has not come to rest within {seconds} s")]
    Restless { seconds: u64 },
    #[error("the sandbox does not start")]
    Sandbox(#[from] SandboxError),
    #[error("the sandbox does not take the plugin redact")]
    Admit(#[from] AdmitError),
    #[error("the plugin redact did not redact the payload but answered {outcome}")]
    NotRedacted { outcome: String },
}

impl Failure {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Failure {
        move |source| Failure::Io { what, source }
    }
}
