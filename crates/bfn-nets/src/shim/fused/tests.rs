//! Compares the layers with their formulas in f64, on every GPU and, by the emulator, on the CPU.

use super::*;
use crate::device;

/// Runs a test on all devices, which for the CPU is the emulator.
fn on_devices(test: impl Fn(Device)) {
    for device in device::available() {
        if let Device::Cuda(_) = device {
            assert_eq!(why_not(device), None);
        }
        test(device);
    }
}

fn draw(shape: &[i64], device: Device) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_device(device)
}

fn learned(tensor: &Tensor) -> Tensor {
    tensor.detach().copy().set_requires_grad(true)
}

/// Checks results and gradients of a layer against those of its formula in f64, for f32 and bf16.
///
/// `layer` and `formula` map the inputs to results; the inputs are rounded to bf16 first.
fn agrees(
    name: &str,
    inputs: &[Tensor],
    layer: impl Fn(&[Tensor], Numbers) -> Vec<Tensor>,
    formula: impl Fn(&[Tensor]) -> Vec<Tensor>,
) {
    for (numbers, tolerance) in [(Numbers::Single, 2e-5), (Numbers::Bf16, 2e-2)] {
        let rounded: Vec<Tensor> =
            inputs.iter().map(|input| input.to_kind(Kind::BFloat16).to_kind(Kind::Float)).collect();
        let ours: Vec<Tensor> = rounded.iter().map(learned).collect();
        let exact: Vec<Tensor> = rounded.iter().map(|input| learned(&input.to_kind(Kind::Double))).collect();
        let (found, expected) = (layer(&ours, numbers), formula(&exact));
        assert_eq!(found.len(), expected.len());
        let weights: Vec<Tensor> = expected.iter().map(|one| draw(&one.size(), one.device())).collect();
        let total = |results: &[Tensor], kind: Kind| {
            let products = results.iter().zip(&weights).map(|(one, weight)| (one * weight.to_kind(kind)).sum(kind));
            products.reduce(|a, b| a + b).expect("results")
        };
        total(&found, Kind::Float).backward();
        total(&expected, Kind::Double).backward();
        let gradients = |all: &[Tensor]| all.iter().map(Tensor::grad).collect::<Vec<_>>();
        for (index, (found, expected)) in
            found.into_iter().chain(gradients(&ours)).zip(expected.into_iter().chain(gradients(&exact))).enumerate()
        {
            let scale = expected.abs().max().double_value(&[]).max(1e-3);
            let error = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]) / scale;
            assert!(error < tolerance, "{name}, {numbers:?}, number {index}: {error:e}");
        }
    }
}

#[test]
fn group_norm_is_its_formula() {
    tch::manual_seed(1);
    on_devices(|device| {
        // Groups of 4, 12, 16 and 6 channels; an odd number of pixels.
        for (channels, groups, height, width, activates, adds) in [
            (32, 8, 5, 7, true, true),
            (48, 4, 6, 6, true, false),
            (32, 2, 9, 11, false, true),
            (24, 4, 3, 3, false, false),
            // Few pixels, many channels: several groups and vectors for a thread's row.
            (128, 32, 2, 3, true, true),
            (96, 8, 4, 4, true, true),
        ] {
            let inputs = [
                draw(&[3, channels, height, width], device) + 1.0,
                draw(&[3, channels], device),
                draw(&[channels], device) * 0.3 + 1.0,
                draw(&[channels], device) * 0.3,
            ];
            let added = |inputs: &[Tensor]| adds.then(|| inputs[1].shallow_clone());
            agrees(
                &format!("{channels} channels in {groups} groups on {device:?}"),
                &inputs,
                |inputs, numbers| {
                    let [x, _, weight, bias] = inputs else { unreachable!() };
                    let norm = GroupNorm { weight, bias, groups, epsilon: 1e-5, activates, dropout: 0.0 };
                    assert!(norm.fits(x, height * width, numbers));
                    let y = norm.apply(&channels_last(x), added(inputs).as_ref(), numbers);
                    assert_eq!(y.kind(), numbers.kind());
                    // So that every input has a gradient.
                    vec![y, inputs[1].sum(Kind::Float) * 0.0]
                },
                |inputs| {
                    let [x, _, weight, bias] = inputs else { unreachable!() };
                    let x = match added(inputs) {
                        Some(added) => x + added.unsqueeze(-1).unsqueeze(-1),
                        None => x.shallow_clone(),
                    };
                    let y = x.group_norm(groups, Some(weight), Some(bias), 1e-5, true);
                    vec![if activates { y.silu() } else { y }, inputs[1].sum(Kind::Double) * 0.0]
                },
            );
        }
    });
}

