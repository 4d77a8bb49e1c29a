//! Identifiers: a prefix and a KSUID with millisecond time, such as `msg_2gk…`. Twenty bytes inside.
//!
//! Their order means nothing to the gateway: clocks step, and order of acceptance is [`Seq`](super::Seq).

mod base62;

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

fn parse(text: &str, prefix: &'static str) -> Result<[u8; 20], IdError> {
    let digits = text.strip_prefix(prefix).map(str::as_bytes);
    let digits = digits.and_then(|digits| digits.try_into().ok());
    digits.and_then(base62::decode).ok_or_else(|| IdError {
        given: text.chars().take(64).collect(),
        prefix,
    })
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
                let digits = base62::encode(self.0);
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
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
