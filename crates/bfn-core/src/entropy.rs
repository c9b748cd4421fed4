//! The expected entropy of the input distribution, and the schedule and the grid along which it falls evenly.
//!
//! The paper requires that the expected entropy of the input distribution fall linearly with t along an accuracy
//! schedule. For continuous data this has a solution in closed form, the [`ExponentialSchedule`]; for discrete data
//! it has none. This module computes the entropy to full precision ([`normal`], [`Categorical`]) or simulates it
//! ([`simulated`]), and inverts it ([`linear_schedule`]).
//!
//! # How close the closed forms come
//!
//! The table shows the largest distance of H(β(t)) from the straight line, as a share of the total fall
//! H(0) − H(β(1)) ([`nonlinearity`]), and the share of ln K that is left at t = 1:
//!
//! | K | β(1) | left at t = 1 | [`QuadraticSchedule`] | [`LogarithmicSchedule`] |
//! | --- | --- | --- | --- | --- |
//! | 2 | 3 | 0.155 | 0.104 | 0.069 |
//! | 2 | 6 | 0.028 | 0.171 | 0.088 |
//! | 2 | 9 | 0.006 | 0.273 | 0.094 |
//! | 4 | 3 | 0.039 | 0.130 | 0.025 |
//! | 27 | 0.5625 | 0.043 | 0.110 | 0.129 |
//! | 27 | 0.75 | 0.013 | 0.167 | 0.133 |
//! | 27 | 1.5 | 0.0001 | 0.366 | 0.135 |
//! | 256 | 0.2 | 0.0000 | 0.351 | 0.287 |
//!
//! The rows (2, 3) and (27, 0.75) are the paper's settings for binary images and for text. The published code takes
//! these numbers as √β(1), so its runs correspond to the rows (2, 9) and (27, 0.5625). A [`linear_schedule`] of 100
//! knots comes within 2e−5 in every row. For continuous data the distance of the exponential schedule is 0. For
//! discrete data dH/dβ is −(K − 1)/2 at β = 0, so a straight fall starts at α(0) = 2 (H(0) − H(β(1)))/(K − 1), which
//! is above 0. The quadratic schedule, with α(0) = 0, starts too slowly.
//!
//! [`ExponentialSchedule`]: crate::ExponentialSchedule
//! [`QuadraticSchedule`]: crate::QuadraticSchedule
//! [`LogarithmicSchedule`]: crate::LogarithmicSchedule

use std::f64::consts::{E, PI};

use crate::discrete::send;
use crate::error::{Error, check, check_count, check_increasing};
use crate::schedule::{Knot, TabulatedSchedule};
use crate::{Backend, Grid, Schedule, Tensor};

/// Returns the entropy of the input distribution of one continuous variable, in nats.
///
/// # Formula
///
/// H = ½ ln(2πe / (1 + β)), the entropy of N(μ, 1/(1 + β)), which does not depend on the data.
///
/// Source: Graves et al. 2023, section 4.5.
pub fn normal(beta: f64) -> f64 {
    0.5 * ((2.0 * PI * E).ln() - beta.ln_1p())
}

/// The expected entropy of the input distribution of one discrete variable.
///
/// # Formula
///
/// H(β) = E H(softmax z) with z ~ N(β(K e_x − 1), βK I), the same for every class x.
///
/// Since softmax z is the exact posterior of x under a uniform prior, H is also E[−ln θ_x] = E ln(1 + Y) with
/// Y = Σ_(k≠x) e^(z_k − z_x). The integral ln(1 + Y) = ∫ e^(−s) (1 − e^(−sY)) ds/s separates the classes. With
/// s = e^w, ε standard normal and L(w) = E exp(−e^(w + √(βK) ε)),
///
/// H(β) = ∫ (1 − L(w)^(K−1)) L(w + βK) dw.
///
/// These are two nested integrals for any K, without cancellation. Both are computed by the trapezoidal rule, whose
/// error is below 1e−9 of H as long as H itself is above 1e−20.
///
/// # Examples
///
/// ```
/// let entropy = bfn_core::entropy::Categorical::new(27)?;
/// assert!((entropy.at(0.0) - 27.0_f64.ln()).abs() < 1e-12);
/// assert!(entropy.at(0.75) < 0.2);
/// # Ok::<(), bfn_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Categorical {
    classes: usize,
}

