//! e^x without branches or tables, so that a loop over it compiles to vector instructions.
//!
//! # Formula
//!
//! x = n ln 2 + r with the integer n nearest to x/ln 2, so |r| ≤ ½ ln 2; e^x = 2^n (1 + r + r² q(r)) with the
//! polynomial q that is nearest to (e^r − 1 − r)/r² at Chebyshev points (its error times r² is under 2^−26 in f32 and
//! 2^−55 in f64). ln 2 is split into two parts such that n times the first is exact. 2^n is the product of two
//! factors: neither overflows, nor underflows before the result does.
//!
//! Results are within 2 units in the last place of e^x; subnormal results are within one more unit of the smallest
//! number. e^0 = 1, e^(−∞) = 0, e^∞ = ∞, and NaN stays NaN.

macro_rules! exponential {
    (
        $(#[$doc:meta])* $name:ident, $Float:ty, digits: $digits:literal, bias: $bias:literal, range: [$low:literal, $high:literal],
        ln_2: [$high_part:literal, $low_part:literal], q: |$r:ident, $q:ident| $polynomial:expr, $coefficients:expr
    ) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(x: $Float) -> $Float {
            // 1.5 · 2^digits: adding it to a number keeps only the integer part, in the lowest bits.
            const INTEGER: $Float = 1.5 * (1_u64 << $digits) as $Float;
            // Two selections that let a NaN pass; beyond the range the result is already 0 or infinite.
            let x = if x < $low { $low } else { x };
            let x = if x > $high { $high } else { x };
            let n = (x * std::f64::consts::LOG2_E as $Float + INTEGER) - INTEGER;
            let $r = (x - n * $high_part) - n * $low_part;
            let $q = $coefficients;
            let power_of_2 = |n: $Float| <$Float>::from_bits((n + (INTEGER + $bias)).to_bits() << $digits);
            let half = (n * 0.5 + INTEGER) - INTEGER;
            let significand = ($r * $r * $polynomial + $r) + 1.0;
            significand * power_of_2(half) * power_of_2(n - half)
        }
    };
}

exponential! {
    /// e^x in f32.
    exp_f32, f32, digits: 23, bias: 127.0, range: [-104.0, 89.0],
    ln_2: [0.693_145_75, 1.428_606_8e-6],
    q: |r, q| (((q[4] * r + q[3]) * r + q[2]) * r + q[1]) * r + q[0],
    [0.5, 0.166_665_77, 0.041_666_556, 0.008_363_18, 0.001_392_618_4_f32]
}

exponential! {
    /// e^x in f64.
    exp_f64, f64, digits: 52, bias: 1023.0, range: [-746.0, 710.0],
    ln_2: [0.693_147_180_559_663, 2.823_529_056_303_157_7e-13],
    q: |r, q| {
        // Pairs of terms that do not depend on each other.
        let (r2, r4) = (r * r, (r * r) * (r * r));
        let (a, b) = ((q[1] * r + q[0]) + (q[3] * r + q[2]) * r2, (q[5] * r + q[4]) + (q[7] * r + q[6]) * r2);
        (a + b * r4) + (q[9] * r + q[8]) * (r4 * r4)
    },
    [
        0.500_000_000_000_000_1,
        0.166_666_666_666_666_67,
        0.041_666_666_666_624_13,
        0.008_333_333_333_330_062,
        0.001_388_888_891_721_371_7,
        1.984_126_986_305_361_7e-4,
        2.480_152_129_595_437_5e-5,
        2.755_726_845_999_709_5e-6,
        2.762_008_844_540_975e-7,
        2.510_038_549_551_032e-8_f64,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the error in units of the last place of the result in f32.
    fn error_f32(x: f32) -> f64 {
        let (found, exact) = (exp_f32(x), f64::from(x).exp());
        let rounded = exact as f32;
        if found.is_infinite() || rounded.is_infinite() {
            // One of them may still be the largest number.
            assert!(found >= f32::MAX && rounded >= f32::MAX, "e^{x} is {found}, not {rounded}");
            return 0.0;
        }
        let unit = f64::from(rounded.next_up()) - f64::from(rounded);
        (f64::from(found) - exact).abs() / unit.min(f64::from(f32::MAX) * f64::from(f32::EPSILON))
    }

    #[test]
    fn f32_is_within_two_units_everywhere() {
        // Every 997th number, of both signs, including subnormal ones and those out of range.
        let worst = (0..=u32::MAX).step_by(997).map(f32::from_bits).filter(|x| x.is_finite()).map(error_f32);
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < 2.0, "{worst} units");
    }

    #[test]
    fn f64_is_within_two_units_everywhere() {
        let mut worst: f64 = 0.0;
        for i in 0..2_000_000 {
            let x = -760.0 + 1480.0 * (f64::from(i) + 0.37) / 2_000_000.0;
            let (found, exact) = (exp_f64(x), x.exp());
            if exact.is_infinite() || found.is_infinite() {
                assert!(found > 1.797_693e308 && exact > 1.797_693e308, "e^{x} is {found}, not {exact}");
                continue;
            }
            worst = worst.max((found - exact).abs() / (exact.next_up() - exact));
        }
        for exponent in -80..0 {
            for sign in [-1.0, 1.0] {
                let x = sign * 1.37 * 2.0_f64.powi(exponent);
                worst = worst.max((exp_f64(x) - x.exp()).abs() / f64::EPSILON);
            }
        }
        // The error of the C library itself is up to one unit more.
        assert!(worst <= 2.0, "{worst} units");
    }

    #[test]
    fn extremes() {
        assert_eq!([exp_f32(0.0), exp_f32(-0.0), exp_f32(f32::NEG_INFINITY)], [1.0, 1.0, 0.0]);
        assert_eq!([exp_f64(0.0), exp_f64(-0.0), exp_f64(f64::NEG_INFINITY)], [1.0, 1.0, 0.0]);
        assert_eq!([exp_f32(f32::INFINITY), exp_f32(1e30), exp_f32(-1e30)], [f32::INFINITY, f32::INFINITY, 0.0]);
        assert_eq!([exp_f64(f64::INFINITY), exp_f64(1e300), exp_f64(-1e300)], [f64::INFINITY, f64::INFINITY, 0.0]);
        assert!(exp_f32(f32::NAN).is_nan() && exp_f64(f64::NAN).is_nan());
        assert_eq!(exp_f64(-745.0), 5e-324);
        assert!(exp_f32(-103.0) > 0.0 && exp_f32(88.7).is_finite() && exp_f64(709.78).is_finite());
    }
}
