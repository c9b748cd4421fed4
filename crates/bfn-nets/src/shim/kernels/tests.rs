//! The kernels against libtorch's functions in f64, with every instruction set of this processor.

use std::process::Command;

use super::super::{clip_gradients, foreach_lerp};
use super::*;
use crate::device;

const SINGLE: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Returns the output of a layer and the gradients of all its arguments, given that of the output.
fn run(layer: impl Fn(&[Tensor]) -> Tensor, arguments: &[Tensor], slope: &Tensor, kind: Kind) -> Vec<Tensor> {
    let leaf = |argument: &Tensor| argument.to_kind(kind).copy().set_requires_grad(true);
    let leaves: Vec<Tensor> = arguments.iter().map(leaf).collect();
    let y = layer(&leaves);
    (&y * slope.to_kind(kind)).sum(kind).backward();
    std::iter::once(y.detach()).chain(leaves.iter().map(Tensor::grad)).collect()
}

/// Checks a layer in f32 against libtorch's in f64.
fn check(name: &str, arguments: &[Tensor], ours: impl Fn(&[Tensor]) -> Tensor, theirs: impl Fn(&[Tensor]) -> Tensor) {
    let slope = ours(arguments).randn_like();
    let found = run(ours, arguments, &slope, Kind::Float);
    let expected = run(theirs, arguments, &slope, Kind::Double);
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.size(), expected.size(), "{name}, {index}");
        let error = (found - expected).abs().max().double_value(&[]);
        let largest = expected.abs().max().double_value(&[]);
        assert!(error <= 3e-6 * largest.max(1.0), "{name}, {index}: {error:e} of {largest}");
    }
}

/// Returns the results of `body` with one, two and five threads.
fn with_threads<T>(mut body: impl FnMut() -> T) -> [T; 3] {
    let usual = device::threads();
    let results = [1, 2, 5].map(|threads| {
        device::set_threads(threads);
        body()
    });
    device::set_threads(usual);
    results
}

fn all_finite(x: &Tensor) -> bool {
    x.isfinite().all().double_value(&[]) == 1.0
}

fn softmax_attention(projected: &Tensor, heads: i64, head_first: bool) -> Tensor {
    let size = projected.size();
    let (batch, length, channels) = (size[0], size[1], size[2] / 3 / heads);
    let (shape, axis) = match head_first {
        true => ([batch, length, heads, 3, channels], 3),
        false => ([batch, length, 3, heads, channels], 2),
    };
    let parts = projected.view(shape).movedim_int(axis, 0).transpose(2, 3).unbind(0);
    let scores = parts[0].matmul(&parts[1].transpose(2, 3)) / (channels as f64).sqrt();
    let attended = scores.softmax(-1, None::<Kind>).matmul(&parts[2]);
    attended.transpose(1, 2).reshape([batch, length, heads * channels])
}

#[test]
fn attention_is_its_formula() {
    // Lengths and channels around whole registers and whole blocks of rows.
    let shapes = [(1, 1, 1), (5, 3, 4), (15, 1, 17), (24, 2, 16), (49, 4, 16), (70, 2, 8), (300, 2, 20), (128, 1, 33)];
    for (length, heads, channels) in shapes {
        for head_first in [false, true] {
            let name = format!("{length} positions, {heads} heads of {channels}, {head_first}");
            let projected = Tensor::randn([3, length, 3 * heads * channels], SINGLE) * 2.0;
            let ours = |x: &[Tensor]| attention(&x[0], heads, head_first);
            check(&name, &[projected], ours, |x| softmax_attention(&x[0], heads, head_first));
        }
    }
}

/// Scores of several hundreds, whose own rounding is the error allowed.
#[test]
fn attention_bears_large_scores() {
    let projected = Tensor::randn([2, 40, 48], SINGLE) * 12.0;
    let slope = Tensor::randn([2, 40, 16], SINGLE);
    let found = run(|x| attention(&x[0], 2, false), &[projected.shallow_clone()], &slope, Kind::Float);
    let expected = run(|x| softmax_attention(&x[0], 2, false), &[projected], &slope, Kind::Double);
    for (found, expected) in found.iter().zip(&expected) {
        let error = (found - expected).abs().max().double_value(&[]);
        let largest = expected.abs().max().double_value(&[]);
        assert!(error < 1e-3 * largest, "{error:e} of {largest}");
    }
}

