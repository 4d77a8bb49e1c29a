//! Which headers a plugin may set. Pure. Names that the gateway or the connection owns are refused, so that no
//! plugin can forge a signature, send credentials of its own or change how the message is framed.

use super::limits::Limits;

/// What is wrong with the headers of a plugin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("the plugin sets more than {0} headers")]
    TooMany(usize),
    #[error("the plugin's headers are larger than {0} bytes")]
    TooLarge(usize),
    #[error("the plugin sets a header whose name is not a lower-case token")]
    Name,
    #[error("the plugin sets the header {0}, whose value is not visible ASCII")]
    Value(String),
    #[error("the plugin sets the header {0}, which is the gateway's")]
    Reserved(String),
    #[error("the plugin sets a content type that is empty or not visible ASCII")]
    ContentType,
}

/// Owned by the gateway (address, credentials, the outcome's own field), by the connection (RFC 9110, section
/// 7.6.1) or by its framing (RFC 9112, section 6).
const RESERVED: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Families of names that belong to the gateway: its signatures, and HTTP/2's own.
const RESERVED_PREFIXES: &[&str] = &["webhook-", "svix-", "hookmill-", ":"];

/// Whether a plugin may deliver with these.
pub(super) fn judge(
    content_type: &str,
    headers: &[(String, String)],
    limits: &Limits,
) -> Result<(), HeaderError> {
    if content_type.is_empty() || !is_visible(content_type) {
        return Err(HeaderError::ContentType);
    }
    if headers.len() > limits.headers {
        return Err(HeaderError::TooMany(limits.headers));
    }
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes + content_type.len() > limits.header_bytes {
        return Err(HeaderError::TooLarge(limits.header_bytes));
    }
    headers
        .iter()
        .try_for_each(|(name, value)| judge_one(name, value))
}

fn judge_one(name: &str, value: &str) -> Result<(), HeaderError> {
    if RESERVED_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || RESERVED.contains(&name)
    {
        return Err(HeaderError::Reserved(name.to_owned()));
    }
    if name.is_empty() || !name.bytes().all(is_lower_token) {
        return Err(HeaderError::Name);
    }
    if !is_visible(value) {
        return Err(HeaderError::Value(name.to_owned()));
    }
    Ok(())
}

/// RFC 9110, section 5.6.2, without the upper-case letters.
fn is_lower_token(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Visible ASCII with single spaces between, as RFC 9110, section 5.5 has it: none at the ends.
fn is_visible(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && value.trim() == value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: &str, value: &str) -> Result<(), HeaderError> {
        judge(
            "text/plain; charset=utf-8",
            &[(name.into(), value.into())],
            &Limits::default(),
        )
    }

    #[test]
    fn plain_headers_pass() {
        for (name, value) in [
            ("x-a", "b"),
            ("x_y.z", "a b, c"),
            ("x-empty", ""),
            ("accept", "*/*"),
        ] {
            assert_eq!(judged(name, value), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_the_gateway_owns_is_refused() {
        for name in [
            "host",
            "webhook-id",
            "svix-signature",
            "authorization",
            "te",
            ":path",
        ] {
            assert_eq!(judged(name, "x"), Err(HeaderError::Reserved(name.into())));
        }
    }

    #[test]
    fn names_and_values_can_not_break_out() {
        for name in ["", "X-A", "x a", "x:", "x\n", "ä"] {
            assert_eq!(judged(name, "x"), Err(HeaderError::Name), "{name:?}");
        }
        for value in ["a\r\nhost: b", "\0", "ä", " a", "a ", "\t"] {
            assert_eq!(
                judged("x", value),
                Err(HeaderError::Value("x".into())),
                "{value:?}"
            );
        }
        let limits = Limits::default();
        for content_type in ["", "a\nb", "ä"] {
            assert_eq!(
                judge(content_type, &[], &limits),
                Err(HeaderError::ContentType)
            );
        }
    }

    #[test]
    fn number_and_bytes_are_capped() {
        let limits = Limits {
            headers: 2,
            header_bytes: 8,
            ..Limits::default()
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let three = [header("a", ""), header("b", ""), header("c", "")];
        assert_eq!(judge("t", &three, &limits), Err(HeaderError::TooMany(2)));
        assert_eq!(judge("t", &[header("a", "123456")], &limits), Ok(()));
        assert_eq!(
            judge("t", &[header("a", "1234567")], &limits),
            Err(HeaderError::TooLarge(8))
        );
    }
}
