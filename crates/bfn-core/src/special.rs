//! Functions of the normal distribution in f64, for the `ndarray` backend and the schedules, and an exponential for
//! loops over many numbers.

pub(crate) mod exponential;

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Computes Φ(x) = ½ erfc(−x/√2), the distribution function of the standard normal.
///
/// The result has relative accuracy in both tails.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// Computes ln Φ(x), which is finite as long as x² is.
///
/// Below −30, where Φ approaches the smallest f64, this is the asymptotic series ln φ(x) − ln(−x) +
/// ln(1 − x⁻² + 3x⁻⁴ − 15x⁻⁶ + 105x⁻⁸), whose first omitted term is below 2e−12.
pub fn normal_ln_cdf(x: f64) -> f64 {
    if x > 0.0 {
        return libm::log1p(-normal_cdf(-x));
    }
    if x > -30.0 {
        return normal_cdf(x).ln();
    }
    let u = 1.0 / (x * x);
    let series = u * (-1.0 + u * (3.0 + u * (-15.0 + u * 105.0)));
    -0.5 * x * x - 0.5 * (2.0 * PI).ln() - (-x).ln() + ln_1p_of_little(series)
}

/// Computes ln(1 + x) for |x| below 0.0015, where the next term is below 2e−15.
fn ln_1p_of_little(x: f64) -> f64 {
    x * (1.0 - x * (0.5 - x * (1.0 / 3.0 - x * 0.25)))
}

/// The largest width at which [`normal_ln_mass`] is a series about the middle.
///
/// Its unit is the deviation or, for bins away from the mean, 1/|offset|.
pub(crate) const NARROW: f64 = 0.1;

/// Computes ln(Φ(offset + half_width) − Φ(offset − half_width)), the log-mass of a standard normal in a bin.
///
/// # Formula
///
/// With the width δ = 2 · `half_width` and c = `offset`, the result for δ max(1, |c|) < 0.1 is
///
/// −½c² − ½ ln 2π + ln δ + ln(1 + (c² − 1)δ²/24 + (c⁴ − 6c² + 3)δ⁴/1920 + (c⁶ − 15c⁴ + 45c² − 15)δ⁶/322560),
///
/// the series of φ about the middle, whose first omitted term is below 1e−13. A difference would lose digits there,
/// more of them the smaller δ max(1, |c|) is. Otherwise the result is the logarithm of the difference, taken on the
/// side of the mean where Φ is small. Where the difference underflows, the result is computed through
/// [`normal_ln_cdf`].
///
/// `half_width` must be above 0.
pub fn normal_ln_mass(offset: f64, half_width: f64) -> f64 {
    let width = 2.0 * half_width;
    if is_narrow(offset, width) {
        return Width::new(width).ln_mass(offset);
    }
    let (near, far) = (half_width - offset.abs(), -half_width - offset.abs());
    if near > 0.0 {
        return libm::log1p(-(normal_cdf(-near) + normal_cdf(far)));
    }
    if near > LEAST {
        return (normal_cdf(near) - normal_cdf(far)).ln();
    }
    let ln_near = normal_ln_cdf(near);
    if 0.5 * (far * far - near * near) > NOTHING {
        return ln_near;
    }
    ln_near + libm::log1p(-(normal_ln_cdf(far) - ln_near).exp())
}

/// The point at which Φ approaches the smallest f64.
const LEAST: f64 = -37.0;

/// The exponent at which a term is negligible: e^(−40) relative to 1.
const NOTHING: f64 = 40.0;

/// Returns whether δ max(1, |c|) < 0.1.
pub(crate) fn is_narrow(offset: f64, delta: f64) -> bool {
    delta * delta * (offset * offset).max(1.0) < NARROW * NARROW
}

/// The width of narrow bins in units of the deviation.
pub(crate) struct Width {
    pub(crate) delta: f64,
    /// ln δ − ½ ln 2π.
    ln_density: f64,
}

impl Width {
    pub(crate) fn new(delta: f64) -> Self {
        Self { delta, ln_density: delta.ln() - 0.5 * (2.0 * PI).ln() }
    }

    /// Computes the series of [`normal_ln_mass`] about a bin's middle.
    pub(crate) fn ln_mass(&self, offset: f64) -> f64 {
        let (square, q) = (offset * offset, self.delta * self.delta);
        let cq = square * q;
        let second = cq - q;
        let fourth = cq * (cq - 6.0 * q) + 3.0 * q * q;
        let sixth = cq * (cq * (cq - 15.0 * q) + 45.0 * q * q) - 15.0 * q * q * q;
        let x = second / 24.0 + fourth / 1920.0 + sixth / 322_560.0;
        self.ln_density - 0.5 * square + ln_1p_of_little(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ln_cdf_has_known_values() {
        // ln(½ erfc(−x/√2)) from the C library's erfc; for x > 0, minus the upper tail, since ln(1 − p) = −p there.
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
    fn ln_mass_is_the_integral_of_the_density() {
        // Simpson's rule on e^(−½z² + ½c²), so that nothing underflows.
        for offset in [0.0, 0.3, -1.0, 2.5, -7.0, 30.0, -200.0] {
            for width in [1e-6, 1e-3, 0.01, 0.03, 0.09, 0.11, 0.4] {
                let half = 0.5 * width;
                let intervals = 2000;
                let density = |i: usize| {
                    let u = half * (2.0 * i as f64 / f64::from(intervals) - 1.0);
                    (-u * (offset + 0.5 * u)).exp()
                };
                let weight = |i: usize| if i == 0 || i == 2000 { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
                let sum: f64 = (0..=2000).map(|i| weight(i) * density(i)).sum();
                let expected = (width * sum / 6000.0).ln() - 0.5 * offset * offset - 0.5 * (2.0 * PI).ln();
                let found = normal_ln_mass(offset, half);
                let error = (found - expected).abs() / expected.abs().max(1.0);
                // The error of Simpson's rule itself is visible where the density falls by e^(−80) over the bin.
                let allowed = if (offset * width).abs() > 10.0 { 1e-7 } else { 1e-13 };
                assert!(error < allowed, "c = {offset}, δ = {width}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn ln_mass_of_wide_bins() {
        assert_eq!(normal_ln_mass(0.0, f64::INFINITY), 0.0);
        assert_eq!(normal_ln_mass(3.0, 1e3), 0.0);
        let both_tails = -2.0 * normal_cdf(-5.0);
        assert!((normal_ln_mass(0.0, 5.0) / both_tails - 1.0).abs() < 1e-6);
        assert!((normal_ln_mass(-1e4, 3.0) / normal_ln_cdf(-9997.0) - 1.0).abs() < 1e-15);
        assert!(normal_ln_mass(f64::NAN, 1.0).is_nan() && normal_ln_mass(1.0, f64::NAN).is_nan());
    }

    #[test]
    fn tails_do_not_overflow() {
        assert!(normal_ln_cdf(-1e6).is_finite());
        assert_eq!(normal_ln_cdf(1e6), 0.0);
        assert_eq!(normal_cdf(f64::NEG_INFINITY), 0.0);
        assert!(normal_ln_cdf(f64::NAN).is_nan());
    }
}
