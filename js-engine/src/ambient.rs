//! What JavaScript asks of a machine, answered from the event alone, so that a retry comes to the same: the time is the
//! event's, and random numbers follow from its identifier.

use std::cell::Cell;

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
    static RANDOM: Cell<u64> = const { Cell::new(1) };
}

/// Sets both for one call.
pub(crate) fn set(now_ms: u64, id: &str) {
    NOW_MS.set(now_ms);
    // FNV-1a: two identifiers give two sequences. Zero would stay zero.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    RANDOM.set(hash.max(1));
}

/// `Math.random`: xorshift64*, as QuickJS has it.
pub(crate) fn random() -> f64 {
    let mut state = RANDOM.get();
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    RANDOM.set(state);
    let number = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
    // The upper 53 bits, as many as a double holds.
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

/// The clock that QuickJS reads, in microseconds since the Unix epoch.
#[allow(
    unsafe_code,
    reason = "the name is the one under which QuickJS's shim looks for a clock"
)]
#[unsafe(no_mangle)]
extern "C" fn __rquickjs_host_now_us() -> f64 {
    NOW_MS.get() as f64 * 1000.0
}
