//! The keys of Standard Webhooks: `whsec_…` (HMAC-SHA256) and `whsk_…` / `whpk_…` (ed25519). May touch the
//! system's randomness for a new key and nothing else; must never show a secret unless asked by `expose`.

use std::fmt;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use zeroize::Zeroizing;

const HMAC_PREFIX: &str = "whsec_";
const PRIVATE_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";

/// Length of the base64 text of an HMAC secret: the pattern of the Svix v1 contract.
const HMAC_TEXT: std::ops::RangeInclusive<usize> = 32..=100;
/// Bytes of an HMAC secret: at least Standard Webhooks' 24, at most what 100 characters hold.
const HMAC_BYTES: std::ops::RangeInclusive<usize> = 24..=75;
/// Bytes of a generated secret: Standard Webhooks' minimum, 192 bits, and what Svix generates.
const GENERATED_BYTES: usize = 24;

/// The contract's pattern lets the padding be left out, so reading accepts both; writing pads.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key that signs. Zeroed when dropped; shows as `[redacted]`.
#[derive(Clone)]
pub struct SigningKey(pub(super) Secret);

#[derive(Clone)]
pub(super) enum Secret {
    /// `v1`.
    Hmac(Zeroizing<Vec<u8>>),
    /// `v1a`. Zeroes itself.
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

/// What a receiver verifies with: the same secret for `v1`, the public half for `v1a`.
#[derive(Clone)]
pub struct VerifyingKey(pub(super) Check);

#[derive(Clone)]
pub(super) enum Check {
    Hmac(Zeroizing<Vec<u8>>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

/// Why a text is not a key. Never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the contract's `^(whsec_)?[a-zA-Z0-9+/=]{32,100}$`.
    #[error("a signing secret is `whsec_` and 32 to 100 characters of base64")]
    Shape,
    /// Characters outside the alphabet, or a cut group.
    #[error("the secret is not base64")]
    Base64,
    /// Too few or too many bytes once decoded.
    #[error("a signing secret holds {min} to {max} bytes, not {given}", min = HMAC_BYTES.start(), max = HMAC_BYTES.end())]
    Length {
        /// How many there were.
        given: usize,
    },
    /// Not an ed25519 key, the halves differ, or a public key under which any message verifies.
    #[error("not a usable ed25519 key")]
    Ed25519,
    /// A public key can not sign.
    #[error("`whpk_` is a public key; signing takes the private one, `whsk_`")]
    PublicKey,
    /// The system gave no randomness.
    #[error("the system's random number generator failed")]
    Randomness(#[source] getrandom::Error),
}

// === impl SigningKey ===

impl SigningKey {
    /// Reads the text form: `whsec_…` (or the same without its prefix) or `whsk_…`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if let Some(private) = text.strip_prefix(PRIVATE_PREFIX) {
            let bytes = Zeroizing::new(LENIENT.decode(private).map_err(|_| KeyError::Base64)?);
            let pair = bytes.as_slice().try_into().map_err(|_| KeyError::Ed25519)?;
            let key = ed25519_dalek::SigningKey::from_keypair_bytes(pair)
                .map_err(|_| KeyError::Ed25519)?;
            return Ok(Self(Secret::Ed25519(Box::new(key))));
        }
        if text.starts_with(PUBLIC_PREFIX) {
            return Err(KeyError::PublicKey);
        }
        parse_hmac(text).map(|bytes| Self(Secret::Hmac(bytes)))
    }

    /// A new `whsec_…` secret.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new(vec![0; GENERATED_BYTES]);
        getrandom::fill(&mut bytes).map_err(KeyError::Randomness)?;
        Ok(Self(Secret::Hmac(bytes)))
    }

    /// The text form with its prefix, in the clear; every call site is a place to look at in a review.
    pub fn expose(&self) -> Zeroizing<String> {
        match &self.0 {
            Secret::Hmac(bytes) => encode(HMAC_PREFIX, bytes),
            Secret::Ed25519(key) => encode(
                PRIVATE_PREFIX,
                Zeroizing::new(key.to_keypair_bytes()).as_slice(),
            ),
        }
    }

    /// What a receiver of this key's signatures verifies with.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(match &self.0 {
            Secret::Hmac(bytes) => Check::Hmac(bytes.clone()),
            Secret::Ed25519(key) => Check::Ed25519(Box::new(key.verifying_key())),
        })
    }

    /// The version its signatures carry: `v1` or `v1a`.
    pub const fn version(&self) -> &'static str {
        match &self.0 {
            Secret::Hmac(_) => "v1",
            Secret::Ed25519(_) => "v1a",
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

// === impl VerifyingKey ===

impl VerifyingKey {
    /// Reads `whsec_…` (or the same without its prefix) or `whpk_…`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let Some(public) = text.strip_prefix(PUBLIC_PREFIX) else {
            return SigningKey::parse(text).map(|key| key.verifying_key());
        };
        let bytes = LENIENT.decode(public).map_err(|_| KeyError::Base64)?;
        let bytes = bytes.as_slice().try_into().map_err(|_| KeyError::Ed25519)?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Ed25519)?;
        if key.is_weak() {
            return Err(KeyError::Ed25519);
        }
        Ok(Self(Check::Ed25519(Box::new(key))))
    }

    /// `whpk_…` of an ed25519 key, to be handed to receivers; none for a shared secret.
    pub fn public_text(&self) -> Option<String> {
        match &self.0 {
            Check::Hmac(_) => None,
            Check::Ed25519(key) => Some(format!(
                "{PUBLIC_PREFIX}{}",
                STANDARD.encode(key.as_bytes())
            )),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn parse_hmac(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let encoded = text.strip_prefix(HMAC_PREFIX).unwrap_or(text);
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if !HMAC_TEXT.contains(&encoded.len()) || !encoded.bytes().all(in_alphabet) {
        return Err(KeyError::Shape);
    }
    let bytes = Zeroizing::new(LENIENT.decode(encoded).map_err(|_| KeyError::Base64)?);
    if !HMAC_BYTES.contains(&bytes.len()) {
        return Err(KeyError::Length { given: bytes.len() });
    }
    Ok(bytes)
}

fn encode(prefix: &str, bytes: &[u8]) -> Zeroizing<String> {
    // Room for all of it at once: a growing String would leave copies of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(
        prefix.len() + bytes.len().div_ceil(3) * 4,
    ));
    text.push_str(prefix);
    STANDARD.encode_string(bytes, &mut text);
    text
}
