//! The conformance suite that every backend runs in its own tests (feature `conformance`).
//!
//! Each primitive and each composite of [`Backend`] is compared with plain loops over f64, with broadcasting and
//! extreme inputs. Each composite is also compared with its provided body. Incompatible shapes must panic with a
//! message that names both shapes. The equations of the three kinds of data, computed on the backend from end to end,
//! must agree with [`Nd`](crate::Nd) in f64.
//!
//! ```
//! use bfn_core::conformance::{Tolerance, run};
//! use bfn_core::{Nd, Tensor};
//!
//! let like = Tensor::<Nd<f32>>::from_nd(ndarray::ArrayD::zeros(vec![1]));
//! run(&like, Tolerance::SINGLE);
//! ```

mod composites;
mod elementwise;
mod equations;
mod indexing;
mod last_axis;
mod provided;
mod shapes;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ndarray::ArrayD;

use crate::{Backend, Element, Nd, Tensor};

/// How closely a precision must agree with f64.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// The largest allowed error of one operation, relative to its result (or to its terms where they cancel).
    pub relative: f64,
    /// Results smaller than this may be rounded to 0.
    pub smallest: f64,
}

impl Tolerance {
    /// The tolerance for f64.
    pub const DOUBLE: Self = Self { relative: 1e-12, smallest: 1e-300 };
    /// The tolerance for f32.
    pub const SINGLE: Self = Self { relative: 1e-5, smallest: 1e-37 };
}

/// One property that a backend must have.
#[derive(Debug)]
pub struct Case<B: Backend> {
    /// A description of the property.
    pub name: &'static str,
    check: fn(&Context<'_, B>),
}

impl<B: Backend> Case<B> {
    /// Checks the property in the precision and on the device of `like`.
    ///
    /// # Panics
    ///
    /// Panics, stating what differs, if the backend lacks the property.
    pub fn run(&self, like: &Tensor<B>, tolerance: Tolerance) {
        (self.check)(&Context { like, tolerance });
    }
}

/// Returns all properties that a backend must have.
pub fn cases<B: Backend>() -> Vec<Case<B>> {
    [
        elementwise::cases(),
        last_axis::cases(),
        indexing::cases(),
        composites::cases(),
        shapes::cases(),
        equations::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs all [`cases`] in the precision and on the device of `like`.
///
/// # Panics
///
/// Panics after the last case if any case failed, listing each failed case and the reason.
pub fn run<B: Backend>(like: &Tensor<B>, tolerance: Tolerance) {
    let cases = cases::<B>();
    let mut failures = Vec::new();
    for case in &cases {
        if let Some(message) = panic_message(|| case.run(like, tolerance)) {
            failures.push(format!("{}: {message}", case.name));
        }
    }
    let (failed, all) = (failures.len(), cases.len());
    assert!(failures.is_empty(), "{failed} of {all} conformance cases failed:\n{}", failures.join("\n"));
}

/// Runs all [`cases`] on [`Nd`] in f64 and in f32.
///
/// # Panics
///
/// Panics like [`run`].
pub fn run_on_ndarray() {
    fn like<F: Element>() -> Tensor<Nd<F>> {
        Tensor::from_nd(ArrayD::zeros(vec![1]))
    }
    run(&like::<f64>(), Tolerance::DOUBLE);
    run(&like::<f32>(), Tolerance::SINGLE);
}

/// The precision and device that a case runs with, and its tolerance.
#[derive(Debug)]
struct Context<'a, B: Backend> {
    like: &'a Tensor<B>,
    tolerance: Tolerance,
}

impl<B: Backend> Context<'_, B> {
    fn tensor(&self, shape: &[usize], values: &[f64]) -> Tensor<B> {
        self.like.from_values_like(shape, values)
    }

    /// Returns varied numbers between −3 and 3 in the given shape.
    fn varied(&self, shape: &[usize], seed: usize) -> Tensor<B> {
        self.tensor(shape, &numbers(shape.iter().product(), seed))
    }

    /// Panics unless `found` has this shape and, within the tolerance of one operation, these values.
    fn check(&self, what: &str, found: &Tensor<B>, shape: &[usize], expected: &[f64]) {
        self.check_terms(what, found, shape, expected, 0.0);
    }

    /// Checks like [`Self::check`], but allows for terms of size `magnitude` that may have cancelled.
    fn check_terms(&self, what: &str, found: &Tensor<B>, shape: &[usize], expected: &[f64], magnitude: f64) {
        assert_eq!(found.shape(), shape, "{what}: shape");
        let values = found.to_values();
        assert_eq!(values.len(), expected.len(), "{what}: number of values");
        for (i, (found, expected)) in values.iter().zip(expected).enumerate() {
            let same = found == expected || (found.is_nan() && expected.is_nan());
            let allowed = self.tolerance.relative * expected.abs().max(magnitude) + self.tolerance.smallest;
            // An infinity must match exactly.
            let close = expected.is_finite() && (found - expected).abs() <= allowed;
            assert!(same || close, "{what}: value {i} is {found:e}, expected {expected:e} ± {allowed:e}");
        }
    }
}

/// Returns multiples of 1/64 between −3 and 3, which f32 and f64 represent exactly.
fn numbers(count: usize, seed: usize) -> Vec<f64> {
    let golden = 0.618_033_988_749_894_9;
    let fraction = |i: usize| ((i + 1) as f64 * golden + seed as f64 * 0.379).fract();
    (0..count).map(|i| (fraction(i) * 384.0).floor() / 64.0 - 3.0).collect()
}

/// Returns the message with which `action` panics, or `None` if it does not panic.
fn panic_message(action: impl FnOnce()) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(action)).err()?;
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(text.unwrap_or_else(|| "a panic without a message".to_owned()))
}

/// Applies `f` to two arrays that broadcast, in plain loops, and returns the shape and the values.
fn broadcast(
    (a_shape, a): (&[usize], &[f64]),
    (b_shape, b): (&[usize], &[f64]),
    f: impl Fn(f64, f64) -> f64,
) -> (Vec<usize>, Vec<f64>) {
    let rank = a_shape.len().max(b_shape.len());
    let padded = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
    let (a_shape, b_shape) = (padded(a_shape), padded(b_shape));
    let shape: Vec<usize> = a_shape.iter().zip(&b_shape).map(|(m, n)| if *m == 1 { *n } else { *m }).collect();
    let offset = |of: &[usize], flat: usize| {
        let (mut rest, mut stride, mut offset) = (flat, 1, 0);
        for axis in (0..rank).rev() {
            let position = rest % shape[axis];
            rest /= shape[axis];
            offset += if of[axis] == 1 { 0 } else { position * stride };
            stride *= of[axis];
        }
        offset
    };
    let count = shape.iter().product();
    let values = (0..count).map(|flat| f(a[offset(&a_shape, flat)], b[offset(&b_shape, flat)])).collect();
    (shape, values)
}
