//! The static headers of an endpoint: the owner's own, sealed in the store, the sensitive ones never shown.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::access::ReachedEndpoint;
use super::config::Config;
use super::error::ApiError;
use super::extract::Json;
use super::state::{ApiState, Shared};
use super::validate::Faults;
use crate::domain::{Endpoint, Sealed};

/// Names that belong to the gateway (what is sent and how it is framed) or to the connection (RFC 9110,
/// section 7.6.1; RFC 9112, section 6).
const RESERVED: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Families of names that carry the gateway's own signatures.
const RESERVED_PREFIXES: &[&str] = &["webhook-", "svix-", "hookmill-"];

/// A name with one of these between its dashes is likely to hold a credential.
const SENSITIVE_WORDS: &[&str] = &[
    "apikey",
    "auth",
    "authenticate",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "key",
    "password",
    "secret",
    "token",
];

type Headers = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
pub(crate) struct HeadersIn {
    headers: Headers,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeadersPatch {
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    delete_headers: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct HeadersOut {
    headers: Headers,
    /// Names of those that are not shown.
    sensitive: BTreeSet<String>,
}

/// `GET /app/{app_id}/endpoint/{endpoint_id}/headers`
pub(crate) async fn get(
    State(state): State<Shared>,
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
) -> Result<axum::Json<HeadersOut>, ApiError> {
    let all = open_headers(&state, &endpoint.value)?;
    let (hidden, headers): (Headers, Headers) =
        all.into_iter().partition(|(name, _)| is_sensitive(name));
    Ok(axum::Json(HeadersOut {
        headers,
        sensitive: hidden.into_keys().collect(),
    }))
}

/// `PUT /app/{app_id}/endpoint/{endpoint_id}/headers`
pub(crate) async fn put(
    State(state): State<Shared>,
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
    Json(wanted): Json<HeadersIn>,
) -> Result<StatusCode, ApiError> {
    check_headers(&wanted.headers, &state.config)?;
    let change = |endpoint: &mut Endpoint| {
        endpoint.headers = seal_headers(&state, &wanted.headers)?;
        endpoint.updated_at = state.clock.wall();
        Ok(())
    };
    state.edit(endpoint, None, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PATCH /app/{app_id}/endpoint/{endpoint_id}/headers`
pub(crate) async fn patch(
    State(state): State<Shared>,
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
    Json(wanted): Json<HeadersPatch>,
) -> Result<StatusCode, ApiError> {
    let change = |endpoint: &mut Endpoint| {
        let mut headers = open_headers(&state, endpoint)?;
        for name in wanted.headers.keys().chain(&wanted.delete_headers) {
            headers.retain(|have, _| !have.eq_ignore_ascii_case(name));
        }
        let set = wanted.headers.iter();
        headers.extend(set.filter_map(|(name, value)| Some((name.clone(), value.clone()?))));
        check_headers(&headers, &state.config)?;
        endpoint.headers = seal_headers(&state, &headers)?;
        endpoint.updated_at = state.clock.wall();
        Ok(())
    };
    state.edit(endpoint, None, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether these may be sent with every delivery.
pub(super) fn check_headers(headers: &Headers, config: &Config) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    let mut seen = BTreeSet::new();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        let loc = || ["body".to_owned(), "headers".to_owned(), name.clone()];
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            faults.add(loc(), "is not a header name");
        } else if RESERVED.contains(&lower.as_str())
            || RESERVED_PREFIXES
                .iter()
                .any(|prefix| lower.starts_with(prefix))
        {
            faults.add(loc(), "is set by the gateway");
        }
        let visible = |text: &String| {
            text.bytes()
                .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
        };
        if HeaderValue::from_str(value).is_err() || !visible(value) {
            faults.add(loc(), "has a value that is not visible ASCII");
        }
        if !seen.insert(lower) {
            faults.add(loc(), "is there twice");
        }
    }
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let most = (config.headers, config.header_bytes);
    faults.check(
        headers.len() <= most.0,
        "headers",
        format!("must be at most {}", most.0),
    );
    faults.check(
        bytes <= most.1,
        "headers",
        format!("must have at most {} bytes", most.1),
    );
    faults.none()
}

/// As the endpoint keeps them.
pub(super) fn seal_headers(
    state: &ApiState,
    headers: &Headers,
) -> Result<Option<Sealed>, ApiError> {
    if headers.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_vec(headers).map_err(ApiError::internal)?;
    state.seal(&text).map(Some)
}

fn open_headers(state: &ApiState, endpoint: &Endpoint) -> Result<Headers, ApiError> {
    match &endpoint.headers {
        None => Ok(Headers::new()),
        Some(sealed) => {
            serde_json::from_slice(state.open(sealed)?.expose()).map_err(ApiError::internal)
        }
    }
}

fn is_sensitive(name: &str) -> bool {
    name.split(['-', '_']).any(|word| {
        SENSITIVE_WORDS
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_gateway_or_can_not_be_sent_is_refused() {
        let check = |name: &str, value: &str| {
            check_headers(
                &Headers::from([(name.to_owned(), value.to_owned())]),
                &Config::default(),
            )
        };
        for (name, value) in [
            ("Content-Type", "a"),
            ("Webhook-Id", "a"),
            ("SVIX-signature", "a"),
            ("no spaces", "a"),
            ("", "a"),
            ("x-line", "a\r\nb: c"),
            ("x-umlaut", "ä"),
            (":path", "/"),
        ] {
            assert!(check(name, value).is_err(), "{name}: {value}");
        }
        for (name, value) in [
            ("Authorization", "Basic eA=="),
            ("x-a", ""),
            ("X_B", "a\tb"),
        ] {
            assert!(check(name, value).is_ok(), "{name}: {value}");
        }
        let twice = [("X-A", "1"), ("x-a", "2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert!(check_headers(&Headers::from(twice), &Config::default()).is_err());
    }

    #[test]
    fn credentials_are_not_shown() {
        for name in [
            "Authorization",
            "X-Api-Key",
            "x-auth-token",
            "Cookie",
            "X_SECRET",
        ] {
            assert!(is_sensitive(name), "{name}");
        }
        for name in ["X-Author", "X-Tokens-Used", "Accept", "X-Keyboard"] {
            assert!(!is_sensitive(name), "{name}");
        }
    }
}