#[test]
fn linear_gelu_is_that_of_libtorch() {
    for (sizes, inputs, outputs) in [(&[3_i64, 5][..], 27, 64), (&[1000], 16, 27), (&[1], 1, 1)] {
        let (weight, bias) = (Tensor::randn([outputs, inputs], SINGLE), Tensor::randn([outputs], SINGLE));
        let arguments = [Tensor::randn([sizes, &[inputs]].concat(), SINGLE), weight, bias];
        let theirs = |x: &[Tensor]| x[0].linear(&x[1], Some(&x[2])).gelu("tanh");
        let name = format!("{sizes:?} × {inputs} × {outputs}");
        check(&name, &arguments, |x| linear_gelu(&x[0], &x[1], &x[2]), theirs);
        let learned = arguments.each_ref().map(|argument| argument.copy().set_requires_grad(true));
        let tracked = linear_gelu(&learned[0], &learned[1], &learned[2]);
        let untracked = tch::no_grad(|| linear_gelu(&learned[0], &learned[1], &learned[2]));
        assert!(tracked.requires_grad() && !untracked.requires_grad() && tracked.equal(&untracked), "{name}");
    }
    let gelu = |x: &Tensor| linear_gelu(&x.unsqueeze(1), &Tensor::ones([1, 1], SINGLE), &Tensor::zeros([1], SINGLE));
    let x = Tensor::from_slice(&[-1e20_f32, -50.0, -9.0, 0.0, 9.0, 50.0, 1e20]);
    let found: Vec<f32> = gelu(&x).flatten(0, 1).try_into().expect("numbers");
    assert_eq!(found[3..], [0.0, 9.0, 50.0, 1e20]);
    assert!(found[..3].iter().all(|y| y.abs() < 1e-15), "{found:?}");
}

#[test]
fn layer_norm_is_that_of_libtorch() {
    for (rows, width) in [(1, 16), (7, 48), (1000, 64), (33, 768)] {
        let x = Tensor::randn([rows, width], SINGLE) * 3.0 + 1.0;
        let arguments = [x, Tensor::randn([width], SINGLE), Tensor::randn([width], SINGLE)];
        let theirs = |x: &[Tensor]| x[0].layer_norm([width], Some(&x[1]), Some(&x[2]), 1e-5, true);
        check(&format!("{rows} × {width}"), &arguments, |x| layer_norm(&x[0], &x[1], &x[2], 1e-5), theirs);
    }
}

#[test]
fn linear_is_that_of_libtorch() {
    for (sizes, inputs, outputs) in [(&[3_i64, 5][..], 27, 64), (&[1000], 64, 27), (&[1], 1, 1)] {
        let name = format!("{sizes:?} × {inputs} × {outputs}");
        let x = Tensor::randn([sizes, &[inputs]].concat(), SINGLE);
        let (weight, bias) = (Tensor::randn([outputs, inputs], SINGLE), Tensor::randn([outputs], SINGLE));
        let arguments = [x, weight, bias];
        let theirs = |x: &[Tensor]| x[0].linear(&x[1], None::<Tensor>);
        check(&name, &arguments[..2], |x| linear(&x[0], &x[1], None), theirs);
        let theirs = |x: &[Tensor]| x[0].linear(&x[1], Some(&x[2]));
        check(&name, &arguments, |x| linear(&x[0], &x[1], Some(&x[2])), theirs);
    }
}

#[test]
fn lists_are_clipped_and_averaged_as_their_formulas_say() {
    for weight in [0.01, 0.7, 1.0] {
        let tensors = |shapes: [i64; 3]| shapes.map(|count| Tensor::randn([count], SINGLE));
        let (from, to) = (tensors([1, 30, 50_001]), tensors([1, 30, 50_001]));
        let expected: Vec<Tensor> =
            from.iter().zip(&to).map(|(from, to)| from.to_kind(Kind::Double) * (1.0 - weight) + to * weight).collect();
        foreach_lerp(&from, &to, weight).expect("lists of one length");
        for (found, expected) in from.iter().zip(&expected) {
            assert!((found - expected).abs().max().double_value(&[]) < 1e-6);
        }
        assert!(weight < 1.0 || from.iter().zip(&to).all(|(from, to)| from.equal(to)), "exactly there");
    }
    for limit in [1.0, 1e6] {
        let leaves = [3, 50_001].map(|count| Tensor::randn([count], SINGLE).set_requires_grad(true));
        leaves.iter().map(|leaf| (leaf * leaf).sum(Kind::Float)).sum::<Tensor>().backward();
        let before = leaves.each_ref().map(|leaf| leaf.grad().to_kind(Kind::Double));
        let norm = before.iter().map(|slope| (slope * slope).sum(Kind::Double).double_value(&[])).sum::<f64>().sqrt();
        let found = clip_gradients(&leaves, limit).expect("gradients").double_value(&[]);
        assert!((found / norm - 1.0).abs() < 1e-6, "{found} for {norm}");
        for (leaf, before) in leaves.iter().zip(&before) {
            let expected = before * (limit / norm).min(1.0);
            assert!((leaf.grad() - expected).abs().max().double_value(&[]) < 1e-5);
        }
    }
}

