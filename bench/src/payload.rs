//! The 1 KiB that everything is measured with: a JSON object that names when it was sent, has something to redact, and
//! looks like what a shop sends.

use bytes::Bytes;

/// Bytes of a payload; specified: 1 KiB, as in every figure that ours are compared with.
pub(crate) const SIZE: usize = 1024;

pub(crate) const EVENT_TYPE: &str = "bench.event";

/// Digits of the time stamp: enough for microseconds of any run, and always as many, so that all payloads are equal in size.
const DIGITS: usize = 16;

const HEAD: &str = r#"{"at":""#;

/// What the measured chain does to it.
pub(crate) const REDACT_CONFIG: &str = r#"{"remove":["/card"],"mask":["/customer/email"]}"#;

/// The payload sent at this time.
pub(crate) fn at(micros: u64) -> Bytes {
    let mut text = format!(
        r#"{HEAD}{micros:0DIGITS$}","customer":{{"name":"Ada Lovelace","email":"ada@example.com"}},"card":{{"number":"4242424242424242"}},"items":["#
    );
    let end = r#"],"total":12345}"#;
    for number in 0.. {
        let item = format!(
            r#"{}{{"sku":"A-{number:04}","count":2,"price":1999}}"#,
            if number == 0 { "" } else { "," }
        );
        // Room for the closing note, whose empty form takes 12 bytes.
        if text.len() + item.len() + end.len() + 12 > SIZE {
            break;
        }
        text.push_str(&item);
    }
    let missing = SIZE - text.len() - end.len() - r#","note":"""#.len();
    text.push_str(r#"],"note":""#);
    text.extend(std::iter::repeat_n('x', missing));
    text.push('"');
    text.push_str(&end[1..]);
    Bytes::from(text)
}

/// When a payload was sent, read from what the receiver got.
pub(crate) fn sent_at(body: &[u8]) -> Option<u64> {
    let digits = body.strip_prefix(HEAD.as_bytes())?.get(..DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The request body that hands a payload to the gateway.
pub(crate) fn message(micros: u64) -> Bytes {
    let mut body = format!(r#"{{"eventType":"{EVENT_TYPE}","payload":"#).into_bytes();
    body.extend_from_slice(&at(micros));
    body.push(b'}');
    Bytes::from(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_one_kibibyte_of_json() {
        let payload = at(1_234_567);
        assert_eq!(payload.len(), SIZE);
        let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(json["customer"]["email"], "ada@example.com");
        assert_eq!(sent_at(&payload), Some(1_234_567));
    }

    #[test]
    fn a_message_carries_the_payload() {
        let json: serde_json::Value = serde_json::from_slice(&message(7)).unwrap();
        assert_eq!(json["eventType"], EVENT_TYPE);
        assert_eq!(json["payload"]["total"], 12_345);
    }
}
