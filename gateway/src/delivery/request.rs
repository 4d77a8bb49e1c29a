//! Puts one signed request together: the plugins' headers, then the endpoint's own, then what is the
//! gateway's, which nobody below can overwrite.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::directory::Opened;
use super::shape::ToSend;
use crate::domain::{MessageId, Timestamp};
use crate::signing;

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// From a message or a plugin; both are checked when they come.
    #[error("the header `{0}` can not be sent")]
    Header(String),
    /// All its secrets have expired.
    #[error("the endpoint has no signing secret")]
    NoSecret,
}

/// The headers of one attempt, signed at `now` with the secrets that are valid then.
pub(super) fn headers(
    send: &ToSend,
    opened: &Opened,
    message: MessageId,
    now: Timestamp,
) -> Result<HeaderMap, RequestError> {
    let unfit = |name: &str| RequestError::Header(name.to_owned());
    let mut headers = HeaderMap::with_capacity(send.headers.len() + opened.headers.len() + 8);
    for (name, value) in &send.headers {
        let field = (
            HeaderName::try_from(name.as_str()),
            HeaderValue::from_str(value),
        );
        let (Ok(key), Ok(value)) = field else {
            return Err(unfit(name));
        };
        headers.append(key, value);
    }
    for (name, value) in &opened.headers {
        headers.insert(name.clone(), value.clone());
    }
    let content_type = HeaderValue::from_str(&send.content_type);
    headers.insert(
        CONTENT_TYPE,
        content_type.map_err(|_| unfit("content-type"))?,
    );
    let keys = opened.keys_at(now);
    if keys.is_empty() {
        return Err(RequestError::NoSecret);
    }
    let id = message.to_string();
    let signed = signing::headers(&keys, &id, now, &send.payload);
    for (name, value) in signed.map_err(|_| unfit("webhook-id"))? {
        headers.insert(name, value);
    }
    Ok(headers)
}
