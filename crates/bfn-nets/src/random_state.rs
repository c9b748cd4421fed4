//! libtorch's own random generators, which dropout draws from.

use crate::device;

/// Seeds libtorch's generators, on all devices, for one step of a run.
///
/// Called before each forward pass with dropout, it makes the masks a function of (seed, step) alone, so that a
/// resumed run draws what the uninterrupted run would have drawn. If a step has several forward passes (gradient
/// accumulation, several processes), `seed` should differ among them.
pub fn seed_dropout(seed: u64, step: u64) {
    device::initialise();
    // Mixed twice, since neighbouring seeds and steps must not give neighbouring or colliding states.
    let mixed = mix(mix(seed).wrapping_add(step));
    tch::manual_seed(i64::from_ne_bytes(mixed.to_ne_bytes()));
}

/// Applies the finaliser of SplitMix64 (Steele, Lea and Flood 2014), a bijection that spreads each bit over all.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
