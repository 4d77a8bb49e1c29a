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

/// Faults told of one body. Chosen: more than anybody mends at once.
const MAX_FAULTS: usize = 16;

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

    /// Reads the object. Every fault that can be seen is told, each with the way to it.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        parse(&self.0.bytes)
    }

    /// Like [`Self::parse`], where nothing at all stands for an object without fields.
    pub(crate) fn parse_or_empty<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if self.0.bytes.is_empty() {
            parse(b"{}")
        } else {
            self.parse()
        }
    }

    /// Reads the object into what borrows from it. The first fault is told.
    pub(crate) fn parse_borrowed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        read(object(&self.0.bytes)?)
    }
}

impl FromRequest<Shared> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        Self::receive(state, request, state.config.json_bytes).await
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let text = object(bytes)?;
    read(text).map_err(|first| match every_fault::<T>(text) {
        faults if faults.is_empty() => first,
        faults => ApiError::Invalid(faults),
    })
}

/// The text of a body that begins like an object.
fn object(bytes: &[u8]) -> Result<&str, ApiError> {
    let fault = |msg: &str| ApiError::invalid(["body"], msg);
    let text = std::str::from_utf8(bytes).map_err(|_| fault("is not UTF-8"))?;
    match text
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .chars()
        .next()
    {
        None => Err(fault("a JSON object is required")),
        // A derived reader would take a list as the fields in their order.
        Some('{') => Ok(text),
        Some(_) => Err(fault("must be a JSON object")),
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ApiError> {
    // The reader bounds nesting at 128 levels, and skips what it ignores without recursion.
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| ApiError::Invalid(vec![located(error)]))?;
    reader
        .end()
        .map_err(|error| ApiError::invalid(["body"], error.to_string()))?;
    Ok(value)
}

/// A reader stops at its first fault: the field of each fault is taken out until the rest can be read.
fn every_fault<T: DeserializeOwned>(text: &str) -> Vec<Fault> {
    let Ok(mut fields) = serde_json::from_str::<serde_json::Map<_, _>>(text) else {
        return Vec::new();
    };
    let mut faults: Vec<Fault> = Vec::new();
    while faults.len() < MAX_FAULTS {
        let rest = serde_json::Value::Object(fields.clone());
        let Err(error) = serde_path_to_error::deserialize::<_, T>(rest) else {
            break;
        };
        let fault = located(error);
        let Some(field) = fault.loc.get(1) else { break };
        // Missing, for it was taken out or never there: nothing behind it can be seen.
        if faults.iter().any(|known| known.loc.get(1) == Some(field)) {
            break;
        }
        fields.remove(field);
        faults.push(fault);
    }
    faults
}

/// The fault with the way to it; the way to a missing field ends with that field.
fn located(error: serde_path_to_error::Error<serde_json::Error>) -> Fault {
    let mut loc = vec!["body".to_owned()];
    loc.extend(error.path().iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    }));
    let error = error.into_inner();
    let mut msg = error.to_string();
    if error.is_data() {
        // The way says it better.
        let place = format!(" at line {} column {}", error.line(), error.column());
        msg.truncate(msg.strip_suffix(&place).map_or(msg.len(), str::len));
    }
    let missing = msg
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'));
    loc.extend(missing.map(str::to_owned));
    Fault::new(loc, msg)
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
        RawPathParams::from_request_parts(parts, state)
            .await
            .map(Self)
            .map_err(|_| ApiError::invalid(["path"], "is not UTF-8"))
    }
}

impl PathNames {
    /// The parameter as a name: an identifier or a uid.
    pub(crate) fn name(&self, parameter: &str) -> Result<Uid, ApiError> {
        let name = Uid::parse(self.text(parameter));
        name.map_err(|fault| ApiError::invalid(["path", parameter], fault.to_string()))
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
        let table: [(&[u8], &[&str]); 10] = [
            (b"", &["body"]),
            (b"[\"a\"]", &["body"]),
            (b"null", &["body"]),
            (b"{\"name\":\"\xff\"}", &["body"]),
            (br#"{"name":1}"#, &["body", "name"]),
            (br#"{"metadata":{}}"#, &["body", "name"]),
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
    fn every_fault_is_told() {
        let found = faults(br#"{"name":5,"metadata":{"k":1},"types":["ok","not ok"]}"#);
        let loc: Vec<String> = found.iter().map(|fault| fault.loc.join("/")).collect();
        assert_eq!(loc, ["body/metadata/k", "body/name", "body/types/1"]);
        let found = faults(br#"{"types":5}"#);
        assert_eq!(found.len(), 2, "{found:?}");
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
