//! Judges one address: does it belong to the public Internet? A pure table after the IANA special-purpose
//! registries, wider where no webhook can live. Knows nothing of what the operator allows.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The rule that keeps an address out of reach. Its text names the rule and never the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressRule {
    /// This host: 127.0.0.0/8, ::1.
    Loopback,
    /// 0.0.0.0/8 and ::, which connect to this host on Linux.
    Unspecified,
    /// RFC 1918 and fc00::/7.
    Private,
    /// 100.64.0.0/10, RFC 6598.
    CarrierNat,
    /// 169.254.0.0/16, fe80::/10 and the deprecated fec0::/10.
    LinkLocal,
    /// An address at which a cloud platform serves credentials or settings. Never opened.
    Metadata,
    /// Multicast and broadcast.
    Multicast,
    /// Documentation prefixes.
    Documentation,
    /// Benchmarking prefixes, RFC 2544 and RFC 5180.
    Benchmarking,
    /// NAT64, 6to4, Teredo and the like: another address hides inside.
    Translated,
    /// Reserved or not allocated.
    Reserved,
    /// In a subnet that the operator refuses.
    Denied,
}

impl AddressRule {
    /// Whether the operator can open it.
    pub const fn can_be_opened(self) -> bool {
        !matches!(self, AddressRule::Metadata | AddressRule::Denied)
    }
}

impl fmt::Display for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressRule::Loopback => "loopback",
            AddressRule::Unspecified => "unspecified",
            AddressRule::Private => "private",
            AddressRule::CarrierNat => "carrier-grade NAT",
            AddressRule::LinkLocal => "link-local",
            AddressRule::Metadata => "a platform's metadata service",
            AddressRule::Multicast => "multicast or broadcast",
            AddressRule::Documentation => "reserved for documentation",
            AddressRule::Benchmarking => "reserved for benchmarking",
            AddressRule::Translated => "a translation prefix",
            AddressRule::Reserved => "reserved",
            AddressRule::Denied => "refused by the operator",
        })
    }
}

type V4Row = ([u8; 4], u8, AddressRule);
type V6Row = ([u16; 8], u8, AddressRule);

/// Prefixes of IPv4 that no webhook lives in; the first row that fits decides.
const V4: [V4Row; 23] = [
    // Instance metadata: AWS, GCP, Azure, OpenStack and others; then AWS ECS and EKS, Scaleway, Tencent,
    // Azure's WireServer, Alibaba, Oracle Classic.
    ([169, 254, 169, 254], 32, AddressRule::Metadata),
    ([169, 254, 170, 2], 32, AddressRule::Metadata),
    ([169, 254, 170, 23], 32, AddressRule::Metadata),
    ([169, 254, 42, 42], 32, AddressRule::Metadata),
    ([169, 254, 0, 23], 32, AddressRule::Metadata),
    ([168, 63, 129, 16], 32, AddressRule::Metadata),
    ([100, 100, 100, 200], 32, AddressRule::Metadata),
    ([192, 0, 0, 192], 32, AddressRule::Metadata),
    ([0, 0, 0, 0], 8, AddressRule::Unspecified),
    ([10, 0, 0, 0], 8, AddressRule::Private),
    ([100, 64, 0, 0], 10, AddressRule::CarrierNat),
    ([127, 0, 0, 0], 8, AddressRule::Loopback),
    ([169, 254, 0, 0], 16, AddressRule::LinkLocal),
    ([172, 16, 0, 0], 12, AddressRule::Private),
    ([192, 168, 0, 0], 16, AddressRule::Private),
    ([192, 0, 2, 0], 24, AddressRule::Documentation),
    ([198, 51, 100, 0], 24, AddressRule::Documentation),
    ([203, 0, 113, 0], 24, AddressRule::Documentation),
    ([198, 18, 0, 0], 15, AddressRule::Benchmarking),
    // Protocol assignments, and the deprecated 6to4 relay anycast (RFC 7526).
    ([192, 0, 0, 0], 24, AddressRule::Reserved),
    ([192, 88, 99, 0], 24, AddressRule::Translated),
    ([224, 0, 0, 0], 4, AddressRule::Multicast),
    // Class E; its last address is the limited broadcast.
    ([240, 0, 0, 0], 4, AddressRule::Reserved),
];

