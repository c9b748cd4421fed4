use bfn_nets::optimiser::is_not_finite;
use bfn_nets::{Checkpoint, Error, MuonConfig, Optimiser, OptimiserConfig, Parameter, Snapshot, device};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::{backward, parameters, same_bits, values};

const CONFIG: OptimiserConfig =
    OptimiserConfig { learning_rate: 1e-2, beta_1: 0.9, beta_2: 0.98, epsilon: 1e-8, weight_decay: 0.05, muon: None };

/// Returns the learning rate of a step, which changes as under a schedule.
fn learning_rate(step: u64) -> f64 {
    CONFIG.learning_rate / (1.0 + step as f64 / 10.0)
}

/// AdamW for one number, written directly from the formula.
struct Plain {
    value: f64,
    m: f64,
    v: f64,
}

impl Plain {
    fn step(&mut self, gradient: f64, rate: f64, weight_decay: f64, t: i32) {
        self.value -= rate * weight_decay * self.value;
        self.m = CONFIG.beta_1 * self.m + (1.0 - CONFIG.beta_1) * gradient;
        self.v = CONFIG.beta_2 * self.v + (1.0 - CONFIG.beta_2) * gradient * gradient;
        let mean = self.m / (1.0 - CONFIG.beta_1.powi(t));
        let square = self.v / (1.0 - CONFIG.beta_2.powi(t));
        self.value -= rate * mean / (square.sqrt() + CONFIG.epsilon);
    }
}

#[test]
fn a_step_is_the_formula_in_both_groups() {
    for device in device::available() {
        for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 2e-6)] {
            let parameters = parameters(kind, device);
            let mut optimiser = Optimiser::new(&parameters, CONFIG).unwrap();
            let mut plain: Vec<Vec<Plain>> = parameters
                .iter()
                .map(|one| values(&one.tensor).into_iter().map(|value| Plain { value, m: 0.0, v: 0.0 }).collect())
                .collect();
            for step in 1..=40_u64 {
                optimiser.zero_grad().unwrap();
                backward(&parameters, step);
                for (one, numbers) in parameters.iter().zip(&mut plain) {
                    let decay = if one.decays { CONFIG.weight_decay } else { 0.0 };
                    for (number, gradient) in numbers.iter_mut().zip(values(&one.tensor.grad())) {
                        number.step(gradient, learning_rate(step), decay, step as i32);
                    }
                }
                optimiser.step(learning_rate(step)).unwrap();
            }
            for (one, numbers) in parameters.iter().zip(&plain) {
                for (found, number) in values(&one.tensor).iter().zip(numbers) {
                    let expected = number.value;
                    assert!((found - expected).abs() <= tolerance, "{}: {found}, expected {expected}", one.name);
                }
            }
        }
    }
}

#[test]
fn only_decaying_parameters_decay() {
    let parameters = parameters(Kind::Double, Device::Cpu);
    let before: Vec<_> = parameters.iter().map(|one| values(&one.tensor)).collect();
    let mut optimiser = Optimiser::new(&parameters, CONFIG).unwrap();
    for one in &parameters {
        (&one.tensor * 0.0).sum(Kind::Double).backward();
    }
    optimiser.step(0.1).unwrap();
    for (one, before) in parameters.iter().zip(before) {
        let factor = if one.decays { 1.0 - 0.1 * CONFIG.weight_decay } else { 1.0 };
        for (after, before) in values(&one.tensor).iter().zip(before) {
            assert!((after - factor * before).abs() < 1e-15, "{}", one.name);
        }
    }
}

#[test]
fn a_parameter_without_gradient_stays_as_it_is() {
    let parameters = parameters(Kind::Float, Device::Cpu);
    let untouched = values(&parameters[0].tensor);
    let moved = values(&parameters[1].tensor);
    let mut optimiser = Optimiser::new(&parameters, CONFIG).unwrap();
    parameters[1].tensor.square().sum(Kind::Float).backward();
    optimiser.step(0.1).unwrap();
    assert_eq!(values(&parameters[0].tensor), untouched);
    assert_ne!(values(&parameters[1].tensor), moved);
    optimiser.zero_grad().unwrap();
    assert!(parameters.iter().all(|one| !one.tensor.grad().defined()));
    assert_eq!(values(&optimiser.clip_gradients(1.0).unwrap()), [0.0]);
}

