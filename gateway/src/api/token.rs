//! Tokens: JSON Web Tokens under HS256 and the secret that signs them. May touch the secret's file and the
//! system's randomness; never the store, and never shows the secret.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::domain::{ApplicationId, OrganizationId, Secret, Timestamp};

/// How long a token is good for unless said otherwise: of an organization or administrator 30 days, of an
/// application one hour on the command line and seven days for its portal.
pub const ORGANIZATION_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// See [`ORGANIZATION_TTL`].
pub const APPLICATION_TTL: Duration = Duration::from_secs(3600);
/// See [`ORGANIZATION_TTL`].
pub const PORTAL_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// The `sub` of an administrator's token.
const ADMINISTRATOR: &str = "admin";

/// The secret's file in the data directory.
const FILE: &str = "jwt.secret";

/// Bytes of a made secret: those of the hash, as RFC 7518, section 3.2 asks.
const MADE_BYTES: usize = 32;

/// Fewest bytes of a given secret. Chosen: what can not be guessed; RFC 7518 asks for 32.
const LEAST_BYTES: usize = 16;

/// Tokens whose signature is known to be ours. Chosen: 2 MB of them.
const KNOWN_TOKENS: usize = 4_096;

/// What a token reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Limits, audit, backup.
    Administrator,
    /// Everything of the organization but its own limits.
    Organization(OrganizationId),
    /// One application.
    Application {
        /// Its organization.
        org: OrganizationId,
        /// The application.
        app: ApplicationId,
    },
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    sub: String,
    /// The organization of an application's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    org: Option<OrganizationId>,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
    pub(crate) jti: String,
}

/// Why there is no secret or no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is no secret in this directory.
    #[error("{0} does not exist: start the gateway once, or set HOOKMILL_JWT_SECRET")]
    NoSecret(PathBuf),
    /// Others may read the secret.
    #[error("{0} can be read by others than its owner; chmod 600 it")]
    Exposed(PathBuf),
    /// It can be guessed.
    #[error("the secret for tokens has fewer than {LEAST_BYTES} bytes")]
    TooShort,
    /// The file can not be read or made.
    #[error("{path} fails")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system gave no randomness.
    #[error("the system's random number generator failed")]
    Randomness(#[source] getrandom::Error),
    /// The token could not be signed.
    #[error("the token could not be signed")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

/// Signs and verifies tokens.
#[derive(Clone)]
pub struct JwtSecret {
    signs: EncodingKey,
    verifies: DecodingKey,
    /// What tokens of ours say, since a busy caller sends the same one thousands of times a second. A stranger's is
    /// never in it, and none is looked up by less than its whole text.
    known: Arc<Cache<Box<str>, Claims>>,
}

// === impl JwtSecret ===

impl JwtSecret {
    /// From configuration.
    pub fn new(secret: &Secret) -> Result<Self, TokenError> {
        let bytes = secret.expose();
        if bytes.len() < LEAST_BYTES {
            return Err(TokenError::TooShort);
        }
        Ok(Self {
            signs: EncodingKey::from_secret(bytes),
            verifies: DecodingKey::from_secret(bytes),
            known: Arc::new(Cache::new(KNOWN_TOKENS)),
        })
    }

    /// From the file in the data directory.
    pub fn load(dir: &Path) -> Result<Self, TokenError> {
        let path = dir.join(FILE);
        match read(&path)? {
            Some(secret) => Self::new(&secret),
            None => Err(TokenError::NoSecret(path)),
        }
    }

    /// From the file in the data directory, which is made if there is none. Two that start at once get the
    /// same secret.
    pub fn load_or_create(dir: &Path) -> Result<Self, TokenError> {
        let path = dir.join(FILE);
        if let Some(secret) = read(&path)? {
            return Self::new(&secret);
        }
        create(dir, &path)?;
        Self::load(dir)
    }

    /// A token of this scope, good from `now` for `ttl`.
    pub fn mint(&self, scope: &Scope, ttl: Duration, now: Timestamp) -> Result<String, TokenError> {
        let mut jti = [0; 16];
        getrandom::fill(&mut jti).map_err(TokenError::Randomness)?;
        let (sub, org) = match scope {
            Scope::Administrator => (ADMINISTRATOR.to_owned(), None),
            Scope::Organization(org) => (org.to_string(), None),
            Scope::Application { org, app } => (app.to_string(), Some(*org)),
        };
        let claims = Claims {
            sub,
            org,
            iat: now.seconds(),
            exp: now.after(ttl).seconds(),
            jti: hex::encode(jti),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signs)
            .map_err(TokenError::Signing)
    }

    /// What a token says and reaches, if it is ours and good at `now`.
    pub(crate) fn verify(
        &self,
        token: &str,
        now: Timestamp,
        leeway: u64,
    ) -> Option<(Claims, Scope)> {
        let claims = match self.known.get(token) {
            Some(claims) => claims,
            None => self.read(token)?,
        };
        let now = now.seconds();
        let good = claims.exp.saturating_add(leeway) > now
            && claims.iat <= now.saturating_add(leeway)
            && !claims.jti.is_empty()
            && claims.jti.len() <= 128;
        let scope = claims.scope()?;
        good.then_some((claims, scope))
    }

    /// What a token says, if it is ours.
    fn read(&self, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::HS256);
        // The library would read the wall clock by itself; every claim is judged at each use.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let read = jsonwebtoken::decode::<Claims>(token, &self.verifies, &validation);
        let claims = read.ok()?.claims;
        self.known.insert(token.into(), claims.clone());
        Some(claims)
    }
}

