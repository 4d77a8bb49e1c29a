//! The wasmtime engine: one builder for the gateway, which runs guests, and for the compile child, so that what
//! the child writes fits what the gateway loads. Settings that shape machine code are constants here; only where
//! memory comes from may differ between the two.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::{
    Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy,
};

use super::SandboxError;
use super::config::{Config, MemoryMode};
use super::limits::{CORE_INSTANCES, FIBER_STACK_BYTES, MEMORIES, TABLES, WASM_STACK_BYTES};

/// Pool sizes tried after the configured one where the address space does not allow it: 64 slots take 256 GiB,
/// 16 take 64 GiB.
const SMALLER_POOLS: [u32; 2] = [64, 16];

/// Bytes of a slot's table that are cleared rather than given back: a full table of function pointers of the
/// default size.
const TABLE_KEEP_RESIDENT: usize = 80 << 10;

/// The engine that runs guests, and how many at once.
pub(super) fn for_guests(config: &Config) -> Result<(Engine, usize), SandboxError> {
    if config.memory == MemoryMode::Pooled {
        let smaller = SMALLER_POOLS
            .into_iter()
            .filter(|slots| *slots < config.slots);
        for slots in std::iter::once(config.slots).chain(smaller) {
            match build(InstanceAllocationStrategy::Pooling(pool(config, slots))) {
                Ok(engine) => return Ok((engine, slots as usize)),
                Err(error) => tracing::warn!(
                    slots,
                    error = format!("{error:#}"),
                    "no address space for this many guest slots"
                ),
            }
        }
        tracing::warn!("guests get fresh memory for each call, about 25 us dearer");
    }
    Ok((for_compiling()?, usize::MAX))
}

/// The engine that only compiles: it reserves nothing.
pub(super) fn for_compiling() -> Result<Engine, SandboxError> {
    build(InstanceAllocationStrategy::OnDemand).map_err(|error| SandboxError::Engine(error.into()))
}

/// A name for the machine code that this engine takes: another version or setting has another.
pub(super) fn fingerprint(engine: &Engine) -> String {
    // Not a defence: the engine itself refuses what does not fit. A name that changes between toolchains costs
    // one compilation.
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn build(allocation: InstanceAllocationStrategy) -> wasmtime::Result<Engine> {
    let mut config = wasmtime::Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        .memory_init_cow(true)
        .concurrency_support(false)
        // A trap is reported by its kind; frames would cost time and say nothing to a tenant.
        .wasm_backtrace_max_frames(None)
        // Answers must not depend on the machine: a chain's result is memoised and may be repeated elsewhere.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .allocation_strategy(allocation);
    Engine::new(&config)
}

fn pool(config: &Config, slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES)
        .total_memories(slots)
        .total_tables(slots * TABLES)
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memory_size(config.limits.memory_bytes)
        .table_elements(config.limits.table_elements)
        .max_unused_warm_slots(config.warm_slots)
        .linear_memory_keep_resident(config.keep_resident_bytes)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_take_the_same_machine_code() {
        let (guests, _) = for_guests(&Config {
            slots: 4,
            ..Config::default()
        })
        .unwrap();
        let compiling = for_compiling().unwrap();
        assert_eq!(fingerprint(&guests), fingerprint(&compiling));
    }

    #[test]
    fn a_pool_that_does_not_fit_is_made_smaller() {
        // 160 TB: more than a process has.
        let config = Config {
            slots: 40_000,
            ..Config::default()
        };
        assert_eq!(for_guests(&config).unwrap().1, 64);
        let config = Config {
            memory: MemoryMode::Fresh,
            ..config
        };
        assert_eq!(for_guests(&config).unwrap().1, usize::MAX);
    }
}