#[test]
fn a_restored_state_continues_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    for device in device::available() {
        let run = |parameters: &[Parameter], optimiser: &mut Optimiser, steps: std::ops::RangeInclusive<u64>| {
            for step in steps {
                optimiser.zero_grad().unwrap();
                backward(parameters, step);
                let _ = optimiser.clip_gradients(1.0).unwrap();
                optimiser.step(learning_rate(step)).unwrap();
            }
        };
        let whole = parameters(Kind::Float, device);
        let mut optimiser = Optimiser::new(&whole, CONFIG).unwrap();
        run(&whole, &mut optimiser, 1..=6);
        let mut snapshot = Snapshot::new();
        snapshot.add("model", &bfn_nets::parameter::named(&whole)).unwrap();
        snapshot.add("optimiser", &optimiser.state()).unwrap();
        snapshot.write(&path).unwrap();
        run(&whole, &mut optimiser, 7..=15);

        let resumed = parameters(Kind::Float, device);
        let mut fresh = Optimiser::new(&resumed, CONFIG).unwrap();
        let checkpoint = Checkpoint::read(&path).unwrap();
        checkpoint.load_into("model", &bfn_nets::parameter::named(&resumed)).unwrap();
        checkpoint.load_into("optimiser", &fresh.state()).unwrap();
        run(&resumed, &mut fresh, 7..=15);
        assert!(same_bits(&whole, &resumed));
        for (left, right) in optimiser.state().iter().zip(fresh.state()) {
            assert!(left.tensor.equal(&right.tensor), "{}", left.name);
        }

        // Without the optimiser's state the result differs, so the test above can fail.
        let forgetful = parameters(Kind::Float, device);
        checkpoint.load_into("model", &bfn_nets::parameter::named(&forgetful)).unwrap();
        run(&forgetful, &mut Optimiser::new(&forgetful, CONFIG).unwrap(), 7..=15);
        assert!(!same_bits(&whole, &forgetful));
    }
}

