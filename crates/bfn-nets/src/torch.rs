//! The libtorch backend: the equations of `bfn-core`, with automatic differentiation, on CPU and CUDA.

use bfn_core::Backend;
use tch::{Kind, Tensor as Array, no_grad_guard};

use crate::device::upload;

/// The libtorch backend, in the precision and on the device of the tensors it is given.
///
/// The equations of `bfn-core` run on it unchanged, and gradients flow through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torch;

/// The tensor type of the equations, over libtorch.
pub type Tensor = bfn_core::Tensor<Torch>;

/// Class or bin indices of the equations, over libtorch.
pub type Indices = bfn_core::Indices<Torch>;

/// The largest number of elements of one array that a composite over many bins holds at a time; 4 MiB in f32.
const LARGEST_BLOCK: usize = 1 << 20;

/// The smallest such number, so that small batches are not split.
const SMALLEST_BLOCK: usize = 1 << 14;

/// The number of blocks into which the array over all bins is divided.
///
/// A gradient needs some forty arrays of one block; all of them together stay smaller than the array over all bins.
const BLOCKS: usize = 64;

/// Returns how many of `units`, of `width` numbers each, are processed at a time.
fn per_block(units: usize, width: usize) -> usize {
    let numbers = (units * width / BLOCKS).clamp(SMALLEST_BLOCK, LARGEST_BLOCK);
    (numbers / width.max(1)).max(1)
}

fn lengths(a: &Array) -> Vec<usize> {
    a.size().iter().map(|length| *length as usize).collect()
}

fn sizes(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|length| *length as i64).collect()
}

fn assert_broadcast(name: &str, a: &Array, b: &Array) {
    let (a, b) = (a.size(), b.size());
    let fits = a.iter().rev().zip(b.iter().rev()).all(|(m, n)| m == n || *m == 1 || *n == 1);
    assert!(fits, "{name}: shapes {a:?} and {b:?} do not broadcast");
}

fn assert_fills(shape: &[usize], count: usize) {
    assert!(shape.iter().product::<usize>() == count, "{count} values do not fill the shape {shape:?}");
}

fn assert_indices(name: &str, a: &Array, indices: &Array) {
    let (a, indices) = (a.size(), indices.size());
    let fits = a.split_last().is_some_and(|(_, outer)| *outer == indices[..]);
    assert!(fits, "{name}: indices of shape {indices:?} do not fit an array of shape {a:?}");
}

impl Backend for Torch {
    type Array = Array;
    type Indices = Array;

