//! A schedule given by a table: learned, fitted or measured.

use super::Schedule;
use crate::Real;
use crate::error::{Error, check, check_count, check_increasing};

/// A point of a [`TabulatedSchedule`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knot {
    /// The time t.
    pub t: f64,
    /// The accuracy β(t).
    pub beta: f64,
}

/// A schedule through the points of a table, smooth and strictly increasing between them.
///
/// # Formula
///
/// The interpolated variable is λ = ln(1 + β), twice the entropy that the messages have removed from a normal input
/// distribution. In this variable the paper's schedule for continuous data is a straight line and is reproduced
/// exactly from any table. A table whose β spans six orders of magnitude is resolved as well at its start as at its
/// end. From λ follow β = e^λ − 1, α = (1 + β) dλ/dt and γ = 1 − e^(−λ). A message between s and t has accuracy
/// e^(λ(s)) (e^(λ(t) − λ(s)) − 1). No digits cancel.
///
/// Let ξ be the share of the interval between two knots that has passed, s the secant slope, and r₀, r₁ the slopes at
/// both ends divided by s. Then λ is the monotone rational quadratic
///
/// λ = λ₀ + (λ₁ − λ₀) (ξ² + r₀ ξ(1−ξ)) / (1 + (r₀ + r₁ − 2) ξ(1−ξ)).
///
/// Unlike a monotone cubic, it increases for all slopes r ≥ 0 and has its inverse in closed form,
///
/// ξ = 2y / (b + √(b² + 4(1 − b)y)) with y the share of λ's rise and b = r₀ − (r₀ + r₁ − 2) y,
///
/// without a search, which a tensor could not perform. The slopes are those of the parabola through three
/// neighbouring knots, limited to between 0 and 3 secant slopes on either side (Fritsch and Carlson's bound). This
/// limit keeps a kink in a table from becoming a jump. α is continuous.
///
/// Before t = 0 and after t = 1 the schedule is constant.
///
/// # Examples
///
/// ```
/// use bfn_core::Schedule;
/// use bfn_core::schedule::{Knot, TabulatedSchedule};
/// let knot = |t, beta| Knot { t, beta };
/// let schedule = TabulatedSchedule::new(&[knot(0.0, 0.0), knot(0.5, 0.4), knot(1.0, 3.0)])?;
/// let t = schedule.time(&1.0);
/// assert!((schedule.beta(&t) - 1.0).abs() < 1e-14);
/// # Ok::<(), bfn_core::Error>(())
/// ```
///
/// Source: Gregory and Delbourgo 1982, "Piecewise rational quadratic interpolation to monotonic data";
/// Fritsch and Carlson 1980, "Monotone piecewise cubic interpolation".
#[derive(Debug, Clone, PartialEq)]
pub struct TabulatedSchedule {
    times: Vec<f64>,
    lambdas: Vec<f64>,
    /// For each interval: its length in t, its rise in λ, and the slopes at its ends divided by the secant's.
    widths: Vec<f64>,
    rises: Vec<f64>,
    first_slopes: Vec<f64>,
    last_slopes: Vec<f64>,
}

/// λ and dλ/dt at one time.
struct Spline<R> {
    lambda: R,
    slope: R,
}

impl TabulatedSchedule {
    /// Creates the schedule through `knots`, from (t, β) = (0, 0) to t = 1.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless there are at least two knots, the first is (0, 0), and the last has t = 1
    /// and a finite β; [`Error::Grid`] if t or β does not increase strictly or is NaN.
    pub fn new(knots: &[Knot]) -> Result<Self, Error> {
        check_count("knots", knots.len())?;
        let (first, last) = (knots[0], knots[knots.len() - 1]);
        check("first t", first.t, "0", first.t == 0.0)?;
        check("first beta", first.beta, "0", first.beta == 0.0)?;
        let times: Vec<f64> = knots.iter().map(|knot| knot.t).collect();
        let betas: Vec<f64> = knots.iter().map(|knot| knot.beta).collect();
        check_increasing("t of the knots", &times)?;
        check_increasing("beta of the knots", &betas)?;
        check("last t", last.t, "1", last.t == 1.0)?;
        check("last beta", last.beta, "finite", last.beta.is_finite())?;

        let lambdas: Vec<f64> = betas.iter().map(|beta| beta.ln_1p()).collect();
        // Two different values of β may still round to the same λ.
        check_increasing("ln(1 + beta) of the knots", &lambdas)?;
        let widths = differences(&times);
        let rises = differences(&lambdas);
        let secants: Vec<f64> = rises.iter().zip(&widths).map(|(rise, width)| rise / width).collect();
        let slopes = slopes(&widths, &secants);
        let relative = |slopes: &[f64]| slopes.iter().zip(&secants).map(|(slope, secant)| slope / secant).collect();
        let (first_slopes, last_slopes) = (relative(&slopes[..secants.len()]), relative(&slopes[1..]));
        Ok(Self { times, lambdas, widths, rises, first_slopes, last_slopes })
    }

