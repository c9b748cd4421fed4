use bfn_nets::{Ema, EmaConfig, Error, Parameter, device};
use tch::{Device, Kind};

use crate::{parameters, same_bits, values};

/// Changes every weight, differently at each step.
fn train(parameters: &[Parameter], step: u64) {
    let _no_grad = tch::no_grad_guard();
    for one in parameters {
        let _ = one.tensor.shallow_clone().g_add_scalar_(1.0 / step as f64).g_mul_scalar_(0.9);
    }
}

#[test]
fn the_average_is_the_formula() {
    for device in device::available() {
        for warm_up in [false, true] {
            let config = EmaConfig { decay: 0.8, warm_up };
            let parameters = parameters(Kind::Double, device);
            let mut ema = Ema::new(&parameters, config).unwrap();
            let mut expected: Vec<_> = parameters.iter().map(|one| values(&one.tensor)).collect();
            for step in 1..=100 {
                train(&parameters, step);
                ema.update(step).unwrap();
                let t = step as f64;
                let decay = if warm_up { f64::min(0.8, (1.0 + t) / (10.0 + t)) } else { 0.8 };
                for (averages, one) in expected.iter_mut().zip(&parameters) {
                    for (average, weight) in averages.iter_mut().zip(values(&one.tensor)) {
                        *average = decay * *average + (1.0 - decay) * weight;
                    }
                }
            }
            for (named, expected) in ema.state().iter().zip(&expected) {
                for (found, expected) in values(&named.tensor).iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-12, "{}: {found}, expected {expected}", named.name);
                }
            }
        }
    }
}

#[test]
fn the_average_of_constant_weights_is_the_weights() {
    let parameters = parameters(Kind::Float, Device::Cpu);
    let mut ema = Ema::new(&parameters, EmaConfig { decay: 0.999, warm_up: true }).unwrap();
    for step in 1..=50 {
        ema.update(step).unwrap();
    }
    for (named, one) in ema.state().iter().zip(&parameters) {
        assert_eq!(named.name, one.name);
        assert!(named.tensor.equal(&one.tensor));
        assert!(!named.tensor.requires_grad());
    }
}

#[test]
fn the_network_holds_the_averages_only_under_the_guard() {
    for device in device::available() {
        let parameters = parameters(Kind::Float, device);
        let start: Vec<_> = parameters.iter().map(|one| values(&one.tensor)).collect();
        let mut ema = Ema::new(&parameters, EmaConfig { decay: 0.5, warm_up: false }).unwrap();
        train(&parameters, 1);
        let own: Vec<Parameter> =
            parameters.iter().map(|one| Parameter::new(one.name.clone(), &one.tensor.copy(), one.decays)).collect();
        {
            let _averaged = ema.averaged().unwrap();
            for (one, start) in parameters.iter().zip(&start) {
                assert_eq!(&values(&one.tensor), start);
            }
        }
        assert!(same_bits(&parameters, &own));

        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _averaged = ema.averaged().unwrap();
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert!(same_bits(&parameters, &own));
        for (named, start) in ema.state().iter().zip(&start) {
            assert_eq!(&values(&named.tensor), start);
        }
    }
}

#[test]
fn warm_up_grows_to_the_decay() {
    let config = EmaConfig { decay: 0.99, warm_up: true };
    assert_eq!(config.decay_at(1), 2.0 / 11.0);
    assert!((1..2000).all(|step| config.decay_at(step) <= config.decay_at(step + 1)));
    assert_eq!(config.decay_at(1_000_000), 0.99);
    assert_eq!(EmaConfig { decay: 0.99, warm_up: false }.decay_at(1), 0.99);
}

#[test]
fn a_decay_that_is_none_is_refused() {
    for decay in [1.0, -0.1, f64::NAN] {
        let ema = Ema::new(&parameters(Kind::Float, Device::Cpu), EmaConfig { decay, warm_up: false });
        assert!(matches!(ema, Err(Error::Configuration { key, .. }) if key == "decay"));
    }
}
