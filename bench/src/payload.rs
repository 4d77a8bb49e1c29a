//! What everything is measured with: a JSON object that names when it was sent, has something to redact, and looks like
//! what a shop sends. Made once for each size and only stamped for each message, so that the figures hold little of it.

use std::sync::Arc;

use bytes::Bytes;

/// Bytes of a payload; specified: 1 KiB, as in every figure that ours are compared with.
pub(crate) const SIZE: usize = 1024;

pub(crate) const EVENT_TYPE: &str = "bench.event";

/// Digits of the time stamp: enough for microseconds of any run, and always as many, so that all payloads of a size are
/// equal in length.
const DIGITS: usize = 16;

/// Digits of a channel.
const CHANNEL_DIGITS: usize = 4;

const HEAD: &str = r#"{"at":""#;

/// What the measured chain does to it.
pub(crate) const REDACT_CONFIG: &str = r#"{"remove":["/card"],"mask":["/customer/email"]}"#;

/// A body to be stamped. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Arc<[u8]>,
    /// Where the time stamp's digits are.
    at: usize,
    channels: Option<Channels>,
}

/// Messages that take turns over this many channels.
#[derive(Clone, Copy, Debug)]
struct Channels {
    count: u64,
    /// Where the channel's digits are.
    at: usize,
}

impl Template {
    /// The payload itself.
    pub(crate) fn payload(size: usize) -> Self {
        Self {
            bytes: payload(size).into(),
            at: HEAD.len(),
            channels: None,
        }
    }

    /// The request body that hands a payload to the gateway.
    pub(crate) fn message(size: usize) -> Self {
        let head = format!(r#"{{"eventType":"{EVENT_TYPE}","payload":"#);
        Self::wrapped(head, size, None)
    }

    /// The same for endpoints that listen to a channel each.
    pub(crate) fn message_in_turn(size: usize, channels: u64) -> Self {
        let head = format!(r#"{{"eventType":"{EVENT_TYPE}","channels":["#);
        let at = head.len() + 1;
        let head = format!(r#"{head}"{:0CHANNEL_DIGITS$}"],"payload":"#, 0);
        let count = channels;
        Self::wrapped(head, size, Some(Channels { count, at }))
    }

    fn wrapped(head: String, size: usize, channels: Option<Channels>) -> Self {
        let at = head.len() + HEAD.len();
        let mut bytes = head.into_bytes();
        bytes.extend(payload(size));
        bytes.push(b'}');
        Self {
            bytes: bytes.into(),
            at,
            channels,
        }
    }

    /// The body sent at this time, as the so manieth.
    pub(crate) fn stamped(&self, number: u64, micros: u64) -> Bytes {
        let mut bytes = self.bytes.to_vec();
        write_digits(&mut bytes[self.at..self.at + DIGITS], micros);
        if let Some(Channels { count, at }) = self.channels {
            write_digits(&mut bytes[at..at + CHANNEL_DIGITS], number % count);
        }
        Bytes::from(bytes)
    }
}

/// The name of a channel of messages that take turns.
pub(crate) fn channel(number: u64) -> String {
    format!("{number:0CHANNEL_DIGITS$}")
}

/// When a payload was sent, read from what the receiver got.
pub(crate) fn sent_at(body: &[u8]) -> Option<u64> {
    let digits = body.strip_prefix(HEAD.as_bytes())?.get(..DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn payload(size: usize) -> Vec<u8> {
    let mut text = format!(
        r#"{HEAD}{:0DIGITS$}","customer":{{"name":"Ada Lovelace","email":"ada@example.com"}},"card":{{"number":"4242424242424242"}},"items":["#,
        0
    );
    let end = r#"],"total":12345}"#;
    for number in 0.. {
        let item = format!(
            r#"{}{{"sku":"A-{number:04}","count":2,"price":1999}}"#,
            if number == 0 { "" } else { "," }
        );
        // Room for the closing note, whose empty form takes 12 bytes.
        if text.len() + item.len() + end.len() + 12 > size {
            break;
        }
        text.push_str(&item);
    }
    let missing = size.saturating_sub(text.len() + end.len() + r#","note":"""#.len());
    text.push_str(r#"],"note":""#);
    text.extend(std::iter::repeat_n('x', missing));
    text.push('"');
    text.push_str(&end[1..]);
    text.into_bytes()
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_of_its_size() {
        for size in [256, SIZE, 16 << 10, 1 << 20] {
            let payload = Template::payload(size).stamped(0, 1_234_567);
            assert_eq!(payload.len(), size);
            let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(json["customer"]["email"], "ada@example.com");
            assert_eq!(sent_at(&payload), Some(1_234_567));
        }
    }

    #[test]
    fn a_message_carries_the_payload() {
        let message = Template::message(SIZE).stamped(0, 7);
        let json: serde_json::Value = serde_json::from_slice(&message).unwrap();
        assert_eq!(json["eventType"], EVENT_TYPE);
        assert_eq!(json["payload"]["total"], 12_345);
        assert_eq!(json["payload"]["at"], "0000000000000007");
    }

    #[test]
    fn messages_take_turns() {
        let template = Template::message_in_turn(SIZE, 100);
        let json: serde_json::Value = serde_json::from_slice(&template.stamped(342, 7)).unwrap();
        assert_eq!(json["channels"], serde_json::json!([channel(42)]));
        assert_eq!(json["payload"]["at"], "0000000000000007");
    }
}
