//! The normal distribution's functions in f64, for the `ndarray` backend and the schedules.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Φ(x) = ½ erfc(−x/√2), the distribution function of the standard normal; relative accuracy in both tails.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// ln Φ(x), finite for every finite x.
///
/// Below −30, where Φ nears the smallest f64, it is the asymptotic series
/// ln φ(x) − ln(−x) + ln(1 − x⁻² + 3x⁻⁴ − 15x⁻⁶ + 105x⁻⁸), whose first omitted term is under 2e−12.
pub fn normal_ln_cdf(x: f64) -> f64 {
    if x > 0.0 {
        return libm::log1p(-normal_cdf(-x));
    }
    if x > -30.0 {
        return normal_cdf(x).ln();
    }
    let u = 1.0 / (x * x);
    let series = u * (-1.0 + u * (3.0 + u * (-15.0 + u * 105.0)));
    -0.5 * x * x - 0.5 * (2.0 * PI).ln() - (-x).ln() + libm::log1p(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ln_cdf_has_known_values() {
        // ln(½ erfc(−x/√2)) from the C library's erfc; for x > 0 minus the upper tail, as ln(1 − p) = −p there.
        for (x, expected) in [
            (0.0, -std::f64::consts::LN_2),
            (-1.0, -1.841_021_645_009_263_5),
            (-10.0, -53.231_285_150_512_47),
            (10.0, -7.619_853_024_160_527e-24),
        ] {
            let value = normal_ln_cdf(x);
            assert!(((value - expected) / expected).abs() < 1e-14, "ln Φ({x}) = {value}, not {expected}");
        }
    }

    #[test]
    fn ln_cdf_is_continuous_where_the_formulas_meet() {
        for x in [-30.0_f64, 0.0] {
            let (left, right) = (normal_ln_cdf(x - 1e-9), normal_ln_cdf(x + 1e-9));
            let slope = if x < 0.0 { -x } else { (2.0 / PI).sqrt() };
            assert!((right - left - slope * 2e-9).abs() < 1e-11 * left.abs().max(1.0), "jump at {x}");
        }
    }

    #[test]
    fn tails_do_not_overflow() {
        assert!(normal_ln_cdf(-1e6).is_finite());
        assert_eq!(normal_ln_cdf(1e6), 0.0);
        assert_eq!(normal_cdf(f64::NEG_INFINITY), 0.0);
        assert!(normal_ln_cdf(f64::NAN).is_nan());
    }
}
