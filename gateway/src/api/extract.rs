//! What is taken out of a request: its body within bounds, JSON with the place of a fault, names in the path.
//! Whatever a sender writes there ends in a 4xx answer, never in a panic or a 500.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use bytes::Bytes;
use http::{HeaderMap, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use tokio::sync::OwnedSemaphorePermit;

use super::error::ApiError;
use super::state::{ApiState, Shared};
use super::validate::Fault;
use crate::domain::Uid;

/// A body in memory, with its share of the budget for bodies.
#[derive(Debug)]
pub(crate) struct Received {
    /// The bytes that arrived.
    pub(crate) bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

/// Takes a body of at most `limit` bytes. Its share of the budget is taken before the first byte is read.
pub(crate) async fn receive(
    state: &ApiState,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Received, ApiError> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ApiError::BodyTooLarge { limit });
    }
    let share = state.reserve_body(announced.unwrap_or(limit))?;
    let arrival = Duration::from_millis(state.config.body_timeout_ms);
    let collected = tokio::time::timeout(arrival, Limited::new(body, limit).collect()).await;
    match collected {
        Ok(Ok(whole)) => Ok(Received {
            bytes: whole.to_bytes(),
            _share: share,
        }),
        Ok(Err(fault)) if fault.is::<LengthLimitError>() => Err(ApiError::BodyTooLarge { limit }),
        Ok(Err(_)) | Err(_) => Err(ApiError::BodyIncomplete),
    }
}

/// A JSON body as it arrived: UTF-8, one object, not parsed yet.
#[derive(Debug)]
pub(crate) struct JsonBody(Received);

impl JsonBody {
    /// Takes a JSON body of at most `limit` bytes.
    pub(crate) async fn receive(
        state: &ApiState,
        request: Request,
        limit: usize,
    ) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        if let Some(given) = parts.headers.get(header::CONTENT_TYPE) {
            let given = given.to_str().unwrap_or_default();
            let essence = given
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            let is_json = essence == "application/json"
                || essence.starts_with("application/") && essence.ends_with("+json");
            if !is_json {
                return Err(ApiError::MediaType("application/json"));
            }
        }
        receive(state, &parts.headers, body, limit).await.map(Self)
    }

    /// The bytes that arrived.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// Reads the object; the fault of a value names the way to it.
    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        parse(&self.0.bytes)
    }

    /// Like [`Self::parse`], where nothing at all stands for an object without fields.
    pub(crate) fn parse_or_empty<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        if self.0.bytes.is_empty() {
            parse(b"{}")
        } else {
            self.parse()
        }
    }
}

impl FromRequest<Shared> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        Self::receive(state, request, state.config.json_bytes).await
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    let fault = |msg: &str| ApiError::invalid(["body"], msg);
    let text = std::str::from_utf8(bytes).map_err(|_| fault("is not UTF-8"))?;
    match text
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .chars()
        .next()
    {
        None => return Err(fault("a JSON object is required")),
        // A derived reader would take a list as the fields in their order.
        Some('{') => {}
        Some(_) => return Err(fault("must be a JSON object")),
    }
    // The reader bounds nesting at 128 levels, and skips what it ignores without recursion.
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let way = error.path().iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { variant } => Some(variant.clone()),
            Segment::Unknown => None,
        });
        ApiError::Invalid(vec![Fault::new(
            std::iter::once("body".to_owned()).chain(way),
            error.inner().to_string(),
        )])
    })?;
    reader.end().map_err(|error| fault(&error.to_string()))?;
    Ok(value)
}

/// A JSON body, parsed.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        JsonBody::from_request(request, state)
            .await?
            .parse()
            .map(Self)
    }
}

/// The parameters of the path, each of them a name.
#[derive(Debug)]
pub(crate) struct PathNames(RawPathParams);

impl<S: Send + Sync> FromRequestParts<S> for PathNames {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Only a percent-encoded byte outside UTF-8 fails: nothing has such a name.
        RawPathParams::from_request_parts(parts, state)
            .await
            .map(Self)
            .map_err(|_| ApiError::invalid(["path"], "is not UTF-8"))
    }
}

impl PathNames {
    /// The parameter as a name: an identifier or a uid.
    pub(crate) fn name(&self, parameter: &str) -> Result<Uid, ApiError> {
        let text = self.text(parameter);
        Uid::parse(text).map_err(|fault| ApiError::invalid(["path", parameter], fault.to_string()))
    }

    /// The parameter as it is; empty if the route has none of that name.
    pub(crate) fn text(&self, parameter: &str) -> &str {
        self.0
            .iter()
            .find(|(name, _)| *name == parameter)
            .map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Wanted {
        #[expect(dead_code, reason = "only its reading is looked at")]
        name: String,
        #[serde(default)]
        #[expect(dead_code, reason = "only its reading is looked at")]
        metadata: BTreeMap<String, String>,
        #[serde(default)]
        #[expect(dead_code, reason = "only its reading is looked at")]
        types: Vec<Uid>,
    }

    fn faults(body: &[u8]) -> Vec<Fault> {
        match parse::<Wanted>(body) {
            Ok(_) => Vec::new(),
            Err(ApiError::Invalid(faults)) => faults,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_fault_names_the_way_to_it() {
        let table: [(&[u8], &[&str]); 9] = [
            (b"", &["body"]),
            (b"[\"a\"]", &["body"]),
            (b"null", &["body"]),
            (b"{\"name\":\"\xff\"}", &["body"]),
            (br#"{"name":1}"#, &["body", "name"]),
            (
                br#"{"name":"a","metadata":{"k":1}}"#,
                &["body", "metadata", "k"],
            ),
            (
                br#"{"name":"a","types":["x","no spaces"]}"#,
                &["body", "types", "1"],
            ),
            (br#"{"name":"a"} x"#, &["body"]),
            (br#"{"name":"a","name":"b"}"#, &["body"]),
        ];
        for (body, loc) in table {
            let found = faults(body);
            assert_eq!(
                found[0].loc[..loc.len()],
                *loc,
                "{}",
                String::from_utf8_lossy(body)
            );
        }
        assert_eq!(faults(br#" {"name":"a","unknown":[{}]}"#), []);
    }

    #[test]
    fn deep_nesting_is_a_fault_where_it_is_read_and_nothing_where_it_is_ignored() {
        let deep = "[".repeat(100_000);
        assert_eq!(faults(format!(r#"{{"name":{deep}"#).as_bytes()).len(), 1);
        let closed = "]".repeat(100_000);
        assert_eq!(
            faults(format!(r#"{{"name":"a","x":{deep}{closed}}}"#).as_bytes()),
            []
        );
    }
}