/// The same for IPv6; what is outside 2000::/3 is refused whether it stands here or not.
const V6: [V6Row; 20] = [
    // Instance metadata: AWS, GCP, Scaleway, OpenStack.
    (
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
        128,
        AddressRule::Metadata,
    ),
    (
        [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
        128,
        AddressRule::Metadata,
    ),
    (
        [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42],
        128,
        AddressRule::Metadata,
    ),
    (
        [0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe],
        128,
        AddressRule::Metadata,
    ),
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, AddressRule::Unspecified),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, AddressRule::Loopback),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, AddressRule::Private),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, AddressRule::LinkLocal),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, AddressRule::LinkLocal),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, AddressRule::Multicast),
    // IPv4-compatible, SIIT, NAT64 and its local-use prefix, 6to4, Teredo.
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, AddressRule::Translated),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, AddressRule::Translated),
    (
        [0x64, 0xff9b, 0, 0, 0, 0, 0, 0],
        96,
        AddressRule::Translated,
    ),
    (
        [0x64, 0xff9b, 1, 0, 0, 0, 0, 0],
        48,
        AddressRule::Translated,
    ),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, AddressRule::Translated),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, AddressRule::Translated),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, AddressRule::Benchmarking),
    (
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0],
        32,
        AddressRule::Documentation,
    ),
    (
        [0x3fff, 0, 0, 0, 0, 0, 0, 0],
        20,
        AddressRule::Documentation,
    ),
    // Protocol assignments, ORCHID among them.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, AddressRule::Reserved),
];

/// The address as it is dialled in the end: an IPv4-mapped one is its IPv4 address.
pub(super) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The rule against `address`; none for a public one.
pub(super) fn rule(address: IpAddr) -> Option<AddressRule> {
    match canonical(address) {
        IpAddr::V4(address) => {
            let inside = |net: [u8; 4], length| {
                let shift = 32 - u32::from(length);
                (u32::from(address) ^ u32::from(Ipv4Addr::from(net))) >> shift == 0
            };
            V4.iter()
                .find(|(net, length, _)| inside(*net, *length))
                .map(|row| row.2)
        }
        IpAddr::V6(address) => {
            let inside = |net: [u16; 8], length| {
                let shift = 128 - u32::from(length);
                (u128::from(address) ^ u128::from(Ipv6Addr::from(net))) >> shift == 0
            };
            let row = V6.iter().find(|(net, length, _)| inside(*net, *length));
            let global_unicast = inside([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
            row.map(|row| row.2)
                .or((!global_unicast).then_some(AddressRule::Reserved))
        }
    }
}

/// The IPv4 address inside a translation prefix, which is where the packets go in the end.
pub(super) fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = canonical(address) else {
        return None;
    };
    let segments = address.segments();
    let pair = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match segments {
        [0x2002, high, low, ..] => Some(pair(high, low)),
        // Teredo keeps the client's address inverted.
        [0x2001, 0, _, _, _, _, high, low] => Some(pair(!high, !low)),
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low] | [0x64, 0xff9b, _, _, _, _, high, low] => {
            Some(pair(high, low))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<AddressRule> {
        rule(text.parse().unwrap())
    }

    #[test]
    fn rules_are_named() {
        for (address, expected) in [
            ("127.0.0.1", AddressRule::Loopback),
            ("::ffff:127.0.0.1", AddressRule::Loopback),
            ("::1", AddressRule::Loopback),
            ("0.0.0.0", AddressRule::Unspecified),
            ("::", AddressRule::Unspecified),
            ("10.0.0.1", AddressRule::Private),
            ("fd00::1", AddressRule::Private),
            ("100.64.0.1", AddressRule::CarrierNat),
            ("100.100.100.200", AddressRule::Metadata),
            ("fe80::1", AddressRule::LinkLocal),
            ("64:ff9b::7f00:1", AddressRule::Translated),
            ("2002:7f00:1::", AddressRule::Translated),
            (
                "2001:0:4136:e378:8000:63bf:80ff:fffe",
                AddressRule::Translated,
            ),
            ("255.255.255.255", AddressRule::Reserved),
            ("4000::1", AddressRule::Reserved),
        ] {
            assert_eq!(of(address), Some(expected), "{address}");
        }
        for public in [
            "8.8.8.8",
            "::ffff:8.8.8.8",
            "2606:4700:4700::1111",
            "168.63.129.17",
        ] {
            assert_eq!(of(public), None, "{public}");
        }
    }

    #[test]
    fn what_hides_inside_is_found() {
        for (outer, inner) in [
            ("64:ff9b::7f00:1", "127.0.0.1"),
            ("64:ff9b:1:fffe::10.0.0.1", "10.0.0.1"),
            ("2002:a9fe:a9fe::", "169.254.169.254"),
            ("2001:0:4136:e378:8000:63bf:80ff:fffe", "127.0.0.1"),
            ("::ffff:0:127.0.0.1", "127.0.0.1"),
        ] {
            let inner: Ipv4Addr = inner.parse().unwrap();
            assert_eq!(embedded(outer.parse().unwrap()), Some(inner), "{outer}");
        }
        assert_eq!(embedded("2606:4700:4700::1111".parse().unwrap()), None);
    }
}