impl Categorical {
    /// Creates the entropy function of a variable of `classes` classes.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Parameter`] unless `classes` ≥ 2.
    pub fn new(classes: usize) -> Result<Self, Error> {
        Ok(Self { classes: check_count("classes", classes)? })
    }

    /// Returns K, the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Computes H(β) in nats, which falls from ln K at β = 0 to 0; NaN for NaN.
    pub fn at(&self, beta: f64) -> f64 {
        // Wide enough to reach tails of 1e−17 and values of 0 or 1 in e^(−e^w).
        const DEVIATIONS: f64 = 10.0;
        const STEP: f64 = 0.35;
        let classes = self.classes as f64;
        if beta <= 0.0 {
            return classes.ln();
        }
        if beta.is_nan() {
            return beta;
        }
        let shift = beta * classes;
        let deviation = shift.sqrt();
        let nodes = normal_nodes(DEVIATIONS, (STEP / deviation).min(0.5));
        // 1 − L(w), computed directly to keep its digits where L is close to 1.
        let missing = |w: f64| -> f64 {
            nodes.iter().map(|node| -node.weight * (-(w + deviation * node.at).exp()).exp_m1()).sum()
        };
        let kept =
            |w: f64| -> f64 { nodes.iter().map(|node| node.weight * (-(w + deviation * node.at).exp()).exp()).sum() };
        let integrand = |w: f64| -((classes - 1.0) * (-missing(w).min(1.0)).ln_1p()).exp_m1() * kept(w + shift);
        let low = -DEVIATIONS * deviation - 40.0 - classes.ln();
        let high = DEVIATIONS * deviation - shift + 4.0;
        let count = ((high - low) / STEP).ceil().max(0.0) as usize;
        STEP * (0..count).map(|i| integrand(low + i as f64 * STEP)).sum::<f64>()
    }
}

/// Simulates the expected entropy of the input distribution of one discrete variable at accuracy β, in nats.
///
/// # Formula
///
/// The mean over N examples of H(softmax z), z = β(K e_x − 1) + √(βK) ε, with the given noise ε.
///
/// # Shapes
///
/// `noise` ε is standard normal, of shape `[N, K]`. With the same noise for every β, the result is smooth in β. The
/// class x is the first; by symmetry the expectation is the same for all classes.
///
/// This simulates [`Categorical`]: it serves as a check and as a template for other flows.
///
/// # Panics
///
/// Panics if `noise` does not have exactly two axes.
pub fn simulated<B: Backend>(beta: f64, noise: &Tensor<B>) -> f64 {
    let shape = noise.shape();
    assert_eq!(shape.len(), 2, "noise of shape {shape:?} must have the shape [examples, classes]");
    let first = noise.indices_like(&shape[..1], &vec![0; shape[0]]);
    let ln_theta = send(&first, &noise.full(&[1], beta), noise).log_softmax_last();
    let entropies = (ln_theta.exp() * ln_theta).sum_last().to_values();
    -entropies.iter().sum::<f64>() / entropies.len() as f64
}