/// Arguments may be views of any strides.
#[test]
fn views_are_read_as_what_they_show() {
    let x = Tensor::randn([96, 7, 2], SINGLE).permute([2, 1, 0]);
    let (weight, bias) = (Tensor::randn([96, 96], SINGLE).tr(), Tensor::randn([1], SINGLE).expand([96], false));
    let dense = [&x, &weight, &bias].map(Tensor::contiguous);
    let ours = linear(&x, &weight, Some(&bias));
    assert!((ours - linear(&dense[0], &dense[1], Some(&dense[2]))).abs().max().double_value(&[]) < 1e-5);
    let ours = linear_gelu(&x, &weight, &bias);
    assert!((ours - linear_gelu(&dense[0], &dense[1], &dense[2])).abs().max().double_value(&[]) < 1e-5);
    assert!(layer_norm(&x, &bias, &bias, 1e-5).equal(&layer_norm(&dense[0], &dense[2], &dense[2], 1e-5)));
    assert!(attention(&x, 4, true).equal(&attention(&dense[0], 4, true)));
}

#[test]
fn lists_of_other_shapes_are_refused() {
    let tensors = [3, 4].map(|count| Tensor::zeros([count], SINGLE));
    let error = foreach_lerp(&tensors[..1], &tensors[1..], 0.5).expect_err("another shape");
    assert!(error.to_string().contains("[3]") && error.to_string().contains("[4]"), "{error}");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let arguments = [Tensor::randn([2, 500, 96], SINGLE), Tensor::randn([96], SINGLE), Tensor::randn([96], SINGLE)];
    let slope = Tensor::randn([2, 500, 32], SINGLE);
    let layers = |x: &[Tensor]| attention(&layer_norm(&x[0], &x[1], &x[2], 1e-5), 4, true);
    let [one, two, five] = with_threads(|| run(layers, &arguments, &slope, Kind::Float));
    assert!(one.iter().zip(two.iter().zip(&five)).all(|(one, (two, five))| one.equal(two) && one.equal(five)));

    let leaf = Tensor::randn([100_001], SINGLE).set_requires_grad(true);
    (&leaf * &leaf).sum(Kind::Float).backward();
    let norms = with_threads(|| clip_gradients(&[leaf.shallow_clone()], 1e9).expect("a gradient").double_value(&[]));
    assert!(norms[0] == norms[1] && norms[0] == norms[2], "{norms:?}");
}

/// What is not a number must reach the loss, where training finds it.
#[test]
fn what_is_not_finite_stays_so() {
    for wrong in [f64::NAN, f64::INFINITY] {
        for place in [0, 20, 40] {
            let x = Tensor::randn([1, 7, 48], SINGLE);
            let _ = x.narrow(2, place, 1).narrow(1, 3, 1).fill_(wrong);
            // An infinite query or key may give a score of −∞, which is a weight of zero.
            let lost = wrong.is_infinite() && place < 32;
            assert!(lost || !all_finite(&attention(&x, 2, false)), "attention, {wrong} at {place}");
            let ones = Tensor::ones([48], SINGLE);
            assert!(!all_finite(&linear_gelu(&x, &ones.unsqueeze(0), &ones.narrow(0, 0, 1))), "GELU, {wrong}");
            assert!(!all_finite(&layer_norm(&x, &ones, &ones, 1e-5)), "layer norm, {wrong}");
            let leaf = x.ones_like().set_requires_grad(true);
            (&leaf * &x).sum(Kind::Float).backward();
            assert!(!all_finite(&clip_gradients(&[leaf], 1.0).expect("a gradient")), "norm, {wrong}");
        }
    }
}

/// They would be wrong: the gradients are computed without their own.
#[test]
fn second_derivatives_are_refused() {
    let leaf = |size: &[i64]| Tensor::randn(size, SINGLE).set_requires_grad(true);
    let (x, weight, factor) = (leaf(&[1, 3, 48]), leaf(&[16, 48]), leaf(&[48]));
    let bias = leaf(&[16]);
    for y in [
        attention(&x, 2, false),
        layer_norm(&x, &factor, &factor, 1e-5),
        linear(&x, &weight, Some(&bias)),
        linear_gelu(&x, &weight, &bias),
    ] {
        let y = y.sum(Kind::Float);
        let refused = Tensor::f_run_backward(&[&y], &[&x], true, true).expect_err("a second derivative").to_string();
        assert!(refused.contains("second derivatives of this layer"), "{refused}");
        assert_eq!(Tensor::run_backward(&[&y], &[&x], false, false)[0].size(), x.size());
    }
}

/// Runs the other tests again with fewer instructions.
#[test]
fn every_instruction_set_passes_these_tests() {
    let this = "every_instruction_set";
    let program = std::env::current_exe().expect("this test program");
    for capability in ["default", "avx2"] {
        let mut command = Command::new(&program);
        command.args(["shim::kernels::tests::", "--skip", this]).env("ATEN_CPU_CAPABILITY", capability);
        let done = command.output().expect("the test program starts");
        let printed = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && printed.contains("11 passed"), "{capability}: {printed}");
    }
}