/// The mask is that of the forward pass in the backward pass too; its share and its scale are those asked for.
#[test]
fn dropout_is_the_same_in_both_passes() {
    tch::manual_seed(2);
    on_devices(|device| {
        let x = learned(&draw(&[4, 32, 20, 20], device));
        // Far from zero, so that the mask can be read off y.
        let [weight, bias] = [0.5, 4.0].map(|mean| learned(&(draw(&[32], device) * 0.1 + mean)));
        let norm = GroupNorm { weight: &weight, bias: &bias, groups: 8, epsilon: 1e-5, activates: true, dropout: 0.25 };
        let y = norm.apply(&x, None, Numbers::Single);
        assert!(!y.equal(&norm.apply(&x, None, Numbers::Single)), "each call draws a mask of its own");
        let (other, factors, terms) = (learned(&x), learned(&weight), learned(&bias));
        let whole = other.group_norm(8, Some(&factors), Some(&terms), 1e-5, true).silu();
        let mask = (&y / &whole).detach();
        let is_kept = mask.gt(0.5).to_kind(Kind::Float);
        let error = (&mask - &is_kept / 0.75).abs().max().double_value(&[]);
        assert!(error < 1e-4, "a mask of zeros and 4/3: {error:e}");
        let share = is_kept.mean(Kind::Double).double_value(&[]);
        assert!((share - 0.75).abs() < 5.0 * (0.75 * 0.25 / y.numel() as f64).sqrt(), "{share}");
        let slopes = draw(&y.size(), device);
        (y * &slopes).sum(Kind::Float).backward();
        (whole * &is_kept / 0.75 * &slopes).sum(Kind::Float).backward();
        for (one, expected) in [(&x, &other), (&weight, &factors), (&bias, &terms)] {
            let scale = expected.grad().abs().max().double_value(&[]);
            let error = (one.grad() - expected.grad()).abs().max().double_value(&[]) / scale;
            assert!(error < 1e-5, "{error:e}");
        }
    });
}

#[test]
fn sums_and_gelu_are_their_formulas() {
    tch::manual_seed(3);
    on_devices(|device| {
        for channels in [8, 24, 72] {
            let inputs =
                [[2, channels, 5, 5].as_slice(), &[2, channels, 5, 5], &[channels]].map(|size| draw(size, device));
            agrees(
                &format!("a sum of {channels} channels on {device:?}"),
                &inputs,
                |inputs, numbers| {
                    let [a, b] = [0, 1].map(|place| channels_last(&inputs[place].to_kind(numbers.kind())));
                    vec![add_biased(&a, Some(&b), &inputs[2]), add_biased(&b, None, &inputs[2])]
                },
                |inputs| {
                    let bias = inputs[2].reshape([1, -1, 1, 1]);
                    vec![&inputs[0] + &inputs[1] + &bias, &inputs[1] + bias]
                },
            );
        }
        for (rows, width) in [(37, 16), (5, 2056)] {
            let inputs = [[rows, width].as_slice(), &[width]].map(|size| draw(size, device));
            agrees(
                &format!("GELU of {width} on {device:?}"),
                &inputs,
                |inputs, numbers| vec![gelu_biased(&inputs[0].to_kind(numbers.kind()), &inputs[1])],
                |inputs| vec![(&inputs[0] + &inputs[1]).gelu("tanh")],
            );
        }
    });
}

#[test]
fn a_stream_is_added_to_and_normalised() {
    tch::manual_seed(4);
    on_devices(|device| {
        for (width, has_branch) in [(256, true), (256, false), (512, true), (768, true), (768, false), (1024, true)] {
            assert!(takes_width(width));
            let rows = [0, 1].map(|_| draw(&[21, width], device));
            let columns = [0, 1, 2].map(|_| draw(&[width], device));
            let inputs: Vec<Tensor> = rows.into_iter().chain(columns).collect();
            agrees(
                &format!("a stream of {width} on {device:?}"),
                &inputs,
                |inputs, numbers| {
                    let [x, branch, term, weight, bias] = inputs else { unreachable!() };
                    let branch = branch.to_kind(numbers.kind());
                    let branch = has_branch.then_some(Branch { numbers: &branch, bias: term });
                    let (stream, y) = add_and_normalise(x, branch, [weight, bias], 1e-5, numbers);
                    assert_eq!((stream.kind(), y.kind()), (Kind::Float, numbers.kind()));
                    vec![stream, y, (&inputs[1] + &inputs[2]) * 0.0]
                },
                |inputs| {
                    let [x, branch, term, weight, bias] = inputs else { unreachable!() };
                    let stream = if has_branch { x + branch + term } else { x.shallow_clone() };
                    let y = stream.layer_norm([width], Some(weight), Some(bias), 1e-5, true);
                    vec![stream, y, (&inputs[1] + &inputs[2]) * 0.0]
                },
            );
        }
        for width in [0, 128, 300, 1280] {
            assert!(!takes_width(width));
        }
    });
}