/// Computes the schedule from 0 to `beta_1` along which `entropy` falls linearly with t.
///
/// The schedule is a table of at most `knots` points.
///
/// # Formula
///
/// H(β(t)) = H(0) + t (H(β(1)) − H(0)).
///
/// `entropy` maps β to H(β) and must be continuous and falling: [`normal`], [`Categorical::at`], [`simulated`], or
/// the mean entropy of custom data. It is called once for each knot. Starting from the two ends, the interval with
/// the largest combined fall of the entropy and rise of ln(1 + β) is halved until there are enough knots. About 100
/// knots bring the distance from the straight line to 1e−5 of the fall.
///
/// # Errors
///
/// Returns [`Error::Parameter`] unless `beta_1` is finite and above 0 and `knots` ≥ 2; [`Error::Grid`] if the entropy
/// does not fall.
pub fn linear_schedule(entropy: impl Fn(f64) -> f64, beta_1: f64, knots: usize) -> Result<TabulatedSchedule, Error> {
    check("beta_1", beta_1, "finite and above 0", beta_1 > 0.0 && beta_1.is_finite())?;
    check_count("knots", knots)?;
    let start = entropy(0.0);
    let fall = start - entropy(beta_1);
    check_increasing("the entropy lost between beta = 0 and beta_1", &[0.0, fall])?;

    let mut table = vec![Knot { t: 0.0, beta: 0.0 }, Knot { t: 1.0, beta: beta_1 }];
    // Intervals whose halves cannot be distinguished numerically are left alone.
    let mut settled = vec![false];
    while table.len() < knots {
        let size = |i: &usize| {
            let (from, to) = (table[*i], table[*i + 1]);
            to.t - from.t + (to.beta.ln_1p() - from.beta.ln_1p()) / beta_1.ln_1p()
        };
        let open = (0..settled.len()).filter(|i| !settled[*i]);
        let Some(widest) = open.max_by(|a, b| size(a).total_cmp(&size(b))) else { break };
        let (from, to) = (table[widest], table[widest + 1]);
        let beta = (0.5 * (from.beta.ln_1p() + to.beta.ln_1p())).exp_m1();
        let t = (start - entropy(beta)) / fall;
        if t > from.t && t < to.t && beta > from.beta && beta < to.beta {
            table.insert(widest + 1, Knot { t, beta });
            settled.insert(widest, false);
        } else {
            const ROUNDING: f64 = 1e-9;
            check_increasing(
                "the share of entropy lost at increasing beta",
                &[from.t, t + ROUNDING, to.t + 2.0 * ROUNDING],
            )?;
            settled[widest] = true;
        }
    }
    TabulatedSchedule::new(&table)
}

/// Computes the entropy grid: n steps from `eta` to 1 along a schedule, each lowering `entropy` by the same amount.
///
/// # Formula
///
/// t₀ = η < … < t_n = 1 with H(β(t_i)) = H(β(η)) + (i/n)(H(β(1)) − H(β(η))).
///
/// Under a [`linear_schedule`] of the same entropy, this is the uniform grid.
///
/// # Errors
///
/// Returns [`Error::Parameter`] unless `steps` ≥ 1 and 0 ≤ `eta` < 1; [`Error::Grid`] if steps are so small that
/// times coincide; and the errors of [`linear_schedule`].
pub fn grid(
    entropy: impl Fn(f64) -> f64,
    schedule: &impl Schedule<f64>,
    eta: f64,
    steps: usize,
) -> Result<Grid, Error> {
    check("steps", steps as f64, "at least 1", steps >= 1)?;
    check("eta", eta, "at least 0 and below 1", (0.0..1.0).contains(&eta))?;
    let linear = linear_schedule(entropy, schedule.beta(&1.0), steps.clamp(200, 1000))?;
    // The share of the entropy's fall that is complete at η.
    let gone = linear.time(&schedule.beta(&eta));
    let time = |i: usize| match i {
        0 => eta,
        i if i == steps => 1.0,
        i => schedule.time(&linear.beta(&(gone + (1.0 - gone) * (i as f64 / steps as f64)))),
    };
    let times: Vec<f64> = (0..=steps).map(time).collect();
    check_increasing("the entropy grid", &times)?;
    Grid::new(times)
}

/// Measures how far the fall of the entropy along a schedule deviates from a straight line.
///
/// The result is the largest distance over `intervals` + 1 equally spaced times, as a share of the total fall.
///
/// # Formula
///
/// max_t |H(β(t)) − H(0) + t (H(0) − H(β(1)))| / (H(0) − H(β(1))); NaN if the entropy is NaN.
pub fn nonlinearity(entropy: impl Fn(f64) -> f64, schedule: &impl Schedule<f64>, intervals: usize) -> f64 {
    let (start, end) = (entropy(0.0), entropy(schedule.beta(&1.0)));
    let distance = |i: usize| {
        let t = i as f64 / intervals as f64;
        ((start - entropy(schedule.beta(&t))) / (start - end) - t).abs()
    };
    // f64::max would ignore NaN.
    (0..=intervals).map(distance).fold(0.0, |most, next| if next <= most { most } else { next })
}

/// A point of a quadrature formula.
struct Node {
    at: f64,
    weight: f64,
}

/// Returns the nodes of the trapezoidal rule for ∫ f(ε) N(ε; 0, 1) dε, up to `deviations` on both sides.
fn normal_nodes(deviations: f64, step: f64) -> Vec<Node> {
    let side = (deviations / step).ceil() as i64;
    let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
    (-side..=side).map(|i| i as f64 * step).map(|at| Node { at, weight: step * density(at) }).collect()
}