/// Broken gradients leave no trace in an optimiser: it stays equal to one that never received them.
#[test]
fn a_step_from_a_gradient_that_is_not_finite_leaves_no_trace() {
    for device in device::available() {
        for broken in [f64::NAN, f64::INFINITY] {
            let [sound, tried] = [(); 2].map(|()| parameters(Kind::Float, device));
            let mut optimisers = [&sound, &tried].map(|parameters| Optimiser::new(parameters, CONFIG).unwrap());
            let step = |parameters: &[Parameter], optimiser: &mut Optimiser, step, factor: f64| {
                optimiser.zero_grad().unwrap();
                backward(parameters, step);
                let _ = parameters[0].tensor.grad().g_mul_scalar_(factor);
                let norm = optimiser.clip_gradients(1.0).unwrap();
                optimiser.step_unless(&is_not_finite(&norm), learning_rate(step)).unwrap();
            };
            for number in 1..=4 {
                step(&sound, &mut optimisers[0], number, 1.0);
                step(&tried, &mut optimisers[1], number, 1.0);
                step(&tried, &mut optimisers[1], number, broken);
            }
            assert!(same_bits(&sound, &tried));
            for (left, right) in optimisers[0].state().iter().zip(optimisers[1].state()) {
                assert!(left.tensor.equal(&right.tensor), "{}", left.name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn clipping_limits_the_common_norm(
        first in prop::collection::vec(-3.0..3.0_f64, 1..40),
        second in prop::collection::vec(-3.0..3.0_f64, 1..40),
        limit in 0.01..20.0_f64,
    ) {
        for device in device::available() {
            let gradients = [&first, &second];
            let parameters: Vec<Parameter> = gradients
                .iter()
                .enumerate()
                .map(|(index, gradient)| {
                    let size = [gradient.len() as i64];
                    let tensor = Tensor::zeros(size, (Kind::Double, device)).set_requires_grad(true);
                    (&tensor * Tensor::from_slice(gradient).to_device(device)).sum(Kind::Double).backward();
                    Parameter::new(index.to_string(), &tensor, true)
                })
                .collect();
            let norm = first.iter().chain(&second).map(|g| g * g).sum::<f64>().sqrt();
            let coefficient = (limit / (norm + 1e-6)).min(1.0);
            let mut optimiser = Optimiser::new(&parameters, CONFIG).unwrap();
            let before = optimiser.clip_gradients(limit).unwrap();
            prop_assert_eq!(before.device(), device);
            prop_assert!((values(&before)[0] - norm).abs() <= 1e-12 * (1.0 + norm));
            for (one, gradient) in parameters.iter().zip(gradients) {
                for (found, g) in values(&one.tensor.grad()).iter().zip(gradient) {
                    if coefficient == 1.0 {
                        prop_assert_eq!(found, g);
                    }
                    prop_assert!((found - coefficient * g).abs() <= 1e-12);
                }
            }
        }
    }
}

#[test]
fn constants_that_make_no_sense_are_refused_by_key() {
    let cases = [
        ("beta_1", OptimiserConfig { beta_1: 1.0, ..CONFIG }),
        ("beta_2", OptimiserConfig { beta_2: -0.1, ..CONFIG }),
        ("epsilon", OptimiserConfig { epsilon: 0.0, ..CONFIG }),
        ("weight_decay", OptimiserConfig { weight_decay: f64::INFINITY, ..CONFIG }),
        ("learning_rate", OptimiserConfig { learning_rate: f64::NAN, ..CONFIG }),
    ];
    for (wrong, config) in cases {
        match Optimiser::new(&parameters(Kind::Float, Device::Cpu), config) {
            Err(Error::Configuration { key, .. }) => assert_eq!(key, wrong),
            other => panic!("{wrong}: {other:?}"),
        }
    }
}

#[test]
#[should_panic(expected = "two parameters have one name")]
fn two_parameters_of_one_name_are_a_mistake() {
    let mut twice = parameters(Kind::Float, Device::Cpu);
    twice.push(twice[0].clone());
    let _ = Optimiser::new(&twice, CONFIG);
}

/// AdamW for parameters that are not matrices, Muon for the rest.
const WITH_MUON: OptimiserConfig = OptimiserConfig { muon: Some(MuonConfig { momentum: 0.9 }), ..CONFIG };

/// A bias, two matrices of one shape and a convolution's kernel; the second matrix does not decay.
fn matrices(device: Device) -> Vec<Parameter> {
    let shapes: [(&str, &[i64], bool); 4] =
        [("bias", &[9], false), ("a", &[8, 12], true), ("b", &[8, 12], false), ("kernel", &[9, 8, 3, 3], true)];
    let parameter = |(name, shape, decays): (&str, &[i64], bool)| {
        let count: i64 = shape.iter().product();
        let values = (Tensor::arange(count, (Kind::Float, device)) * 0.9).sin().reshape(shape);
        Parameter::new(name, &values.set_requires_grad(true), decays)
    };
    shapes.into_iter().map(parameter).collect()
}

/// Runs a few steps; with `broken`, each step is first tried with a broken gradient.
fn run(parameters: &[Parameter], optimiser: &mut Optimiser, steps: std::ops::RangeInclusive<u64>, broken: Option<f64>) {
    for step in steps {
        for factor in broken.into_iter().chain([1.0]) {
            optimiser.zero_grad().unwrap();
            backward(parameters, step);
            let _ = parameters[1].tensor.grad().g_mul_scalar_(factor);
            let norm = optimiser.clip_gradients(1.0).unwrap();
            optimiser.step_unless(&is_not_finite(&norm), learning_rate(step)).unwrap();
        }
    }
}

#[test]
fn muon_steps_have_the_size_of_adamws_and_decay_what_decays() {
    for device in device::available() {
        let all = matrices(device);
        let before: Vec<_> = all.iter().map(|one| one.tensor.detach().copy()).collect();
        let mut optimiser = Optimiser::new(&all, WITH_MUON).unwrap();
        let state: Vec<String> = optimiser.state().into_iter().map(|one| one.name).collect();
        assert_eq!(state, ["step", "exp_avg.bias", "exp_avg_sq.bias", "momentum.b", "momentum.a", "momentum.kernel"]);
        run(&all, &mut optimiser, 1..=1, None);
        for (one, before) in all.iter().zip(&before) {
            let decay = if one.decays { learning_rate(1) * WITH_MUON.weight_decay } else { 0.0 };
            let step = (before * (1.0 - decay) - &one.tensor) / learning_rate(1);
            let size = step.square().mean(Kind::Float).sqrt().double_value(&[]);
            // AdamW's first step has an RMS of 1, Muon's 0.2 times the RMS of the singular values of its update.
            assert!((0.1..=1.01).contains(&size), "{}: {size}", one.name);
        }
    }
}

#[test]
fn muons_state_continues_to_the_bit_and_broken_gradients_leave_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    for device in device::available() {
        let whole = matrices(device);
        let mut optimiser = Optimiser::new(&whole, WITH_MUON).unwrap();
        run(&whole, &mut optimiser, 1..=4, None);
        let mut snapshot = Snapshot::new();
        snapshot.add("model", &bfn_nets::parameter::named(&whole)).unwrap();
        snapshot.add("optimiser", &optimiser.state()).unwrap();
        snapshot.write(&path).unwrap();
        run(&whole, &mut optimiser, 5..=9, None);
        for broken in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            let resumed = matrices(device);
            let mut fresh = Optimiser::new(&resumed, WITH_MUON).unwrap();
            let checkpoint = Checkpoint::read(&path).unwrap();
            checkpoint.load_into("model", &bfn_nets::parameter::named(&resumed)).unwrap();
            checkpoint.load_into("optimiser", &fresh.state()).unwrap();
            run(&resumed, &mut fresh, 5..=9, broken);
            assert!(same_bits(&whole, &resumed), "{broken:?}");
            for (left, right) in optimiser.state().iter().zip(fresh.state()) {
                assert!(left.tensor.equal(&right.tensor), "{}", left.name);
            }
        }
    }
}

#[test]
fn a_momentum_that_makes_no_sense_is_refused() {
    let config = OptimiserConfig { muon: Some(MuonConfig { momentum: 1.0 }), ..WITH_MUON };
    match Optimiser::new(&matrices(Device::Cpu), config) {
        Err(Error::Configuration { key, .. }) => assert_eq!(key, "muon.momentum"),
        other => panic!("{other:?}"),
    }
}