/// Without a gradient of the stream itself, as after the last block.
#[test]
fn only_the_normalised_stream_may_be_used() {
    tch::manual_seed(5);
    on_devices(|device| {
        let [x, branch] = [0, 1].map(|_| learned(&draw(&[9, 256], device)));
        let [term, weight, bias] = [0, 1, 2].map(|_| learned(&draw(&[256], device)));
        let (_, y) = add_and_normalise(
            &x,
            Some(Branch { numbers: &branch, bias: &term }),
            [&weight, &bias],
            1e-5,
            Numbers::Single,
        );
        y.square().sum(Kind::Float).backward();
        let other = learned(&(&x + &branch + &term));
        other.layer_norm([256], Some(&weight), Some(&bias), 1e-5, true).square().sum(Kind::Float).backward();
        for gradient in [x.grad(), branch.grad()] {
            let error = (gradient - other.grad()).abs().max().double_value(&[]);
            assert!(error < 1e-3, "{error:e}");
        }
    });
}

#[test]
fn images_that_do_not_fit_are_known() {
    let weight = Tensor::ones([128], (Kind::Float, Device::Cpu));
    let norm = GroupNorm { weight: &weight, bias: &weight, groups: 32, epsilon: 1e-5, activates: true, dropout: 0.0 };
    assert!(norm.fits(&weight, 32 * 32, Numbers::Bf16) && !norm.fits(&weight, 128 * 128, Numbers::Bf16));
    for (channels, groups) in [(36, 4), (40, 8), (24, 8)] {
        let weight = Tensor::ones([channels], (Kind::Float, Device::Cpu));
        let norm = GroupNorm { weight: &weight, bias: &weight, groups, ..norm };
        assert!(!norm.fits(&weight, 16, Numbers::Bf16), "{channels} channels, {groups} groups");
    }
}

/// Views that begin anywhere in memory, images in another layout, a sum of two types, and no images at all.
#[test]
fn arguments_may_lie_anywhere() {
    tch::manual_seed(6);
    on_devices(|device| {
        let images = draw(&[2, 32, 3, 4], device);
        let (weight, bias) = (draw(&[33], device).narrow(0, 1, 32), draw(&[35], device).narrow(0, 3, 32));
        let norm = GroupNorm { weight: &weight, bias: &bias, groups: 8, epsilon: 1e-5, activates: true, dropout: 0.0 };
        let expected = images.group_norm(8, Some(&weight), Some(&bias), 1e-5, true).silu();
        let near = |found: Tensor, expected: &Tensor| {
            let error = (found.to_kind(Kind::Float) - expected).abs().max().double_value(&[]);
            assert!(error < 1e-5, "{error:e}");
        };
        near(norm.apply(&images, None, Numbers::Single), &expected);
        let other = draw(&[2, 32, 3, 4], device).to_kind(Kind::BFloat16);
        let sum = &images + other.to_kind(Kind::Float) + bias.reshape([1, -1, 1, 1]);
        near(add_biased(&images, Some(&other), &bias), &sum);
        near(gelu_biased(&images.reshape([-1, 32]), &bias), &(images.reshape([-1, 32]) + &bias).gelu("tanh"));

        let none = learned(&Tensor::zeros([0, 32, 3, 4], (Kind::Float, device)));
        let y = add_biased(&norm.apply(&none, None, Numbers::Single), Some(&none), &bias);
        let y = gelu_biased(&y.reshape([0, 32]), &bias);
        assert_eq!(y.size(), [0, 32]);
        y.sum(Kind::Float).backward();
        assert_eq!(none.grad().size(), [0, 32, 3, 4]);
    });
}

/// A sum of two types has gradients of both, and none has a second derivative.
#[test]
fn gradients_are_of_the_inputs_types_and_have_none() {
    on_devices(|device| {
        let a = learned(&draw(&[1, 8, 2, 2], device).to_kind(Kind::BFloat16));
        let [b, bias] = [vec![1, 8, 2, 2], vec![8]].map(|size| learned(&draw(&size, device)));
        let inputs = [&a, &b, &bias];
        let y = add_biased(&a, Some(&b), &bias).sum(Kind::Float);
        let second = Tensor::f_run_backward(&[&y], &inputs, true, true).expect_err("a second derivative").to_string();
        assert!(second.contains("second derivatives of this layer"), "{second}");
        for (gradient, input) in Tensor::run_backward(&[&y], &inputs, false, false).iter().zip(inputs) {
            assert_eq!((gradient.size(), gradient.kind()), (input.size(), input.kind()));
        }
    });
}

#[test]
#[should_panic(expected = "8 channels in 0 groups")]
fn no_groups_are_refused() {
    let weight = Tensor::ones([8], (Kind::Float, Device::Cpu));
    let norm = GroupNorm { weight: &weight, bias: &weight, groups: 0, epsilon: 1e-5, activates: true, dropout: 0.0 };
    norm.fits(&weight, 16, Numbers::Bf16);
}
