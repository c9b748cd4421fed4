//! Random binarisation of grey levels.

use rand::RngCore;

use crate::random::Stream;

/// Writes 1 with probability v/255, else 0, for each intensity v.
///
/// The probability is the multiple of 2⁻¹⁶ nearest to v/255: it is off by at most 2⁻¹⁷, and exact for 0 and 255.
///
/// # Shapes
///
/// `intensities`, `out`: `[D]`
///
/// # Panics
///
/// Panics if the lengths differ.
pub fn binarise(intensities: &[u8], stream: &mut Stream, out: &mut [u8]) {
    assert_eq!(intensities.len(), out.len(), "expected as many intensities as outputs");
    // Blocks have a fixed size, so that the comparison compiles to vector instructions.
    let mut bits = [0_u16; BLOCK];
    for (intensities, out) in intensities.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        for four in bits.chunks_exact_mut(4).take(out.len().div_ceil(4)) {
            let word = stream.next_u64();
            four[0] = word as u16;
            four[1] = (word >> 16) as u16;
            four[2] = (word >> 32) as u16;
            four[3] = (word >> 48) as u16;
        }
        for ((pixel, &intensity), &bits) in out.iter_mut().zip(intensities).zip(&bits) {
            *pixel = is_one(intensity, bits);
        }
    }
}

const BLOCK: usize = 64;

/// Returns 1 for round(65536 v / 255) of the 65536 values of `bits`, else 0.
///
/// 65536 v / 255 = 257 v + v/255, so the count is 257 v, plus one from v = 128 on. The computation is arranged so
/// that it fits into 16 bits for v = 255 too.
fn is_one(intensity: u8, bits: u16) -> u8 {
    let count = u16::from(intensity) * 257;
    let below = u8::from(bits < count);
    let level = u8::from(bits == count) & (intensity >> 7);
    below | level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probability_is_v_over_255_to_half_a_step_of_65536() {
        for intensity in 0..=255 {
            let ones = (0..=u16::MAX).filter(|&bits| is_one(intensity, bits) == 1).count();
            let nearest = (f64::from(intensity) * 65536.0 / 255.0).round();
            assert_eq!(ones as f64, nearest, "intensity {intensity}");
        }
    }
}