    fn alias(a: &Array) -> Array {
        a.shallow_clone()
    }
    fn alias_indices(a: &Array) -> Array {
        a.shallow_clone()
    }
    fn shape(a: &Array) -> Vec<usize> {
        lengths(a)
    }
    fn shape_indices(a: &Array) -> Vec<usize> {
        lengths(a)
    }
    fn reshape(a: &Array, shape: &[usize]) -> Array {
        let fits = a.numel() == shape.iter().product::<usize>();
        assert!(fits, "an array of shape {:?} cannot take the shape {shape:?}", a.size());
        a.reshape(sizes(shape))
    }
    fn from_values(like: &Array, shape: &[usize], values: &[f64]) -> Array {
        assert_fills(shape, values.len());
        upload(&Array::from_slice(values).reshape(sizes(shape)).to_kind(like.kind()), like.device())
    }
    fn full(like: &Array, shape: &[usize], value: f64) -> Array {
        Array::full(sizes(shape), value, (like.kind(), like.device()))
    }
    fn to_values(a: &Array) -> Vec<f64> {
        let flat = a.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double).reshape([-1]);
        let mut values = vec![0.0; flat.numel()];
        flat.copy_data(&mut values, flat.numel());
        values
    }
    fn to_indices(a: &Array) -> Vec<usize> {
        let flat = a.to_device(tch::Device::Cpu).reshape([-1]);
        let mut values = vec![0_i64; flat.numel()];
        flat.copy_data(&mut values, flat.numel());
        values.into_iter().map(|index| index as usize).collect()
    }
    fn from_indices(like: &Array, shape: &[usize], indices: &[usize]) -> Array {
        assert_fills(shape, indices.len());
        let values: Vec<i64> = indices.iter().map(|index| *index as i64).collect();
        upload(&Array::from_slice(&values).reshape(sizes(shape)), like.device())
    }

    fn add(a: &Array, b: &Array) -> Array {
        assert_broadcast("a + b", a, b);
        a + b
    }
    fn sub(a: &Array, b: &Array) -> Array {
        assert_broadcast("a - b", a, b);
        a - b
    }
    fn mul(a: &Array, b: &Array) -> Array {
        assert_broadcast("a * b", a, b);
        a * b
    }
    fn div(a: &Array, b: &Array) -> Array {
        assert_broadcast("a / b", a, b);
        a / b
    }
    fn affine(a: &Array, scale: f64, offset: f64) -> Array {
        match (scale == 1.0, offset == 0.0) {
            (true, true) => a.shallow_clone(),
            (true, false) => a + offset,
            (false, true) => a * scale,
            (false, false) => a * scale + offset,
        }
    }

    fn exp(a: &Array) -> Array {
        a.exp()
    }
    fn exp_m1(a: &Array) -> Array {
        a.expm1()
    }
    fn ln(a: &Array) -> Array {
        a.log()
    }
    fn ln_1p(a: &Array) -> Array {
        a.log1p()
    }
    fn sqrt(a: &Array) -> Array {
        a.sqrt()
    }
    fn recip(a: &Array) -> Array {
        a.reciprocal()
    }
    fn abs(a: &Array) -> Array {
        a.abs()
    }
    fn normal_cdf(a: &Array) -> Array {
        // ½ erfc(−x/√2) keeps the digits of the lower tail, which libtorch's own ndtr rounds away.
        (a * -std::f64::consts::FRAC_1_SQRT_2).erfc() * 0.5
    }
    fn normal_ln_cdf(a: &Array) -> Array {
        a.special_log_ndtr()
    }
    fn clamp(a: &Array, low: f64, high: f64) -> Array {
        a.clamp(low, high)
    }
    fn where_below(a: &Array, threshold: f64, below: &Array, otherwise: &Array) -> Array {
        assert_broadcast("where_below", below, otherwise);
        assert_broadcast("where_below", a, below);
        assert_broadcast("where_below", a, otherwise);
        below.where_self(&a.lt(threshold), otherwise)
    }

    fn sum_last(a: &Array) -> Array {
        a.sum_dim_intlist(-1_i64, false, None)
    }
    fn max_last(a: &Array) -> Array {
        a.detach().amax(-1, false)
    }
    fn cumulative_sum_last(a: &Array) -> Array {
        a.cumsum(-1, None)
    }
    fn slice_last(a: &Array, start: usize, length: usize) -> Array {
        let shape = a.size();
        let fits = shape.last().is_some_and(|last| start + length <= *last as usize);
        assert!(fits, "slice_last: the part {start}..{} is not in the last axis of {shape:?}", start + length);
        a.narrow(-1, start as i64, length as i64)
    }
    fn concat_last(parts: &[&Array]) -> Array {
        let outer = |a: &Array| a.size()[..a.dim() - 1].to_vec();
        let fits = parts.iter().all(|part| outer(part) == outer(parts[0]));
        let shapes: Vec<Vec<i64>> = parts.iter().map(|part| part.size()).collect();
        assert!(fits, "arrays of shapes {shapes:?} cannot be joined along their last axis");
        Array::cat(parts, -1)
    }
    fn select_rows(a: &Array, rows: &[usize]) -> Array {
        let count = lengths(a)[0];
        assert!(rows.iter().all(|row| *row < count), "rows {rows:?} of an array of shape {:?}", a.size());
        let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
        a.index_select(0, &upload(&Array::from_slice(&rows), a.device()))
    }
    fn gather_last(a: &Array, indices: &Array) -> Array {
        assert_indices("gather_last", a, indices);
        a.gather(-1, &indices.unsqueeze(-1), false).squeeze_dim(-1)
    }
    fn scatter_add_last(a: Array, indices: &Array, values: &Array) -> Array {
        assert_indices("scatter_add_last", &a, indices);
        let (values_shape, shape) = (values.size(), indices.size());
        let Ok(values) = values.f_broadcast_to(&shape) else {
            panic!("values of shape {values_shape:?} do not broadcast to indices of shape {shape:?}");
        };
        a.scatter_add(-1, &indices.unsqueeze(-1), &values.unsqueeze(-1))
    }
    fn argmax_last(a: &Array) -> Array {
        a.argmax(-1, false)
    }

    fn indices_to_reals(indices: &Array, like: &Array) -> Array {
        indices.to_device(like.device()).to_kind(like.kind())
    }
    fn reals_to_indices(a: &Array, count: usize) -> Array {
        a.detach().nan_to_num(0.0, None, None).clamp(0.0, (count - 1) as f64).to_kind(Kind::Int64)
    }

    fn detach(a: &Array) -> Array {
        a.detach()
    }

    fn linear_combination(a: &Array, x: &Array, b: &Array, y: &Array) -> Array {
        assert_broadcast("a · x", a, x);
        assert_broadcast("b · y", b, y);
        let scaled = a * x;
        let second = if b.numel() < y.numel() { y } else { b };
        assert_broadcast("a · x + b · y", &scaled, second);
        scaled.addcmul(b, y)
    }
    fn log_sum_exp_last(a: &Array) -> Array {
        a.logsumexp(-1, false)
    }
    fn log_softmax_last(a: &Array) -> Array {
        a.log_softmax(-1, None)
    }
    fn softmax_last(a: &Array) -> Array {
        a.softmax(-1, None)
    }

    /// Sums over chunks of edges, and keeps two numbers per element for the gradient.
    ///
    /// These replace several arrays over all edges: with S the sum, dS/dmean and dS/dinverse_deviation are summed
    /// beside it and attached as a linear function of the arguments. First derivatives are exact; there is no second
    /// derivative.
    fn sum_normal_cdf(edges: &[f64], mean: &Array, inverse_deviation: &Array) -> Array {
        assert_broadcast("sum_normal_cdf", mean, inverse_deviation);
        let with_gradient = mean.requires_grad() || inverse_deviation.requires_grad();
        let pair = Array::broadcast_tensors(&[mean, inverse_deviation]);
        let (mean, inverse_deviation) = (&pair[0], &pair[1]);
        let mut value = mean.zeros_like();
        let (mut density, mut moment) = (mean.zeros_like(), mean.zeros_like());
        {
            let _guard = no_grad_guard();
            let all = Self::from_values(mean, &[edges.len()], edges);
            for chunk in all.split(per_block(edges.len(), mean.numel()) as i64, 0) {
                let distance = chunk - mean.unsqueeze(-1);
                let scaled = &distance * inverse_deviation.unsqueeze(-1);
                if with_gradient {
                    let bell = (scaled.square() * -0.5).exp();
                    density += bell.sum_dim_intlist(-1, false, None);
                    moment += (bell * distance).sum_dim_intlist(-1, false, None);
                }
                value += Self::normal_cdf(&scaled).sum_dim_intlist(-1, false, None);
            }
        }
        if !with_gradient {
            return value;
        }
        let peak = 1.0 / (2.0 * std::f64::consts::PI).sqrt();
        let by_mean = density * inverse_deviation.detach() * -peak;
        let by_inverse = moment * peak;
        value + by_mean * (mean - mean.detach()) + by_inverse * (inverse_deviation - inverse_deviation.detach())
    }

    /// Calls `f` on blocks of rows, and keeps only the gradient of each row with respect to its own arguments.
    ///
    /// Everything else that `f` creates is dropped: the gradient of the sum is computed block by block and attached as
    /// a linear function of the arguments. First derivatives are exact; there is no second derivative.
    fn by_rows(arguments: &[&Array], width: usize, f: &(dyn Fn(&[Array]) -> Array + Sync)) -> Array {
        let count = arguments[0].size()[0];
        let rows = per_block(count as usize, width) as i64;
        // A view of an argument requires a gradient only if gradients are enabled.
        let needed: Vec<bool> = arguments.iter().map(|argument| argument.narrow(0, 0, 0).requires_grad()).collect();
        let mut values = Vec::new();
        // Filled block by block: joining a list of blocks at the end would hold the gradients twice.
        let gradients: Vec<Option<Array>> = arguments
            .iter()
            .zip(&needed)
            .map(|(argument, needed)| needed.then(|| argument.detach().empty_like()))
            .collect();
        for start in (0..count.max(1)).step_by(rows as usize) {
            let length = rows.min(count - start);
            let parts: Vec<Array> = arguments
                .iter()
                .zip(&needed)
                .map(|(argument, needed)| {
                    let part = argument.detach().narrow(0, start, length);
                    // A copy if a gradient is needed, so that the part is a leaf.
                    if *needed { part.copy().set_requires_grad(true) } else { part }
                })
                .collect();
            let value = f(&parts);
            let leaves: Vec<&Array> =
                parts.iter().zip(&needed).filter(|(_, needed)| **needed).map(|(part, _)| part).collect();
            if !leaves.is_empty() {
                let sum = value.sum(value.kind());
                let found = Array::run_backward(&[&sum], &leaves, false, false);
                for (gradient, found) in gradients.iter().flatten().zip(found) {
                    gradient.narrow(0, start, length).copy_(&found);
                }
            }
            values.push(value.detach());
        }
        let mut value = Array::cat(&values, 0);
        for (argument, gradient) in arguments.iter().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            // Adds 0 to the value, with the gradient. The product is freed before the backward pass, which makes one
            // such array.
            let moved = (gradient * *argument).unsqueeze(-1).flatten(1, -1).sum_dim_intlist(-1, false, None);
            value += &moved - moved.detach();
        }
        value
    }
}
