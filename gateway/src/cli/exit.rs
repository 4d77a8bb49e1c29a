//! How a command ends: one exit code per kind of failure, and a chain of causes for people.

use std::error::Error;
use std::process::ExitCode;

use crate::GatewayError;
use crate::api::TokenError;
use crate::config::ConfigError;
use crate::store::StoreError;
use crate::store::vault::VaultError;
use tracing_subscriber::filter::ParseError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Exit code 2, as for an unknown flag: the settings cannot be used.
    #[error("the settings cannot be used")]
    Settings(#[from] ConfigError),
    /// Exit code 2 as well.
    #[error("log.filter cannot be used")]
    Filter(#[from] ParseError),
    /// Exit code 2 to 6 by cause: the gateway did not start or did not end well.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// Exit code 1 or 4 to 6 by cause: a store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Exit code 1: the peer refused or could not be reached, a file could not be read, and so on.
    #[error("{0}")]
    Refused(String),
    /// Exit code 1.
    #[error(transparent)]
    Other(Box<dyn Error + Send + Sync>),
}

impl Failure {
    pub(crate) fn other(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Failure::Other(cause.into())
    }

    /// The README's table of exit codes.
    fn code(&self) -> u8 {
        match self {
            Failure::Settings(_)
            | Failure::Filter(_)
            | Failure::Gateway(
                GatewayError::Outbound(_)
                | GatewayError::Vault(VaultError::NotAKey)
                | GatewayError::Token(TokenError::TooShort),
            ) => 2,
            Failure::Gateway(GatewayError::Listen { .. }) => 3,
            Failure::Gateway(GatewayError::Store(error)) | Failure::Store(error) => match error {
                StoreError::Locked => 4,
                StoreError::NewerFormat { .. } => 5,
                StoreError::Damaged { .. } => 6,
                _ => 1,
            },
            Failure::Gateway(_) | Failure::Refused(_) | Failure::Other(_) => 1,
        }
    }

    /// What a person can do about it, where that is not plain.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Failure::Gateway(GatewayError::Store(StoreError::Damaged { .. })) => Some(
                "`hookmill store export FILE` writes what can be read of it, \
                 `hookmill store import FILE --data-dir NEW` makes a data directory of that",
            ),
            _ => None,
        }
    }

    /// Prints the failure with its causes and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        eprint!("hookmill: {self}");
        let mut cause = self.source();
        while let Some(error) = cause {
            eprint!(": {error}");
            cause = error.source();
        }
        eprintln!();
        if let Some(advice) = self.advice() {
            eprintln!("hookmill: {advice}");
        }
        ExitCode::from(self.code())
    }
}
