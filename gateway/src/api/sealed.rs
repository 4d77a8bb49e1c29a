//! Secrets on their way to the store: nothing that a caller could sign or call with is kept in the clear, and
//! so neither is the answer that showed it, where it is kept for its twin.

use super::error::ApiError;
use super::idempotency::{Answer, Once};
use super::state::ApiState;
use crate::domain::{Sealed, Secret};

impl ApiState {
    /// Seals a text.
    pub(super) fn seal(&self, text: &[u8]) -> Result<Sealed, ApiError> {
        self.vault
            .seal(&Secret::new(text))
            .map_err(ApiError::internal)
    }

    /// Opens what [`Self::seal`] made.
    pub(super) fn open(&self, sealed: &Sealed) -> Result<Secret, ApiError> {
        self.vault.open(sealed).map_err(ApiError::internal)
    }

    /// The answer with its body sealed, to be kept.
    pub(super) fn seal_answer(&self, answer: &Answer) -> Result<Answer, ApiError> {
        Answer::json(answer.status(), &self.seal(answer.body())?)
    }

    /// What the caller is answered: [`Self::seal_answer`] undone where a twin's answer is given again.
    pub(super) fn open_answer(&self, once: Once<Answer>) -> Result<Answer, ApiError> {
        match once {
            Once::Done(answer) => Ok(answer),
            Once::Replayed(answer) => {
                let sealed = serde_json::from_slice(answer.body()).map_err(ApiError::internal)?;
                let body = self.open(&sealed)?.expose().to_vec();
                Ok(Answer::of_json_bytes(answer.status(), body.into()))
            }
        }
    }
}
