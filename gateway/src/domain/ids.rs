//! Identifiers: a prefix and a KSUID with millisecond time, such as `msg_2gk…`. Twenty bytes inside.
//!
//! Their order means nothing to the gateway: clocks step, and order of acceptance is [`Seq`](super::Seq).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use svix_ksuid::{KsuidLike, KsuidMs};

use super::Timestamp;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not an identifier of the form `{prefix}…`")]
pub struct IdError {
    given: String,
    prefix: &'static str,
}

/// Length of the text after the prefix: 20 bytes in base 62.
const BASE62_LEN: usize = 27;

fn parse(text: &str, prefix: &'static str) -> Result<[u8; 20], IdError> {
    let refuse = || IdError {
        given: text.chars().take(64).collect(),
        prefix,
    };
    let body = text.strip_prefix(prefix).ok_or_else(refuse)?;
    if body.len() != BASE62_LEN || !body.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(refuse());
    }
    let id = KsuidMs::from_base62(body).map_err(|_| refuse())?;
    // 27 digits can say more than 20 bytes hold, and the decoder wraps around.
    if id.to_base62() != body {
        return Err(refuse());
    }
    Ok(*id.bytes())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 20]);

        impl $name {
            /// What every identifier of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new identifier that carries `now` and 15 random bytes.
            pub fn generate(now: Timestamp) -> Self {
                let millis = i64::try_from(now.millis()).unwrap_or(i64::MAX);
                Self(*KsuidMs::from_millis(Some(millis), None).bytes())
            }

            /// The twenty bytes, as store keys hold them.
            pub fn as_bytes(&self) -> &[u8; 20] {
                &self.0
            }

            /// The identifier with these bytes.
            pub fn from_bytes(bytes: [u8; 20]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, KsuidMs::from_bytes(self.0).to_base62())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text, $prefix).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    let text = String::deserialize(from)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 20]>::deserialize(from).map(Self)
                }
            }
        }
    };
}

id!(
    /// Who runs events through the gateway.
    OrganizationId,
    "org_"
);
id!(
    /// A tenant of an organization.
    ApplicationId,
    "app_"
);
id!(
    /// A subscription of an application.
    EndpointId,
    "ep_"
);
id!(
    /// One accepted event.
    MessageId,
    "msg_"
);
id!(
    /// One try of a delivery.
    AttemptId,
    "atmpt_"
);
id!(
    /// A named plugin.
    PluginId,
    "plg_"
);
id!(
    /// Work that goes on in the background.
    TaskId,
    "qtask_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip() {
        let id = MessageId::generate(Timestamp::from_millis(1_790_000_000_000));
        assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
        assert_eq!(MessageId::from_bytes(*id.as_bytes()), id);
        assert!(id.to_string().starts_with("msg_"));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<MessageId>(&json).unwrap(), id);
    }

    #[test]
    fn foreign_prefix_length_and_alphabet_are_refused() {
        let id = MessageId::generate(Timestamp::from_millis(0)).to_string();
        assert!(id.parse::<EndpointId>().is_err());
        assert!(id[..id.len() - 1].parse::<MessageId>().is_err());
        assert!(
            "msg_!!!!!!!!!!!!!!!!!!!!!!!!!!!"
                .parse::<MessageId>()
                .is_err()
        );
        assert!(
            "msg_zzzzzzzzzzzzzzzzzzzzzzzzzzz"
                .parse::<MessageId>()
                .is_err()
        );
        assert!("".parse::<MessageId>().is_err());
    }
}
