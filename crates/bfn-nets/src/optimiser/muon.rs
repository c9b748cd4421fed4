//! Muon: steps for weight matrices that change all directions of a matrix alike.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::parameter::{NamedTensor, Parameter};
use crate::{Error, device};

/// The constants of Muon (Jordan 2024), which trains the weight matrices of a network.
///
/// The learning rate and the weight decay are those of the AdamW beside it.
///
/// # Formula
///
/// ```text
/// b ← μ b + g
/// w ← (1 − η λ) w − η s O(g + μ b),   s = 0.2 √max(rows, columns)
/// ```
///
/// with g the gradient, μ the momentum, η the learning rate, λ the weight decay (0 for parameters that do not decay),
/// and O(m) = U Vᵀ from the singular value decomposition m = U Σ Vᵀ. Five steps of a Newton–Schulz iteration
/// approximate O: singular values above 1/500 of ‖m‖ end up between 0.6 and 1.3, smaller ones stay smaller. The factor
/// s makes a step as large as one of AdamW, so that one learning rate serves both. A convolution's kernel is taken as
/// a matrix with a row for each output channel.
///
/// Sources: K. Jordan, "Muon: An optimizer for hidden layers in neural networks" (2024), for the constants of the
/// iteration; J. Liu et al., "Muon is scalable for LLM training" (2025), arXiv:2502.16982, for the factor s.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuonConfig {
    /// The decay μ of the sum of the gradients.
    pub momentum: f64,
}

/// Muon for a set of matrices.
#[derive(Debug)]
pub(super) struct Muon {
    momentum: f64,
    groups: Vec<Group>,
}

/// Matrices of one shape, which are processed together.
#[derive(Debug)]
struct Group {
    weight_decay: f64,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    /// b, `[matrices, rows, columns]`.
    momenta: Tensor,
}

/// The properties that the matrices of a group share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    rows: i64,
    columns: i64,
    decays: bool,
}

/// The least number of rows and of columns of a matrix for Muon; smaller matrices are left to AdamW.
///
/// These are, for example, the first and last layers of a network for images of few channels. The embeddings and the
/// last layer of a transformer are large enough for Muon.
const LEAST_SIDE: i64 = 8;

impl MuonConfig {
    pub(super) fn validate(self) -> Result<(), Error> {
        if (0.0..1.0).contains(&self.momentum) {
            return Ok(());
        }
        Err(Error::Configuration {
            key: "muon.momentum".to_owned(),
            expected: "a number from 0 up to, but not, 1".to_owned(),
            found: self.momentum.to_string(),
        })
    }
}

impl Muon {
    /// Returns whether a parameter is a matrix, or a convolution's kernel, of at least eight rows and columns.
    pub(super) fn is_for(parameter: &Parameter) -> bool {
        let size = parameter.tensor.size();
        size.len() >= 2 && size[0] >= LEAST_SIDE && size[1..].iter().product::<i64>() >= LEAST_SIDE
    }

    pub(super) fn new(parameters: &[&Parameter], config: MuonConfig, weight_decay: f64) -> Self {
        let mut alike: BTreeMap<Alike, Vec<&Parameter>> = BTreeMap::new();
        for parameter in parameters {
            let size = parameter.tensor.size();
            let key = Alike { rows: size[0], columns: size[1..].iter().product(), decays: parameter.decays };
            alike.entry(key).or_default().push(parameter);
        }
        let group = |(Alike { rows, columns, decays }, members): (Alike, Vec<&Parameter>)| Group {
            weight_decay: if decays { weight_decay } else { 0.0 },
            names: members.iter().map(|one| one.name.clone()).collect(),
            momenta: Tensor::zeros(
                [members.len() as i64, rows, columns],
                (members[0].tensor.kind(), members[0].tensor.device()),
            ),
            parameters: members.iter().map(|one| one.tensor.shallow_clone()).collect(),
        };
        Self { momentum: config.momentum, groups: alike.into_iter().map(group).collect() }
    }

    /// Takes one step, unless a scalar `skip` is given that holds 1 rather than 0.
    pub(super) fn step(&mut self, learning_rate: f64, skip: Option<&Tensor>) {
        let _no_grad = tch::no_grad_guard();
        // On a CPU, nothing waits if the number is read here.
        let skip = match skip {
            Some(skip) if skip.device() == Device::Cpu => {
                if skip.double_value(&[]) == 1.0 {
                    return;
                }
                None
            }
            other => other,
        };
        for group in &mut self.groups {
            group.step_unless(skip, self.momentum, learning_rate);
        }
    }

