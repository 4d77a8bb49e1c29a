//! Ownership of lanes between gateways. A shard is a group of lanes; who holds its lease delivers for it.

use std::fmt;

use crate::domain::EndpointId;

/// One of 256 groups of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub u8);

impl Shard {
    /// The shard of an endpoint's lane: the last byte of its identifier, which is random.
    pub fn of(endpoint: EndpointId) -> Self {
        Self(endpoint.as_bytes()[19])
    }
}

/// A set of shards.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardSet([u64; 4]);

impl ShardSet {
    /// All 256.
    pub const ALL: ShardSet = ShardSet([u64::MAX; 4]);

    /// Whether it holds this shard.
    pub fn contains(&self, shard: Shard) -> bool {
        self.0[usize::from(shard.0 / 64)] & (1 << (shard.0 % 64)) != 0
    }

    /// Adds a shard.
    pub fn insert(&mut self, shard: Shard) {
        self.0[usize::from(shard.0 / 64)] |= 1 << (shard.0 % 64);
    }

    /// Its shards, in order.
    pub fn iter(&self) -> impl Iterator<Item = Shard> + '_ {
        (0..=u8::MAX)
            .map(Shard)
            .filter(|shard| self.contains(*shard))
    }
}

impl FromIterator<Shard> for ShardSet {
    fn from_iter<I: IntoIterator<Item = Shard>>(shards: I) -> Self {
        let mut set = ShardSet::default();
        shards.into_iter().for_each(|shard| set.insert(shard));
        set
    }
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardSet({} of 256)", self.iter().count())
    }
}

/// Ownership of shards. The token fences: a write under an older one than the shard's last is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub holder: String,
    /// Higher than every token given before for any of its shards.
    pub token: u64,
    /// What it covers; may be fewer shards than asked for.
    pub shards: ShardSet,
}
