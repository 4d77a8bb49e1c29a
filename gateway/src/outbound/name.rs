//! Judges one host name before anybody is asked for its address. Pure; the name comes in lower case and
//! without its trailing dot.

use std::fmt;

/// The rule that keeps a name out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// A name of a cloud platform's metadata service. Never opened.
    Metadata,
    /// One label: it would be looked up through local search lists.
    SingleLabel,
    /// Under a suffix that is private or reserved.
    PrivateSuffix,
}

impl fmt::Display for NameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameRule::Metadata => "a platform's metadata service",
            NameRule::SingleLabel => "a name without a domain",
            NameRule::PrivateSuffix => "a private or reserved name",
        })
    }
}

/// GCP, AWS, Tencent, and their short aliases; names below them count as well.
const METADATA: [&str; 6] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.tencentyun.com",
];

/// RFC 6761, 6762, 7686, 8375 and 9476, ICANN's `.internal` and the names it withholds for collisions, and
/// what private networks and Kubernetes use by habit.
const PRIVATE_SUFFIXES: [&str; 17] = [
    "alt",
    "arpa",
    "corp",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "localhost6",
    "mail",
    "onion",
    "private",
    "svc",
    "test",
];

/// The rule against `name`; none for a public one.
pub(super) fn rule(name: &str) -> Option<NameRule> {
    let under = |suffix: &str| {
        name.strip_suffix(suffix)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if METADATA.iter().any(|suffix| under(suffix)) {
        Some(NameRule::Metadata)
    } else if PRIVATE_SUFFIXES.iter().any(|suffix| under(suffix)) {
        Some(NameRule::PrivateSuffix)
    } else if name.contains('.') {
        None
    } else {
        Some(NameRule::SingleLabel)
    }
}