    /// Returns the state to save to a checkpoint and to fill from one.
    ///
    /// It holds `momentum.NAME` (b) of each matrix, sharing storage.
    pub(super) fn state(&self) -> Vec<NamedTensor> {
        let mut state = Vec::new();
        for group in &self.groups {
            for (index, name) in group.names.iter().enumerate() {
                state.push(NamedTensor::new(format!("momentum.{name}"), &group.momenta.get(index as i64)));
            }
        }
        state
    }
}

impl Group {
    /// Takes one step, unless the scalar `skip`, which may be on a GPU that nothing is to wait for, holds 1.
    fn step_unless(&mut self, skip: Option<&Tensor>, momentum: f64, learning_rate: f64) {
        let [count, rows, columns] = self.momenta.size3().map_or([0; 3], |(n, r, c)| [n, r, c]);
        // A parameter that the loss does not depend on has no gradient, which is taken as zero.
        let gradients: Vec<Tensor> = self
            .parameters
            .iter()
            .map(|one| match one.grad() {
                gradient if gradient.defined() => gradient.reshape([rows, columns]),
                _ => one.zeros_like().reshape([rows, columns]),
            })
            .collect();
        let mut gradient = Tensor::stack(&gradients, 0);
        let decay = learning_rate * self.weight_decay;
        let size = learning_rate * 0.2 * (rows.max(columns) as f64).sqrt();
        // The factors of b, of the step and of w. With a gradient of zero, 1, 0 and 1 change nothing.
        let mut factors = Tensor::from_slice(&[momentum, size, 1.0 - decay]).to_kind(gradient.kind());
        if let Some(skip) = skip {
            let keeps = skip.eq(0.0);
            gradient = gradient.where_self(&keeps, &gradient.zeros_like());
            let unchanged = Tensor::from_slice(&[1.0, 0.0, 1.0]).to_kind(gradient.kind());
            let [factors_there, unchanged] = [&factors, &unchanged].map(|three| device::upload(three, keeps.device()));
            factors = factors_there.where_self(&keeps, &unchanged);
        }
        let [of_momenta, of_step, of_parameters] = [0, 1, 2].map(|index| factors.get(index));
        self.momenta *= of_momenta;
        self.momenta += &gradient;
        gradient += &self.momenta * momentum;
        let step = orthogonal(gradient, &of_step);
        for index in 0..count {
            let parameter = &mut self.parameters[index as usize];
            *parameter *= &of_parameters;
            *parameter -= step.get(index).reshape(parameter.size());
        }
    }
}

/// The coefficients of x ↦ a x + b x³ + c x⁵, which moves singular values towards one, and how often it is applied.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.7750, 2.0315];
const ITERATIONS: usize = 5;

/// Computes O(m) of each matrix of `[n, rows, columns]`, times `size`, by a Newton–Schulz iteration on the shorter side.
fn orthogonal(matrices: Tensor, size: &Tensor) -> Tensor {
    let tall = matrices.size()[1] > matrices.size()[2];
    let mut x = if tall { matrices.transpose(1, 2) } else { matrices };
    x /= x.norm_scalaropt_dim(2.0, [1_i64, 2], true) + 1e-7;
    let long = x.size()[2] >= 2 * x.size()[1];
    // The squares need all the digits of f32, which a GPU's matrix products may not keep.
    let x = if long && x.device() == Device::Cpu { by_squares(&x, size) } else { by_matrices(&x) * size };
    if tall { x.transpose(1, 2) } else { x }
}

/// Iterates on the matrices: X ← (a + b A + c A²) X with A = X Xᵀ.
fn by_matrices(x: &Tensor) -> Tensor {
    let [a, b, c] = COEFFICIENTS;
    let mut x = x.shallow_clone();
    for _ in 0..ITERATIONS {
        let square = x.bmm(&x.transpose(1, 2));
        let polynomial = square.baddbmm(&square, &square, b, c);
        x = x.baddbmm(&polynomial, &x, a, 1.0);
    }
    x
}