impl fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Claims {
    fn scope(&self) -> Option<Scope> {
        if self.sub == ADMINISTRATOR && self.org.is_none() {
            return Some(Scope::Administrator);
        }
        match (
            self.org,
            self.sub.parse::<OrganizationId>(),
            self.sub.parse::<ApplicationId>(),
        ) {
            (None, Ok(org), _) => Some(Scope::Organization(org)),
            (Some(org), _, Ok(app)) => Some(Scope::Application { org, app }),
            _ => None,
        }
    }
}

fn read(path: &Path) -> Result<Option<Secret>, TokenError> {
    let fails = |source| TokenError::File {
        path: path.to_owned(),
        source,
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fails(error)),
    };
    let mode = fs::metadata(path).map_err(fails)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(TokenError::Exposed(path.to_owned()));
    }
    Ok(Some(Secret::new(text.trim().as_bytes())))
}

/// Written aside, synced and linked: the file is there whole or not at all, and the first of two wins.
fn create(dir: &Path, path: &Path) -> Result<(), TokenError> {
    let mut bytes = Zeroizing::new([0; MADE_BYTES]);
    getrandom::fill(bytes.as_mut_slice()).map_err(TokenError::Randomness)?;
    let text = Zeroizing::new(hex::encode(bytes.as_slice()));
    let aside = dir.join(format!("{FILE}.{}", std::process::id()));
    let made = (|| {
        fs::create_dir_all(dir)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&aside, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::remove_file(&aside)?;
        fs::File::open(dir)?.sync_all()
    })();
    made.map_err(|source| TokenError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn secret() -> JwtSecret {
        JwtSecret::new(&Secret::new("a secret of many bytes")).unwrap()
    }

    #[test]
    fn scopes_round_trip_and_time_is_judged() {
        let (org, app) = (OrganizationId::generate(NOW), ApplicationId::generate(NOW));
        for scope in [
            Scope::Administrator,
            Scope::Organization(org),
            Scope::Application { org, app },
        ] {
            let token = secret().mint(&scope, Duration::from_secs(60), NOW).unwrap();
            let read = |now| secret().verify(&token, now, 5).map(|(_, scope)| scope);
            assert_eq!(read(NOW), Some(scope));
            assert_eq!(read(NOW.after(Duration::from_secs(64))), Some(scope));
            assert_eq!(read(NOW.after(Duration::from_secs(65))), None);
            assert_eq!(
                read(Timestamp::from_millis(NOW.millis() - 5_000)),
                Some(scope)
            );
            assert_eq!(read(Timestamp::from_millis(NOW.millis() - 6_000)), None);
        }
    }

    #[test]
    fn foreign_tokens_are_refused() {
        let scope = Scope::Organization(OrganizationId::generate(NOW));
        let other = JwtSecret::new(&Secret::new("another secret, as long")).unwrap();
        let token = other.mint(&scope, Duration::from_secs(60), NOW).unwrap();
        assert!(secret().verify(&token, NOW, 5).is_none());
        // {"alg":"none"} with the same claims.
        let claims = token.split('.').nth(1).unwrap();
        for forged in [
            format!("eyJhbGciOiJub25lIn0.{claims}."),
            "a.b.c".into(),
            String::new(),
        ] {
            assert!(secret().verify(&forged, NOW, 5).is_none(), "{forged}");
        }
    }

    #[test]
    fn claims_that_name_no_scope_are_refused() {
        let org = OrganizationId::generate(NOW);
        for (sub, org) in [
            ("admin", Some(org)),
            ("root", None),
            ("app_1", Some(org)),
            (ApplicationId::generate(NOW).to_string().as_str(), None),
            (org.to_string().as_str(), Some(org)),
        ] {
            let claims = Claims {
                sub: sub.to_owned(),
                org,
                iat: 0,
                exp: u64::MAX,
                jti: "x".to_owned(),
            };
            assert_eq!(claims.scope(), None, "{sub}");
        }
    }

    #[test]
    fn the_file_is_made_once_and_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            JwtSecret::load(dir.path()),
            Err(TokenError::NoSecret(_))
        ));
        let first = JwtSecret::load_or_create(dir.path()).unwrap();
        let token = first
            .mint(&Scope::Administrator, Duration::from_secs(60), NOW)
            .unwrap();
        let again = JwtSecret::load_or_create(dir.path()).unwrap();
        assert!(again.verify(&token, NOW, 0).is_some());
        let path = dir.path().join(FILE);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            JwtSecret::load(dir.path()),
            Err(TokenError::Exposed(_))
        ));
        fs::write(&path, "short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            JwtSecret::load(dir.path()),
            Err(TokenError::TooShort)
        ));
    }
}
