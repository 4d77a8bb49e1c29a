//! Standard Webhooks 1.0.0: what a delivery is signed with and how a receiver checks it. Pure; the moment
//! comes from the caller. Must never compare signatures other than in constant time.
//!
//! Signed is `id.timestamp.body`, the bytes as they are sent. The header holds one signature per key,
//! separated by spaces, so that receivers on the old and on the new secret both find theirs.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::ed25519::signature::MultipartSigner as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, header::InvalidHeaderValue};
use sha2::Sha256;

use super::key::{Check, Secret, SigningKey, VerifyingKey};
use crate::domain::Timestamp;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const SVIX_ID: HeaderName = HeaderName::from_static("svix-id");
const SVIX_TIMESTAMP: HeaderName = HeaderName::from_static("svix-timestamp");
const SVIX_SIGNATURE: HeaderName = HeaderName::from_static("svix-signature");

/// `v1a,` and the base64 of 64 bytes: the longest signature of one key, and the space before it.
const LONGEST_SIGNATURE: usize = 1 + 4 + 88;

/// The headers of one attempt under both sets of names.
pub type SignatureHeaders = [(HeaderName, HeaderValue); 6];

/// The three headers of a signed request, as a receiver finds them.
#[derive(Debug, Clone, Copy)]
pub struct SignedHeaders<'a> {
    /// The message id.
    pub id: &'a str,
    /// Unix seconds as text; signed as it stands.
    pub timestamp: &'a str,
    /// Signatures, separated by spaces.
    pub signature: &'a str,
}

/// Why a request is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// One of the three headers is missing or not text.
    #[error("the signature headers are not complete")]
    MissingHeader,
    /// Not whole Unix seconds.
    #[error("the timestamp is not a whole number of seconds")]
    Timestamp,
    /// Too old or too far ahead.
    #[error("the timestamp lies outside the tolerance")]
    Tolerance,
    /// No signature fits any key.
    #[error("no signature fits")]
    Signature,
}

/// The value of the signature header: one signature per key, in their order.
pub fn sign(keys: &[SigningKey], id: &str, timestamp: Timestamp, body: &[u8]) -> String {
    let seconds = timestamp.seconds().to_string();
    sign_text(keys, id, &seconds, body)
}

/// The headers of one attempt, made with the keys that are valid now.
///
/// Fails only for an id that no header can hold, which none of our own is.
pub fn headers(
    keys: &[SigningKey],
    id: &str,
    timestamp: Timestamp,
    body: &[u8],
) -> Result<SignatureHeaders, InvalidHeaderValue> {
    let seconds = timestamp.seconds().to_string();
    let signature = HeaderValue::try_from(sign_text(keys, id, &seconds, body))?;
    let id = HeaderValue::from_str(id)?;
    let seconds = HeaderValue::try_from(seconds)?;
    Ok([
        (WEBHOOK_ID, id.clone()),
        (WEBHOOK_TIMESTAMP, seconds.clone()),
        (WEBHOOK_SIGNATURE, signature.clone()),
        (SVIX_ID, id),
        (SVIX_TIMESTAMP, seconds),
        (SVIX_SIGNATURE, signature),
    ])
}

/// Whether one of the signatures was made with one of the keys, not longer than `tolerance` before or
/// after `now`. Signatures of other versions are skipped, so that a sender may add newer ones.
pub fn verify(
    keys: &[VerifyingKey],
    headers: &SignedHeaders<'_>,
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    let all_digits = headers.timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let sent: u64 = match headers.timestamp.parse() {
        Ok(seconds) if all_digits => seconds,
        _ => return Err(VerifyError::Timestamp),
    };
    if sent.abs_diff(now.seconds()) > tolerance.as_secs() {
        return Err(VerifyError::Tolerance);
    }
    let signed = [
        headers.id.as_bytes(),
        b".",
        headers.timestamp.as_bytes(),
        b".",
        body,
    ];
    let fits = headers
        .signature
        .split(' ')
        .filter_map(|entry| entry.split_once(','))
        .any(|(version, text)| keys.iter().any(|key| key.fits(version, text, &signed)));
    if fits {
        Ok(())
    } else {
        Err(VerifyError::Signature)
    }
}

// === impl SignedHeaders ===

impl<'a> SignedHeaders<'a> {
    /// Picks them out of a request: the `webhook-` names, or else the `svix-` names.
    pub fn find(headers: &'a HeaderMap) -> Result<Self, VerifyError> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let set = |[id, timestamp, signature]: [HeaderName; 3]| {
            Some(Self {
                id: text(id)?,
                timestamp: text(timestamp)?,
                signature: text(signature)?,
            })
        };
        set([WEBHOOK_ID, WEBHOOK_TIMESTAMP, WEBHOOK_SIGNATURE])
            .or_else(|| set([SVIX_ID, SVIX_TIMESTAMP, SVIX_SIGNATURE]))
            .ok_or(VerifyError::MissingHeader)
    }
}

impl SigningKey {
    fn append_signature(&self, signed: &[&[u8]], out: &mut String) {
        out.push_str(self.version());
        out.push(',');
        match &self.0 {
            Secret::Hmac(key) => {
                STANDARD.encode_string(mac(key, signed).finalize().into_bytes(), out);
            }
            Secret::Ed25519(key) => {
                STANDARD.encode_string(key.multipart_sign(signed).to_bytes(), out);
            }
        }
    }
}

impl VerifyingKey {
    fn fits(&self, version: &str, text: &str, signed: &[&[u8]]) -> bool {
        // Strict base64 with its padding: two texts must never stand for the same signature.
        let Ok(signature) = STANDARD.decode(text) else {
            return false;
        };
        match (version, &self.0) {
            ("v1", Check::Hmac(key)) => mac(key, signed).verify_slice(&signature).is_ok(),
            ("v1a", Check::Ed25519(key)) => ed25519_dalek::Signature::from_slice(&signature)
                .is_ok_and(|signature| key.verify_strict(&signed.concat(), &signature).is_ok()),
            _ => false,
        }
    }
}

fn sign_text(keys: &[SigningKey], id: &str, seconds: &str, body: &[u8]) -> String {
    let signed = [id.as_bytes(), b".", seconds.as_bytes(), b".", body];
    let mut out = String::with_capacity(keys.len() * LONGEST_SIGNATURE);
    for key in keys {
        if !out.is_empty() {
            out.push(' ');
        }
        key.append_signature(&signed, &mut out);
    }
    out
}

fn mac(key: &[u8], signed: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in signed {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests;