/// Iterates on the squares A instead, which are smaller.
///
/// With P = a + b A + c A², the squares follow A ← P A P, and X ← P X is left to the end. For 3×3 kernels this takes
/// two fifths of the operations.
fn by_squares(x: &Tensor, size: &Tensor) -> Tensor {
    let [a, b, c] = COEFFICIENTS;
    let polynomial = |square: &Tensor| {
        let polynomial = square.baddbmm(square, square, b, c);
        let _ = polynomial.diagonal(0, 1, 2).g_add_scalar_(a);
        polynomial
    };
    let mut square = x.bmm(&x.transpose(1, 2));
    let mut factor = polynomial(&square);
    let mut product = factor.shallow_clone();
    for _ in 1..ITERATIONS {
        square = factor.bmm(&square).bmm(&factor);
        factor = polynomial(&square);
        product = factor.bmm(&product);
    }
    (product * size).bmm(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn singular_values_become_alike_and_vectors_stay() {
        for device in device::available() {
            for [rows, columns] in [[12, 40], [40, 12], [16, 16]] {
                tch::manual_seed(3);
                // Drawn on the CPU: square matrices of other draws may be nearly singular.
                let matrices = Tensor::randn([3, rows, columns], (Kind::Double, Device::Cpu)).to_device(device) * 50.0;
                let found = orthogonal(matrices.copy(), &Tensor::from(1.0));
                let (u, _, v) = matrices.svd(true, true);
                let inside = u.transpose(1, 2).bmm(&found).bmm(&v);
                let diagonal = inside.diagonal(0, 1, 2);
                let (low, high) = (diagonal.min().double_value(&[]), diagonal.max().double_value(&[]));
                assert!(low > 0.3 && high < 1.3, "{rows}×{columns}: {low} to {high}");
                let rest = (&inside - diagonal.diag_embed(0, 1, 2)).abs().max().double_value(&[]);
                assert!(rest < 1e-9, "{rest}");
            }
        }
    }

    /// A step whose scalar `skip` is not read on the host: with 1 it leaves no trace, with 0 it is the step without.
    #[test]
    fn a_skipped_step_leaves_no_trace_on_any_device() {
        for device in device::available() {
            let stepped = |skip: Option<f32>, slope: f64| {
                tch::manual_seed(5);
                let weight = Tensor::randn([12, 40], (Kind::Float, device)).set_requires_grad(true);
                (&weight * slope).sum(Kind::Float).backward();
                let config = MuonConfig { momentum: 0.9 };
                let mut muon = Muon::new(&[&Parameter::new("weight", &weight, true)], config, 0.1);
                let _no_grad = tch::no_grad_guard();
                let _ = muon.groups[0].momenta.fill_(0.25);
                let skip = skip.map(|skip| Tensor::from(skip).to_device(device));
                muon.groups[0].step_unless(skip.as_ref(), 0.9, 0.01);
                [weight.detach(), muon.groups[0].momenta.get(0)]
            };
            tch::manual_seed(5);
            let before = Tensor::randn([12, 40], (Kind::Float, device));
            let skipped = stepped(Some(1.0), f64::NAN);
            assert_eq!(skipped, [before.shallow_clone(), before.ones_like() * 0.25]);
            let taken = stepped(Some(0.0), 2.0);
            assert_eq!(taken, stepped(None, 2.0));
            assert_ne!(taken[0], before);
        }
    }

    /// This also holds in f32, and for singular values that span four orders of magnitude.
    #[test]
    fn both_ways_are_the_same_iteration() {
        tch::manual_seed(4);
        let options = (Kind::Double, Device::Cpu);
        let (u, _, v) = Tensor::randn([2, 16, 144], options).svd(true, true);
        let values = Tensor::logspace(0, -4, 16, 10.0, options).expand([2, 16], false);
        let matrices = u.matmul(&values.diag_embed(0, 1, 2)).matmul(&v.transpose(1, 2));
        let x = &matrices / matrices.norm();
        let expected = by_matrices(&x);
        for (kind, allowed) in [(Kind::Double, 1e-11), (Kind::Float, 2e-4)] {
            let found = by_squares(&x.to_kind(kind), &Tensor::from(1.0).to_kind(kind)).to_kind(Kind::Double);
            let error = (found - &expected).abs().max().double_value(&[]);
            assert!(error < allowed, "{kind:?}: {error:e}");
        }
    }
}
