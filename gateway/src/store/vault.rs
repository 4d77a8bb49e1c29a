//! Seals secrets for the store and opens them again: XChaCha20-Poly1305 under a key that the store does not
//! hold. May read and make the key's file; never shows a key or a secret.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::domain::{Digest, Sealed, Secret};

/// The key's file in the data directory.
const FILE: &str = "sealing.key";

/// Bytes of a key (RFC 8439, section 2.8).
const KEY_BYTES: usize = 32;

/// Bytes of a nonce: long enough to be drawn at random for every secret (draft-irtf-cfrg-xchacha, section 1).
const NONCE_BYTES: usize = 24;

/// Hex digits of a key's SHA-256 that name it. Chosen: tells an operator's handful of keys apart and gives
/// nothing of the key away.
const KEY_ID_DIGITS: usize = 8;

/// Why a secret cannot be sealed or opened, or a key not be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Not 32 bytes as base64 or hex.
    #[error("a sealing key is {KEY_BYTES} bytes as base64 or hex")]
    NotAKey,
    /// The key's file cannot be read or made.
    #[error("the sealing key {} cannot be read or made", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    Randomness(#[source] getrandom::Error),
    /// Sealed with a key that this gateway was not given.
    #[error("sealed with the key {key_id}, which this gateway does not have")]
    UnknownKey {
        /// As the sealed secret names it.
        key_id: String,
    },
    /// Changed since it was sealed.
    #[error("a sealed secret does not open: it was changed, or cut off")]
    Tampered,
    /// The cipher refused; only over-long input does.
    #[error("the secret is too long to be sealed")]
    TooLong,
}

/// Seals with its first key and opens with any.
pub struct Vault {
    keys: Vec<Key>,
}

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|key| &key.id))
            .finish()
    }
}

impl Vault {
    /// Keys as text, the one to seal with first; the others only open what they once sealed.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Self, VaultError> {
        let keys = keys
            .into_iter()
            .map(Key::parse)
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            Err(VaultError::NotAKey)
        } else {
            Ok(Self { keys })
        }
    }

    /// The key of this data directory; made at the first call, readable by its owner only.
    pub fn load_or_create(dir: &Path) -> Result<Self, VaultError> {
        let path = dir.join(FILE);
        let failed = |source| VaultError::File {
            path: path.clone(),
            source,
        };
        match fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => Self::new([text.trim()]),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = Zeroizing::new([0; KEY_BYTES]);
                getrandom::fill(key.as_mut_slice()).map_err(VaultError::Randomness)?;
                let text = Zeroizing::new(BASE64.encode(key.as_slice()));
                write_key(&path, &text).map_err(failed)?;
                Self::new([text.as_str()])
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Seals under a fresh nonce.
    pub fn seal(&self, secret: &Secret) -> Result<Sealed, VaultError> {
        // `new` refuses an empty list.
        let key = self.keys.first().ok_or(VaultError::NotAKey)?;
        let mut sealed = vec![0; NONCE_BYTES];
        getrandom::fill(&mut sealed).map_err(VaultError::Randomness)?;
        let nonce = XNonce::try_from(&sealed[..]).map_err(|_| VaultError::TooLong)?;
        let text = key
            .cipher
            .encrypt(&nonce, secret.expose())
            .map_err(|_| VaultError::TooLong)?;
        sealed.extend_from_slice(&text);
        Ok(Sealed {
            key_id: key.id.clone(),
            text: BASE64.encode(sealed),
        })
    }

    /// Opens what any of the keys sealed.
    pub fn open(&self, sealed: &Sealed) -> Result<Secret, VaultError> {
        let key = self.keys.iter().find(|key| key.id == sealed.key_id);
        let key = key.ok_or_else(|| VaultError::UnknownKey {
            key_id: sealed.key_id.clone(),
        })?;
        let bytes = BASE64
            .decode(&sealed.text)
            .map_err(|_| VaultError::Tampered)?;
        let (nonce, text) = bytes
            .split_at_checked(NONCE_BYTES)
            .ok_or(VaultError::Tampered)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| VaultError::Tampered)?;
        key.cipher
            .decrypt(&nonce, text)
            .map(Secret::new)
            .map_err(|_| VaultError::Tampered)
    }
}

impl Key {
    fn parse(text: &str) -> Result<Self, VaultError> {
        let bytes = match text.len() {
            len if len == 2 * KEY_BYTES => hex::decode(text).ok(),
            _ => BASE64.decode(text).ok(),
        };
        let bytes = Zeroizing::new(bytes.ok_or(VaultError::NotAKey)?);
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| VaultError::NotAKey)?;
        let mut id = Digest::of(&bytes).to_hex();
        id.truncate(KEY_ID_DIGITS);
        Ok(Self { id, cipher })
    }
}

/// Written aside, synced and renamed: a crash leaves no half key that would be taken for a whole one.
fn write_key(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.with_extension("part");
    let _ = fs::remove_file(&aside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    path.parent()
        .map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const OLD: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn opens_what_it_sealed_and_what_an_older_key_sealed() {
        let old = Vault::new([OLD]).unwrap();
        let sealed = old.seal(&Secret::new(*b"whsec_hush")).unwrap();
        assert!(!sealed.text.contains("hush"));
        let new_key = BASE64.encode([7; 32]);
        let both = Vault::new([new_key.as_str(), OLD]).unwrap();
        assert_eq!(both.open(&sealed).unwrap().expose(), b"whsec_hush");
        assert_ne!(
            both.seal(&Secret::new(*b"x")).unwrap().key_id,
            sealed.key_id
        );
        let new = Vault::new([new_key.as_str()]).unwrap();
        assert!(matches!(
            new.open(&sealed),
            Err(VaultError::UnknownKey { .. })
        ));
    }

    #[test]
    fn what_was_changed_or_cut_off_does_not_open() {
        let vault = Vault::new([OLD]).unwrap();
        let sealed = vault.seal(&Secret::new(*b"secret")).unwrap();
        let bytes = BASE64.decode(&sealed.text).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let changed = Sealed {
                text: BASE64.encode(changed),
                ..sealed.clone()
            };
            assert!(matches!(vault.open(&changed), Err(VaultError::Tampered)));
            let cut = Sealed {
                text: BASE64.encode(&bytes[..at]),
                ..sealed.clone()
            };
            assert!(matches!(vault.open(&cut), Err(VaultError::Tampered)));
        }
    }

    #[test]
    fn the_file_is_made_once_and_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let sealed = Vault::load_or_create(dir.path())
            .unwrap()
            .seal(&Secret::new(*b"s"))
            .unwrap();
        let again = Vault::load_or_create(dir.path()).unwrap();
        assert_eq!(again.open(&sealed).unwrap().expose(), b"s");
        let path = dir.path().join(FILE);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::write(&path, "short").unwrap();
        assert!(matches!(
            Vault::load_or_create(dir.path()),
            Err(VaultError::NotAKey)
        ));
    }

    #[test]
    fn a_key_has_one_length_in_two_spellings() {
        for text in [
            "",
            "abc",
            &OLD[2..],
            &BASE64.encode([1; 31]),
            &BASE64.encode([1; 33]),
        ] {
            assert!(
                matches!(Vault::new([text]), Err(VaultError::NotAKey)),
                "{text}"
            );
        }
        assert!(Vault::new([]).is_err());
        assert!(!format!("{:?}", Vault::new([OLD]).unwrap()).contains("0001"));
    }
}