    /// Returns the points of the table.
    pub fn knots(&self) -> Vec<Knot> {
        self.times.iter().zip(&self.lambdas).map(|(t, lambda)| Knot { t: *t, beta: lambda.exp_m1() }).collect()
    }

    fn spline<R: Real>(&self, t: &R) -> Spline<R> {
        let [start, width, base, rise, first, last] = t.look_up(
            &self.times,
            [&self.times, &self.widths, &self.lambdas, &self.rises, &self.first_slopes, &self.last_slopes],
        );
        let xi = ((t.clone() - start) / width.clone()).clamp(0.0, 1.0);
        let rest = xi.constant(1.0) - xi.clone();
        let (past, mixed) = (xi.clone() * xi.clone(), xi * rest.clone());
        let denominator = (first.clone() + last.clone() - 2.0) * mixed.clone() + 1.0;
        let lambda = base + rise.clone() * (past.clone() + first.clone() * mixed.clone()) / denominator.clone();
        let numerator = last * past + mixed * 2.0 + first * (rest.clone() * rest);
        Spline { lambda, slope: rise / width * numerator / (denominator.clone() * denominator) }
    }
}

impl<R: Real> Schedule<R> for TabulatedSchedule {
    fn beta(&self, t: &R) -> R {
        self.spline(t).lambda.exp_m1()
    }
    fn alpha(&self, t: &R) -> R {
        let Spline { lambda, slope } = self.spline(t);
        lambda.exp() * slope
    }
    fn time(&self, beta: &R) -> R {
        let lambda = beta.ln_1p();
        let [base, rise, start, width, first, last] = lambda.look_up(
            &self.lambdas,
            [&self.lambdas, &self.rises, &self.times, &self.widths, &self.first_slopes, &self.last_slopes],
        );
        let y = ((lambda - base) / rise).clamp(0.0, 1.0);
        let b = first.clone() - (first + last - 2.0) * y.clone();
        let root = (b.clone() * b.clone() + (b.constant(1.0) - b.clone()) * y.clone() * 4.0).sqrt();
        // The tiny summand prevents 0/0 where y and the first slope are both 0.
        let xi = y * 2.0 / (b + root + f64::from(f32::MIN_POSITIVE));
        start + width * xi.clamp(0.0, 1.0)
    }
    fn step_accuracy(&self, from: &R, to: &R) -> R {
        let (from, to) = (self.spline(from).lambda, self.spline(to).lambda);
        from.exp() * (to - from).exp_m1()
    }
    fn gamma(&self, t: &R) -> R {
        -(-self.spline(t).lambda).exp_m1()
    }
    fn one_minus_gamma(&self, t: &R) -> R {
        (-self.spline(t).lambda).exp()
    }
}

fn differences(values: &[f64]) -> Vec<f64> {
    values.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Computes the slope at every knot: that of the parabola through it and its neighbours, limited.
fn slopes(widths: &[f64], secants: &[f64]) -> Vec<f64> {
    let end = |h: f64, next: f64, secant: f64, other: f64| ((2.0 * h + next) * secant - h * other) / (h + next);
    let intervals = secants.len();
    let slope = |i: usize| {
        let parabola = match (i, intervals) {
            (_, 1) => secants[0],
            (0, _) => end(widths[0], widths[1], secants[0], secants[1]),
            (i, n) if i == n => end(widths[n - 1], widths[n - 2], secants[n - 1], secants[n - 2]),
            (i, _) => (widths[i] * secants[i - 1] + widths[i - 1] * secants[i]) / (widths[i - 1] + widths[i]),
        };
        let steepest = secants[i.saturating_sub(1)].min(secants[i.min(intervals - 1)]);
        parabola.clamp(0.0, 3.0 * steepest)
    };
    (0..=intervals).map(slope).collect()
}
